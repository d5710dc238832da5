//! The receiving end.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::end::end;
use super::refusal::Refusal;
use super::shared::Shared;
use super::{IntoIter, Iter, RecvError, RecvTimeoutError, TryIter, TryRecvError};
use crate::cancel::context;

/// The receiving end of a channel. Each message goes to one of its clones; when the last is gone,
/// the messages that are left are dropped, and senders get `Disconnected`.
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
///     // Each takes what the other has not.
///     let [a, b] = [receiver.clone(), receiver].map(|receiver| g.spawn(move || Ok(receiver.iter().sum::<Result<u32, _>>()?)));
///     Ok(a.join()? + b.join()?)
/// })?;
/// assert_eq!(sum, 42);
/// # Ok(())
/// # }
/// ```
pub struct Receiver<T>(Arc<Shared<T>>);

end!(Receiver, add_receiver, remove_receiver);

impl<T> Receiver<T> {
    /// Receives a message, waiting for it if need be.
    ///
    /// # Cancellation
    ///
    /// A blocking point. A message that was delivered while the scope was being cancelled is
    /// returned; with `Err`, none was taken.
    ///
    /// # Errors
    ///
    /// The cancel of the scope, or that the channel is empty and has no senders.
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
        if !context::is_cancelled() {
            if let Some(message) = self.0.pop() {
                return Ok(message);
            }
        }
        self.0.recv(|| None).map_err(|refusal| match refusal {
            Refusal::Cancelled(cancelled) => RecvError::Cancelled(cancelled),
            Refusal::Disconnected(disconnected) => RecvError::Disconnected(disconnected),
            Refusal::NotNow => unreachable!("the wait has no limit"),
        })
    }

    /// As [`recv`](Self::recv), waiting for at most `duration`.
    ///
    /// # Cancellation
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), or that no message came in time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::channel::RecvTimeoutError;
    ///
    /// let (_sender, receiver) = taskgroup::channel::unbounded::<u8>();
    /// assert!(matches!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout)));
    /// ```
    #[track_caller]
    pub fn recv_timeout(&self, duration: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(|| Instant::now().checked_add(duration))
    }

    /// Like [`recv`](Self::recv), but waits until `deadline` at most.
    ///
    /// # Cancellation
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
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
        self.0.recv(limit).map_err(|refusal| match refusal {
            Refusal::Cancelled(cancelled) => RecvTimeoutError::Cancelled(cancelled),
            Refusal::Disconnected(disconnected) => RecvTimeoutError::Disconnected(disconnected),
            Refusal::NotNow => RecvTimeoutError::Timeout,
        })
    }

    /// Receives a message if one is there. Never blocks, and works in a cancelled scope.
    ///
    /// # Errors
    ///
    /// That the channel is empty, and whether it has senders. If it has none and the scope is
    /// cancelled, the cancel.
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
        self.0.try_recv().map_err(|refusal| match refusal {
            Refusal::NotNow => TryRecvError::Empty,
            Refusal::Disconnected(disconnected) => TryRecvError::Disconnected(disconnected),
            Refusal::Cancelled(cancelled) => TryRecvError::Cancelled(cancelled),
        })
    }

    /// The messages, until there are no senders any more: see [`Iter`].
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

    /// The messages that are in the channel now. Never blocks, and works in a cancelled scope: see
    /// [`TryIter`].
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

/// For a `&mut Receiver`, so that a loop need not borrow it anew.
impl<'a, T> IntoIterator for &'a mut Receiver<T> {
    type Item = Result<T, RecvError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
