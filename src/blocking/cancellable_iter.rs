//! Iterators that a cancel ends.

use super::CancelFuse;
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
    /// Returns the same items, each after a [`checkpoint`](crate::checkpoint): see
    /// [`CancellableIter`].
    fn cancellable(self) -> CancellableIter<Self> {
        CancellableIter {
            items: self,
            fuse: CancelFuse::default(),
        }
    }
}

impl<I: Iterator> CancellableExt for I {}

/// Yields the items of an iterator, as long as the current scope is not cancelled.
/// [`CancellableExt::cancellable`] makes it.
///
/// # Cancellation
///
/// [`next`](Iterator::next) is a checkpoint. In a cancelled scope it takes no item. It yields the
/// [`Cancelled`], and then the end, so that every loop stops and none looks finished. An iterator
/// that itself blocks is not woken.
///
/// ```
/// use taskgroup::{CancelToken, CancellableExt};
///
/// let token = CancelToken::new();
/// let found = token.run(|| {
///     let numbers = (1..).inspect(|n| drop((*n == 3).then(|| token.cancel())));
///     numbers.cancellable().collect::<Result<Vec<u32>, _>>()
/// });
/// assert!(found.is_err());
/// ```
#[derive(Debug)]
#[must_use = "iterators are lazy: nothing is pulled until `next` is called"]
pub struct CancellableIter<I> {
    items: I,
    fuse: CancelFuse,
}

impl<I> CancellableIter<I> {
    /// Returns the iterator, with the items that are left.
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

impl<I: Iterator> Iterator for CancellableIter<I> {
    type Item = Result<I::Item, Cancelled>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.fuse.ends() {
            return None;
        }

        // The check comes first: a cancelled step takes no item.
        let item = context::check().map(|()| self.items.next());
        self.fuse.after(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

/// The number of items left. A cancelled iteration stops short of it.
impl<I: ExactSizeIterator> ExactSizeIterator for CancellableIter<I> {}
