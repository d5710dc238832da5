//! Cancellable waits for the channels of crossbeam. Needs the feature `crossbeam`.
//!
//! The functions take senders and receivers of crossbeam, and fail with the errors of
//! [`channel`](super). They are functions and not methods of an extension trait because the types
//! of crossbeam have methods of the same names, which do not know of a cancel.
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
//! In a `select!` of crossbeam, the case of the cancel receives from
//! [`CancelToken::closed`](crate::CancelToken::closed):
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
//!         recv(control) -> _ => anyhow::bail!("the control channel is closed"),
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
//! The rules are the ones of the channels of this crate. In a cancelled scope each call fails at
//! its entry, and a blocked call wakes when the scope is cancelled. A send that fails returns its
//! message, and a receive that fails has taken none. A call in a cancelled scope that finds the
//! other side gone reports the cancel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, SelectedOperation, Sender, TryRecvError, TrySendError};

use super::op_error::OpError;
use super::progress::IterProgress;
use super::{Disconnected, RecvError, RecvTimeoutError, SendError, SendTimeoutError};
use crate::cancel::{Node, context};
use crate::facade::spin;
use crate::lanes::Object;
use crate::waiting::{OnCancel, WaitKind};

/// Blocks until there is a message, and receives it.
///
/// # Cancellation
///
/// A blocking point. If it fails, no message was taken.
///
/// # Errors
///
/// Fails if the scope is cancelled, or if the channel is empty and has no senders.
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
    recv_until(receiver, || None).map_err(|error| match error {
        OpError::Cancelled(cancelled) => RecvError::Cancelled(cancelled),
        OpError::Disconnected(disconnected) => RecvError::Disconnected(disconnected),
        OpError::NotNow => unreachable!("the wait has no limit"),
    })
}

/// Like [`recv`], but blocks for at most `duration`.
///
/// # Cancellation
///
/// Like [`recv`].
///
/// # Errors
///
/// Like [`recv`]. Also fails if no message came in time.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::channel::{crossbeam, RecvTimeoutError};
///
/// let (_sender, receiver) = crossbeam_channel::unbounded::<u8>();
/// let late = crossbeam::recv_timeout(&receiver, Duration::from_millis(1));
/// assert!(matches!(late, Err(RecvTimeoutError::Timeout)));
/// ```
#[track_caller]
pub fn recv_timeout<T>(receiver: &Receiver<T>, duration: Duration) -> Result<T, RecvTimeoutError> {
    recv_until(receiver, || Instant::now().checked_add(duration)).map_err(|error| match error {
        OpError::Cancelled(cancelled) => RecvTimeoutError::Cancelled(cancelled),
        OpError::Disconnected(disconnected) => RecvTimeoutError::Disconnected(disconnected),
        OpError::NotNow => RecvTimeoutError::Timeout,
    })
}

/// Blocks until there is room for `message`, and sends it. In a channel with a capacity of zero,
/// blocks until a receiver takes it.
///
/// # Cancellation
///
/// A blocking point. The message is either delivered or in the error.
///
/// # Errors
///
/// Fails if the scope is cancelled, or if there are no receivers. The error holds the message.
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
    send_until(sender, message, || None).map_err(|(message, error)| match error {
        OpError::Cancelled(cancelled) => SendError::Cancelled(message, cancelled),
        OpError::Disconnected(disconnected) => SendError::Disconnected(message, disconnected),
        OpError::NotNow => unreachable!("the wait has no limit"),
    })
}

/// Like [`send`], but blocks for at most `duration`.
///
/// # Cancellation
///
/// Like [`send`].
///
/// # Errors
///
/// Like [`send`]. Also fails if there was no room in time.
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
        |(message, error)| match error {
            OpError::Cancelled(cancelled) => SendTimeoutError::Cancelled(message, cancelled),
            OpError::Disconnected(disconnected) => {
                SendTimeoutError::Disconnected(message, disconnected)
            }
            OpError::NotNow => SendTimeoutError::Timeout(message),
        },
    )
}

/// Returns an iterator over the messages of a channel of crossbeam, until it is empty and has no
/// senders: see [`Iter`].
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
        progress: IterProgress::default(),
    }
}

/// An iterator over the messages of a channel of crossbeam. Made by [`iter`].
///
/// Each step is a [`recv`]. In a cancelled scope the iterator takes no message. It yields the
/// error, so that a loop that was cut short does not look finished. Then it ends, so that a loop
/// that drops errors, like `flatten`, does not spin. It can be continued, for example in a
/// [`shield`](crate::shield).
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
    progress: IterProgress,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = Result<T, RecvError>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.progress.ends() {
            return None;
        }

        let received = recv(self.receiver);
        self.progress.after(received)
    }
}

// A bare `select!` over the channel and the cancel costs more than twice as much as a `try_recv`
// that succeeds, and it parks without a spin. So the channel is tried first, then tried for a
// while, and only then selected.

