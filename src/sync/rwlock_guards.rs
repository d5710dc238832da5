//! The guards of a lock with many readers or one writer.

use super::MappedWriteGuard;
use super::guard::{guard, show_value};
use super::hold::{Hold, LockBase};
use super::lock_queue::LockMode;
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
/// It is covariant: a guard of a `&'static str` can be used as a guard of a `&'a str`. A guard to
/// write cannot be covariant, since a shorter reference could be written through it.
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct ReadGuard<'a, T: ?Sized> {
    /// The type of a part, also for the whole value: only this one is covariant.
    data: DataReadPart<'a, T>,
    // Declared after the data, so that it is dropped after the unlock.
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
    // Declared after the data, so that it is dropped after the unlock.
    hold: Hold<'a>,
}

impl<'a, T: ?Sized> ReadGuard<'a, T> {
    #[inline]
    #[track_caller]
    pub(super) fn new(data: DataReadGuard<'a, T>, base: &'a LockBase) -> Self {
        ReadGuard {
            data: DataReadGuard::map(data, |data| data),
            hold: Hold::new(base, LockMode::Read),
        }
    }
}

impl<'a, T: ?Sized> WriteGuard<'a, T> {
    #[inline]
    #[track_caller]
    pub(super) fn new(data: DataWriteGuard<'a, T>, base: &'a LockBase) -> Self {
        WriteGuard {
            data,
            hold: Hold::new(base, LockMode::Write),
        }
    }

    /// Turns the write guard into a read guard, without unlocking. Never blocks.
    ///
    /// No other thread writes in between. Waiting readers get the lock, unless a writer came before
    /// them.
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
}

guard! {
    ReadGuard, DataReadPart, value: &, part: ReadGuard;

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
    map;

    /// Makes a guard of a part of the value, if `f` finds that part.
    ///
    /// # Errors
    ///
    /// Fails if `f` returned `None`. The error is the guard.
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
    try_map;
}

guard! {
    WriteGuard, DataWriteGuard, value: & mut, part: MappedWriteGuard;

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
    map;

    /// Makes a guard of a part of the value, if `f` finds that part.
    ///
    /// # Errors
    ///
    /// Fails if `f` returned `None`. The error is the guard.
    ///
    /// ```
    /// use taskgroup::sync::{RwLock, WriteGuard};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let words = RwLock::new(vec!["one"]);
    /// let second = WriteGuard::try_map(words.write()?, |words| words.get_mut(1));
    /// let words = second.expect_err("there is one word");
    /// let first = WriteGuard::try_map(words, |words| words.first_mut());
    /// *first.expect("there is a word") = "two";
    /// # Ok(())
    /// # }
    /// ```
    try_map;
}
