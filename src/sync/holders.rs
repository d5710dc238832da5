//! Who holds a lock, in builds with debug assertions.

use std::panic::Location;
use std::sync::Arc;

use super::lock_queue::Access;
use crate::cancel::context;
use crate::facade::PlainMutex;

/// The threads that hold a lock, how, and where they locked it.
#[derive(Debug)]
pub(super) struct Holders(PlainMutex<Vec<Holder>>);

#[derive(Debug)]
struct Holder {
    thread: usize,
    access: Access,
    location: &'static Location<'static>,
}

impl Holders {
    pub(super) const fn new() -> Self {
        Holders(PlainMutex::new(Vec::new()))
    }

    fn this_thread() -> usize {
        Arc::as_ptr(&context::slot()).addr()
    }

    /// This thread has locked it.
    #[track_caller]
    pub(super) fn add(&self, access: Access) {
        let holder = Holder { thread: Self::this_thread(), access, location: Location::caller() };
        self.0.lock().push(holder);
    }

    /// This thread is about to unlock what it had locked.
    pub(super) fn remove(&self, access: Access) {
        let thread = Self::this_thread();
        let mut holders = self.0.lock();
        if let Some(at) = holders.iter().rposition(|holder| holder.thread == thread && holder.access == access) {
            holders.remove(at);
        }
    }

    /// This thread is about to wait.
    ///
    /// # Panics
    ///
    /// If it holds the lock in a way that `excludes` what it waits for, which it would wait for until the end of time.
    #[track_caller]
    pub(super) fn assert_not_this_thread(&self, excludes: impl Fn(Access) -> bool) {
        let thread = Self::this_thread();
        let holds = |holder: &&Holder| holder.thread == thread && excludes(holder.access);
        let location = self.0.lock().iter().find(holds).map(|holder| holder.location);
        if let Some(location) = location {
            panic!("this thread holds the lock already: it locked it at {location}");
        }
    }
}
