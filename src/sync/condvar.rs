//! Waiting until something holds of what a mutex protects.

use std::fmt;
use std::time::{Duration, Instant};

use super::MutexGuard;
use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{AtomicUsize, Mutex, Ordering, const_fn, spin};
use crate::waiting::{Grant, WaitKind, WaitQueue, Waiter, Wakes};

/// Waits until something holds of what a [`Mutex`](super::Mutex) protects.
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
/// A wait does not return without a notification, a cancel or, where it has one, its time limit;
/// but what was notified may be over by the time the mutex is locked again, so that waiting for a
/// condition is a loop: [`wait_while`](Self::wait_while).
///
/// # Cancellation
///
/// The mutex is locked whenever a wait returns, also with `Err`: locking it again is not
/// cancellable. A notification is not lost: a waiter that was notified while it was being cancelled
/// returns `Ok`, and one that returns `Err` has consumed none.
pub struct Condvar {
    /// How many wait. Written under the lock of the queue.
    waiting: AtomicUsize,
    queue: Mutex<WaitQueue<()>>,
}

impl Condvar {
    const_fn! {
        /// A condition variable that nobody waits for.
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

    /// Unlocks, waits for a notification and locks again.
    ///
    /// # Cancellation
    ///
    /// A blocking point. In a cancelled scope it fails at once, and the mutex stays locked
    /// throughout.
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
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

    /// Waits for as long as `condition` holds.
    ///
    /// # Cancellation
    ///
    /// A blocking point, also where the condition does not hold.
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
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

    /// As [`wait`](Self::wait), for at most `duration`: false if there was no notification by then.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
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

    /// Like [`wait`](Self::wait), until `deadline` at the latest: false if there was no
    /// notification by then.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
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

    /// As [`wait_while`](Self::wait_while), for at most `duration`: false if the condition still
    /// holds by then.
    ///
    /// # Cancellation
    ///
    /// As [`wait_while`](Self::wait_while).
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
    ///
    /// ```
    /// # use taskgroup::sync::{Condvar, Mutex};
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// use std::time::Duration;
    /// let left = Mutex::new(1);
    /// let ended = Condvar::new().wait_while_timeout(&mut left.lock()?, |left| *left > 0, Duration::from_millis(1))?;
    /// assert!(!ended);
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

    /// Like [`wait_while`](Self::wait_while), until `deadline` at the latest: false if the
    /// condition still holds by then.
    ///
    /// # Cancellation
    ///
    /// As [`wait_while`](Self::wait_while).
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
    ///
    /// ```
    /// # use taskgroup::sync::{Condvar, Mutex};
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// use std::time::Instant;
    /// let left = Mutex::new(1);
    /// let ended = Condvar::new().wait_while_until(&mut left.lock()?, |left| *left > 0, Instant::now())?;
    /// assert!(!ended);
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
        let waiter = Waiter::new(context::slot());
        let enter = || {
            let mut queue = self.queue.lock();
            let place = queue.push(waiter.clone(), ());
            // Relaxed: whoever changes what the mutex protects locks it after this thread has
            // unlocked it.
            self.waiting.store(queue.len(), Ordering::Relaxed);
            place
        };
        // Before the unlock, or a notification that comes between the two is lost.
        //
        // fault: condvar-enters-after-the-unlock
        let place = enter();
        guard.unlock();
        spin(|| waiter.is_granted());
        let mut ended = context::wait(WaitKind::Condvar, limit, || waiter.is_granted());
        if !matches!(ended, Ok(Outcome::Ready)) {
            let mut queue = self.queue.lock();
            if !waiter.is_granted() {
                // fault: cancelled-waiter-stays-at-the-condvar
                queue.remove(place);
                self.waiting.store(queue.len(), Ordering::Relaxed);
            } else {
                // fault: cancelled-waiter-eats-a-notification
                ended = Ok(Outcome::Ready);
            }
        }
        guard.lock_again();
        ended
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

    /// Wakes all threads that wait. Returns how many threads were woken.
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
