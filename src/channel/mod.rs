//! Channels with waits that a cancel ends.
//!
//! | | room for | a send blocks |
//! |---|---|---|
//! | [`unbounded`] | any number of messages | never |
//! | [`bounded`]`(n)` | n messages | while it is full |
//! | [`bounded`]`(0)` | none: a rendezvous | for a receiver |
//!
//! Any number of threads may send and receive: both ends are cloned. Messages of one sender arrive
//! in order, and each goes to one receiver.
//!
//! ```
//! use taskgroup::{TaskGroup, channel};
//!
//! # fn main() -> anyhow::Result<()> {
//! let (sender, receiver) = channel::bounded(4);
//! let lengths = TaskGroup::scope(|g| {
//!     for word in ["one", "three", "seven"] {
//!         let sender = sender.clone();
//!         g.spawn(move || Ok(sender.send(word.len())?));
//!     }
//!     // The loop ends when the last sender is gone.
//!     drop(sender);
//!     Ok(receiver.iter().collect::<Result<Vec<_>, _>>()?)
//! })?;
//! assert_eq!(lengths.iter().sum::<usize>(), 13);
//! # Ok(())
//! # }
//! ```
//!
//! [`select!`] waits for several channels at once, and [`Select`] for any number. The receivers of
//! [`after`] and [`tick`] get their messages from the clock.
//!
//! # Cancellation
//!
//! In a cancelled scope `send` and `recv` fail at their entry, each time. Calls that are already
//! blocked wake when the scope is cancelled. No message is lost: a send that fails returns its
//! message, a receive that fails has taken none, and a message that was delivered while the scope
//! was being cancelled is returned.
//!
//! A call in a cancelled scope does not report that the other end has gone. If another task ended
//! because of the cancel and dropped its end, the call that finds it gone was cancelled too.
//!
//! `try_send`, `try_recv` and [`try_select`](Select::try_select) never block, and work in a
//! cancelled scope. They report the cancel only where they would report that the other end has
//! gone.
//!
//! The errors have the [`Cancelled`](crate::Cancelled) as their source, so that a group recognizes
//! its own cancel when a task returns one with `?`.
//!
//! # Pipelines
//!
//! The stages of a pipeline are tasks that pass messages on. A stage ends its output by dropping
//! its sender, and the next stage takes the end of the messages for the end of the work. But a
//! stage that fails drops its sender too. A closure that owns the sender drops it as it returns,
//! before the group knows that the task failed. So the next stage may see a plain end, and commit a
//! part of the work as the whole.
//!
//! **Rule: give a stage its ends of channels [`with`](crate::TaskBuilder::with), and use `?` on
//! what the iterator yields.**
//!
//! ```
//! use taskgroup::{channel, TaskGroup};
//!
//! let (sender, receiver) = channel::bounded(4);
//! let mut committed = None;
//! let failed = TaskGroup::scope(|g| {
//!     g.task().name("read").with(sender).spawn(|sender| {
//!         for line in ["1", "2", "three"] {
//!             sender.send(line.parse::<u32>()?)?;
//!         }
//!         Ok(())
//!     });
//!     g.task().name("sum").with(receiver).spawn(|receiver| {
//!         let mut sum = 0;
//!         for n in receiver.iter() {
//!             sum += n?;
//!         }
//!         committed = Some(sum);
//!         Ok(())
//!     });
//!     Ok(())
//! });
//! assert!(failed.is_err());
//! assert_eq!(committed, None);
//! ```
//!
//! The group drops such an end after it has recorded the outcome of the task and, for a failure,
//! cancelled the group. So the other stages see the cancel. No cancel comes to them if the group
//! collects failures, if the task is isolated or was cancelled alone, or if they run in another
//! scope. Then they see an error:
//!
//! - A side of a channel remembers the first of its ends that was dropped because a task did not
//!   end well, even if other tasks end well after that.
//! - When the messages that were sent have been received, [`recv`](Receiver::recv) gives a
//!   [`Disconnected`]. Its [`ended_well`](Disconnected::ended_well) is false, and its
//!   [`closed_by`](Disconnected::closed_by) names the task. Iterators yield that error once, and
//!   then end.
//!
//! A panic, and a task that never ran, are known while the closure is dropped. They count without
//! `with` as well.
//!
//! A stage that fails only because another has failed is an [echo](crate::Failure::echo_of) in the
//! report, whichever of the two was recorded first. The [primary](crate::GroupError::primary)
//! failure is the root.
//!
//! # Memory ordering
//!
//! What happened before a send happens before the return of the receive that gets its message. In a
//! bounded channel, what happened before a receive happens before the return of a send that waited
//! for its room.

