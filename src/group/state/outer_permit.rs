//! A permit that a thread holds around an inner group: how tasks of the inner group give it away
//! when they wait for tasks of the limited group outside.
//!
//! A task of a limited group opens an inner group and waits for it: it cannot go on before the
//! inner tasks have ended. If one of these waits for a queued task of the limited group, that task
//! may need the permit. So the permit counts as given away exactly while its thread waits for inner
//! tasks *and* an inner task waits for a task of the limited group. A thread that runs an inner
//! task in place of its wait counts as waiting: on a worker that task would hold no permit either.
//! The page `limit.md` beside this file has a picture.
//!
//! # Owners
//!
//! A group has a reference to the innermost outer permit around it, and each outer permit has one
//! to the next outside: see [`held_permits`](super::held_permits). A group that is opened on a
//! thread that holds no permit, and that runs no task of a group with an outer permit, has none and
//! pays nothing. An outer permit is made with the first group that is opened inside of it.
//!
//! # States
//!
//! | the thread waits inside | inner tasks wait | of these, are about to wake | the permit |
//! |---|---|---|---|
//! | no | any | any | is held |
//! | yes | none | none | is held |
//! | yes | some | fewer | is given away |
//! | yes | some | as many | is given away and owed: `try_spawn` does not count on it |
//!
//! # Invariants
//!
//! 1. The counts of the limited group agree with the state. Both change in one critical section of
//!    the outer permit.
//! 2. An inner task is counted as a waiter in the critical section that enters it as one. The end
//!    that wakes it takes it off the count, or the waiter itself does: invariants 2 and 3 of the
//!    limit hold for this permit like for a permit of the waiter's own.
//! 3. The thread itself says when it begins and when it ends to wait. It does not wait for a permit
//!    before it goes on: if inner tasks still wait then, the limited group runs one task more than
//!    its limit.
//! 4. Meanwhile the thread does not give the permit away for a wait of its own: the stage of the
//!    permit is `Lent`.
//!
//! # Lock order
//!
//! The lock of an outer permit is taken with no other lock held but the locks of a task's watch
//! list and of a `Completions`. Inside it, only the lock of the limited group's queue is taken. No
//! thread has the locks of two outer permits.

use std::fmt;
use std::sync::Arc;

use super::permit::TaskPermit;
use crate::facade::Mutex;

/// The limited group, as its outer permits know it.
pub(super) trait LimitedGroup: Send + Sync {
    /// Replaces what an outer permit contributed to the counts. Returns whether the caller has to
    /// list the group, which counts as listed from now on.
    fn recount(&self, before: Contribution, after: Contribution) -> bool;

    /// Lists the group with the workers.
    fn list(self: Arc<Self>);
}

/// The contribution of an outer permit to the counts of its group.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Contribution {
    /// The permit, if it is given away. It is ending if its task has ended and a callback of the
    /// task waits.
    pub(super) given_away: Option<TaskPermit>,
    /// The permit will be taken back soon.
    pub(super) owed: bool,
}

pub(crate) struct OuterPermit {
    /// The identity of the limited group.
    group: usize,
    outer: Option<Arc<OuterPermit>>,
    waits: Mutex<Waits>,
}

#[derive(Default)]
struct Waits {
    /// The permit of the thread, while it waits for inner tasks.
    thread: Option<TaskPermit>,
    /// Waits of inner tasks for tasks of the limited group.
    tasks: usize,
    /// How many of these are about to end.
    owed: usize,
    /// The limited group, from the first of these waits on.
    group: Option<Arc<dyn LimitedGroup>>,
}

impl Waits {
    fn contribution(&self) -> Contribution {
        match self.thread {
            Some(permit) if self.tasks > 0 => Contribution {
                given_away: Some(permit),
                owed: self.owed == self.tasks,
            },
            _ => Contribution::default(),
        }
    }
}

impl OuterPermit {
    pub(super) fn new(group: usize, outer: Option<Arc<OuterPermit>>) -> Arc<Self> {
        Arc::new(OuterPermit {
            group,
            outer,
            waits: Mutex::new(Waits::default()),
        })
    }

    /// This permit and those outside of it, the innermost first.
    pub(super) fn and_outer(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(Some(self), |permit| permit.outer.as_ref())
    }

    pub(super) fn is_of(&self, group: usize) -> bool {
        self.group == group
    }

    /// Changes the state and the counts of the group. Returns the group if the caller has to list
    /// it.
    fn change(&self, change: impl FnOnce(&mut Waits)) -> Option<Arc<dyn LimitedGroup>> {
        // Invariant 1: the counts change under the lock that the state changes under.
        let mut waits = self.waits.lock();
        let before = waits.contribution();
        change(&mut waits);
        let after = waits.contribution();

        // Most changes do not concern the counts.
        let group = waits.group.as_ref().filter(|_| before != after)?;
        group.recount(before, after).then(|| group.clone())
    }

    /// Notes that the thread, which has the permit `permit`, begins to wait for inner tasks. To be
    /// called with no lock held.
    pub(super) fn begin_wait(&self, permit: TaskPermit) {
        let list = self.change(|waits| {
            // An inner task that began to wait first is found here; a task that comes later finds
            // that the thread waits.
            //
            // fault: thread-misses-early-waiters
            waits.thread = Some(permit);
        });

        // Listing may start a thread, so it comes after the lock.
        if let Some(group) = list {
            group.list();
        }
    }

    /// Notes that the thread goes on.
    pub(super) fn end_wait(&self) {
        // Invariant 3: the permit counts as held again, whether one is free or not.
        let list = self.change(|waits| waits.thread = None);
        debug_assert!(list.is_none(), "the permit is not given away here");
    }

    /// Counts an inner task that begins to wait for a task of `group`. Returns whether the caller
    /// has to list `group`.
    pub(super) fn add_waiter<G: LimitedGroup + 'static>(&self, group: &Arc<G>) -> bool {
        let list = self.change(|waits| {
            // Invariant 2: the caller holds the lock that the waiter is entered under.
            waits.group.get_or_insert_with(|| group.clone());
            waits.tasks += 1;
        });
        list.is_some()
    }

    /// Notes that the wait of an inner task is about to end.
    pub(super) fn owe(&self) {
        self.change(|waits| waits.owed += 1);
    }

    /// Takes an inner task off the count after its wait has ended.
    pub(super) fn remove_waiter(&self) {
        self.change(|waits| waits.tasks -= 1);
    }

    /// Takes an inner task off the counts that was owed the permit.
    pub(super) fn remove_owed_waiter(&self) {
        // In one step, since the state compares the two counts.
        self.change(|waits| {
            waits.tasks -= 1;
            waits.owed -= 1;
        });
    }
}

impl fmt::Debug for OuterPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OuterPermit")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
