//! Channels of crossbeam's, waited for as those of this crate are. Needs the feature `crossbeam`.
//!
//! For code whose channels are crossbeam's: the functions take their senders and receivers, and
//! fail with the errors of [`channel`](super). They are functions because the methods of these
//! types have the same names, and do not know of a cancel.
//!
//! ```
//! use crossbeam_channel::bounded;
//! use taskgroup::channel::crossbeam;
//! use taskgroup::TaskGroup;
//!
//! # fn main() -> anyhow::Result<()> {
//! let (sender, receiver) = bounded(4);
//! let total = TaskGroup::scope(|g| {
//!     g.spawn(move || Ok((1..=100).try_for_each(|n| crossbeam::send(&sender, n))?));
//!     Ok(crossbeam::iter(&receiver).sum::<Result<u32, _>>()?)
//! })?;
//! assert_eq!(total, 5_050);
//! # Ok(())
//! # }
//! ```
//!
//! In a `select!` of theirs, the receiver that [`CancelToken::closed`](crate::CancelToken::closed)
//! gives stands for the cancel:
//!
//! ```
//! use crossbeam_channel::{select, unbounded};
//!
//! # fn main() -> anyhow::Result<()> {
//! let ((jobs, incoming), (_quiet, control)) = (unbounded(), unbounded::<()>());
//! jobs.send(7)?;
//! let job = taskgroup::TaskGroup::scope(|g| {
//!     let closed = g.token().closed();
//!     select! {
//!         recv(incoming) -> job => Ok(job?),
//!         recv(control) -> _ => anyhow::bail!("nobody controls"),
//!         recv(closed) -> _ => Err(g.token().check().unwrap_err().into()),
//!     }
//! })?;
//! assert_eq!(job, 7);
//! # Ok(())
//! # }
//! ```
//!
//! # Cancellation
//!
//! As with the channels of this crate: in a cancelled scope each call fails at its entry, and one
//! that waits wakes when the scope is cancelled. A send that fails gives its message back; a
//! receive that fails has taken none. That the other side has gone is not reported in a cancelled
//! scope: it is the cancel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, SelectedOperation, Sender, TryRecvError, TrySendError};

use super::refusal::Refusal;
use super::{Disconnected, RecvError, RecvTimeoutError, SendError, SendTimeoutError};
use crate::blocking::CancelFuse;
use crate::cancel::{Node, context};
use crate::facade::spin;
use crate::waiting::WaitKind;

/// Receives a message, waiting for it if need be.
///
/// # Cancellation
///
/// A blocking point. With `Err`, no message was taken.
///
/// # Errors
///
/// The cancel of the scope, or that the channel is empty and has no senders.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// let (sender, receiver) = crossbeam_channel::unbounded();
/// sender.send(1)?;
/// assert_eq!(taskgroup::channel::crossbeam::recv(&receiver)?, 1);
/// # Ok(())
/// # }
/// ```
#[inline]
#[track_caller]
pub fn recv<T>(receiver: &Receiver<T>) -> Result<T, RecvError> {
    recv_until(receiver, || None).map_err(|refusal| match refusal {
        Refusal::Cancelled(cancelled) => RecvError::Cancelled(cancelled),
        Refusal::Disconnected(disconnected) => RecvError::Disconnected(disconnected),
        Refusal::NotNow => unreachable!("the wait has no limit"),
    })
}

/// As [`recv`], waiting for at most `duration`.
///
/// # Cancellation
///
/// As [`recv`].
///
/// # Errors
///
/// As [`recv`], or that no message came in time.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::channel::{crossbeam, RecvTimeoutError};
///
/// let (_sender, receiver) = crossbeam_channel::unbounded::<u8>();
/// assert!(matches!(crossbeam::recv_timeout(&receiver, Duration::from_millis(1)), Err(RecvTimeoutError::Timeout)));
/// ```
#[track_caller]
pub fn recv_timeout<T>(receiver: &Receiver<T>, duration: Duration) -> Result<T, RecvTimeoutError> {
    recv_until(receiver, || Instant::now().checked_add(duration)).map_err(|refusal| match refusal {
        Refusal::Cancelled(cancelled) => RecvTimeoutError::Cancelled(cancelled),
        Refusal::Disconnected(disconnected) => RecvTimeoutError::Disconnected(disconnected),
        Refusal::NotNow => RecvTimeoutError::Timeout,
    })
}

