//! The calls that take permits of a semaphore.

use std::sync::Arc;

use super::{OwnedPermit, Permit, Semaphore};
use crate::cancel::Cancelled;
#[cfg(all(feature = "net", unix, not(loom)))]
use crate::waiting::WaitKind;

impl Semaphore {
    /// Blocks until a permit is free, and takes it.
    ///
    /// # Cancellation
    ///
    /// A blocking point. If a permit is granted while the scope is being cancelled, the call
    /// returns that permit. If the call fails, it has taken no permit.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled. Once the semaphore is [closed](Self::close), fails with
    /// the cause [`SemaphoreClosed`](crate::CancelCause::SemaphoreClosed).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let semaphore = taskgroup::sync::Semaphore::new(1);
    /// let permit = semaphore.acquire()?;
    /// assert!(semaphore.try_acquire().is_none());
    /// drop(permit);
    /// assert!(semaphore.try_acquire().is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> Result<Permit<'_>, Cancelled> {
        self.take(1)?;
        Ok(Permit::new(self, 1))
    }

    /// Like [`acquire`](Self::acquire), for a blocking point of the kind `kind`.
    #[cfg(all(feature = "net", unix, not(loom)))]
    #[track_caller]
    pub(crate) fn acquire_as(&self, kind: WaitKind) -> Result<Permit<'_>, Cancelled> {
        self.take_as(kind)?;
        Ok(Permit::new(self, 1))
    }

    /// Blocks until `count` permits are free, and takes all of them in one step. A later call gets
    /// no permit before this one.
    ///
    /// # Cancellation
    ///
    /// Like [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled. Once the semaphore is [closed](Self::close), fails with
    /// the cause [`SemaphoreClosed`](crate::CancelCause::SemaphoreClosed).
    ///
    /// # Panics
    ///
    /// Panics if this many permits can never be free, since the call would wait for ever. That is
    /// the case if `count` is more than [`MAX_PERMITS`](Self::MAX_PERMITS). It is also the case if
    /// `count` is more than the semaphore was created with. A semaphore that was created with no
    /// permits, or to which permits were added, may get more, so the call waits there. The call
    /// checks the count first. So it panics in a cancelled scope and on a closed semaphore, too.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let semaphore = taskgroup::sync::Semaphore::new(3);
    /// let two = semaphore.acquire_many(2)?;
    /// assert_eq!((two.count(), semaphore.available()), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> Result<Permit<'_>, Cancelled> {
        self.take_many(count)?;
        Ok(Permit::new(self, count))
    }

    /// Takes a permit if one is free, no thread waits and the semaphore is not closed. Never
    /// blocks.
    ///
    /// ```
    /// let semaphore = taskgroup::sync::Semaphore::new(0);
    /// assert!(semaphore.try_acquire().is_none());
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits if that many are free, no thread waits and the semaphore is not
    /// closed. Never blocks.
    ///
    /// ```
    /// let semaphore = taskgroup::sync::Semaphore::new(3);
    /// assert!(semaphore.try_acquire_many(4).is_none());
    /// assert!(semaphore.try_acquire_many(3).is_some());
    /// ```
    #[inline]
    pub fn try_acquire_many(&self, count: usize) -> Option<Permit<'_>> {
        self.try_take(count).then(|| Permit::new(self, count))
    }

    /// Like [`acquire`](Self::acquire), but the permit borrows nothing.
    ///
    /// # Cancellation
    ///
    /// Like [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled. Once the semaphore is [closed](Self::close), fails with
    /// the cause [`SemaphoreClosed`](crate::CancelCause::SemaphoreClosed).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use taskgroup::sync::Semaphore;
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let semaphore = Arc::new(Semaphore::new(1));
    /// let permit = semaphore.acquire_owned()?;
    /// let elsewhere = std::thread::spawn(move || drop(permit));
    /// elsewhere.join().expect("it does not panic");
    /// assert_eq!(semaphore.available(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_owned(self: &Arc<Self>) -> Result<OwnedPermit, Cancelled> {
        self.take(1)?;
        Ok(OwnedPermit::new(self.clone(), 1))
    }

    /// Like [`acquire_many`](Self::acquire_many), but the permit borrows nothing.
    ///
    /// # Cancellation
    ///
    /// Like [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled. Once the semaphore is [closed](Self::close), fails with
    /// the cause [`SemaphoreClosed`](crate::CancelCause::SemaphoreClosed).
    ///
    /// # Panics
    ///
    /// Like [`acquire_many`](Self::acquire_many).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let semaphore = std::sync::Arc::new(taskgroup::sync::Semaphore::new(3));
    /// let two = semaphore.acquire_many_owned(2)?;
    /// assert_eq!((two.count(), semaphore.available()), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_many_owned(self: &Arc<Self>, count: usize) -> Result<OwnedPermit, Cancelled> {
        self.take_many(count)?;
        Ok(OwnedPermit::new(self.clone(), count))
    }

    /// Like [`try_acquire`](Self::try_acquire), but the permit borrows nothing.
    ///
    /// ```
    /// let semaphore = std::sync::Arc::new(taskgroup::sync::Semaphore::new(1));
    /// let permit = semaphore.try_acquire_owned();
    /// assert!(permit.is_some() && semaphore.try_acquire_owned().is_none());
    /// ```
    #[inline]
    pub fn try_acquire_owned(self: &Arc<Self>) -> Option<OwnedPermit> {
        self.try_acquire_many_owned(1)
    }

    /// Like [`try_acquire_many`](Self::try_acquire_many), but the permit borrows nothing.
    ///
    /// ```
    /// let semaphore = std::sync::Arc::new(taskgroup::sync::Semaphore::new(3));
    /// assert!(semaphore.try_acquire_many_owned(4).is_none());
    /// assert!(semaphore.try_acquire_many_owned(3).is_some());
    /// ```
    #[inline]
    pub fn try_acquire_many_owned(self: &Arc<Self>, count: usize) -> Option<OwnedPermit> {
        self.try_take(count)
            .then(|| OwnedPermit::new(self.clone(), count))
    }
}
