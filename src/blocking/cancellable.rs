//! Loops that a cancel ends.

use super::Halt;
use crate::cancel::{Cancelled, context};

/// Makes a loop over any iterator end when the current scope is cancelled.
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// use taskgroup::CancellableExt;
///
/// let mut sum = 0;
/// for n in (1..=4).cancellable() {
///     sum += n?;
/// }
/// assert_eq!(sum, 10);
/// # Ok(())
/// # }
/// ```
pub trait CancellableExt: Iterator + Sized {
    /// The same items, each after a [`checkpoint`](crate::checkpoint): see [`Cancellable`].
    fn cancellable(self) -> Cancellable<Self> {
        Cancellable {
            items: self,
            halt: Halt::default(),
        }
    }
}

impl<I: Iterator> CancellableExt for I {}

/// The items of an iterator, as long as the current scope is not cancelled: made by
/// [`CancellableExt::cancellable`].
///
/// # Cancellation
///
/// [`next`](Iterator::next) is a checkpoint. In a cancelled scope it takes no item: it gives the
/// [`Cancelled`], and after that the end, so that every loop stops and none looks finished. An
/// iterator that itself blocks is not woken.
///
/// ```
/// use taskgroup::{CancelToken, CancellableExt};
///
/// let token = CancelToken::new();
/// let found = token.run(|| {
///     (1..).inspect(|n| drop((*n == 3).then(|| token.cancel()))).cancellable().collect::<Result<Vec<u32>, _>>()
/// });
/// assert!(found.is_err());
/// ```
#[derive(Debug)]
#[must_use = "iterators are lazy: nothing is pulled until `next` is called"]
pub struct Cancellable<I> {
    items: I,
    halt: Halt,
}

impl<I> Cancellable<I> {
    /// The iterator, with the items that are left.
    ///
    /// ```
    /// use taskgroup::CancellableExt;
    ///
    /// let mut lines = ["a", "b"].iter().cancellable();
    /// assert!(lines.next().is_some_and(|line| line.is_ok()));
    /// assert_eq!(lines.into_inner().next(), Some(&"b"));
    /// ```
    pub fn into_inner(self) -> I {
        self.items
    }
}

impl<I: Iterator> Iterator for Cancellable<I> {
    type Item = Result<I::Item, Cancelled>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.halt.ends() {
            return None;
        }
        let item = context::check().map(|()| self.items.next());
        self.halt.after(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

/// The number of items left. A cancelled iteration stops short of it.
impl<I: ExactSizeIterator> ExactSizeIterator for Cancellable<I> {}
