//! Which tasks hold a lock, in builds with debug assertions.
//!
//! A task that waits for a lock that it holds waits for ever. In builds with debug assertions it
//! panics instead, and names the place where it locked.
//!
//! The owner of a lock is a task on a thread, not the thread alone: a task that runs in place can
//! share a thread with a task that holds the lock. It then waits like a task on a worker.
//!
//! A guard can be mapped, downgraded, and dropped in another task of its thread than the one that
//! locked. So a guard names its owner by a number.

use std::panic::Location;

use super::lock_queue::Access;
use crate::cancel::context::{self, Errand};
use crate::facade::PlainMutex;

/// The owners of a lock, how they hold it, and where they locked it.
#[derive(Debug)]
pub(super) struct LockOwners(PlainMutex<OwnerList>);

#[derive(Debug)]
struct OwnerList {
    next: u64,
    owners: Vec<LockOwner>,
}

#[derive(Debug)]
struct LockOwner {
    id: LockOwnerId,
    thread: usize,
    /// The innermost task of the thread when it locked.
    task: u64,
    access: Access,
    location: &'static Location<'static>,
}

/// The number of an owner, unique in its lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LockOwnerId(u64);

impl LockOwners {
    pub(super) const fn new() -> Self {
        LockOwners(PlainMutex::new(OwnerList {
            next: 0,
            owners: Vec::new(),
        }))
    }

    /// Adds this task, which has locked.
    #[track_caller]
    pub(super) fn add(&self, access: Access) -> LockOwnerId {
        // Read before the lock is taken, since these look into other state of the thread.
        let (thread, task, location) = (context::identity(), Errand::current(), Location::caller());

        let mut list = self.0.lock();
        let id = LockOwnerId(list.next);
        list.next += 1;
        list.owners.push(LockOwner {
            id,
            thread,
            task,
            access,
            location,
        });

        id
    }

    /// Turns an owner that writes into one that reads.
    pub(super) fn downgrade(&self, id: LockOwnerId) {
        let mut list = self.0.lock();
        if let Some(owner) = list.owners.iter_mut().find(|owner| owner.id == id) {
            owner.access = Access::Read;
        }
    }

    /// Removes an owner, which has unlocked.
    pub(super) fn remove(&self, id: LockOwnerId) {
        self.0.lock().owners.retain(|owner| owner.id != id);
    }

    /// Checks that this task, which is about to wait, does not wait for itself.
    ///
    /// # Panics
    ///
    /// If the task holds the lock in a way that `excludes` what it waits for.
    #[track_caller]
    pub(super) fn assert_not_this_task(&self, excludes: impl Fn(Access) -> bool) {
        let (thread, task) = (context::identity(), Errand::current());
        let is_this_task = |owner: &&LockOwner| {
            owner.thread == thread && owner.task == task && excludes(owner.access)
        };

        // Copied out, so that the panic does not happen under the lock.
        let list = self.0.lock();
        let location = list
            .owners
            .iter()
            .find(is_this_task)
            .map(|owner| owner.location);
        drop(list);

        if let Some(location) = location {
            panic!("this thread holds the lock already: it locked it at {location}");
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_owner_that_was_downgraded_reads() {
        let owners = LockOwners::new();
        let owner = owners.add(Access::Write);
        owners.downgrade(owner);
        owners.assert_not_this_task(|access| access == Access::Write);

        let reads = std::panic::AssertUnwindSafe(|| {
            owners.assert_not_this_task(|access| access == Access::Read)
        });
        assert!(std::panic::catch_unwind(reads).is_err());

        owners.remove(owner);
        owners.assert_not_this_task(|_| true);
    }
}
