//! The permits of a limited group: see the page `limit.md` beside this file.

/// The limit of a group without a limit.
pub(super) const UNLIMITED: usize = usize::MAX;

/// The permit with which a task runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TaskPermit {
    /// None: the task needs none, or the permit of the task around it serves for both.
    None,
    /// A permit that counts as held.
    Held,
    /// A permit that counts as held and as ending: other threads can see that its task has ended,
    /// and it will be given back soon.
    Ending,
}

impl TaskPermit {
    pub(super) fn is_some(self) -> bool {
        self != TaskPermit::None
    }

    /// The permit after the end of its task was announced.
    pub(super) fn ending(self) -> TaskPermit {
        match self {
            TaskPermit::None => TaskPermit::None,
            TaskPermit::Held | TaskPermit::Ending => TaskPermit::Ending,
        }
    }
}

/// The permits of one group, as its queue counts them.
#[derive(Debug)]
pub(super) struct PermitCounts {
    /// How many are held.
    pub(super) held: usize,
    /// How many of the held ones are ending.
    pub(super) ending: usize,
    /// How many will be taken back soon, by waiters of tasks that are ending.
    pub(super) owed: usize,
    /// Permits that waiting tasks have given away, for a snapshot.
    pub(super) lent: usize,
}

impl PermitCounts {
    pub(super) const fn new() -> Self {
        PermitCounts {
            held: 0,
            ending: 0,
            owed: 0,
            lent: 0,
        }
    }

    /// Counts `permit` as held.
    pub(super) fn take(&mut self, permit: TaskPermit) {
        self.held += usize::from(permit.is_some());
        self.ending += usize::from(permit == TaskPermit::Ending);
    }

    /// Counts `permit` as free.
    pub(super) fn give_back(&mut self, permit: TaskPermit) {
        self.held -= usize::from(permit.is_some());
        self.ending -= usize::from(permit == TaskPermit::Ending);
    }

    /// Returns how many tasks could begin once the ending permits are free and the owed ones are
    /// taken.
    pub(super) fn free_soon(&self, limit: usize) -> usize {
        limit.saturating_sub(self.held - self.ending + self.owed)
    }
}
