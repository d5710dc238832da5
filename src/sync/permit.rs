//! Permits of a semaphore, and the calls that take owned ones.

use std::fmt;
use std::sync::Arc;

use super::Semaphore;
use crate::cancel::Cancelled;

/// Permits of a [`Semaphore`], which go back when this is dropped.
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// let connections = taskgroup::sync::Semaphore::new(1);
/// let permit = connections.acquire()?;
/// assert!(connections.try_acquire().is_none());
/// drop(permit);
/// assert!(connections.try_acquire().is_some());
/// # Ok(())
/// # }
/// ```
#[must_use = "the permit goes back at once if it is not kept"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

/// Permits of a [`Semaphore`] that borrow nothing: they keep the semaphore alive, and go back when
/// this is dropped.
///
/// ```
/// use std::sync::Arc;
/// use taskgroup::sync::{OwnedPermit, Semaphore};
///
/// struct Connection {
///     _permit: OwnedPermit,
/// }
///
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// let limit = Arc::new(Semaphore::new(1));
/// let connection = Connection { _permit: limit.acquire_owned()? };
/// assert_eq!(limit.available(), 0);
/// drop(connection);
/// assert_eq!(limit.available(), 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "the permit goes back at once if it is not kept"]
pub struct OwnedPermit {
    semaphore: Arc<Semaphore>,
    count: usize,
}

impl Semaphore {
    /// Like [`acquire`](Self::acquire), with a permit that borrows nothing.
    ///
    /// # Cancellation
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// The cancel of the scope, or [`SemaphoreClosed`](crate::CancelCause::SemaphoreClosed) once
    /// the semaphore is [closed](Self::close).
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

    /// Like [`acquire_many`](Self::acquire_many), with a permit that borrows nothing.
    ///
    /// # Cancellation
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// The cancel of the scope, or [`SemaphoreClosed`](crate::CancelCause::SemaphoreClosed) once
    /// the semaphore is [closed](Self::close).
    ///
    /// # Panics
    ///
    /// As [`acquire_many`](Self::acquire_many).
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

    /// Like [`try_acquire`](Self::try_acquire), with a permit that borrows nothing.
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

    /// Like [`try_acquire_many`](Self::try_acquire_many), with a permit that borrows nothing.
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

macro_rules! permit {
    ($Permit:ident $(<$life:lifetime>)?, $Reference:ty) => {
        impl $(<$life>)? $Permit $(<$life>)? {
            #[inline]
            pub(super) fn new(semaphore: $Reference, count: usize) -> Self {
                $Permit { semaphore, count }
            }

            /// Returns the number of permits.
            ///
            /// ```
            /// # fn main() -> Result<(), taskgroup::Cancelled> {
            /// assert_eq!(taskgroup::sync::Semaphore::new(3).acquire_many(2)?.count(), 2);
            /// # Ok(())
            /// # }
            /// ```
            pub fn count(&self) -> usize {
                self.count
            }

            /// Keeps the permits from going back.
            ///
            /// ```
            /// # fn main() -> Result<(), taskgroup::Cancelled> {
            /// let semaphore = taskgroup::sync::Semaphore::new(2);
            /// semaphore.acquire()?.forget();
            /// assert_eq!(semaphore.available(), 1);
            /// # Ok(())
            /// # }
            /// ```
            pub fn forget(mut self) {
                self.semaphore.forget(std::mem::take(&mut self.count));
            }

            /// Takes the permits of `other` into this one. They go back together.
            ///
            /// # Panics
            ///
            /// If they are permits of another semaphore. Those of `other` go back.
            ///
            /// ```
            /// # fn main() -> Result<(), taskgroup::Cancelled> {
            /// let semaphore = taskgroup::sync::Semaphore::new(3);
            /// let mut permit = semaphore.acquire()?;
            /// permit.merge(semaphore.acquire_many(2)?);
            /// assert_eq!((permit.count(), semaphore.available()), (3, 0));
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn merge(&mut self, mut other: Self) {
                assert!(std::ptr::eq(&*self.semaphore, &*other.semaphore), "the permits are of another semaphore");
                // The sum is at most the total of the semaphore.
                self.count += std::mem::take(&mut other.count);
            }

            /// Takes `count` permits out of this one, or returns `None` if it has fewer.
            ///
            /// ```
            /// # fn main() -> Result<(), taskgroup::Cancelled> {
            /// let semaphore = taskgroup::sync::Semaphore::new(3);
            /// let mut permit = semaphore.acquire_many(3)?;
            /// drop(permit.split(2));
            /// assert_eq!((permit.count(), semaphore.available()), (1, 2));
            /// assert!(permit.split(2).is_none());
            /// # Ok(())
            /// # }
            /// ```
            pub fn split(&mut self, count: usize) -> Option<Self> {
                self.count = self.count.checked_sub(count)?;
                Some($Permit { semaphore: self.semaphore.clone(), count })
            }
        }

        impl $(<$life>)? Drop for $Permit $(<$life>)? {
            #[inline]
            fn drop(&mut self) {
                if self.count != 0 {
                    self.semaphore.put_back(self.count);
                }
            }
        }

        impl $(<$life>)? fmt::Debug for $Permit $(<$life>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Permit)).field("count", &self.count).finish_non_exhaustive()
            }
        }
    };
}

permit!(Permit<'a>, &'a Semaphore);
permit!(OwnedPermit, Arc<Semaphore>);