#[inline]
#[track_caller]
fn recv_until<T>(
    receiver: &Receiver<T>,
    limit: impl FnOnce() -> Option<Instant>,
) -> Result<T, OpError> {
    // A cancelled scope fails even if there is a message.
    context::check().map_err(OpError::Cancelled)?;

    // The limit is asked for only if the thread has to wait, since it may read the clock.
    match try_recv(receiver) {
        Err(OpError::NotNow) => recv_slowly(receiver, limit()),
        done => done,
    }
}

/// Returns the error of a call that finds the other side gone. A channel of crossbeam does not say
/// which task closed it.
#[cold]
fn gone() -> OpError {
    OpError::Disconnected(Disconnected::unknown()).or_cancelled()
}

#[inline]
fn try_recv<T>(receiver: &Receiver<T>) -> Result<T, OpError> {
    receiver.try_recv().map_err(|error| match error {
        TryRecvError::Empty => OpError::NotNow,
        TryRecvError::Disconnected => gone(),
    })
}

#[cold]
#[track_caller]
fn recv_slowly<T>(receiver: &Receiver<T>, limit: Option<Instant>) -> Result<T, OpError> {
    // The select below parks without a spin.
    let mut received = Err(OpError::NotNow);
    spin(|| {
        received = try_recv(receiver);
        !matches!(received, Err(OpError::NotNow))
    });

    let Err(OpError::NotNow) = received else {
        return received;
    };

    // Kept until the wait is over, since the select borrows its channel of the cancel.
    let node = context::current();
    let mut select = Select::new();
    select.recv(receiver);

    // The selected operation fails only if the channel is disconnected.
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
) -> Result<(), (T, OpError)> {
    // A cancelled scope fails even if there is room.
    if let Err(cancelled) = context::check() {
        return Err((message, OpError::Cancelled(cancelled)));
    }

    match try_send(sender, message) {
        Err((message, OpError::NotNow)) => send_slowly(sender, message, limit()),
        done => done,
    }
}

#[inline]
fn try_send<T>(sender: &Sender<T>, message: T) -> Result<(), (T, OpError)> {
    sender.try_send(message).map_err(|error| match error {
        TrySendError::Full(message) => (message, OpError::NotNow),
        TrySendError::Disconnected(message) => (message, gone()),
    })
}

#[cold]
#[track_caller]
fn send_slowly<T>(
    sender: &Sender<T>,
    message: T,
    limit: Option<Instant>,
) -> Result<(), (T, OpError)> {
    let mut unsent = Some(message);
    let mut sent = Ok(());

    // The message goes into each attempt and comes back if there is no room.
    let mut attempt = || {
        let Some(message) = unsent.take() else {
            return true;
        };

        sent = match try_send(sender, message) {
            Err((message, OpError::NotNow)) => {
                unsent = Some(message);
                return false;
            }
            done => done,
        };

        true
    };

    // Without room, a sender and a receiver that both only try would miss each other.
    let _ = sender.capacity() != Some(0) && spin(&mut attempt);
    let Some(message) = unsent else { return sent };

    // Kept until the wait is over, like in `recv_slowly`.
    let node = context::current();
    let mut select = Select::new();
    select.send(sender);

    // The message goes to the channel once the send is selected. Until then this thread has it.
    match wait(WaitKind::Send, select, node.as_ref(), limit) {
        Ok(operation) => operation
            .send(sender, message)
            .map_err(|error| (error.into_inner(), gone())),
        Err(error) => Err((message, error)),
    }
}

/// Blocks until the one operation of `select` can be done, or until `node` is cancelled.
#[track_caller]
fn wait<'a>(
    kind: WaitKind,
    mut select: Select<'a>,
    node: Option<&'a Arc<Node>>,
    limit: Option<Instant>,
) -> Result<SelectedOperation<'a>, OpError> {
    // A cancel disconnects this receiver, which makes its operation ready.
    let closed = node.map(|node| (node, select.recv(node.closed())));

    let on_cancel = match closed {
        Some(_) => OnCancel::Return,
        None => OnCancel::Wait,
    };
    let what = kind.on(Object::None).limited(limit.is_some());
    let selected = context::blocked(what, on_cancel, || match limit {
        None => Ok(select.select()),
        Some(limit) => select.select_deadline(limit),
    });

    // Only a select with a limit fails.
    let operation = selected.map_err(|_| OpError::NotNow)?;

    match closed {
        Some((node, index)) if operation.index() == index => {
            // A selected operation has to be completed, even this one, which can only fail.
            let _ = operation.recv(node.closed());
            match node.check() {
                Err(cancelled) => Err(OpError::Cancelled(cancelled)),
                Ok(()) => unreachable!("only a cancel ends it while the node is held"),
            }
        }
        _ => Ok(operation),
    }
}
