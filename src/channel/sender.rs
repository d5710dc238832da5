//! The sending end.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chan::Chan;
use super::end::end;
use super::op_error::OpError;
use super::{SendError, SendTimeoutError, TrySendError};
use crate::cancel::context;

/// The sending end of a channel. Its clones send into the same channel.
///
/// When the last sender is dropped, receivers get the messages in the channel, and then
/// `Disconnected`.
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
///     // Only the senders of the tasks are left, so the sum ends with them.
///     drop(sender);
///     Ok(receiver.iter().sum::<Result<u32, _>>()?)
/// })?;
/// assert_eq!(sum, 42);
/// # Ok(())
/// # }
/// ```
pub struct Sender<T>(Arc<Chan<T>>);

end!(Sender, add_sender, remove_sender);

impl<T> Sender<T> {
    /// Blocks until there is room for `message`, and sends it. In a channel with a capacity of
    /// zero, blocks until a receiver takes it.
    ///
    /// # Cancellation
    ///
    /// A blocking point. The message is either delivered or in the error. The call returns `Ok` if
    /// the message was delivered while the scope was being cancelled.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled, or if there are no receivers. The error holds the message.
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
        // The usual case. A cancelled scope is left to `Chan::send`, which fails with the cancel.
        if !context::is_cancelled() {
            match self.0.push(message) {
                None => return Ok(()),
                Some(back) => message = back,
            }
        }

        self.0
            .send(message, || None)
            .map_err(|(message, error)| match error {
                OpError::Cancelled(cancelled) => SendError::Cancelled(message, cancelled),
                OpError::Disconnected(disconnected) => {
                    SendError::Disconnected(message, disconnected)
                }
                OpError::NotNow => unreachable!("the wait has no limit"),
            })
    }

    /// Like [`send`](Self::send), but blocks for at most `duration`.
    ///
    /// # Cancellation
    ///
    /// Like [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// Like [`send`](Self::send). Also fails if there was no room in time. If the last receiver is
    /// dropped just when the time is over, the error can be either of the two.
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
        // A closure, so that a send that need not wait does not read the clock.
        self.send_until(message, || Instant::now().checked_add(duration))
    }

    /// Like [`send`](Self::send), but blocks until `deadline` at the latest.
    ///
    /// # Cancellation
    ///
    /// Like [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// Like [`send_timeout`](Self::send_timeout).
    ///
    /// ```
    /// use std::time::Instant;
    /// use taskgroup::channel::SendTimeoutError;
    ///
    /// let (sender, _receiver) = taskgroup::channel::bounded(0);
    /// let late = sender.send_deadline(7, Instant::now());
    /// assert!(matches!(late, Err(SendTimeoutError::Timeout(7))));
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
            .map_err(|(message, error)| match error {
                OpError::Cancelled(cancelled) => SendTimeoutError::Cancelled(message, cancelled),
                OpError::Disconnected(disconnected) => {
                    SendTimeoutError::Disconnected(message, disconnected)
                }
                OpError::NotNow => SendTimeoutError::Timeout(message),
            })
    }

    /// Sends `message` if there is room or, with a capacity of zero, if a receiver waits. Never
    /// blocks, and works in a cancelled scope.
    ///
    /// # Errors
    ///
    /// Fails if there is no room or, with a capacity of zero, if no receiver waits. Also fails if
    /// there are no receivers; if the scope is cancelled then, the error is the cancel. The error
    /// holds the message.
    ///
    /// ```
    /// let (sender, _receiver) = taskgroup::channel::bounded(1);
    /// assert!(sender.try_send(1).is_ok());
    /// assert!(sender.try_send(2).is_err());
    /// ```
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.0
            .try_send(message)
            .map_err(|(message, error)| match error {
                OpError::NotNow => TrySendError::Full(message),
                OpError::Disconnected(disconnected) => {
                    TrySendError::Disconnected(message, disconnected)
                }
                OpError::Cancelled(cancelled) => TrySendError::Cancelled(message, cancelled),
            })
    }
}
