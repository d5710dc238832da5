//! Waiting for a condition on data that a mutex protects.

use std::convert::Infallible;
use std::fmt;
use std::time::{Duration, Instant};

use super::MutexGuard;
use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{AtomicUsize, Mutex, Ordering, const_fn, spin};
use crate::waiting::{Enqueued, Grant, WaitKind, WaitQueue, Wakes};

/// Lets threads wait for a condition on data that a [`Mutex`](super::Mutex) protects.
///
/// ```
/// use taskgroup::sync::{Condvar, Mutex};
///
/// # fn main() -> anyhow::Result<()> {
/// let (jobs, added) = (Mutex::new(Vec::new()), Condvar::new());
/// let job = taskgroup::TaskGroup::scope(|g| {
///     g.spawn(|| {
///         jobs.lock()?.push("compile");
///         added.notify_one();
///         Ok(())
///     });
///     let mut jobs = jobs.lock()?;
///     added.wait_while(&mut jobs, |jobs| jobs.is_empty())?;
///     Ok(jobs.remove(0))
/// })?;
/// assert_eq!(job, "compile");
/// # Ok(())
/// # }
/// ```
///
/// A wait returns only after a notification, a cancel or its time limit: there are no spurious
/// wake-ups. But the condition may be false again by the time the mutex is locked again. So a wait
/// for a condition is a loop: [`wait_while`](Self::wait_while).
///
/// # Cancellation
///
/// The mutex is locked when a wait returns, even with `Err`: a cancel does not end the wait for the
/// mutex. No notification is lost: a waiter that was notified while it was being cancelled returns
/// `Ok`, and a waiter that returns `Err` has consumed no notification.
pub struct Condvar {
    /// The number of waiting threads. Written under the lock of the queue.
    waiting: AtomicUsize,
    queue: Mutex<WaitQueue<()>>,
}

impl Condvar {
    const_fn! {
        /// Creates a condition variable that no thread waits for.
        ///
        /// ```
        /// use taskgroup::sync::Condvar;
        ///
        /// static CHANGED: Condvar = Condvar::new();
        /// CHANGED.notify_all();
        /// ```
        pub const fn new() -> Self {
            Condvar { waiting: AtomicUsize::new(0), queue: Mutex::new(WaitQueue::new()) }
        }
    }

    /// Unlocks the mutex, blocks until there is a notification, and locks the mutex again.
    ///
    /// # Cancellation
    ///
    /// A blocking point. In a cancelled scope it fails at once and does not unlock the mutex.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// use taskgroup::sync::{Condvar, Mutex};
    ///
    /// # fn main() -> anyhow::Result<()> {
    /// let (open, changed) = (Mutex::new(false), Condvar::new());
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.spawn(|| {
    ///         *open.lock()? = true;
    ///         changed.notify_all();
    ///         Ok(())
    ///     });
    ///     let mut guard = open.lock()?;
    ///     while !*guard {
    ///         changed.wait(&mut guard)?;
    ///     }
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) -> Result<(), Cancelled> {
        self.wait_limited(guard, None).map(drop)
    }

    /// Blocks as long as `condition` returns `true`.
    ///
    /// # Cancellation
    ///
    /// A blocking point, even if the condition is `false` at once.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # use taskgroup::sync::{Condvar, Mutex};
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let (left, changed) = (Mutex::new(0), Condvar::new());
    /// changed.wait_while(&mut left.lock()?, |left| *left > 0)
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<(), Cancelled> {
        context::check()?;
        while condition(guard) {
            self.wait_limited(guard, None)?;
        }
        Ok(())
    }

    /// Like [`wait`](Self::wait), but blocks for at most `duration`. Returns whether there was a
    /// notification.
    ///
    /// # Cancellation
    ///
    /// Like [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # use taskgroup::sync::{Condvar, Mutex};
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// use std::time::Duration;
    /// let mutex = Mutex::new(());
    /// assert!(!Condvar::new().wait_timeout(&mut mutex.lock()?, Duration::from_millis(1))?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_timeout<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        duration: Duration,
    ) -> Result<bool, Cancelled> {
        Ok(self.wait_limited(guard, Instant::now().checked_add(duration))? == Outcome::Ready)
    }