/// Sends `message`, waiting for room if need be; in a channel without room, for a receiver.
///
/// # Cancellation
///
/// A blocking point. The message is delivered or in the error, never both and never neither.
///
/// # Errors
///
/// The cancel of the scope, or that there are no receivers, with the message.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// let (sender, receiver) = crossbeam_channel::bounded(1);
/// taskgroup::channel::crossbeam::send(&sender, "hello")?;
/// assert_eq!(receiver.recv()?, "hello");
/// # Ok(())
/// # }
/// ```
#[inline]
#[track_caller]
pub fn send<T>(sender: &Sender<T>, message: T) -> Result<(), SendError<T>> {
    send_until(sender, message, || None).map_err(|(message, refusal)| match refusal {
        Refusal::Cancelled(cancelled) => SendError::Cancelled(message, cancelled),
        Refusal::Disconnected(disconnected) => SendError::Disconnected(message, disconnected),
        Refusal::NotNow => unreachable!("the wait has no limit"),
    })
}

/// As [`send`], waiting for at most `duration`.
///
/// # Cancellation
///
/// As [`send`].
///
/// # Errors
///
/// As [`send`], or that there was no room in time, with the message.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::channel::{crossbeam, SendTimeoutError};
///
/// let (sender, _receiver) = crossbeam_channel::bounded(0);
/// let late = crossbeam::send_timeout(&sender, 7, Duration::from_millis(1));
/// assert!(matches!(late, Err(SendTimeoutError::Timeout(7))));
/// ```
#[track_caller]
pub fn send_timeout<T>(
    sender: &Sender<T>,
    message: T,
    duration: Duration,
) -> Result<(), SendTimeoutError<T>> {
    send_until(sender, message, || Instant::now().checked_add(duration)).map_err(
        |(message, refusal)| match refusal {
            Refusal::Cancelled(cancelled) => SendTimeoutError::Cancelled(message, cancelled),
            Refusal::Disconnected(disconnected) => {
                SendTimeoutError::Disconnected(message, disconnected)
            }
            Refusal::NotNow => SendTimeoutError::Timeout(message),
        },
    )
}

/// The messages of a channel of crossbeam's, until it is empty and has no senders: see [`Iter`].
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// let (sender, receiver) = crossbeam_channel::unbounded();
/// sender.send(1)?;
/// drop(sender);
/// for n in taskgroup::channel::crossbeam::iter(&receiver) {
///     assert_eq!(n?, 1);
/// }
/// # Ok(())
/// # }
/// ```
pub fn iter<T>(receiver: &Receiver<T>) -> Iter<'_, T> {
    Iter {
        receiver,
        fuse: CancelFuse::default(),
    }
}

/// The messages of a channel of crossbeam's; from [`iter`].
///
/// Each step is a [`recv`]. In a cancelled scope it yields that error, so that a loop that was cut
/// short never looks finished, and then ends: a loop that drops errors, as `flatten` does, does not
/// spin. No message is taken then, and an iteration that is taken up again, in a
/// [`shield`](crate::shield) for example, goes on with them.
///
/// ```
/// let (sender, receiver) = crossbeam_channel::unbounded::<u32>();
/// drop(sender);
/// assert!(taskgroup::channel::crossbeam::iter(&receiver).next().is_none());
/// ```
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked for its items"]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
    fuse: CancelFuse,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = Result<T, RecvError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.fuse.ends() {
            return None;
        }
        let step = match recv(self.receiver) {
            Ok(message) => Ok(Some(message)),
            Err(RecvError::Cancelled(cancelled)) => Err(cancelled),
            Err(RecvError::Disconnected(_)) => Ok(None),
        };
        Some(self.fuse.after(step)?.map_err(RecvError::Cancelled))
    }
}

// A bare `select!` over the channel and the cancel costs more than twice as much as a `try_recv`
// that succeeds, and parks without a spin. So the channel is tried first, then for a while, and
// only then selected.