mod case;
mod chan;
mod choice;
mod closing;
#[cfg(feature = "crossbeam")]
#[cfg_attr(docsrs, doc(cfg(feature = "crossbeam")))]
pub mod crossbeam;
mod end;
mod error;
mod iter;
mod macros;
mod op_error;
#[doc(hidden)]
pub mod parts;
mod progress;
mod receiver;
mod select;
mod sender;
mod state;
mod ticker;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::error::Disconnected;
use chan::Chan;
pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use iter::{IntoIter, Iter, TryIter};
pub use receiver::Receiver;
pub use select::Select;
pub use sender::Sender;
use ticker::Ticker;

use crate::facade;

#[doc(inline)]
pub use crate::__select as select;

/// Creates a channel with room for `capacity` messages. With a capacity of zero, a send hands its
/// message to a waiting receiver.
///
/// ```
/// let (sender, receiver) = taskgroup::channel::bounded(1);
/// sender.send('a')?;
/// assert_eq!(receiver.len(), 1);
/// # Ok::<(), taskgroup::channel::SendError<char>>(())
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let chan = Arc::new(Chan::new(capacity));
    (Sender::new(chan.clone()), Receiver::new(chan))
}

/// Creates a channel with room for any number of messages.
///
/// ```
/// let (sender, receiver) = taskgroup::channel::unbounded();
/// for n in 0..100 {
///     sender.send(n)?;
/// }
/// assert_eq!(receiver.len(), 100);
/// # Ok::<(), taskgroup::channel::SendError<i32>>(())
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    bounded(usize::MAX)
}

/// Returns a receiver of a channel that stays empty and never disconnects.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::channel::{never, select, unbounded};
///
/// let (sender, receiver) = unbounded();
/// sender.send(1)?;
/// let (is_paused, never) = (true, never());
/// let received = select! {
///     recv(if is_paused { &never } else { &receiver }) -> message => message.ok(),
///     default => None,
/// }?;
/// assert_eq!(received, None);
/// # Ok(())
/// # }
/// ```
pub fn never<T>() -> Receiver<T> {
    Receiver::new(Arc::new(Chan::never()))
}

/// Returns a receiver that gets one message, when `duration` has passed. The message is the instant
/// at which it was due.
///
/// No other message follows, and the channel never disconnects. It costs no thread: a receive waits
/// for the clock by itself. A cancel or a time limit ends its wait like any other. A `duration`
/// that is too long for an [`Instant`] never passes.
///
/// Use it to limit several waits, or beside other cases. To limit a single wait,
/// [`recv_timeout`](Receiver::recv_timeout) and the `default(duration)` of a [`select!`] are
/// shorter.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::time::Duration;
/// use taskgroup::channel::{after, select, unbounded};
///
/// let (sender, readings) = unbounded();
/// (1..=3).try_for_each(|n| sender.send(n))?;
///
/// let over = after(Duration::from_millis(20));
/// let mut sum = 0;
/// loop {
///     select! {
///         recv(readings) -> reading => sum += reading?,
///         recv(over) -> _ => break,
///     }?;
/// }
/// # assert!(sum <= 6);
/// # Ok(())
/// # }
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    let due = facade::now().checked_add(duration);
    Receiver::new(Arc::new(Chan::timed(Ticker::new(due, None, |due| due))))
}

/// Returns a receiver that gets a message each time that `period` has passed. The message is the
/// instant at which it was due.
///
/// The first message comes after one period, and the channel never disconnects. It has room for one
/// message: a receive that is late by a period or more gets one message and not all that were
/// missed, and the next message comes a period later. Each message goes to one of the clones of the
/// receiver.
///
/// The channel costs no thread: a receive waits for the clock by itself. A cancel or a time limit
/// ends its wait like any other.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::time::Duration;
/// use taskgroup::channel::{select, tick, unbounded};
///
/// let (sender, jobs) = unbounded::<u32>();
/// let heartbeat = tick(Duration::from_millis(1));
/// let mut beats = 0;
/// while beats < 3 {
///     select! {
///         recv(jobs) -> job => println!("{}", job?),
///         recv(heartbeat) -> _ => beats += 1,
///     }?;
/// }
/// # drop(sender);
/// # Ok(())
/// # }
/// ```
pub fn tick(period: Duration) -> Receiver<Instant> {
    let due = facade::now().checked_add(period);
    Receiver::new(Arc::new(Chan::timed(Ticker::new(
        due,
        Some(period),
        |due| due,
    ))))
}
