//! Guards that write a part of a locked value.

use super::guard::{guard, show_value};
use super::hold::Hold;
use crate::facade::{DataPart, DataWritePart};

/// A part of the value of a locked [`Mutex`](super::Mutex). Dropping it unlocks.
///
/// Made by [`MutexGuard::map`](super::MutexGuard::map).
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
    pub(super) data: DataPart<'a, T>,
    // Declared after the data, so that it is dropped after the unlock.
    pub(super) hold: Hold<'a>,
}

/// A part of the value of a [`RwLock`](super::RwLock), to read and write. Dropping it unlocks.
///
/// Made by [`WriteGuard::map`](super::WriteGuard::map). It cannot be downgraded, since `map` may
/// have given out data that no reader may see, such as the inside of a `Cell`.
///
/// ```
/// use taskgroup::sync::{MappedWriteGuard, RwLock, WriteGuard};
///
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// let table = RwLock::new([1, 2]);
/// let last = WriteGuard::map(table.write()?, |table| &mut table[1]);
/// let mut last: MappedWriteGuard<'_, i32> = last;
/// *last = 3;
/// drop(last);
/// assert_eq!(*table.read()?, [1, 3]);
/// # Ok(())
/// # }
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct MappedWriteGuard<'a, T: ?Sized> {
    pub(super) data: DataWritePart<'a, T>,
    // Declared after the data, so that it is dropped after the unlock.
    pub(super) hold: Hold<'a>,
}

guard! {
    MappedMutexGuard, DataPart, value: &mut, part: MappedMutexGuard;

    /// Makes a guard of a part of this part.
    ///
    /// This is an associated function, so that it hides no method of the value.
    ///
    /// ```
    /// use taskgroup::sync::{MappedMutexGuard, Mutex, MutexGuard};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let mutex = Mutex::new(((1, 2), 3));
    /// let pair = MutexGuard::map(mutex.lock()?, |value| &mut value.0);
    /// assert_eq!(*MappedMutexGuard::map(pair, |pair| &mut pair.1), 2);
    /// # Ok(())
    /// # }
    /// ```
    map;

    /// Makes a guard of a part of this part, if `f` finds it.
    ///
    /// # Errors
    ///
    /// Fails if `f` returned `None`. The error is the guard.
    ///
    /// ```
    /// use taskgroup::sync::{MappedMutexGuard, Mutex, MutexGuard};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let mutex = Mutex::new(([1, 2], 3));
    /// let array = MutexGuard::map(mutex.lock()?, |value| &mut value.0);
    /// let array = MappedMutexGuard::try_map(array, |array| array.get_mut(2));
    /// let array = array.expect_err("there is no third item");
    /// assert!(MappedMutexGuard::try_map(array, |array| array.get_mut(1)).is_ok());
    /// # Ok(())
    /// # }
    /// ```
    try_map;
}

guard! {
    MappedWriteGuard, DataWritePart, value: &mut, part: MappedWriteGuard;

    /// Makes a guard of a part of this part.
    ///
    /// This is an associated function, so that it hides no method of the value.
    ///
    /// ```
    /// use taskgroup::sync::{MappedWriteGuard, RwLock, WriteGuard};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let lock = RwLock::new(((1, 2), 3));
    /// let pair = WriteGuard::map(lock.write()?, |value| &mut value.0);
    /// assert_eq!(*MappedWriteGuard::map(pair, |pair| &mut pair.1), 2);
    /// # Ok(())
    /// # }
    /// ```
    map;

    /// Makes a guard of a part of this part, if `f` finds it.
    ///
    /// # Errors
    ///
    /// Fails if `f` returned `None`. The error is the guard.
    ///
    /// ```
    /// use taskgroup::sync::{MappedWriteGuard, RwLock, WriteGuard};
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let lock = RwLock::new(([1, 2], 3));
    /// let array = WriteGuard::map(lock.write()?, |value| &mut value.0);
    /// let array = MappedWriteGuard::try_map(array, |array| array.get_mut(2));
    /// let array = array.expect_err("there is no third item");
    /// assert!(MappedWriteGuard::try_map(array, |array| array.get_mut(1)).is_ok());
    /// # Ok(())
    /// # }
    /// ```
    try_map;
}
