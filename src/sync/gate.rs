//! Waiting for one thing that happens to all who wait at once.

use std::time::Instant;

use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{Mutex, const_fn, spin};
use crate::waiting::{Grant, WaitKind, WaitQueue, Waiter, Wakes};

/// Those who wait until something holds, which whoever makes it hold says by opening the gate.
///
/// What they wait for is looked at, and made to hold, under the lock of the gate: so none enters
/// the queue after the gate was opened for it.
pub(super) struct Gate(Mutex<WaitQueue<()>>);

impl Gate {
    const_fn! {
        pub(super) const fn new() -> Self {
            Gate(Mutex::new(WaitQueue::new()))
        }
    }

    /// Runs `f` under the lock.
    pub(super) fn with<T>(&self, f: impl FnOnce() -> T) -> T {
        let _queue = self.0.lock();
        f()
    }

    /// Makes it hold, with `make`, and lets all through.
    pub(super) fn open<T>(&self, make: impl FnOnce() -> T) -> T {
        let mut wakes = Wakes::default();
        let made = {
            let mut queue = self.0.lock();
            let made = make();
            queue.grant_all(Grant::Given, &mut wakes);
            made
        };
        wakes.wake();
        made
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Blocks until the gate is opened, or `holds_now`. The scope has been checked.
    #[cold]
    #[track_caller]
    pub(super) fn wait(
        &self,
        point: WaitKind,
        limit: Option<Instant>,
        mut holds_now: impl FnMut() -> bool,
    ) -> Result<Outcome, Cancelled> {
        if spin(&mut holds_now) {
            return Ok(Outcome::Ready);
        }
        let waiter = Waiter::new(context::slot());
        let place = {
            let mut queue = self.0.lock();
            // fault: gate-enters-unseeing
            if holds_now() {
                return Ok(Outcome::Ready);
            }
            queue.push(waiter.clone(), ())
        };
        match context::wait(point, limit, || waiter.is_granted()) {
            Ok(Outcome::Ready) => Ok(Outcome::Ready),
            ended => {
                let mut queue = self.0.lock();
                // fault: cancelled-gate-misses-its-grant
                if waiter.is_granted() {
                    return Ok(Outcome::Ready);
                }
                // fault: cancelled-waiter-stays-at-the-gate
                queue.remove(place);
                ended
            }
        }
    }
}
