//! Locks that loom does not see, for data that no protocol depends on.
//!
//! parking_lot keeps the threads that wait for a lock in a table of the process, which has locks of
//! its own. In a child of `fork`, one of those may stay locked by a thread that is not there. So no
//! thread waits in a lock of parking_lot's.

use std::fmt;
use std::sync::{MutexGuard, PoisonError, TryLockError};

use parking_lot::{RwLockReadGuard, RwLockWriteGuard};

/// A lock that loom does not see.
#[derive(Default)]
pub(crate) struct PlainMutex<T>(std::sync::Mutex<T>);

impl<T> PlainMutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        PlainMutex(std::sync::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // No user code runs under the lock, so no data is left half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(dead_code, reason = "a model takes no snapshots")]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[allow(dead_code, reason = "which features need it differs")]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(dead_code, reason = "which features need it differs")]
    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock with one writer, and readers that only try it and hold it for a moment.
///
/// It wraps parking_lot's: the writer locks it for each scope, and std's has more to do.
#[derive(Default)]
pub(crate) struct PlainRwLock<T>(parking_lot::RwLock<T>);

#[allow(dead_code, reason = "a model has no lanes")]
impl<T> PlainRwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        PlainRwLock(parking_lot::RwLock::new(value))
    }

    #[inline]
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        match self.0.try_write() {
            Some(guard) => guard,
            None => self.write_contended(),
        }
    }

    /// Waits until no thread reads.
    #[cold]
    fn write_contended(&self) -> RwLockWriteGuard<'_, T> {
        // Not in the table of parking_lot: see the module. A reader is done soon.
        super::wait_until(|| self.0.try_write())
    }

    #[inline]
    pub(crate) fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.0.try_read()
    }
}

impl<T: fmt::Debug> fmt::Debug for PlainMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for PlainRwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
