//! The receiving end.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chan::Chan;
use super::end::end;
use super::op_error::OpError;
use super::{RecvError, RecvTimeoutError, TryRecvError};
use crate::cancel::context;

/// The receiving end of a channel. Each message goes to one of its clones.
///
/// When the last receiver is dropped, the messages in the channel are dropped, and senders get
/// `Disconnected`.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::{channel, TaskGroup};
///
/// let (sender, receiver) = channel::unbounded();
/// for n in [20, 22] {
///     sender.send(n)?;
/// }
/// drop(sender);
/// let sum = TaskGroup::scope(|g| {
///     // Each message goes to one of the two tasks.
///     let [a, b] = [receiver.clone(), receiver]
///         .map(|receiver| g.spawn(move || Ok(receiver.iter().sum::<Result<u32, _>>()?)));
///     Ok(a.join()? + b.join()?)
/// })?;
/// assert_eq!(sum, 42);
/// # Ok(())
/// # }
/// ```
pub struct Receiver<T>(Arc<Chan<T>>);

end!(Receiver, add_receiver, remove_receiver);

impl<T> Receiver<T> {
    /// Blocks until there is a message, and receives it.
    ///
    /// # Cancellation
    ///
    /// A blocking point. A message that was delivered while the scope was being cancelled is
    /// returned. If the call fails, no message was taken.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled, or if the channel is empty and has no senders.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::channel::RecvError;
    ///
    /// let (sender, receiver) = taskgroup::channel::unbounded();
    /// sender.send(1)?;
    /// drop(sender);
    /// assert_eq!(receiver.recv()?, 1);
    /// assert!(matches!(receiver.recv(), Err(RecvError::Disconnected(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        // The usual case. A cancelled scope is left to `Chan::recv`, which fails with the cancel.
        if !context::is_cancelled() {
            if let Some(message) = self.0.pop() {
                return Ok(message);
            }
        }

        self.0.recv(|| None).map_err(|error| match error {
            OpError::Cancelled(cancelled) => RecvError::Cancelled(cancelled),
            OpError::Disconnected(disconnected) => RecvError::Disconnected(disconnected),
            OpError::NotNow => unreachable!("the wait has no limit"),
        })
    }

    /// Like [`recv`](Self::recv), but blocks for at most `duration`.
    ///
    /// # Cancellation
    ///
    /// Like [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// Like [`recv`](Self::recv). Also fails if no message came in time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::channel::RecvTimeoutError;
    ///
    /// let (_sender, receiver) = taskgroup::channel::unbounded::<u8>();
    /// let received = receiver.recv_timeout(Duration::from_millis(1));
    /// assert!(matches!(received, Err(RecvTimeoutError::Timeout)));
    /// ```
    #[track_caller]
    pub fn recv_timeout(&self, duration: Duration) -> Result<T, RecvTimeoutError> {
        // A closure, so that a receive that need not wait does not read the clock.
        self.recv_until(|| Instant::now().checked_add(duration))
    }

    /// Like [`recv`](Self::recv), but blocks until `deadline` at the latest.
    ///
    /// # Cancellation
    ///
    /// Like [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// Like [`recv_timeout`](Self::recv_timeout).
    ///
    /// ```
    /// use std::time::Instant;
    /// use taskgroup::channel::RecvTimeoutError;
    ///
    /// let (_sender, receiver) = taskgroup::channel::unbounded::<u8>();
    /// assert!(matches!(receiver.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout)));
    /// ```
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(|| Some(deadline))
    }

    #[track_caller]
    fn recv_until(&self, limit: impl FnOnce() -> Option<Instant>) -> Result<T, RecvTimeoutError> {
        self.0.recv(limit).map_err(|error| match error {
            OpError::Cancelled(cancelled) => RecvTimeoutError::Cancelled(cancelled),
            OpError::Disconnected(disconnected) => RecvTimeoutError::Disconnected(disconnected),
            OpError::NotNow => RecvTimeoutError::Timeout,
        })
    }

    /// Receives a message if there is one. Never blocks, and works in a cancelled scope.
    ///
    /// # Errors
    ///
    /// Fails if the channel is empty. The error says whether it has senders. If it has none and the
    /// scope is cancelled, the error is the cancel.
    ///
    /// ```
    /// use taskgroup::channel::TryRecvError;
    ///
    /// let (sender, receiver) = taskgroup::channel::unbounded::<u8>();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// drop(sender);
    /// assert!(matches!(receiver.try_recv(), Err(TryRecvError::Disconnected(_))));
    /// ```
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_recv().map_err(|error| match error {
            OpError::NotNow => TryRecvError::Empty,
            OpError::Disconnected(disconnected) => TryRecvError::Disconnected(disconnected),
            OpError::Cancelled(cancelled) => TryRecvError::Cancelled(cancelled),
        })
    }
}
