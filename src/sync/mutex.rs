//! A lock for one at a time.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

#[cfg(debug_assertions)]
use super::holders::Holders;
use super::lock_queue::{Access, LockQueue, Wait};
use crate::cancel::context;
use crate::cancel::Cancelled;
use crate::facade::{const_fn, DataGuard, DataMutex};
use crate::waiting::Point;

/// A lock for one at a time, on a value.
///
/// There is no poisoning: a panic of whoever holds it unlocks it and leaves no mark. Who comes while it is unlocked gets it, also
/// before those that are still waking up, but not for ever: at most every half millisecond an unlock hands the mutex over to the
/// one that has waited longest.
///
/// ```
/// use taskgroup::sync::Mutex;
///
/// # fn main() -> anyhow::Result<()> {
/// static COUNT: Mutex<u32> = Mutex::new(0);
///
/// taskgroup::TaskGroup::scope(|g| {
///     for _ in 0..8 {
///         g.spawn(|| {
///             *COUNT.lock()? += 1;
///             Ok(())
///         });
///     }
///     Ok(())
/// })?;
/// assert_eq!(*COUNT.lock()?, 8);
/// # Ok(())
/// # }
/// ```
///
/// # Memory ordering
///
/// What happened before an unlock happens before every later lock.
pub struct Mutex<T: ?Sized> {
    queue: LockQueue,
    #[cfg(debug_assertions)]
    holders: Holders,
    data: DataMutex<T>,
}

/// The value of a locked [`Mutex`]. Dropping it unlocks.
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// let words = taskgroup::sync::Mutex::new(vec!["one"]);
/// let mut guard = words.lock()?;
/// guard.push("two");
/// drop(guard);
/// assert_eq!(words.lock()?.len(), 2);
/// # Ok(())
/// # }
/// ```
#[must_use = "the mutex is unlocked at once if the guard is not kept"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// None while a condition variable waits, and at the end.
    data: Option<DataGuard<'a, T>>,
    /// Not `Send`: a thread that locks twice is found by comparing threads.
    _stays: PhantomData<std::sync::MutexGuard<'a, ()>>,
}

impl<T> Mutex<T> {
    const_fn! {
        /// An unlocked mutex.
        ///
        /// ```
        /// # fn main() -> Result<(), taskgroup::Cancelled> {
        /// use taskgroup::sync::Mutex;
        ///
        /// static WORDS: Mutex<Vec<&str>> = Mutex::new(Vec::new());
        /// WORDS.lock()?.push("one");
        /// # Ok(())
        /// # }
        /// ```
        pub const fn new(value: T) -> Self {
            Mutex {
                queue: LockQueue::new(),
                #[cfg(debug_assertions)]
                holders: Holders::new(),
                data: DataMutex::new(value),
            }
        }
    }

    /// The value.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::Mutex::new(3).into_inner(), 3);
    /// ```
    pub fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks, waiting for it if need be.
    ///
    /// # Cancellation
    ///
    /// A blocking point. With `Err` the mutex has not been locked.
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
    ///
    /// # Panics
    ///
    /// If this thread holds the mutex already, in builds with debug assertions. In others it waits until it is cancelled.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let names = taskgroup::sync::Mutex::new(Vec::new());
    /// names.lock()?.push("first");
    /// assert_eq!(names.lock()?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, Cancelled> {
        context::check()?;
        match self.try_lock() {
            Some(guard) => Ok(guard),
            None => self.lock_slowly(Wait::Cancellable),
        }
    }

    /// Locks, whatever is cancelled: for clean-up that cannot do without. Prefer [`shield_for`](crate::shield_for), which
    /// ends some day.
    ///
    /// # Cancellation
    ///
    /// Not a blocking point: a cancel does not end the wait.
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
    ///
    /// ```
    /// use taskgroup::{CancelToken, sync::Mutex};
    ///
    /// let open = Mutex::new(1);
    /// let token = CancelToken::new();
    /// token.cancel();
    /// token.run(|| {
    ///     assert!(open.lock().is_err());
    ///     *open.lock_uncancellable() -= 1;
    /// });
    /// assert_eq!(open.into_inner(), 0);
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock_uncancellable(&self) -> MutexGuard<'_, T> {
        match self.try_lock() {
            Some(guard) => guard,
            None => match self.lock_slowly(Wait::Uncancellable) {
                Ok(guard) => guard,
                Err(_) => unreachable!("the wait cannot be cancelled"),
            },
        }
    }

    /// Locks if nobody holds it and it is not handed over to one that waits. Never blocks.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let mutex = taskgroup::sync::Mutex::new(0);
    /// let guard = mutex.lock()?;
    /// assert!(mutex.try_lock().is_none());
    /// drop(guard);
    /// assert!(mutex.try_lock().is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if self.queue.is_handed_over() {
            return None;
        }
        let data = self.data.try_lock()?;
        Some(self.locked(data))
    }

    #[cold]
    #[track_caller]
    fn lock_slowly(&self, wait: Wait) -> Result<MutexGuard<'_, T>, Cancelled> {
        #[cfg(debug_assertions)]
        self.holders.assert_not_this_task(|_| true);
        let data = self.queue.acquire(Access::Write, Point::Mutex, wait, || self.data.try_lock())?;
        Ok(self.locked(data))
    }

    #[inline]
    #[track_caller]
    fn locked<'a>(&'a self, data: DataGuard<'a, T>) -> MutexGuard<'a, T> {
        #[cfg(debug_assertions)]
        self.holders.add(Access::Write);
        context::lock_taken();
        MutexGuard { mutex: self, data: Some(data), _stays: PhantomData }
    }

    /// The value; nobody else has a reference to the mutex.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let mut mutex = taskgroup::sync::Mutex::new(1);
    /// *mutex.get_mut() = 2;
    /// assert_eq!(*mutex.lock()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

impl<T: ?Sized> MutexGuard<'_, T> {
    /// Unlocks early; nobody may look at the value until it is locked again.
    #[inline]
    pub(super) fn unlock(&mut self) {
        let Some(data) = self.data.take() else { return };
        #[cfg(debug_assertions)]
        self.mutex.holders.remove(Access::Write);
        context::lock_released();
        drop(data);
        self.mutex.queue.unlocked();
    }

    /// Locks after [`unlock`](Self::unlock), whatever is cancelled.
    #[track_caller]
    pub(super) fn lock_again(&mut self) {
        self.data = self.mutex.lock_uncancellable().data.take();
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.data {
            Some(data) => data,
            None => unreachable!("the guard is locked again before anybody sees it"),
        }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.data {
            Some(data) => data,
            None => unreachable!("the guard is locked again before anybody sees it"),
        }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.unlock();
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Mutex");
        match self.try_lock() {
            Some(guard) => out.field("data", &&*guard),
            None => out.field("data", &format_args!("<locked>")),
        };
        out.field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
