//! Which task holds a lock, in builds with debug assertions.
//!
//! A task may run in place, on a thread whose own task holds the lock. It then waits as it would on
//! a worker. So a holder is a task on a thread, and not a thread alone.
//!
//! A guard may be mapped, downgraded, and dropped in another task of its thread than the one that
//! locked. So it names its holder by a number.

use std::panic::Location;

use super::lock_queue::Access;
use crate::cancel::context::{self, Errand};
use crate::facade::PlainMutex;

/// The holders of a lock, how they hold it, and where they locked it.
#[derive(Debug)]
pub(super) struct Holders(PlainMutex<Inner>);

#[derive(Debug)]
struct Inner {
    next: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    holder: Holder,
    thread: usize,
    /// The innermost task of the thread when it locked.
    task: u64,
    access: Access,
    location: &'static Location<'static>,
}

/// The number of a holder, unique in its lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Holder(u64);

impl Holders {
    pub(super) const fn new() -> Self {
        Holders(PlainMutex::new(Inner {
            next: 0,
            entries: Vec::new(),
        }))
    }

    /// This task has locked it.
    #[track_caller]
    pub(super) fn add(&self, access: Access) -> Holder {
        let (thread, task, location) = (context::identity(), Errand::current(), Location::caller());
        let mut inner = self.0.lock();
        let holder = Holder(inner.next);
        inner.next += 1;
        inner.entries.push(Entry {
            holder,
            thread,
            task,
            access,
            location,
        });
        holder
    }

    /// The holder, which wrote, now reads.
    pub(super) fn downgrade(&self, holder: Holder) {
        if let Some(entry) = self
            .0
            .lock()
            .entries
            .iter_mut()
            .find(|entry| entry.holder == holder)
        {
            entry.access = Access::Read;
        }
    }

    /// The holder has unlocked it.
    pub(super) fn remove(&self, holder: Holder) {
        self.0.lock().entries.retain(|entry| entry.holder != holder);
    }

    /// This task is about to wait.
    ///
    /// # Panics
    ///
    /// If it holds the lock in a way that `excludes` what it waits for: it would wait for itself.
    #[track_caller]
    pub(super) fn assert_not_this_task(&self, excludes: impl Fn(Access) -> bool) {
        let (thread, task) = (context::identity(), Errand::current());
        let holds =
            |entry: &&Entry| entry.thread == thread && entry.task == task && excludes(entry.access);
        let location = self
            .0
            .lock()
            .entries
            .iter()
            .find(holds)
            .map(|entry| entry.location);
        if let Some(location) = location {
            panic!("this thread holds the lock already: it locked it at {location}");
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_was_downgraded_reads() {
        let holders = Holders::new();
        let holder = holders.add(Access::Write);
        holders.downgrade(holder);
        holders.assert_not_this_task(|access| access == Access::Write);
        let reads = std::panic::AssertUnwindSafe(|| {
            holders.assert_not_this_task(|access| access == Access::Read)
        });
        assert!(std::panic::catch_unwind(reads).is_err());
        holders.remove(holder);
        holders.assert_not_this_task(|_| true);
    }
}
