//! The guards of a lock for many that read or one that writes.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::MappedWriteGuard;
use super::hold::{Core, Hold};
use super::lock_queue::Access;
use crate::facade::{DataReadGuard, DataReadPart, DataWriteGuard};

/// The value of a [`RwLock`](super::RwLock), or a part of it, to read. Dropping it unlocks.
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// let table = taskgroup::sync::RwLock::new([1, 2]);
/// let (one, other) = (table.read()?, table.read()?);
/// assert_eq!(one[0] + other[1], 3);
/// # Ok(())
/// # }
/// ```
///
/// It is covariant: a guard of a `&'static str` can be used as a guard of a `&'a str`. Guards to
/// write cannot be, since a shorter reference could be written through them.
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct ReadGuard<'a, T: ?Sized> {
    /// A part also where it is the whole: only this is covariant.
    data: DataReadPart<'a, T>,
    // Dropped after the data.
    hold: Hold<'a>,
}

/// The value of a [`RwLock`](super::RwLock), to read and write. Dropping it unlocks.
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// let table = taskgroup::sync::RwLock::new([1, 2]);
/// table.write()?[0] = 40;
/// assert_eq!(table.read()?.iter().sum::<u32>(), 42);
/// # Ok(())
/// # }
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct WriteGuard<'a, T: ?Sized> {
    data: DataWriteGuard<'a, T>,
    // Dropped after the data.
    hold: Hold<'a>,
}

impl<'a, T: ?Sized> ReadGuard<'a, T> {
    #[inline]
    #[track_caller]
    pub(super) fn new(data: DataReadGuard<'a, T>, core: &'a Core) -> Self {
        ReadGuard {
            data: DataReadGuard::map(data, |data| data),
            hold: Hold::new(core, Access::Read),
        }
    }

    /// Makes a guard of a part of the value. The lock is held until that guard is dropped.
    ///
    /// This is an associated function, so that it hides no method of the value.
    ///
    /// ```
    /// use taskgroup::sync::{ReadGuard, RwLock};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let pair = RwLock::new((1, "one"));
    /// let word = ReadGuard::map(pair.read()?, |pair| pair.1);
    /// assert_eq!(&*word, "one");
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<U: ?Sized>(this: Self, f: impl FnOnce(&T) -> &U) -> ReadGuard<'a, U> {
        let ReadGuard { data, hold } = this;
        ReadGuard {
            data: DataReadPart::map(data, f),
            hold,
        }
    }

    /// Makes a guard of a part of the value, if `f` finds that part.
    ///
    /// # Errors
    ///
    /// `f` returned `None`: the guard is returned.
    ///
    /// ```
    /// use taskgroup::sync::{ReadGuard, RwLock};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let words = RwLock::new(vec!["one"]);
    /// let first = ReadGuard::try_map(words.read()?, |words| words.first());
    /// assert_eq!(*first.expect("there is a word"), "one");
    /// assert!(ReadGuard::try_map(words.read()?, |words| words.get(1)).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_map<U: ?Sized>(
        this: Self,
        f: impl FnOnce(&T) -> Option<&U>,
    ) -> Result<ReadGuard<'a, U>, Self> {
        let ReadGuard { data, hold } = this;
        match DataReadPart::try_map(data, f) {
            Ok(data) => Ok(ReadGuard { data, hold }),
            Err(data) => Err(ReadGuard { data, hold }),
        }
    }
}

impl<'a, T: ?Sized> WriteGuard<'a, T> {
    #[inline]
    #[track_caller]
    pub(super) fn new(data: DataWriteGuard<'a, T>, core: &'a Core) -> Self {
        WriteGuard {
            data,
            hold: Hold::new(core, Access::Write),
        }
    }

    /// Makes a guard to read, without unlocking: no other thread writes in between. Never blocks.
    ///
    /// Readers that wait get the lock, unless a writer came before them.
    ///
    /// ```
    /// use taskgroup::sync::{RwLock, WriteGuard};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let count = RwLock::new(0);
    /// let mut writing = count.write()?;
    /// *writing += 1;
    /// let reading = WriteGuard::downgrade(writing);
    /// assert_eq!((*reading, *count.read()?), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn downgrade(this: Self) -> ReadGuard<'a, T> {
        let WriteGuard { data, hold } = this;
        let data = DataWriteGuard::downgrade(data);
        ReadGuard {
            data: DataReadGuard::map(data, |data| data),
            hold: hold.downgraded(),
        }
    }

    /// Makes a guard of a part of the value. The lock is held until that guard is dropped.
    ///
    /// This is an associated function, so that it hides no method of the value.
    ///
    /// ```
    /// use taskgroup::sync::{RwLock, WriteGuard};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let pair = RwLock::new((1, "one"));
    /// let mut number = WriteGuard::map(pair.write()?, |pair| &mut pair.0);
    /// *number += 1;
    /// drop(number);
    /// assert_eq!(pair.read()?.0, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<U: ?Sized>(this: Self, f: impl FnOnce(&mut T) -> &mut U) -> MappedWriteGuard<'a, U> {
        let WriteGuard { data, hold } = this;
        MappedWriteGuard::new(DataWriteGuard::map(data, f), hold)
    }

    /// Makes a guard of a part of the value, if `f` finds that part.
    ///
    /// # Errors
    ///
    /// `f` returned `None`: the guard is returned.
    ///
    /// ```
    /// use taskgroup::sync::{RwLock, WriteGuard};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let words = RwLock::new(vec!["one"]);
    /// let words = WriteGuard::try_map(words.write()?, |words| words.get_mut(1)).expect_err("there is one word");
    /// let mut first = WriteGuard::try_map(words, |words| words.first_mut()).expect("there is a word");
    /// *first = "two";
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_map<U: ?Sized>(
        this: Self,
        f: impl FnOnce(&mut T) -> Option<&mut U>,
    ) -> Result<MappedWriteGuard<'a, U>, Self> {
        let WriteGuard { data, hold } = this;
        match DataWriteGuard::try_map(data, f) {
            Ok(data) => Ok(MappedWriteGuard::new(data, hold)),
            Err(data) => Err(WriteGuard { data, hold }),
        }
    }
}

impl<T: ?Sized> Deref for ReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: ?Sized> Deref for WriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: ?Sized> DerefMut for WriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
