//! Why a message was not sent or received: one small type for each operation, with the message where there is one.

use std::error::Error;
use std::fmt;

use crate::cancel::Cancelled;

const DISCONNECTED_SEND: &str = "the channel has no receivers";
const DISCONNECTED_RECV: &str = "the channel is empty and has no senders";

/// A message was not sent, and is here.
///
/// ```
/// use taskgroup::channel::{self, SendError};
///
/// let (sender, receiver) = channel::bounded(1);
/// drop(receiver);
/// assert!(matches!(sender.send("late"), Err(SendError::Disconnected("late"))));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum SendError<T> {
    /// The scope was cancelled.
    Cancelled(T, Cancelled),
    /// There are no receivers any more.
    Disconnected(T),
}

/// A message was not sent at once, and is here.
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
    /// There is no room for it; in a channel without room, nobody waits to receive.
    Full(T),
    /// There are no receivers any more.
    Disconnected(T),
    /// All receivers are gone, and the scope is cancelled.
    Cancelled(T, Cancelled),
}

/// A message was not sent in time, and is here.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::channel::{self, SendTimeoutError};
///
/// let (sender, _receiver) = channel::bounded(0);
/// let late = sender.send_timeout("late", Duration::from_millis(1));
/// assert!(matches!(late, Err(SendTimeoutError::Timeout("late"))));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum SendTimeoutError<T> {
    /// The scope was cancelled.
    Cancelled(T, Cancelled),
    /// There was no room for it in time.
    Timeout(T),
    /// There are no receivers any more.
    Disconnected(T),
}

/// No message was received.
///
/// ```
/// use taskgroup::channel::{self, RecvError};
///
/// let (sender, receiver) = channel::unbounded::<u32>();
/// drop(sender);
/// match receiver.recv() {
///     Ok(n) => println!("{n}"),
///     Err(RecvError::Disconnected) => println!("that was all"),
///     Err(stopped) => println!("{stopped}"),
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The scope was cancelled.
    #[error("the receive was cancelled")]
    Cancelled(#[source] Cancelled),
    /// The channel is empty and there are no senders any more.
    #[error("{DISCONNECTED_RECV}")]
    Disconnected,
}

/// No message was there.
///
/// ```
/// use taskgroup::channel::{self, TryRecvError};
///
/// let (sender, receiver) = channel::unbounded::<u32>();
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// drop(sender);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The channel is empty.
    #[error("the channel is empty")]
    Empty,
    /// The channel is empty and there are no senders any more.
    #[error("{DISCONNECTED_RECV}")]
    Disconnected,
    /// The channel is empty, all senders are gone, and the scope is cancelled.
    #[error("the receive was cancelled")]
    Cancelled(#[source] Cancelled),
}

/// No message was received in time.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::channel::{self, RecvTimeoutError};
///
/// let (_sender, receiver) = channel::unbounded::<u32>();
/// assert!(matches!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout)));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// The scope was cancelled.
    #[error("the receive was cancelled")]
    Cancelled(#[source] Cancelled),
    /// No message came in time.
    #[error("no message came in time")]
    Timeout,
    /// The channel is empty and there are no senders any more.
    #[error("{DISCONNECTED_RECV}")]
    Disconnected,
}

/// The other end of a channel is gone: what the case of a [`Select`](super::Select) comes to when it can do no more.
///
/// For a receive it says that the channel is empty, too. A message that was to be sent has not been taken.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::channel::{self, Disconnected};
///
/// let (sender, receiver) = channel::unbounded::<u32>();
/// drop(sender);
/// let mut select = channel::Select::new();
/// select.recv(&receiver, |message| message);
/// assert_eq!(select.select()?, Err(Disconnected));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the other end of the channel is gone")]
pub struct Disconnected;

impl<T> SendError<T> {
    /// The message.
    ///
    /// ```
    /// let (sender, receiver) = taskgroup::channel::unbounded();
    /// drop(receiver);
    /// assert_eq!(sender.send(7).unwrap_err().into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            SendError::Cancelled(message, _) | SendError::Disconnected(message) => message,
        }
    }
}

impl<T> TrySendError<T> {
    /// The message.
    ///
    /// ```
    /// let (sender, _receiver) = taskgroup::channel::bounded(0);
    /// assert_eq!(sender.try_send(7).unwrap_err().into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(message) | TrySendError::Disconnected(message) | TrySendError::Cancelled(message, _) => message,
        }
    }
}

impl<T> SendTimeoutError<T> {
    /// The message.
    ///
    /// ```
    /// let (sender, _receiver) = taskgroup::channel::bounded(0);
    /// assert_eq!(sender.send_timeout(7, std::time::Duration::ZERO).unwrap_err().into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Cancelled(message, _)
            | SendTimeoutError::Timeout(message)
            | SendTimeoutError::Disconnected(message) => message,
        }
    }
}

// By hand, because the message need be neither shown nor an error.

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Cancelled(_, cancelled) => {
                f.debug_tuple("Cancelled").field(&format_args!("..")).field(cancelled).finish()
            }
            SendError::Disconnected(_) => f.write_str("Disconnected(..)"),
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Cancelled(..) => "the send was cancelled",
            SendError::Disconnected(_) => DISCONNECTED_SEND,
        })
    }
}

impl<T> Error for SendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SendError::Cancelled(_, cancelled) => Some(cancelled),
            SendError::Disconnected(_) => None,
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrySendError::Full(_) => f.write_str("Full(..)"),
            TrySendError::Disconnected(_) => f.write_str("Disconnected(..)"),
            TrySendError::Cancelled(_, cancelled) => {
                f.debug_tuple("Cancelled").field(&format_args!("..")).field(cancelled).finish()
            }
        }
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "the channel is full",
            TrySendError::Disconnected(_) => DISCONNECTED_SEND,
            TrySendError::Cancelled(..) => "the send was cancelled",
        })
    }
}

impl<T> Error for TrySendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => None,
            TrySendError::Cancelled(_, cancelled) => Some(cancelled),
        }
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendTimeoutError::Cancelled(_, cancelled) => {
                f.debug_tuple("Cancelled").field(&format_args!("..")).field(cancelled).finish()
            }
            SendTimeoutError::Timeout(_) => f.write_str("Timeout(..)"),
            SendTimeoutError::Disconnected(_) => f.write_str("Disconnected(..)"),
        }
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Cancelled(..) => "the send was cancelled",
            SendTimeoutError::Timeout(_) => "the channel stayed full",
            SendTimeoutError::Disconnected(_) => DISCONNECTED_SEND,
        })
    }
}

impl<T> Error for SendTimeoutError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SendTimeoutError::Cancelled(_, cancelled) => Some(cancelled),
            SendTimeoutError::Timeout(_) | SendTimeoutError::Disconnected(_) => None,
        }
    }
}
