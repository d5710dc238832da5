//! A count of references that can grow, and a wait until the others are gone.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{AtomicUsize, Mutex, Ordering, spin};
use crate::waiting::{Grant, WaitKind, WaitQueue, Waiter, Wakes};

/// Lets threads wait for an amount of work that is not known beforehand and may grow.
///
/// Each piece of work has a clone of the wait group and drops it at its end. A wait ends when all
/// other references have been dropped, or wait as well. Unlike a [`Latch`](super::Latch), a wait
/// group can be used again.
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
// 1. `count` is the number of references without those that wait. It becomes zero only under the
//    lock of the queue, and then all waiters are granted and taken out in the same critical
//    section.
// 2. A reference that begins to wait leaves the count and enters the queue in one critical section,
//    so it is granted whenever the count becomes zero. Its own thread puts it back into the count
//    when the wait ends; for a wait that was cut short, in the critical section in which it leaves
//    the queue.
pub struct WaitGroup(Arc<Inner>);

struct Inner {
    count: AtomicUsize,
    queue: Mutex<WaitQueue<()>>,
}

impl WaitGroup {
    /// Makes a wait group with one reference: the one that is returned.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// taskgroup::sync::WaitGroup::new().wait()
    /// # }
    /// ```
    pub fn new() -> Self {
        WaitGroup(Arc::new(Inner {
            count: AtomicUsize::new(1),
            queue: Mutex::new(WaitQueue::new()),
        }))
    }

    /// Returns the number of references that are not waiting. Other threads may change it before it
    /// is read.
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

    /// Waits until all other references have been dropped, or wait as well.
    ///
    /// This reference does not count while it waits. It counts again afterwards, so the wait group
    /// can be used again.
    ///
    /// # Cancellation
    ///
    /// A blocking point. With `Err` this reference counts as before, and the wait can be repeated
    /// in a [`shield`](crate::shield).
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
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

    /// Like [`wait`](Self::wait), for at most `duration`: false if there are other references by
    /// then.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Self::wait). With `false`, too, this reference counts as before.
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
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
        let inner = &*self.0;
        let waiter = Waiter::new(context::slot());
        let mut wakes = Wakes::default();
        let place = {
            let mut queue = inner.queue.lock();
            if inner.leave(&mut queue, &mut wakes) {
                None
            } else {
                // Invariant 2.
                //
                // fault: wait-group-enters-after-it-leaves
                Some(queue.push(waiter.clone(), ()))
            }
        };
        wakes.wake();
        let Some(place) = place else {
            inner.add();
            return Ok(Outcome::Ready);
        };

        spin(|| waiter.is_granted());
        let ended = context::wait(WaitKind::WaitGroup, limit(), || waiter.is_granted());
        if !matches!(ended, Ok(Outcome::Ready)) {
            let mut queue = inner.queue.lock();
            // fault: cancelled-wait-group-misses-its-grant
            if !waiter.is_granted() {
                queue.remove(place);
                // Invariant 2.
                inner.add();
                return ended;
            }
        }
        inner.add();
        Ok(Outcome::Ready)
    }
}

impl Inner {
    fn add(&self) {
        // Relaxed: a reference or a wait that has just ended orders it; and to count up goes on
        // with the releases before it.
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a reference out of the count, if it is not the last one.
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

    /// Takes a reference out of the count. If that was the last one, grants all waiters and returns
    /// true.
    fn leave(&self, queue: &mut WaitQueue<()>, wakes: &mut Wakes) -> bool {
        // Invariant 1. Acquire pairs with the releases here and in `leave_quickly`, for this thread
        // and, by way of their grants, for those that wait.
        let was_last = self.count.fetch_sub(1, Ordering::AcqRel) == 1;
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
