//! The messages of a channel, one by one.

use super::{Receiver, RecvError};
use crate::blocking::Halt;

/// The messages of a channel, until it is empty and has no senders; from [`Receiver::iter`].
///
/// Each step is a [`recv`](Receiver::recv). In a cancelled scope it yields that error, so that a loop that was cut short never
/// looks finished, and then ends: a loop that drops errors, as `flatten` does, does not spin. No message is taken then, and an
/// iteration that is taken up again, in a [`shield`](crate::shield) for example, goes on with them.
///
/// If a task that had a sender did not end well, the iterator yields [`RecvError::Disconnected`] after the last message, once,
/// and then ends: see [Pipelines](super#pipelines).
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
    halt: Halt,
    /// The error of a stream that was cut short has been given.
    ended: bool,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(receiver: &'a Receiver<T>) -> Self {
        Iter { receiver, halt: Halt::default(), ended: false }
    }
}

impl<T> Iterator for Iter<'_, T> {
    type Item = Result<T, RecvError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.halt.ends() {
            return None;
        }
        let step = match self.receiver.recv() {
            Ok(message) => Ok(Some(message)),
            Err(RecvError::Cancelled(cancelled)) => Err(cancelled),
            Err(RecvError::Disconnected(disconnected)) if !disconnected.ended_well() => {
                self.ended = true;
                return Some(Err(RecvError::Disconnected(disconnected)));
            }
            Err(RecvError::Disconnected(_)) => Ok(None),
        };
        Some(self.halt.after(step)?.map_err(RecvError::Cancelled))
    }
}
