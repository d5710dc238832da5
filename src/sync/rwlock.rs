//! A lock for many that read or one that writes.

use std::fmt;

use super::hold::Core;
use super::lock_queue::{Access, Wait};
use super::{ReadGuard, WriteGuard};
use crate::cancel::Cancelled;
use crate::cancel::context;
use crate::facade::{DataReadGuard, DataRwLock, DataWriteGuard, const_fn};
use crate::waiting::WaitKind;

/// A lock for many that read or one that writes.
///
/// Readers that come while a writer waits stand behind it, so writers are not starved. Nor are
/// those who wait beside a thread that locks again at once: as with a [`Mutex`](super::Mutex), an
/// unlock hands the lock over now and then. A thread that reads must therefore not ask to read
/// again: a writer may have come in between, and then both wait for ever. A panic of whoever holds
/// the lock unlocks it and leaves no mark.
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
    core: Core,
    data: DataRwLock<T>,
}

impl<T> RwLock<T> {
    const_fn! {
        /// An unlocked lock.
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
            RwLock { core: Core::new(), data: DataRwLock::new(value) }
        }
    }

    /// The value.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::RwLock::new(3).into_inner(), 3);
    /// ```
    pub fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks to read, waiting for those that write and for writers that came before.
    ///
    /// # Cancellation
    ///
    /// A blocking point. With `Err` nothing has been locked.
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
    ///
    /// # Panics
    ///
    /// If this thread writes already, or reads already and a writer waits, in builds with debug
    /// assertions. In others it waits until it or that writer is cancelled.
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
        if !self.core.queue.bars(Access::Read) {
            if let Some(data) = self.data.try_read() {
                return Ok(self.reading(data));
            }
        }
        self.read_slowly(Wait::Cancellable)
    }

    /// Locks to write, waiting for all that hold it.
    ///
    /// # Cancellation
    ///
    /// A blocking point. With `Err` nothing has been locked.
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
    ///
    /// # Panics
    ///
    /// If this thread reads or writes already, in builds with debug assertions. In others it waits
    /// until it is cancelled.
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
            None => self.write_slowly(Wait::Cancellable),
        }
    }

    /// As [`read`](Self::read), whatever is cancelled.
    ///
    /// # Cancellation
    ///
    /// Not a blocking point: a cancel does not end the wait.
    ///
    /// # Panics
    ///
    /// As [`read`](Self::read).
    ///
    /// ```
    /// assert_eq!(*taskgroup::sync::RwLock::new(1).read_uncancellable(), 1);
    /// ```
    #[inline]
    #[track_caller]
    pub fn read_uncancellable(&self) -> ReadGuard<'_, T> {
        if !self.core.queue.bars(Access::Read) {
            if let Some(data) = self.data.try_read() {
                return self.reading(data);
            }
        }
        match self.read_slowly(Wait::Uncancellable) {
            Ok(guard) => guard,
            Err(_) => unreachable!("the wait cannot be cancelled"),
        }
    }

    /// As [`write`](Self::write), whatever is cancelled.
    ///
    /// # Cancellation
    ///
    /// Not a blocking point: a cancel does not end the wait.
    ///
    /// # Panics
    ///
    /// As [`write`](Self::write).
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
        match self.write_slowly(Wait::Uncancellable) {
            Ok(guard) => guard,
            Err(_) => unreachable!("the wait cannot be cancelled"),
        }
    }

    #[cold]
    #[track_caller]
    fn read_slowly(&self, wait: Wait) -> Result<ReadGuard<'_, T>, Cancelled> {
        // A second guard to read is had beside the first, unless a writer has come in between.
        self.core
            .assert_not_this_task(|held| held == Access::Write || self.core.queue.has_writer());
        let data = self
            .core
            .queue
            .acquire(Access::Read, WaitKind::Read, wait, || self.data.try_read())?;
        Ok(self.reading(data))
    }

    #[cold]
    #[track_caller]
    fn write_slowly(&self, wait: Wait) -> Result<WriteGuard<'_, T>, Cancelled> {
        self.core.assert_not_this_task(|_| true);
        let data = self
            .core
            .queue
            .acquire(Access::Write, WaitKind::Write, wait, || {
                self.data.try_write()
            })?;
        Ok(self.writing(data))
    }

    /// Locks to read if nobody writes, also where a writer waits, unless the lock is handed over to
    /// it. Never blocks.
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
        // Who reads beside others takes the lock from nobody that waits for it.
        if self.core.queue.is_handed_over() && !self.data.is_locked() {
            return None;
        }
        let data = self.data.try_read()?;
        Some(self.reading(data))
    }

    /// Locks to write if nobody holds it and it is not handed over to one that waits. Never blocks.
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
        if self.core.queue.is_handed_over() {
            return None;
        }
        let data = self.data.try_write()?;
        Some(self.writing(data))
    }

    #[inline]
    #[track_caller]
    fn reading<'a>(&'a self, data: DataReadGuard<'a, T>) -> ReadGuard<'a, T> {
        ReadGuard::new(data, &self.core)
    }

    #[inline]
    #[track_caller]
    fn writing<'a>(&'a self, data: DataWriteGuard<'a, T>) -> WriteGuard<'a, T> {
        WriteGuard::new(data, &self.core)
    }

    /// The value; nobody else has a reference to the lock.
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
        out.field("waiting", &self.core.queue.len())
            .finish_non_exhaustive()
    }
}
