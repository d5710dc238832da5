//! A lock that many readers or one writer hold.

use std::fmt;

use super::hold::LockBase;
use super::lock_queue::LockMode;
use super::{ReadGuard, WriteGuard};
use crate::cancel::Cancelled;
use crate::cancel::context;
use crate::facade::{DataReadGuard, DataRwLock, DataWriteGuard, const_fn};
use crate::waiting::{OnCancel, WaitKind};

/// A lock on a value, which many readers or one writer hold at a time.
///
/// No thread is starved. A reader that comes while a writer waits enters the queue behind the
/// writer. Now and then an unlock hands the lock over, like the unlock of a
/// [`Mutex`](super::Mutex), so that a thread that locks again at once does not keep others out.
///
/// So a thread that reads must not lock to read again: if a writer has come in between, each of the
/// two would wait for the other. Such a `read` panics.
///
/// There is no poisoning: a panic in a thread that holds the lock unlocks it and leaves no mark.
///
/// ```
/// use std::collections::HashMap;
/// use taskgroup::sync::RwLock;
///
/// # fn main() -> anyhow::Result<()> {
/// let table = RwLock::new(HashMap::new());
/// taskgroup::TaskGroup::scope(|g| {
///     g.spawn(|| {
///         table.write()?.insert("a", 1);
///         Ok(())
///     });
///     g.spawn(|| {
///         let _one = table.read()?.get("a").copied();
///         Ok(())
///     });
///     Ok(())
/// })?;
/// assert_eq!(table.read()?.get("a"), Some(&1));
/// # Ok(())
/// # }
/// ```
///
/// # Memory ordering
///
/// What happened before an unlock happens before every later lock, except between readers.
pub struct RwLock<T: ?Sized> {
    base: LockBase,
    data: DataRwLock<T>,
}

impl<T> RwLock<T> {
    const_fn! {
        /// Creates an unlocked lock.
        ///
        /// ```
        /// # fn main() -> Result<(), taskgroup::Cancelled> {
        /// use taskgroup::sync::RwLock;
        ///
        /// static LIMIT: RwLock<u32> = RwLock::new(8);
        /// assert_eq!(*LIMIT.read()?, 8);
        /// # Ok(())
        /// # }
        /// ```
        pub const fn new(value: T) -> Self {
            RwLock { base: LockBase::new(), data: DataRwLock::new(value) }
        }
    }

    /// Returns the value.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::RwLock::new(3).into_inner(), 3);
    /// ```
    pub fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks to read, and blocks until no thread writes and no writer that came before waits.
    ///
    /// # Cancellation
    ///
    /// A blocking point. If it fails, nothing was locked.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// # Panics
    ///
    /// If this task writes already, or if it reads already and a writer waits: it would wait for
    /// itself.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let lock = taskgroup::sync::RwLock::new("shared");
    /// assert_eq!(lock.read()?.len(), 6);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn read(&self) -> Result<ReadGuard<'_, T>, Cancelled> {
        context::check()?;

        // Unlike `try_read`, this does not go past a writer that waits.
        if !self.base.queue.bars(LockMode::Read) {
            if let Some(data) = self.data.try_read() {
                return Ok(self.reading(data));
            }
        }

