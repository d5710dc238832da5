//! A lock that one thread holds at a time.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::MappedMutexGuard;
use super::guard::show_value;
use super::hold::{Hold, LockBase};
use super::lock_queue::LockMode;
use crate::cancel::Cancelled;
use crate::cancel::context;
use crate::facade::{DataGuard, DataMutex, const_fn};
use crate::waiting::{OnCancel, WaitKind};

/// A lock on a value, which one thread holds at a time.
///
/// There is no poisoning: a panic in the thread that holds the mutex unlocks it and leaves no mark.
///
/// A running thread may lock an unlocked mutex before waiting threads that are still waking up. No
/// thread is starved by that: at most every half millisecond an unlock hands the mutex to the
/// thread that has waited longest.
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
    base: LockBase,
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
    /// `None` while a condition variable waits.
    locked: Option<Locked<'a, T>>,
}

struct Locked<'a, T: ?Sized> {
    data: DataGuard<'a, T>,
    // Declared after the data, so that it is dropped after the unlock.
    hold: Hold<'a>,
}

impl<T> Mutex<T> {
    const_fn! {
        /// Creates an unlocked mutex.
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
            Mutex { base: LockBase::new(), data: DataMutex::new(value) }
        }
    }

    /// Returns the value.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::Mutex::new(3).into_inner(), 3);
    /// ```
    pub fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks the mutex, and blocks until that is possible.
    ///
    /// # Cancellation
    ///
    /// A blocking point. If it fails, the mutex was not locked.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// # Panics
    ///
    /// If this task holds the mutex already: it would wait for itself.
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
        // A cancelled scope fails even if the mutex is free.
        context::check()?;

        match self.try_lock() {
            Some(guard) => Ok(guard),
            None => self.lock_slowly(OnCancel::Return),
        }
    }

    /// Like [`lock`](Self::lock), but also locks in a cancelled scope.
    ///
    /// For clean-up that needs the value. Prefer [`shield_for`](crate::shield_for), which limits
    /// the wait.
    ///
    /// # Cancellation
    ///
    /// Not a blocking point: a cancel does not end the wait.
    ///
    /// # Panics
    ///
    /// Like [`lock`](Self::lock).
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
            None => match self.lock_slowly(OnCancel::Wait) {
                Ok(guard) => guard,
                Err(_) => unreachable!("the wait cannot be cancelled"),
            },
        }
    }

    /// Locks the mutex if no thread holds it and it is not kept for a waiting thread. Never blocks.
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
        // Invariant 5 of the queue: the mutex is free, but for the first waiter only.
        if self.base.queue.is_handed_over() {
            return None;
        }

        let data = self.data.try_lock()?;
        Some(self.locked(data))
    }

    #[cold]
    #[track_caller]
    fn lock_slowly(&self, on_cancel: OnCancel) -> Result<MutexGuard<'_, T>, Cancelled> {
        // Only a thread that has to wait is checked, so a free mutex costs nothing more.
        self.base.assert_not_this_task(|_| true);

        let data = self
            .base
            .queue
            .acquire(LockMode::Write, WaitKind::Mutex, on_cancel, || {
                self.data.try_lock()
            })?;
        Ok(self.locked(data))
    }

    #[inline]
    #[track_caller]
    fn locked<'a>(&'a self, data: DataGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard {
            mutex: self,
            locked: Some(Locked {
                data,
                hold: Hold::new(&self.base, LockMode::Write),
            }),
        }
    }

    /// Returns a mutable reference to the value. Never blocks: no other thread has a reference to
    /// the mutex.
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

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Makes a guard of a part of the value. The mutex stays locked until that guard is dropped.
    ///
    /// This is an associated function, so that it hides no method of the value. A condition
    /// variable waits with a guard of the whole value only.
    ///
    /// ```
    /// use taskgroup::sync::{Mutex, MutexGuard};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let pair = Mutex::new((1, "one"));
    /// let mut number = MutexGuard::map(pair.lock()?, |pair| &mut pair.0);
    /// *number += 1;
    /// drop(number);
    /// assert_eq!(pair.lock()?.0, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<U: ?Sized>(this: Self, f: impl FnOnce(&mut T) -> &mut U) -> MappedMutexGuard<'a, U> {
        let Locked { data, hold } = this.into_locked();
        MappedMutexGuard {
            data: DataGuard::map(data, f),
            hold,
        }
    }

    /// Makes a guard of a part of the value, if `f` finds that part.
    ///
    /// # Errors
    ///
    /// Fails if `f` returned `None`. The error is the guard.
    ///
    /// ```
    /// use taskgroup::sync::{Mutex, MutexGuard};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let words = Mutex::new(vec![String::from("one")]);
    /// let words = match MutexGuard::try_map(words.lock()?, |words| words.get_mut(1)) {
    ///     Ok(second) => panic!("there is a second word: {second}"),
    ///     Err(words) => words,
    /// };
    /// let first = MutexGuard::try_map(words, |words| words.first_mut());
    /// let mut first = first.expect("there is a word");
    /// first.push('!');
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_map<U: ?Sized>(
        this: Self,
        f: impl FnOnce(&mut T) -> Option<&mut U>,
    ) -> Result<MappedMutexGuard<'a, U>, Self> {
        // Kept for the guard that is given back if `f` finds no part.
        let mutex = this.mutex;
        let Locked { data, hold } = this.into_locked();
        match DataGuard::try_map(data, f) {
            Ok(data) => Ok(MappedMutexGuard { data, hold }),
            Err(data) => Err(MutexGuard {
                mutex,
                locked: Some(Locked { data, hold }),
            }),
        }
    }

    /// Takes the guard apart, which is locked.
    fn into_locked(self) -> Locked<'a, T> {
        match self.locked {
            Some(locked) => locked,
            None => unreachable!("a condition variable locks again before it returns"),
        }
    }

    /// Unlocks early. The value must not be used until the mutex is locked again.
    #[inline]
    pub(super) fn unlock(&mut self) {
        // Drops the data before the hold, like the drop of the guard.
        self.locked = None;
    }

    /// Locks after [`unlock`](Self::unlock), even in a cancelled scope.
    #[track_caller]
    pub(super) fn lock_again(&mut self) {
        // Not cancellable: a guard that returns from a wait without its lock would be of no use.
        self.locked = self.mutex.lock_uncancellable().locked;
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.locked {
            Some(locked) => &locked.data,
            None => unreachable!("a condition variable locks again before it returns"),
        }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.locked {
            Some(locked) => &mut locked.data,
            None => unreachable!("a condition variable locks again before it returns"),
        }
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
        out.field("waiting", &self.base.queue.len())
            .finish_non_exhaustive()
    }
}

show_value!(MutexGuard);
