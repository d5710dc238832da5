//! Channels whose waits end when the scope is cancelled.
//!
//! | | room for | a send waits |
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
//! [`select!`] waits for several of them at once, and [`Select`] for any number. [`after`] and
//! [`tick`] are receivers of messages that come from the clock.
//!
//! # Cancellation
//!
//! In a cancelled scope `send` and `recv` fail at their entry, each time, and wake when the scope
//! is cancelled meanwhile. A send that fails gives its message back, a receive that fails has taken
//! none, and what was delivered while the scope was being cancelled is returned: no message is
//! lost. In a cancelled scope an end that has gone is not reported: where another task ended
//! because of the cancel and dropped its end, the call that finds it gone was cancelled too.
//! `try_send`, `try_recv` and [`try_select`](Select::try_select) never block and work in a
//! cancelled scope; they report the cancel only where they would report that the other end has
//! gone. The errors have the [`Cancelled`](crate::Cancelled) as their source, so that with `?` a
//! group knows its own cancel again.
//!
//! # Pipelines
//!
//! The stages of a pipeline are tasks that pass messages on. A stage ends its output by dropping
//! its sender, and the next stage takes the end of the messages for the end of the work. A stage
//! that fails drops its sender too. A closure that owns the sender drops it as it returns, before
//! anything can know that the task failed: the next stage may see a plain end, and commit a part of
//! the work as the whole.
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
//! cancelled the group. So the other stages see the cancel. Where no cancel comes to them, because
//! the group collects failures, the task is isolated, it was cancelled alone, or they run in
//! another scope, they see an error:
//!
//! - A side of a channel remembers the first of its ends that was dropped because a task did not
//!   end well, also if other tasks end well after that.
//! - When the messages that were sent have been received, [`recv`](Receiver::recv) gives a
//!   [`Disconnected`] whose [`ended_well`](Disconnected::ended_well) is false and whose
//!   [`closed_by`](Disconnected::closed_by) names the task. Iterators yield that error once, and
//!   then end.
//!
//! A panic and a task that never ran are known while the closure is dropped. They count without
//! `with` as well.
//!
//! A stage that fails only because another has failed is an [echo](crate::Failure::echo_of) in the
//! report, whichever of the two was recorded first. The [primary](crate::GroupError::primary)
//! failure is the root.
//!
//! # Memory ordering
//!
//! What happened before a send happens before the return of the receive that gets its message; and
//! in a bounded channel, what happened before a receive happens before the return of a send that
//! waited for its room.

mod case;
mod choice;
mod closing;
#[cfg(feature = "crossbeam")]
pub mod crossbeam;
mod end;
mod error;
mod iter;
mod macros;
#[doc(hidden)]
pub mod parts;
mod random;
mod receiver;
mod refusal;
mod select;
mod sender;
mod shared;
mod state;
mod timer;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::error::Disconnected;
pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use iter::{IntoIter, Iter, TryIter};
pub use receiver::Receiver;
pub use select::Select;
pub use sender::Sender;
use shared::Shared;
use timer::Timer;

use crate::facade;

#[doc(inline)]
pub use crate::__select as select;

/// A channel with room for `capacity` messages. With room for none, a send hands its message to a
/// receiver that waits.
///
/// ```
/// let (sender, receiver) = taskgroup::channel::bounded(1);
/// sender.send('a')?;
/// assert_eq!(receiver.len(), 1);
/// # Ok::<(), taskgroup::channel::SendError<char>>(())
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared::new(capacity));
    (Sender::new(shared.clone()), Receiver::new(shared))
}

/// A channel with room for any number of messages.
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

/// A receiver that no message comes to, and that is never told of an end.
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
    Receiver::new(Arc::new(Shared::never()))
}

/// A receiver of one message, which comes when `duration` has passed: the instant at which it was
/// due.
///
/// No other message follows, and no end. The channel costs no thread. A receive waits for the clock
/// by itself, and its wait is cut short by a cancel or a limit like any other. A `duration` that is
/// too long for an [`Instant`] never passes.
///
/// For a limit of one wait, [`recv_timeout`](Receiver::recv_timeout) and the `default(duration)` of
/// a [`select!`] are shorter. This is for a limit of several waits, or beside other cases.
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
    Receiver::new(Arc::new(Shared::timed(Timer::new(due, None, |due| due))))
}

/// A receiver of a message each time that `period` has passed: the instant at which it was due. The
/// first comes after one period.
///
/// The channel has room for one message. A receive that is late by a period or more gets one
/// message, not all that were missed, and the next comes a period later. Each message goes to one
/// of the clones of the receiver. No end follows. The channel costs no thread. A receive waits for
/// the clock by itself, and its wait is cut short by a cancel or a limit like any other.
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
    Receiver::new(Arc::new(Shared::timed(Timer::new(
        due,
        Some(period),
        |due| due,
    ))))
}
