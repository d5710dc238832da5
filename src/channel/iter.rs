//! Iterators over the messages of a channel.

use super::progress::IterProgress;
use super::{Receiver, RecvError};

impl<T> Receiver<T> {
    /// Returns an iterator over the messages, until there are no senders: see [`Iter`].
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// let (sender, receiver) = taskgroup::channel::unbounded();
    /// let total = taskgroup::TaskGroup::scope(|g| {
    ///     g.spawn(move || {
    ///         for n in 1..=3 {
    ///             sender.send(n)?;
    ///         }
    ///         Ok(())
    ///     });
    ///     let mut total = 0;
    ///     for n in receiver.iter() {
    ///         total += n?;
    ///     }
    ///     Ok(total)
    /// })?;
    /// assert_eq!(total, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// Returns an iterator over the messages that are in the channel now. Never blocks, and works
    /// in a cancelled scope: see [`TryIter`].
    ///
    /// ```
    /// let (sender, receiver) = taskgroup::channel::bounded(3);
    /// (1..=3).try_for_each(|n| sender.send(n))?;
    /// assert_eq!(receiver.try_iter().sum::<u32>(), 6);
    /// # Ok::<(), taskgroup::channel::SendError<u32>>(())
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(self)
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = Result<T, RecvError>;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter::new(self)
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = Result<T, RecvError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// For a `&mut Receiver`, so that a loop need not reborrow it.
impl<'a, T> IntoIterator for &'a mut Receiver<T> {
    type Item = Result<T, RecvError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// An iterator over the messages of a channel, until it is empty and has no senders. Made by
/// [`Receiver::iter`].
///
/// Each step is a [`recv`](Receiver::recv). In a cancelled scope the iterator takes no message. It
/// yields the error, so that a loop that was cut short does not look finished. Then it ends, so
/// that a loop that drops errors, like `flatten`, does not spin. It can be continued, for example
/// in a [`shield`](crate::shield).
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
    progress: IterProgress,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(receiver: &'a Receiver<T>) -> Self {
        Iter {
            receiver,
            progress: IterProgress::default(),
        }
    }
}

impl<T> Iterator for Iter<'_, T> {
    type Item = Result<T, RecvError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        step(self.receiver, &mut self.progress)
    }
}

/// Receives the next item of an iteration. The caller is the place that a wait is shown with.
#[track_caller]
fn step<T>(receiver: &Receiver<T>, progress: &mut IterProgress) -> Option<Result<T, RecvError>> {
    if progress.ends() {
        return None;
    }

    let received = receiver.recv();
    progress.after(received)
}

/// An iterator that owns the receiver of the channel. Made by [`Receiver::into_iter`].
///
/// It yields the messages like [`Iter`]. The receiver is dropped with the iterator, so a loop that
/// ends early disconnects the senders.
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
    progress: IterProgress,
}

impl<T> IntoIter<T> {
    pub(super) fn new(receiver: Receiver<T>) -> Self {
        IntoIter {
            receiver,
            progress: IterProgress::default(),
        }
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = Result<T, RecvError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        step(&self.receiver, &mut self.progress)
    }
}

/// An iterator over the messages that are in a channel now. Made by [`Receiver::try_iter`].
///
/// Each step is a [`try_recv`](Receiver::try_recv). The iterator ends when that fails, for whatever
/// reason: its end need not be the end of the stream.
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
