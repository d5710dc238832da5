//! The messages of a channel, one by one.

use super::{Receiver, RecvError};
use crate::blocking::CancelFuse;

/// The messages of a channel, until it is empty and has no senders; from [`Receiver::iter`].
///
/// Each step is a [`recv`](Receiver::recv). In a cancelled scope it yields that error, so that a
/// loop that was cut short never looks finished, and then ends: a loop that drops errors, as
/// `flatten` does, does not spin. No message is taken then, and an iteration that is taken up
/// again, in a [`shield`](crate::shield) for example, goes on with them.
///
/// If a task that had a sender did not end well, the iterator yields [`RecvError::Disconnected`]
/// after the last message, once, and then ends: see [Pipelines](super#pipelines).
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
    progress: Progress,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(receiver: &'a Receiver<T>) -> Self {
        Iter {
            receiver,
            progress: Progress::default(),
        }
    }
}

impl<T> Iterator for Iter<'_, T> {
    type Item = Result<T, RecvError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        self.progress.next(self.receiver)
    }
}

/// The messages of a channel whose receiver it owns: like [`Iter`]; from [`IntoIterator`] of a
/// [`Receiver`].
///
/// The receiver is dropped with the iterator. So a loop over it that ends early tells the senders.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// let (sender, receiver) = taskgroup::channel::unbounded();
/// sender.send("first")?;
/// for message in receiver {
///     assert_eq!(message?, "first");
///     break;
/// }
/// assert!(sender.send("second").is_err(), "there are no receivers");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked for its items"]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
    progress: Progress,
}

impl<T> IntoIter<T> {
    pub(super) fn new(receiver: Receiver<T>) -> Self {
        IntoIter {
            receiver,
            progress: Progress::default(),
        }
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = Result<T, RecvError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        self.progress.next(&self.receiver)
    }
}

/// The messages that are in a channel now; from [`Receiver::try_iter`].
///
/// Each step is a [`try_recv`](Receiver::try_recv). The iterator ends where that fails, and says
/// nothing of the reason: its end is not the end of the stream.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// let (sender, receiver) = taskgroup::channel::unbounded();
/// sender.send(1)?;
/// let mut messages = receiver.try_iter();
/// assert_eq!((messages.next(), messages.next()), (Some(1), None));
/// sender.send(2)?;
/// assert_eq!(messages.next(), Some(2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked for its items"]
pub struct TryIter<'a, T>(&'a Receiver<T>);

impl<'a, T> TryIter<'a, T> {
    pub(super) fn new(receiver: &'a Receiver<T>) -> Self {
        TryIter(receiver)
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

/// How far an iteration has come.
#[derive(Debug, Default)]
struct Progress {
    fuse: CancelFuse,
    /// The error of a stream that was cut short has been given.
    ended: bool,
}

impl Progress {
    #[track_caller]
    fn next<T>(&mut self, receiver: &Receiver<T>) -> Option<Result<T, RecvError>> {
        if self.ended || self.fuse.ends() {
            return None;
        }
        let step = match receiver.recv() {
            Ok(message) => Ok(Some(message)),
            Err(RecvError::Cancelled(cancelled)) => Err(cancelled),
            Err(RecvError::Disconnected(disconnected)) if !disconnected.ended_well() => {
                self.ended = true;
                return Some(Err(RecvError::Disconnected(disconnected)));
            }
            Err(RecvError::Disconnected(_)) => Ok(None),
        };
        Some(self.fuse.after(step)?.map_err(RecvError::Cancelled))
    }
}
