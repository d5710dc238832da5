//! The errors of the channel operations: one small type for each operation, which returns the
//! message where there is one.

use std::error::Error;
use std::fmt;

use super::Disconnected;
use crate::cancel::Cancelled;

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
/// `?` turns it into an `anyhow::Error` if the message is `Send + Sync + 'static`. For any other
/// message, see [`without_message`](Self::without_message).
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
/// let received = receiver.recv_timeout(Duration::from_millis(1));
/// assert!(matches!(received, Err(RecvTimeoutError::Timeout)));
/// ```
///
/// `?` turns a [`RecvError`] into it, for code that waits without a limit in some cases:
///
/// ```
/// # use std::time::Duration;
/// # use taskgroup::channel::{Receiver, RecvTimeoutError};
/// fn next(from: &Receiver<u32>, limit: Option<Duration>) -> Result<u32, RecvTimeoutError> {
///     match limit {
///         Some(limit) => from.recv_timeout(limit),
///         None => Ok(from.recv()?),
///     }
/// }
/// # let (sender, receiver) = taskgroup::channel::unbounded();
/// # sender.send(7).unwrap();
/// # assert_eq!(next(&receiver, None), Ok(7));
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
    /// `?` cannot turn the error into an `anyhow::Error` if the message borrows or is not `Sync`.
    /// Without the message it can. The cancel then stays a cancel, and does not become a text.
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
            TrySendError::Full(message)
            | TrySendError::Disconnected(message, _)
            | TrySendError::Cancelled(message, _) => message,
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

// A plain `send` or `recv` fails for fewer reasons than the other calls, so its error converts into
// theirs.

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Cancelled(message, why) => TrySendError::Cancelled(message, why),
            SendError::Disconnected(message, why) => TrySendError::Disconnected(message, why),
        }
    }
}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Cancelled(message, why) => SendTimeoutError::Cancelled(message, why),
            SendError::Disconnected(message, why) => SendTimeoutError::Disconnected(message, why),
        }
    }
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Cancelled(why) => TryRecvError::Cancelled(why),
            RecvError::Disconnected(why) => TryRecvError::Disconnected(why),
        }
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Cancelled(why) => RecvTimeoutError::Cancelled(why),
            RecvError::Disconnected(why) => RecvTimeoutError::Disconnected(why),
        }
    }
}

// Written by hand, because the message need implement neither `Debug` nor `Error`.

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
            TrySendError::Disconnected(_, disconnected) => {
                show(f, "Disconnected", Some(disconnected))
            }
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
            SendTimeoutError::Disconnected(_, disconnected) => {
                show(f, "Disconnected", Some(disconnected))
            }
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
