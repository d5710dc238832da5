//! The sending end.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::end::end;
use super::refusal::Refusal;
use super::shared::Shared;
use super::{SendError, SendTimeoutError, TrySendError};
use crate::cancel::context;

/// The sending end of a channel. Clones send into the same channel; when the last is gone,
/// receivers get what is left and then `Disconnected`.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::{channel, TaskGroup};
///
/// let (sender, receiver) = channel::bounded(1);
/// let sum = TaskGroup::scope(|g| {
///     for n in [20, 22] {
///         let sender = sender.clone();
///         g.spawn(move || Ok(sender.send(n)?));
///     }
///     // The last sender but those of the tasks: the sum ends with theirs.
///     drop(sender);
///     Ok(receiver.iter().sum::<Result<u32, _>>()?)
/// })?;
/// assert_eq!(sum, 42);
/// # Ok(())
/// # }
/// ```
pub struct Sender<T>(Arc<Shared<T>>);

end!(Sender, add_sender, remove_sender);

impl<T> Sender<T> {
    /// Sends `message`, waiting for room if need be; in a channel without room, for a receiver.
    ///
    /// # Cancellation
    ///
    /// A blocking point. The message is delivered or in the error, never both and never neither:
    /// one that was delivered while the scope was being cancelled makes it `Ok`.
    ///
    /// # Errors
    ///
    /// The cancel of the scope, or that there are no receivers, with the message.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// let (sender, receiver) = taskgroup::channel::bounded(1);
    /// sender.send("hello")?;
    /// assert_eq!(receiver.recv()?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn send(&self, mut message: T) -> Result<(), SendError<T>> {
        if !context::is_cancelled() {
            match self.0.push(message) {
                None => return Ok(()),
                Some(back) => message = back,
            }
        }
        self.0
            .send(message, || None)
            .map_err(|(message, refusal)| match refusal {
                Refusal::Cancelled(cancelled) => SendError::Cancelled(message, cancelled),
                Refusal::Disconnected(disconnected) => {
                    SendError::Disconnected(message, disconnected)
                }
                Refusal::NotNow => unreachable!("the wait has no limit"),
            })
    }

    /// As [`send`](Self::send), waiting for at most `duration`.
    ///
    /// # Cancellation
    ///
    /// As [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), or that there was no room in time, with the message.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::channel::SendTimeoutError;
    ///
    /// let (sender, _receiver) = taskgroup::channel::bounded(0);
    /// let late = sender.send_timeout(7, Duration::from_millis(1));
    /// assert!(matches!(late, Err(SendTimeoutError::Timeout(7))));
    /// ```
    #[track_caller]
    pub fn send_timeout(&self, message: T, duration: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(message, || Instant::now().checked_add(duration))
    }

    /// Like [`send`](Self::send), but waits until `deadline` at most.
    ///
    /// # Cancellation
    ///
    /// As [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Self::send_timeout).
    ///
    /// ```
    /// use std::time::Instant;
    /// use taskgroup::channel::SendTimeoutError;
    ///
    /// let (sender, _receiver) = taskgroup::channel::bounded(0);
    /// assert!(matches!(sender.send_deadline(7, Instant::now()), Err(SendTimeoutError::Timeout(7))));
    /// ```
    #[track_caller]
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(message, || Some(deadline))
    }

    #[track_caller]
    fn send_until(
        &self,
        message: T,
        limit: impl FnOnce() -> Option<Instant>,
    ) -> Result<(), SendTimeoutError<T>> {
        self.0
            .send(message, limit)
            .map_err(|(message, refusal)| match refusal {
                Refusal::Cancelled(cancelled) => SendTimeoutError::Cancelled(message, cancelled),
                Refusal::Disconnected(disconnected) => {
                    SendTimeoutError::Disconnected(message, disconnected)
                }
                Refusal::NotNow => SendTimeoutError::Timeout(message),
            })
    }

    /// Sends `message` if that can be done now. Never blocks, and works in a cancelled scope.
    ///
    /// # Errors
    ///
    /// That there is no room, or no receiver, with the message. If there is no receiver and the
    /// scope is cancelled, the cancel.
    ///
    /// ```
    /// let (sender, _receiver) = taskgroup::channel::bounded(1);
    /// assert!(sender.try_send(1).is_ok());
    /// assert!(sender.try_send(2).is_err());
    /// ```
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.0
            .try_send(message)
            .map_err(|(message, refusal)| match refusal {
                Refusal::NotNow => TrySendError::Full(message),
                Refusal::Disconnected(disconnected) => {
                    TrySendError::Disconnected(message, disconnected)
                }
                Refusal::Cancelled(cancelled) => TrySendError::Cancelled(message, cancelled),
            })
    }
}