        self.read_slowly(OnCancel::Return)
    }

    /// Locks to write, and blocks until no other thread holds the lock.
    ///
    /// # Cancellation
    ///
    /// A blocking point. If it fails, nothing was locked.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// # Panics
    ///
    /// If this task reads or writes already: it would wait for itself.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let lock = taskgroup::sync::RwLock::new(1);
    /// *lock.write()? += 1;
    /// assert_eq!(*lock.read()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn write(&self) -> Result<WriteGuard<'_, T>, Cancelled> {
        context::check()?;
        match self.try_write() {
            Some(guard) => Ok(guard),
            None => self.write_slowly(OnCancel::Return),
        }
    }

    /// Like [`read`](Self::read), but also locks in a cancelled scope.
    ///
    /// # Cancellation
    ///
    /// Not a blocking point: a cancel does not end the wait.
    ///
    /// # Panics
    ///
    /// Like [`read`](Self::read).
    ///
    /// ```
    /// assert_eq!(*taskgroup::sync::RwLock::new(1).read_uncancellable(), 1);
    /// ```
    #[inline]
    #[track_caller]
    pub fn read_uncancellable(&self) -> ReadGuard<'_, T> {
        if !self.base.queue.bars(LockMode::Read) {
            if let Some(data) = self.data.try_read() {
                return self.reading(data);
            }
        }

        match self.read_slowly(OnCancel::Wait) {
            Ok(guard) => guard,
            Err(_) => unreachable!("the wait cannot be cancelled"),
        }
    }

    /// Like [`write`](Self::write), but also locks in a cancelled scope.
    ///
    /// # Cancellation
    ///
    /// Not a blocking point: a cancel does not end the wait.
    ///
    /// # Panics
    ///
    /// Like [`write`](Self::write).
    ///
    /// ```
    /// let lock = taskgroup::sync::RwLock::new(1);
    /// *lock.write_uncancellable() += 1;
    /// assert_eq!(lock.into_inner(), 2);
    /// ```
    #[inline]
    #[track_caller]
    pub fn write_uncancellable(&self) -> WriteGuard<'_, T> {
        if let Some(guard) = self.try_write() {
            return guard;
        }

        match self.write_slowly(OnCancel::Wait) {
            Ok(guard) => guard,
            Err(_) => unreachable!("the wait cannot be cancelled"),
        }
    }

    #[cold]
    #[track_caller]
    fn read_slowly(&self, on_cancel: OnCancel) -> Result<ReadGuard<'_, T>, Cancelled> {
        // A thread may have a second guard to read, unless a writer has come in between.
        self.base
            .assert_not_this_task(|held| held == LockMode::Write || self.base.queue.has_writer());

        let data = self
            .base
            .queue
            .acquire(LockMode::Read, WaitKind::Read, on_cancel, || {
                self.data.try_read()
            })?;
        Ok(self.reading(data))
    }

    #[cold]
    #[track_caller]
    fn write_slowly(&self, on_cancel: OnCancel) -> Result<WriteGuard<'_, T>, Cancelled> {
        // A thread that writes waits for every guard, also for its own.
        self.base.assert_not_this_task(|_| true);

        let data = self
            .base
            .queue
            .acquire(LockMode::Write, WaitKind::Write, on_cancel, || {
                self.data.try_write()
            })?;
        Ok(self.writing(data))
    }

    /// Locks to read if no thread writes. Never blocks.
    ///
    /// It also locks while a writer waits, unless the lock is kept for that writer.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let lock = taskgroup::sync::RwLock::new(1);
    /// let writing = lock.write()?;
    /// assert!(lock.try_read().is_none());
    /// drop(writing);
    /// assert!(lock.try_read().is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        // A reader beside other readers does not take the lock from a waiting thread.
        if self.base.queue.is_handed_over() && !self.data.is_locked() {
            return None;
        }

        let data = self.data.try_read()?;
        Some(self.reading(data))
    }

    /// Locks to write if no thread holds the lock and it is not kept for a waiting thread. Never
    /// blocks.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let lock = taskgroup::sync::RwLock::new(1);
    /// let reading = lock.read()?;
    /// assert!(lock.try_write().is_none());
    /// drop(reading);
    /// assert!(lock.try_write().is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        // Invariant 5 of the queue: the lock is free, but for the first waiter only.
        if self.base.queue.is_handed_over() {
            return None;
        }

        let data = self.data.try_write()?;
        Some(self.writing(data))
    }

    #[inline]
    #[track_caller]
    fn reading<'a>(&'a self, data: DataReadGuard<'a, T>) -> ReadGuard<'a, T> {
        ReadGuard::new(data, &self.base)
    }

    #[inline]
    #[track_caller]
    fn writing<'a>(&'a self, data: DataWriteGuard<'a, T>) -> WriteGuard<'a, T> {
        WriteGuard::new(data, &self.base)
    }

    /// Returns a mutable reference to the value. Never blocks: no other thread has a reference to
    /// the lock.
    ///
    /// ```
    /// let mut lock = taskgroup::sync::RwLock::new(1);
    /// *lock.get_mut() = 2;
    /// assert_eq!(lock.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        match self.try_read() {
            Some(guard) => out.field("data", &&*guard),
            None => out.field("data", &format_args!("<locked>")),
        };
        out.field("waiting", &self.base.queue.len())
            .finish_non_exhaustive()
    }
}
