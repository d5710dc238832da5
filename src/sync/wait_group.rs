//! A count of references that can grow, and a wait until the other references are gone.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{AtomicUsize, Mutex, Ordering, spin};
use crate::waiting::{Enqueued, Grant, WaitKind, WaitQueue, Wakes};

/// Lets threads wait for an amount of work that is not known beforehand and may grow.
///
/// Each piece of work has a clone of the wait group and drops it at its end. A wait ends when all
/// other references have been dropped or wait as well. Unlike a [`Latch`](super::Latch), a wait
/// group can be used again.
///
/// A reference that is dropped says nothing about the success of its task. But in a scope that is
/// cancelled, a wait returns the cancel. So give a task its reference with
/// [`TaskBuilder::with`](crate::TaskBuilder::with): if the task fails, the group is cancelled before
/// the reference is dropped, and a wait in that group does not take the work for done. The closure
/// of a plain `spawn` drops what it owns before anybody knows that it failed.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use taskgroup::sync::WaitGroup;
///
/// # fn main() -> anyhow::Result<()> {
/// let indexed = AtomicU32::new(0);
/// taskgroup::TaskGroup::scope(|g| {
///     let pending = WaitGroup::new();
///     for _folder in 0..3 {
///         let (piece, indexed) = (pending.clone(), &indexed);
///         g.spawn(move || {
///             // The group grows: this task has found two files.
///             for _file in 0..2 {
///                 let piece = piece.clone();
///                 g.spawn(move || {
///                     indexed.fetch_add(1, Ordering::Relaxed);
///                     drop(piece);
///                     Ok(())
///                 });
///             }
///             Ok(())
///         });
///     }
///     pending.wait()?;
///     assert_eq!(indexed.load(Ordering::Relaxed), 6);
///     Ok(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// # Memory ordering
///
/// What happened before the drop of each other reference happens before the return of every wait
/// that was not cancelled.
//
// 1. `count` is the number of references that do not wait. It becomes zero only under the lock of
//    the queue, and all waiters are granted and taken out in that critical section.
// 2. A reference that begins to wait leaves the count and enters the queue in one critical section,
//    so it is granted whenever the count becomes zero. Its own thread puts it back into the count
//    when the wait ends. If the wait was cut short, it does so in the critical section in which it
//    leaves the queue.
pub struct WaitGroup(Arc<WaitGroupState>);

struct WaitGroupState {
    count: AtomicUsize,
    queue: Mutex<WaitQueue<()>>,
}

impl WaitGroup {
    /// Creates a wait group with one reference, which is returned.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// taskgroup::sync::WaitGroup::new().wait()
    /// # }
    /// ```
    pub fn new() -> Self {
        WaitGroup(Arc::new(WaitGroupState {
            count: AtomicUsize::new(1),
            queue: Mutex::new(WaitQueue::new()),
        }))
    }

