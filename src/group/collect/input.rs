//! The input of a map.

use std::fmt;

/// An iterator that is pulled from one item at a time, and never again after its end or its panic.
pub(crate) struct Input<I> {
    /// None after the end.
    items: Option<I>,
    /// The iterator is being pulled from; if that is seen from outside, it has panicked.
    pulling: bool,
}

impl<I: Iterator> Input<I> {
    pub(crate) fn new(items: I) -> Self {
        Input {
            items: Some(items),
            pulling: false,
        }
    }

    pub(crate) fn pull(&mut self) -> Option<I::Item> {
        let items = self.items.as_mut()?;
        self.pulling = true;
        let item = items.next();
        self.pulling = false;
        if item.is_none() {
            self.items = None;
        }
        item
    }

    /// Whether there is surely nothing more to pull.
    pub(crate) fn is_spent(&self) -> bool {
        self.size_hint().1 == Some(0)
    }

    pub(crate) fn has_panicked(&self) -> bool {
        self.pulling
    }

    pub(crate) fn size_hint(&self) -> (usize, Option<usize>) {
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
