//! The threads that wait for one condition, which becomes true for all of them at once.

use std::time::Instant;

use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{Mutex, const_fn, spin};
use crate::waiting::{Enqueued, Grant, WaitKind, WaitQueue, Wakes};

/// The threads that wait until a condition holds.
///
/// The condition is looked at under the lock of the set. It is changed under that lock, or before
/// the lock is taken to let the set go. So no thread enters the set after the condition became true
/// and the set was let go.
pub(super) struct WaitSet(Mutex<WaitQueue<()>>);

impl WaitSet {
    const_fn! {
        pub(super) const fn new() -> Self {
            WaitSet(Mutex::new(WaitQueue::new()))
        }
    }

    /// Runs `f` under the lock.
    pub(super) fn locked<T>(&self, f: impl FnOnce() -> T) -> T {
        let _queue = self.0.lock();
        f()
    }

    /// Makes the condition true with `make`, and lets all threads go on.
    pub(super) fn release<T>(&self, make: impl FnOnce() -> T) -> T {
        let mut wakes = Wakes::default();
        let made = {
            let mut queue = self.0.lock();
            // In one critical section: a thread that enters later finds the condition true.
            let made = make();
            queue.grant_all(Grant::Given, &mut wakes);
            made
        };

        wakes.wake();
        made
    }

    /// Returns the number of threads that wait.
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Blocks until the set is released, or `is_true`. The scope has been checked.
    #[cold]
    #[track_caller]
    pub(super) fn wait(
        &self,
        kind: WaitKind,
        limit: Option<Instant>,
        mut is_true: impl FnMut() -> bool,
    ) -> Result<Outcome, Cancelled> {
        if spin(&mut is_true) {
            return Ok(Outcome::Ready);
        }

        let entered = Enqueued::enter(&self.0, context::slot(), |queue, waiter, _| {
            // Looked at under the lock: the set may have been released since the spin.
            //
            // fault: wait-set-enters-unseeing
            if is_true() {
                return Err(Outcome::Ready);
            }

            Ok(queue.push(waiter.clone(), ()))
        });

        let entered = match entered {
            Ok(entered) => entered,
            Err(ready) => return Ok(ready),
        };

        let ended = context::wait(kind.on(entered.object()), limit, || entered.is_granted());
        let settled = entered.settle(ended, |queue, position, _| {
            queue.remove(position);
        });

        settled.map_or_else(|ended| ended, |_| Ok(Outcome::Ready))
    }
}
