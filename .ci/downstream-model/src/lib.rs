//! How many requests are in flight, and a wait until there are none: what a server needs that is to
//! be stopped.

#[cfg(loom)]
use loom::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::sync::{Condvar, Mutex};
use taskgroup::Cancelled;

/// A count of the requests in flight.
#[derive(Debug)]
pub struct InFlight {
    count: AtomicUsize,
    none: Condvar,
    lock: Mutex<()>,
}

impl InFlight {
    /// Begins with `count` requests.
    pub fn new(count: usize) -> Self {
        InFlight { count: AtomicUsize::new(count), none: Condvar::new(), lock: Mutex::new(()) }
    }

    /// A request has been answered.
    pub fn end(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            // A waiting thread has looked at the count, and holds the lock until it sleeps: without
            // the lock, the notification could come between the two.
            #[cfg(not(feature = "planted"))]
            let _locked = self.lock.lock_uncancellable();
            self.none.notify_all();
        }
    }

    /// Waits until all requests have been answered.
    pub fn wait_for_none(&self) -> Result<(), Cancelled> {
        let mut locked = self.lock.lock()?;
        while self.count.load(Ordering::Acquire) > 0 {
            self.none.wait(&mut locked)?;
        }
        Ok(())
    }
}
