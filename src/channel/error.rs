//! The errors of the channel operations: one small type for each operation, which returns the message where there is one.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::cancel::{Cancelled, TaskInfo};

const CANCELLED_SEND: &str = "the send was cancelled";
const DISCONNECTED_SEND: &str = "the channel has no receivers";
const DISCONNECTED_RECV: &str = "the channel is empty and has no senders";

/// The message could not be sent; it is returned.
///
/// ```
/// use taskgroup::channel::{self, SendError};
///
/// let (sender, receiver) = channel::bounded(1);
/// drop(receiver);
/// assert!(matches!(sender.send("late"), Err(SendError::Disconnected("late", _))));
/// ```
///
/// `?` turns it into an `anyhow::Error` if the message is `Send + Sync + 'static`. For any other message, see
/// [`without_message`](Self::without_message).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T> {
    /// The scope was cancelled.
    Cancelled(T, Cancelled),
    /// All receivers are gone.
    Disconnected(T, Disconnected),
}

/// The message could not be sent without waiting; it is returned.
///
/// ```
/// use taskgroup::channel::{self, TrySendError};
///
/// let (sender, _receiver) = channel::bounded(1);
/// assert_eq!(sender.try_send("first"), Ok(()));
/// assert_eq!(sender.try_send("second"), Err(TrySendError::Full("second")));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// The channel is full. A channel without room is full while no receiver waits.
    Full(T),
    /// All receivers are gone.
    Disconnected(T, Disconnected),
    /// All receivers are gone, and the scope is cancelled.
    Cancelled(T, Cancelled),
}

/// The message could not be sent in time; it is returned.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::channel::{self, SendTimeoutError};
///
/// let (sender, _receiver) = channel::bounded(0);
/// let late = sender.send_timeout("late", Duration::from_millis(1));
/// assert!(matches!(late, Err(SendTimeoutError::Timeout("late"))));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendTimeoutError<T> {
    /// The scope was cancelled.
    Cancelled(T, Cancelled),
    /// The channel stayed full.
    Timeout(T),
    /// All receivers are gone.
    Disconnected(T, Disconnected),
}