#[inline]
#[track_caller]
fn recv_until<T>(
    receiver: &Receiver<T>,
    limit: impl FnOnce() -> Option<Instant>,
) -> Result<T, Refusal> {
    context::check().map_err(Refusal::Cancelled)?;
    match try_recv(receiver) {
        Err(Refusal::NotNow) => recv_slowly(receiver, limit()),
        done => done,
    }
}

/// The other side has gone, or the scope is cancelled. A channel of crossbeam's does not say which
/// task closed it.
#[cold]
fn gone() -> Refusal {
    Refusal::Disconnected(Disconnected::unknown()).or_cancelled()
}

#[inline]
fn try_recv<T>(receiver: &Receiver<T>) -> Result<T, Refusal> {
    receiver.try_recv().map_err(|error| match error {
        TryRecvError::Empty => Refusal::NotNow,
        TryRecvError::Disconnected => gone(),
    })
}

#[cold]
#[track_caller]
fn recv_slowly<T>(receiver: &Receiver<T>, limit: Option<Instant>) -> Result<T, Refusal> {
    let mut received = Err(Refusal::NotNow);
    spin(|| {
        received = try_recv(receiver);
        !matches!(received, Err(Refusal::NotNow))
    });
    let Err(Refusal::NotNow) = received else {
        return received;
    };

    let node = context::current();
    let mut select = Select::new();
    select.recv(receiver);
    wait(WaitKind::Receive, select, node.as_ref(), limit)?
        .recv(receiver)
        .map_err(|_| gone())
}

#[inline]
#[track_caller]
fn send_until<T>(
    sender: &Sender<T>,
    message: T,
    limit: impl FnOnce() -> Option<Instant>,
) -> Result<(), (T, Refusal)> {
    if let Err(cancelled) = context::check() {
        return Err((message, Refusal::Cancelled(cancelled)));
    }
    match try_send(sender, message) {
        Err((message, Refusal::NotNow)) => send_slowly(sender, message, limit()),
        done => done,
    }
}

#[inline]
fn try_send<T>(sender: &Sender<T>, message: T) -> Result<(), (T, Refusal)> {
    sender.try_send(message).map_err(|error| match error {
        TrySendError::Full(message) => (message, Refusal::NotNow),
        TrySendError::Disconnected(message) => (message, gone()),
    })
}

#[cold]
#[track_caller]
fn send_slowly<T>(
    sender: &Sender<T>,
    message: T,
    limit: Option<Instant>,
) -> Result<(), (T, Refusal)> {
    let mut unsent = Some(message);
    let mut sent = Ok(());
    let mut attempt = || {
        let Some(message) = unsent.take() else {
            return true;
        };
        sent = match try_send(sender, message) {
            Err((message, Refusal::NotNow)) => {
                unsent = Some(message);
                return false;
            }
            done => done,
        };
        true
    };
    // Without room, a sender and a receiver that both only try would pass each other.
    let _ = sender.capacity() != Some(0) && spin(&mut attempt);
    let Some(message) = unsent else { return sent };

    let node = context::current();
    let mut select = Select::new();
    select.send(sender);
    match wait(WaitKind::Send, select, node.as_ref(), limit) {
        Ok(operation) => operation
            .send(sender, message)
            .map_err(|error| (error.into_inner(), gone())),
        Err(refusal) => Err((message, refusal)),
    }
}

/// Waits for the one operation of `select`, or for the cancel of `node`.
#[track_caller]
fn wait<'a>(
    point: WaitKind,
    mut select: Select<'a>,
    node: Option<&'a Arc<Node>>,
    limit: Option<Instant>,
) -> Result<SelectedOperation<'a>, Refusal> {
    let closed = node.map(|node| (node, select.recv(node.closed())));
    let selected = context::blocked(point, || match limit {
        None => Ok(select.select()),
        Some(limit) => select.select_deadline(limit),
    });
    let operation = selected.map_err(|_| Refusal::NotNow)?;
    match closed {
        Some((node, index)) if operation.index() == index => {
            // A selected operation has to be completed, also one that can only fail.
            let _ = operation.recv(node.closed());
            match node.check() {
                Err(cancelled) => Err(Refusal::Cancelled(cancelled)),
                Ok(()) => unreachable!("only a cancel ends it while the node is held"),
            }
        }
        _ => Ok(operation),
    }
}
