//! The messages of a channel, one by one.

use std::iter::FusedIterator;

use super::{Receiver, RecvError};
use crate::cancel::Cancelled;

/// The messages of a channel, until it is empty and has no senders; from [`Receiver::iter`].
///
/// Each step is a [`recv`](Receiver::recv). In a cancelled scope it yields the `Cancelled`, so that a loop which was cut short
/// never looks finished, and then ends: one that drops errors, as `flatten` does, does not spin.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// let (sender, receiver) = taskgroup::channel::unbounded();
/// for n in [20, 22] {
///     sender.send(n)?;
/// }
/// drop(sender);
/// assert_eq!(receiver.iter().sum::<Result<u32, _>>()?, 42);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked for its items"]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
    ended: bool,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(receiver: &'a Receiver<T>) -> Self {
        Iter { receiver, ended: false }
    }
}

impl<T> Iterator for Iter<'_, T> {
    type Item = Result<T, Cancelled>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.receiver.recv() {
            Ok(message) => Some(Ok(message)),
            Err(RecvError::Cancelled(cancelled)) => {
                self.ended = true;
                Some(Err(cancelled))
            }
            Err(RecvError::Disconnected) => {
                self.ended = true;
                None
            }
        }
    }
}

impl<T> FusedIterator for Iter<'_, T> {}