/// No message could be received.
///
/// ```
/// use taskgroup::channel::{self, RecvError};
///
/// let (sender, receiver) = channel::unbounded::<u32>();
/// drop(sender);
/// match receiver.recv() {
///     Ok(n) => println!("{n}"),
///     Err(RecvError::Disconnected(_)) => println!("that was all"),
///     Err(stopped) => println!("{stopped}"),
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The scope was cancelled.
    #[error("the receive was cancelled")]
    Cancelled(#[source] Cancelled),
    /// The channel is empty, and all senders are gone.
    #[error("{DISCONNECTED_RECV}")]
    Disconnected(#[source] Disconnected),
}

/// No message could be received without waiting.
///
/// ```
/// use taskgroup::channel::{self, TryRecvError};
///
/// let (sender, receiver) = channel::unbounded::<u32>();
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// drop(sender);
/// assert!(matches!(receiver.try_recv(), Err(TryRecvError::Disconnected(_))));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The channel is empty.
    #[error("the channel is empty")]
    Empty,
    /// The channel is empty, and all senders are gone.
    #[error("{DISCONNECTED_RECV}")]
    Disconnected(#[source] Disconnected),
    /// The channel is empty, all senders are gone, and the scope is cancelled.
    #[error("the receive was cancelled")]
    Cancelled(#[source] Cancelled),
}

/// No message could be received in time.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::channel::{self, RecvTimeoutError};
///
/// let (_sender, receiver) = channel::unbounded::<u32>();
/// assert!(matches!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout)));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// The scope was cancelled.
    #[error("the receive was cancelled")]
    Cancelled(#[source] Cancelled),
    /// No message came in time.
    #[error("no message came in time")]
    Timeout,
    /// The channel is empty, and all senders are gone.
    #[error("{DISCONNECTED_RECV}")]
    Disconnected(#[source] Disconnected),
}

/// All ends of the other side of a channel are gone.
///
/// For a receive this also means that the channel is empty. The errors of the operations hold it as their
/// [`source`](std::error::Error::source), and it is what a case of a [`Select`](super::Select) gives.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::channel;
///
/// let (sender, receiver) = channel::unbounded::<u32>();
/// drop(sender);
/// let mut select = channel::Select::new();
/// select.recv(&receiver, |message| message);
/// assert_eq!(select.select()?.unwrap_err().to_string(), "the other end of the channel is gone");
/// # Ok(())
/// # }
/// ```
///
/// Two of them are equal if they name the same task, or none, and say the same of its end.
#[derive(Clone)]
pub struct Disconnected(Option<Arc<Closed>>);

/// What is known of the end of a side of a channel.
#[derive(Debug)]
struct Closed {
    by: Option<TaskInfo>,
    ended_well: bool,
}

impl Disconnected {
    /// A channel of crossbeam's says nothing about the end that was dropped.
    #[cfg(feature = "crossbeam")]
    pub(super) fn unknown() -> Self {
        Disconnected(None)
    }

    pub(super) fn new(by: Option<TaskInfo>, ended_well: bool) -> Self {
        let is_plain = by.is_none() && ended_well;
        Disconnected((!is_plain).then(|| Arc::new(Closed { by, ended_well })))
    }

    /// The task that closed the channel.
    ///
    /// The first task that dropped an end without ending well, if there is one; else the task that dropped the last end. `None`
    /// if no task dropped it, and for the channels of crossbeam. If a scope inside a task dropped the end in its body, it is
    /// that task.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use taskgroup::channel::{self, TryRecvError};
    ///
    /// let (sender, receiver) = channel::unbounded::<u32>();
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.task().name("reader").spawn(move || Ok(drop(sender)));
    ///     Ok(())
    /// })?;
    /// let Err(TryRecvError::Disconnected(disconnected)) = receiver.try_recv() else { panic!("a message") };
    /// assert_eq!(disconnected.closed_by().unwrap().name.as_deref(), Some("reader"));
    /// assert!(disconnected.ended_well());
    /// # Ok(())
    /// # }
    /// ```
    pub fn closed_by(&self) -> Option<&TaskInfo> {
        self.0.as_ref()?.by.as_ref()
    }

    /// Whether the other side ended well, as far as the channel knows.
    ///
    /// `false` if one of its ends was dropped by a panic, with a task that never ran, or as what a task was given
    /// [`with`](crate::TaskBuilder::with) and did not end well: then the messages may not be all. See
    /// [Pipelines](super#pipelines).
    ///
    /// ```
    /// use taskgroup::{channel, OnFailure, TaskGroup};
    ///
    /// let (sender, receiver) = channel::unbounded();
    /// let failed = TaskGroup::builder().on_failure(OnFailure::Collect).scope(|g| {
    ///     g.task().with(sender).spawn(|sender| {
    ///         for text in ["1", "x"] {
    ///             sender.send(text.parse::<u32>()?)?;
    ///         }
    ///         Ok(())
    ///     });
    ///     assert_eq!(receiver.recv()?, 1);
    ///     match receiver.recv() {
    ///         Err(channel::RecvError::Disconnected(disconnected)) => assert!(!disconnected.ended_well()),
    ///         other => panic!("{other:?}"),
    ///     }
    ///     Ok(())
    /// });
    /// assert_eq!(failed.unwrap_err().failures().len(), 1);
    /// ```
    pub fn ended_well(&self) -> bool {
        self.0.as_ref().is_none_or(|closed| closed.ended_well)
    }
}

impl PartialEq for Disconnected {
    fn eq(&self, other: &Self) -> bool {
        let task = |disconnected: &Self| disconnected.closed_by().map(|task| task.id);
        task(self) == task(other) && self.ended_well() == other.ended_well()
    }
}

impl Eq for Disconnected {}

impl fmt::Debug for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Disconnected");
        out.field("closed_by", &self.closed_by()).field("ended_well", &self.ended_well()).finish()
    }
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.closed_by() {
            Some(task) if !self.ended_well() => {
                write!(f, "an end of the channel was dropped by {task}, which did not end well")
            }
            None if !self.ended_well() => f.write_str("an end of the channel was dropped by a panic"),
            _ => f.write_str("the other end of the channel is gone"),
        }
    }
}

impl Error for Disconnected {}

