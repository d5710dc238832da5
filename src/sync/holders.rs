//! Which task holds a lock, in builds with debug assertions.
//!
//! A task may run in place, on a thread whose own task holds the lock. It then waits as it would on a worker. So a holder is
//! a task on a thread, and not a thread alone.

use std::panic::Location;

use super::lock_queue::Access;
use crate::cancel::context::{self, Errand};
use crate::facade::PlainMutex;

/// The holders of a lock, how they hold it, and where they locked it.
#[derive(Debug)]
pub(super) struct Holders(PlainMutex<Vec<Holder>>);

#[derive(Debug)]
struct Holder {
    thread: usize,
    /// The innermost task of the thread when it locked.
    task: u64,
    access: Access,
    location: &'static Location<'static>,
}

impl Holders {
    pub(super) const fn new() -> Self {
        Holders(PlainMutex::new(Vec::new()))
    }

    /// This task has locked it.
    #[track_caller]
    pub(super) fn add(&self, access: Access) {
        let (thread, task) = (context::identity(), Errand::current());
        self.0.lock().push(Holder { thread, task, access, location: Location::caller() });
    }

    /// This thread is about to unlock what it had locked last.
    pub(super) fn remove(&self, access: Access) {
        // A guard that is kept in a local of the thread may be dropped in another task.
        let thread = context::identity();
        let mut holders = self.0.lock();
        if let Some(at) = holders.iter().rposition(|holder| holder.thread == thread && holder.access == access) {
            holders.remove(at);
        }
    }

    /// This task is about to wait.
    ///
    /// # Panics
    ///
    /// If it holds the lock in a way that `excludes` what it waits for: it would wait for itself.
    #[track_caller]
    pub(super) fn assert_not_this_task(&self, excludes: impl Fn(Access) -> bool) {
        let (thread, task) = (context::identity(), Errand::current());
        let holds = |holder: &&Holder| holder.thread == thread && holder.task == task && excludes(holder.access);
        let location = self.0.lock().iter().find(holds).map(|holder| holder.location);
        if let Some(location) = location {
            panic!("this thread holds the lock already: it locked it at {location}");
        }
    }
}
