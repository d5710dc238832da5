//! Ends of tasks, counted before their group hears of them.

use crate::group::erased::ErasedTask;
use crate::group::process_counts;
use crate::group::status::TaskStatus;
use crate::group::task_end::{Role, TaskEnd};

/// Tasks that have ended and are still on the counts of their group.
#[derive(Default)]
pub(super) struct EndCounts {
    pub(super) tasks: usize,
    pub(super) daemons: usize,
    /// The number of tasks that a worker has begun, less the tasks of earlier reports that another
    /// thread had claimed. So it can be negative.
    pub(super) begun: isize,
    pub(super) ended: Outcomes,
    /// Ended tasks of which only memory is left, for the next thread that spawns a task to free.
    /// It has allocated them, most likely. Memory that another thread frees comes back to its
    /// allocator on a longer way.
    pub(super) spent: Vec<ErasedTask>,
}

/// Tasks that have ended, each in one of the counts.
#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) finished: usize,
    pub(super) failed: usize,
    pub(super) panicked: usize,
    pub(super) cancelled: usize,
    pub(super) never_ran: usize,
}

impl EndCounts {
    pub(super) fn add(&mut self, end: TaskEnd) {
        // The roles are counted apart: a scope waits for its tasks first, and then cancels its
        // daemons.
        match end.role {
            Role::Task => self.tasks += 1,
            Role::Daemon => self.daemons += 1,
        }

        match end.status {
            TaskStatus::Failed => self.ended.failed += 1,
            TaskStatus::Panicked => self.ended.panicked += 1,
            TaskStatus::Cancelled => self.ended.cancelled += 1,
            TaskStatus::NeverRan => self.ended.never_ran += 1,
            _ => self.ended.finished += 1,
        }
        // The process counts at once, the group only when the worker reports.
        process_counts::ended(end.status);
    }
}

impl Outcomes {
    pub(super) const fn new() -> Self {
        Outcomes {
            finished: 0,
            failed: 0,
            panicked: 0,
            cancelled: 0,
            never_ran: 0,
        }
    }

    pub(super) fn add(&mut self, more: &Outcomes) {
        self.finished += more.finished;
        self.failed += more.failed;
        self.panicked += more.panicked;
        self.cancelled += more.cancelled;
        self.never_ran += more.never_ran;
    }

    pub(super) fn total(&self) -> usize {
        self.finished + self.failed + self.panicked + self.cancelled + self.never_ran
    }
}
