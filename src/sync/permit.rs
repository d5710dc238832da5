//! Permits of a semaphore.

use std::fmt;
use std::sync::Arc;

use super::Semaphore;

/// Permits of a [`Semaphore`]. Dropping it returns them.
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

/// Permits of a [`Semaphore`], without a borrow. Dropping it returns them.
///
/// It keeps the semaphore alive.
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

            /// Removes the permits from the semaphore: they are not returned.
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

            /// Adds the permits of `other` to this one. They are returned together.
            ///
            /// # Panics
            ///
            /// If they are permits of another semaphore. The permits of `other` are returned then.
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
                assert!(
                    std::ptr::eq(&*self.semaphore, &*other.semaphore),
                    "the permits are of another semaphore"
                );
                // No overflow: the sum is at most the total of the semaphore.
                self.count += std::mem::take(&mut other.count);
            }

            /// Takes `count` permits out of this one. Returns `None` if it has fewer.
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
                f.debug_struct(stringify!($Permit))
                    .field("count", &self.count)
                    .finish_non_exhaustive()
            }
        }
    };
}

permit!(Permit<'a>, &'a Semaphore);
permit!(OwnedPermit, Arc<Semaphore>);