    /// Returns the number of references that do not wait. Other threads may change it before the
    /// answer is read.
    ///
    /// ```
    /// let pending = taskgroup::sync::WaitGroup::new();
    /// let piece = pending.clone();
    /// assert_eq!(pending.count(), 2);
    /// drop(piece);
    /// assert_eq!(pending.count(), 1);
    /// ```
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Blocks until all other references have been dropped or wait as well.
    ///
    /// This reference does not count while it waits. It counts again afterwards, so the wait group
    /// can be used again.
    ///
    /// # Cancellation
    ///
    /// A blocking point. The cancel wins if it comes together with the end of the wait. If the wait
    /// fails, this reference counts as before, and the wait can be repeated in a
    /// [`shield`](crate::shield).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// use taskgroup::sync::WaitGroup;
    ///
    /// # fn main() -> anyhow::Result<()> {
    /// let pending = WaitGroup::new();
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let piece = pending.clone();
    ///     g.spawn(move || {
    ///         drop(piece);
    ///         Ok(())
    ///     });
    ///     Ok(pending.wait()?)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<(), Cancelled> {
        self.wait_limited(|| None).map(drop)
    }

    /// Like [`wait`](Self::wait), but blocks for at most `duration`. Returns `false` if there are
    /// other references by then.
    ///
    /// # Cancellation
    ///
    /// Like [`wait`](Self::wait). If it returns `false`, this reference counts as before, too.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let pending = taskgroup::sync::WaitGroup::new();
    /// let piece = pending.clone();
    /// assert!(!pending.wait_timeout(Duration::from_millis(1))?);
    /// drop(piece);
    /// assert!(pending.wait_timeout(Duration::from_millis(1))?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, duration: Duration) -> Result<bool, Cancelled> {
        Ok(self.wait_limited(|| Instant::now().checked_add(duration))? == Outcome::Ready)
    }

    #[track_caller]
    fn wait_limited(&self, limit: impl FnOnce() -> Option<Instant>) -> Result<Outcome, Cancelled> {
        context::check()?;
        let ended = self.wait_for_the_others(limit)?;

        // A task that a cancel has reached drops its reference, and a task that was given one with
        // `TaskBuilder::with` drops it after its failure has cancelled the group. The work is not
        // done then, and the cancel is on its way here.
        //
        // fault: wait-group-believes-the-drops
        context::check_ancestors()?;
        Ok(ended)
    }

    #[track_caller]
    fn wait_for_the_others(
        &self,
        limit: impl FnOnce() -> Option<Instant>,
    ) -> Result<Outcome, Cancelled> {
        let state = &*self.0;

        // fault: wait-group-enters-after-it-leaves
        let entered = state.enter();
        let entered = match entered {
            Ok(entered) => entered,
            // Invariant 2: this thread puts its reference back into the count.
            Err(ready) => {
                state.add();
                return Ok(ready);
            }
        };

        // The time of the spin counts.
        let limit = limit();
        spin(|| entered.is_granted());
        let ended = context::wait(WaitKind::WaitGroup.on(entered.object()), limit, || {
            entered.is_granted()
        });
        let settled = entered.settle(ended, |queue, position, _| {
            queue.remove(position);
            // Invariant 2: the reference counts again in the critical section in which it leaves.
            state.add();
        });

        settled.map_or_else(
            |ended| ended,
            |_| {
                state.add();
                Ok(Outcome::Ready)
            },
        )
    }
}

impl WaitGroupState {
    /// Takes the reference of this thread out of the count and puts a waiter into the queue. If it
    /// was the last reference, returns that the wait is over instead.
    fn enter(&self) -> Result<Enqueued<'_, WaitQueue<()>>, Outcome> {
        Enqueued::enter(&self.queue, context::slot(), |queue, waiter, wakes| {
            // Invariant 2: the reference leaves the count in the critical section of the entry.
            if self.leave(queue, wakes) {
                return Err(Outcome::Ready);
            }

            Ok(queue.push(waiter.clone(), ()))
        })
    }

    /// Counts one more reference.
    fn add(&self) {
        // Relaxed: a reference, or a wait that has just ended, orders it. It is a
        // read-modify-write, so it continues the releases before it.
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a reference out of the count, unless it is the last one. Returns whether it did.
    fn leave_quickly(&self) -> bool {
        let mut count = self.count.load(Ordering::Relaxed);
        while count > 1 {
            // Release pairs with the acquire in `leave`.
            match self.count.compare_exchange_weak(
                count,
                count - 1,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }

        false
    }

    /// Takes a reference out of the count. If it was the last one, grants all waiters and returns
    /// `true`.
    fn leave(&self, queue: &mut WaitQueue<()>, wakes: &mut Wakes) -> bool {
        // Invariant 1: the count becomes zero under the lock of the queue. Acquire pairs with the
        // release in `leave_quickly`, for this thread and for the waiters, which read their grants.
        // No release: the lock of the queue, which each caller holds, orders this call with later
        // ones.
        let was_last = self.count.fetch_sub(1, Ordering::Acquire) == 1;
        if was_last {
            queue.grant_all(Grant::Given, wakes);
        }
        was_last
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> Self {
        self.0.add();
        WaitGroup(self.0.clone())
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        if self.0.leave_quickly() {
            return;
        }

        let mut wakes = Wakes::default();
        self.0.leave(&mut self.0.queue.lock(), &mut wakes);
        wakes.wake();
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup")
            .field("count", &self.count())
            .field("waiting", &self.0.queue.lock().len())
            .finish()
    }
}
