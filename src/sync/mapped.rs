//! Guards of a part of a locked value, to write.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::hold::Hold;
use crate::facade::{DataPart, DataWritePart};

/// A part of the value of a locked [`Mutex`](super::Mutex), from
/// [`MutexGuard::map`](super::MutexGuard::map). Dropping it unlocks.
///
/// ```
/// use taskgroup::sync::{MappedMutexGuard, Mutex, MutexGuard};
///
/// struct Account(Mutex<(String, u32)>);
///
/// impl Account {
///     fn balance(&self) -> Result<MappedMutexGuard<'_, u32>, taskgroup::Cancelled> {
///         Ok(MutexGuard::map(self.0.lock()?, |account| &mut account.1))
///     }
/// }
///
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// let account = Account(Mutex::new((String::from("rent"), 0)));
/// *account.balance()? += 10;
/// assert_eq!(*account.balance()?, 10);
/// # Ok(())
/// # }
/// ```
#[must_use = "the mutex is unlocked at once if the guard is not kept"]
pub struct MappedMutexGuard<'a, T: ?Sized> {
    data: DataPart<'a, T>,
    // Dropped after the data.
    hold: Hold<'a>,
}

/// A part of the value of a [`RwLock`](super::RwLock), to read and write, from
/// [`WriteGuard::map`](super::WriteGuard::map). Dropping it unlocks.
///
/// It cannot be downgraded: `map` may have given out what no reader may see, such as the inside of
/// a `Cell`.
///
/// ```
/// use taskgroup::sync::{MappedWriteGuard, RwLock, WriteGuard};
///
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// let table = RwLock::new([1, 2]);
/// let mut last: MappedWriteGuard<'_, i32> = WriteGuard::map(table.write()?, |table| &mut table[1]);
/// *last = 3;
/// drop(last);
/// assert_eq!(*table.read()?, [1, 3]);
/// # Ok(())
/// # }
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct MappedWriteGuard<'a, T: ?Sized> {
    data: DataWritePart<'a, T>,
    // Dropped after the data.
    hold: Hold<'a>,
}

macro_rules! mapped {
    ($Guard:ident, $Data:ident) => {
        impl<'a, T: ?Sized> $Guard<'a, T> {
            pub(super) fn new(data: $Data<'a, T>, hold: Hold<'a>) -> Self {
                $Guard { data, hold }
            }

            /// Makes a guard of a part of this part.
            ///
            /// This is an associated function, so that it hides no method of the value.
            ///
            /// ```
            /// use taskgroup::sync::{MappedMutexGuard, MappedWriteGuard, Mutex, MutexGuard, RwLock, WriteGuard};
            ///
            /// # fn main() -> Result<(), taskgroup::Cancelled> {
            /// let (mutex, lock) = (Mutex::new(((1, 2), 3)), RwLock::new(((1, 2), 3)));
            /// let locked = MutexGuard::map(mutex.lock()?, |value| &mut value.0);
            /// assert_eq!(*MappedMutexGuard::map(locked, |pair| &mut pair.1), 2);
            /// let writing = WriteGuard::map(lock.write()?, |value| &mut value.0);
            /// assert_eq!(*MappedWriteGuard::map(writing, |pair| &mut pair.1), 2);
            /// # Ok(())
            /// # }
            /// ```
            pub fn map<U: ?Sized>(this: Self, f: impl FnOnce(&mut T) -> &mut U) -> $Guard<'a, U> {
                let $Guard { data, hold } = this;
                $Guard {
                    data: $Data::map(data, f),
                    hold,
                }
            }

            /// Makes a guard of a part of this part, if `f` finds it.
            ///
            /// # Errors
            ///
            /// `f` returned `None`: the guard is returned.
            ///
            /// ```
            /// use taskgroup::sync::{MappedMutexGuard, MappedWriteGuard, Mutex, MutexGuard, RwLock, WriteGuard};
            ///
            /// # fn main() -> Result<(), taskgroup::Cancelled> {
            /// let (mutex, lock) = (Mutex::new(([1, 2], 3)), RwLock::new(([1, 2], 3)));
            /// let locked = MutexGuard::map(mutex.lock()?, |value| &mut value.0);
            /// assert!(MappedMutexGuard::try_map(locked, |array| array.get_mut(2)).is_err());
            /// let writing = WriteGuard::map(lock.write()?, |value| &mut value.0);
            /// assert!(MappedWriteGuard::try_map(writing, |array| array.get_mut(1)).is_ok());
            /// # Ok(())
            /// # }
            /// ```
            pub fn try_map<U: ?Sized>(
                this: Self,
                f: impl FnOnce(&mut T) -> Option<&mut U>,
            ) -> Result<$Guard<'a, U>, Self> {
                let $Guard { data, hold } = this;
                match $Data::try_map(data, f) {
                    Ok(data) => Ok($Guard { data, hold }),
                    Err(data) => Err($Guard { data, hold }),
                }
            }
        }

        impl<T: ?Sized> Deref for $Guard<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.data
            }
        }

        impl<T: ?Sized> DerefMut for $Guard<'_, T> {
            #[inline]
            fn deref_mut(&mut self) -> &mut T {
                &mut self.data
            }
        }

        impl<T: ?Sized + fmt::Debug> fmt::Debug for $Guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<T: ?Sized + fmt::Display> fmt::Display for $Guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}

mapped!(MappedMutexGuard, DataPart);
mapped!(MappedWriteGuard, DataWritePart);
