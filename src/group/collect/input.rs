//! The input of a map.

use std::fmt;

/// An iterator that is pulled from one item at a time, and never again after its end or its panic.
pub(super) struct Input<I> {
    /// None after the end.
    items: Option<I>,
    /// The iterator is being pulled from. If this is still set when `pull` is called, the iterator
    /// has panicked.
    pulling: bool,
}

impl<I: Iterator> Input<I> {
    pub(super) fn new(items: I) -> Self {
        Input {
            items: Some(items),
            pulling: false,
        }
    }

    pub(super) fn pull(&mut self) -> Option<I::Item> {
        let items = self.items.as_mut()?;

        // The flag stays set if `next` panics.
        self.pulling = true;
        let item = items.next();
        self.pulling = false;

        // Not pulled again after its end: an iterator may begin again.
        if item.is_none() {
            self.items = None;
        }
        item
    }

    /// Returns whether there is certainly nothing more to pull.
    pub(super) fn is_spent(&self) -> bool {
        self.size_hint().1 == Some(0)
    }

    pub(super) fn has_panicked(&self) -> bool {
        self.pulling
    }

    pub(super) fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.items {
            Some(items) if !self.pulling => items.size_hint(),
            _ => (0, Some(0)),
        }
    }
}

impl<I> fmt::Debug for Input<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("ended", &self.items.is_none())
            .field("panicked", &self.pulling)
            .finish()
    }
}