impl<T> SendError<T> {
    /// Returns the message.
    ///
    /// ```
    /// let (sender, receiver) = taskgroup::channel::unbounded();
    /// drop(receiver);
    /// assert_eq!(sender.send(7).unwrap_err().into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            SendError::Cancelled(message, _) | SendError::Disconnected(message, _) => message,
        }
    }

    /// Drops the message and keeps the reason.
    ///
    /// `?` cannot turn the error into an `anyhow::Error` if the message borrows or is not `Sync`. Without the message it can,
    /// and the cancel stays a cancel, which it would not as a text.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::{channel, TaskGroup};
    ///
    /// let text = String::from("a b c");
    /// let (sender, receiver) = channel::bounded(1);
    /// let words = TaskGroup::scope(|g| {
    ///     g.spawn(|| {
    ///         let sender = sender;
    ///         for word in text.split(' ') {
    ///             sender.send(word).map_err(|error| error.without_message())?;
    ///         }
    ///         Ok(())
    ///     });
    ///     Ok(receiver.iter().count())
    /// })?;
    /// assert_eq!(words, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn without_message(self) -> SendError<()> {
        match self {
            SendError::Cancelled(_, cancelled) => SendError::Cancelled((), cancelled),
            SendError::Disconnected(_, disconnected) => SendError::Disconnected((), disconnected),
        }
    }
}

impl<T> TrySendError<T> {
    /// Returns the message.
    ///
    /// ```
    /// let (sender, _receiver) = taskgroup::channel::bounded(0);
    /// assert_eq!(sender.try_send(7).unwrap_err().into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(message) | TrySendError::Disconnected(message, _) | TrySendError::Cancelled(message, _) => {
                message
            }
        }
    }
}

impl<T> SendTimeoutError<T> {
    /// Returns the message.
    ///
    /// ```
    /// let (sender, _receiver) = taskgroup::channel::bounded(0);
    /// assert_eq!(sender.send_timeout(7, std::time::Duration::ZERO).unwrap_err().into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Cancelled(message, _)
            | SendTimeoutError::Timeout(message)
            | SendTimeoutError::Disconnected(message, _) => message,
        }
    }
}

// By hand, because the message need be neither shown nor an error.

/// Shows the variant without its message.
fn show(f: &mut fmt::Formatter<'_>, variant: &str, why: Option<&dyn fmt::Debug>) -> fmt::Result {
    let mut tuple = f.debug_tuple(variant);
    tuple.field(&format_args!(".."));
    why.into_iter().for_each(|why| {
        tuple.field(why);
    });
    tuple.finish()
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Cancelled(_, cancelled) => show(f, "Cancelled", Some(cancelled)),
            SendError::Disconnected(_, disconnected) => show(f, "Disconnected", Some(disconnected)),
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Cancelled(..) => CANCELLED_SEND,
            SendError::Disconnected(..) => DISCONNECTED_SEND,
        })
    }
}

impl<T> Error for SendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SendError::Cancelled(_, cancelled) => Some(cancelled),
            SendError::Disconnected(_, disconnected) => Some(disconnected),
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrySendError::Full(_) => show(f, "Full", None),
            TrySendError::Disconnected(_, disconnected) => show(f, "Disconnected", Some(disconnected)),
            TrySendError::Cancelled(_, cancelled) => show(f, "Cancelled", Some(cancelled)),
        }
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "the channel is full",
            TrySendError::Disconnected(..) => DISCONNECTED_SEND,
            TrySendError::Cancelled(..) => CANCELLED_SEND,
        })
    }
}

impl<T> Error for TrySendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TrySendError::Full(_) => None,
            TrySendError::Disconnected(_, disconnected) => Some(disconnected),
            TrySendError::Cancelled(_, cancelled) => Some(cancelled),
        }
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendTimeoutError::Cancelled(_, cancelled) => show(f, "Cancelled", Some(cancelled)),
            SendTimeoutError::Timeout(_) => show(f, "Timeout", None),
            SendTimeoutError::Disconnected(_, disconnected) => show(f, "Disconnected", Some(disconnected)),
        }
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Cancelled(..) => CANCELLED_SEND,
            SendTimeoutError::Timeout(_) => "the channel stayed full",
            SendTimeoutError::Disconnected(..) => DISCONNECTED_SEND,
        })
    }
}

impl<T> Error for SendTimeoutError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SendTimeoutError::Cancelled(_, cancelled) => Some(cancelled),
            SendTimeoutError::Timeout(_) => None,
            SendTimeoutError::Disconnected(_, disconnected) => Some(disconnected),
        }
    }
}