    /// Like [`wait`](Self::wait), but blocks until `deadline` at the latest. Returns whether there
    /// was a notification.
    ///
    /// # Cancellation
    ///
    /// Like [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # use taskgroup::sync::{Condvar, Mutex};
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// use std::time::Instant;
    /// let mutex = Mutex::new(());
    /// assert!(!Condvar::new().wait_until(&mut mutex.lock()?, Instant::now())?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Instant,
    ) -> Result<bool, Cancelled> {
        Ok(self.wait_limited(guard, Some(deadline))? == Outcome::Ready)
    }

    /// Like [`wait_while`](Self::wait_while), but blocks for at most `duration`. Returns `false` if
    /// the condition is still `true` by then.
    ///
    /// # Cancellation
    ///
    /// Like [`wait_while`](Self::wait_while).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # use taskgroup::sync::{Condvar, Mutex};
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// use std::time::Duration;
    /// let left = Mutex::new(1);
    /// let (mut left, limit) = (left.lock()?, Duration::from_millis(1));
    /// assert!(!Condvar::new().wait_while_timeout(&mut left, |left| *left > 0, limit)?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_while_timeout<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
        duration: Duration,
    ) -> Result<bool, Cancelled> {
        self.wait_while_limited(guard, &mut condition, Instant::now().checked_add(duration))
    }

    /// Like [`wait_while`](Self::wait_while), but blocks until `deadline` at the latest. Returns
    /// `false` if the condition is still `true` by then.
    ///
    /// # Cancellation
    ///
    /// Like [`wait_while`](Self::wait_while).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # use taskgroup::sync::{Condvar, Mutex};
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// use std::time::Instant;
    /// let left = Mutex::new(1);
    /// let (mut left, now) = (left.lock()?, Instant::now());
    /// assert!(!Condvar::new().wait_while_until(&mut left, |left| *left > 0, now)?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_while_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
        deadline: Instant,
    ) -> Result<bool, Cancelled> {
        self.wait_while_limited(guard, &mut condition, Some(deadline))
    }

    #[track_caller]
    fn wait_while_limited<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        condition: &mut dyn FnMut(&mut T) -> bool,
        limit: Option<Instant>,
    ) -> Result<bool, Cancelled> {
        context::check()?;
        while condition(guard) {
            if self.wait_limited(guard, limit)? == Outcome::TimedOut {
                return Ok(!condition(guard));
            }
        }
        Ok(true)
    }

    #[track_caller]
    fn wait_limited<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        limit: Option<Instant>,
    ) -> Result<Outcome, Cancelled> {
        context::check()?;
        let enter = || {
            let Ok(entered) =
                Enqueued::enter::<Infallible>(&self.queue, context::slot(), |queue, waiter, _| {
                    let position = queue.push(waiter.clone(), ());
                    // Relaxed: a thread that changes the data locks the mutex after this thread has
                    // unlocked it.
                    self.waiting.store(queue.len(), Ordering::Relaxed);
                    Ok(position)
                });
            entered
        };

        // Before the unlock: a notification that comes right after it must find the waiter.
        //
        // fault: condvar-enters-after-the-unlock
        let entered = enter();
        guard.unlock();

        spin(|| entered.is_granted());
        let ended = context::wait(WaitKind::Condvar.on(entered.object()), limit, || {
            entered.is_granted()
        });
        let settled = entered.settle(ended, |queue, position, _| {
            queue.remove(position);
            self.waiting.store(queue.len(), Ordering::Relaxed);
        });

        guard.lock_again();
        settled.map_or_else(|ended| ended, |_| Ok(Outcome::Ready))
    }

    /// Wakes the thread that has waited longest. Returns whether a thread was woken.
    ///
    /// The wait of that thread returns `Ok`, even if the thread is being cancelled. So `true` means
    /// that the notification was received, and `false` that no thread waited.
    ///
    /// ```
    /// assert!(!taskgroup::sync::Condvar::new().notify_one());
    /// ```
    #[inline]
    pub fn notify_one(&self) -> bool {
        // Relaxed: see `wait_limited`.
        self.waiting.load(Ordering::Relaxed) != 0 && self.notify(1) != 0
    }

    /// Wakes all waiting threads. Returns how many were woken.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::Condvar::new().notify_all(), 0);
    /// ```
    #[inline]
    pub fn notify_all(&self) -> usize {
        // Relaxed: see `wait_limited`.
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return 0;
        }

        self.notify(usize::MAX)
    }

    #[cold]
    fn notify(&self, most: usize) -> usize {
        let mut wakes = Wakes::default();
        let mut notified = 0;
        {
            let mut queue = self.queue.lock();
            while notified < most {
                let Some((waiter, ())) = queue.pop() else {
                    break;
                };
                wakes.grant(waiter, Grant::Given);
                notified += 1;
            }

            // Under the lock, so that the count is the length of the queue.
            self.waiting.store(queue.len(), Ordering::Relaxed);
        }

        wakes.wake();
        notified
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar")
            .field("waiting", &self.waiting.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
