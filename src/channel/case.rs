//! The cases of a select: the operation of each, and its output once it was done.

use std::sync::Arc;
use std::time::Instant;

use super::chan::Chan;
use super::op_error::OpError;
use super::{Disconnected, Receiver, Sender};
use crate::cancel::{CallbackGuard, CancelToken, Cancelled};
use crate::waiting::{Grant, Position, Waiter};

/// The outcome of an attempt to do a case.
pub(super) enum Tried {
    /// The case would have to wait.
    NotNow,
    /// The case was done.
    Done,
    /// The other side of its channel has gone, and the scope is cancelled.
    Cancelled(Cancelled),
}

/// The outcome of an attempt to enter the queue of a case.
pub(super) enum Entered {
    /// The case need not wait.
    NeedNotWait,
    /// Another thread will end the wait.
    Waits,
    /// The clock will end the wait, at this instant.
    WaitsUntil(Instant),
}

impl Entered {
    /// The waiter stands at this position of a queue, if it had to enter.
    fn at(position: Option<Position>) -> Self {
        match position {
            Some(_) => Entered::Waits,
            None => Entered::NeedNotWait,
        }
    }
}

/// One of the operations of which a select does one.
///
/// The case keeps its output, with its type, until the select is over. The select knows only which
/// case was done.
pub(super) trait Case {
    /// Does the operation if it need not wait.
    fn attempt(&mut self) -> Tried;

    /// Returns where among the other cases it enters its queue: see
    /// [Progress](super::choice#progress).
    fn rank(&self) -> u64;

    /// Returns whether an attempt outside of the queues can succeed later.
    fn may_spin(&self) -> bool {
        true
    }

    /// Puts `waiter` into the queue, as its case number `case`, unless the case need not wait.
    fn enter(&mut self, waiter: &Arc<Waiter>, case: u32) -> Entered;

    /// Leaves the queue that it has entered. The wait is over, and another case was granted, or
    /// none.
    fn leave(&mut self);

    /// Finishes the case, which was granted. Returns `NotNow` if another thread took the message
    /// first.
    fn granted(&mut self, grant: Grant) -> Tried;
}

/// A case without its types.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "for the macro")]
pub struct Erased<'a>(pub(super) &'a mut dyn Case);

/// The case that receives a message. Without a channel, it is never chosen.
#[derive(Debug)]
pub struct RecvCase<'a, T> {
    channel: Option<&'a Chan<T>>,
    position: Option<Position>,
    received: Option<Result<T, Disconnected>>,
}

impl<'a, T> RecvCase<'a, T> {
    /// Creates a case that has not been tried.
    pub fn new(receiver: Option<&'a Receiver<T>>) -> Self {
        RecvCase {
            channel: receiver.map(Receiver::chan),
            position: None,
            received: None,
        }
    }

    /// Returns the case as the select sees it.
    pub fn erase(&mut self) -> Erased<'_> {
        Erased(self)
    }

    /// Takes the output of the case, if it was done.
    pub fn take(&mut self) -> Option<Result<T, Disconnected>> {
        self.received.take()
    }
}

impl<T> Case for RecvCase<'_, T> {
    fn attempt(&mut self) -> Tried {
        let Some(channel) = self.channel else {
            return Tried::NotNow;
        };

        // Apart from the rest: usually there is a message, and a result with all the ways to fail
        // costs as much to pass on as the receive.
        if let Some(message) = channel.pop() {
            self.received = Some(Ok(message));
            return Tried::Done;
        }

        keep(&mut self.received, channel.take())
    }

    fn rank(&self) -> u64 {
        self.channel.map_or(u64::MAX, |channel| channel.id)
    }

    fn enter(&mut self, waiter: &Arc<Waiter>, case: u32) -> Entered {
        // Without a channel there is no queue, and nothing ends the wait.
        let Some(channel) = self.channel else {
            return Entered::Waits;
        };

        // Invariant 3 of the ticker: no thread stands in a queue of such a channel.
        if let Some(ticker) = channel.ticker() {
            return ticker.due().map_or(Entered::Waits, Entered::WaitsUntil);
        }

        self.position = channel.enter_receiving(waiter, case);
        Entered::at(self.position)
    }

    fn leave(&mut self) {
        if let Some((channel, position)) = self.channel.zip(self.position.take()) {
            channel.leave_receiving(position);
        }
    }

    fn granted(&mut self, _: Grant) -> Tried {
        let Some((channel, position)) = self.channel.zip(self.position.take()) else {
            return Tried::NotNow;
        };

        // Invariant 5 of the channel: the entry is still there, for this thread to take out.
        keep(&mut self.received, channel.end_receiving(position))
    }
}

/// Keeps the output of a case, if its operation was done. Returns how the attempt went.
fn keep<T>(output: &mut Option<Result<T, Disconnected>>, done: Result<T, OpError>) -> Tried {
    *output = match done {
        Ok(value) => Some(Ok(value)),
        Err(OpError::Disconnected(disconnected)) => Some(Err(disconnected)),
        Err(OpError::NotNow) => return Tried::NotNow,
        Err(OpError::Cancelled(cancelled)) => return Tried::Cancelled(cancelled),
    };
    Tried::Done
}

/// The case that sends a message. The message is with its owner, in the queue of the channel, or
/// sent.
#[derive(Debug)]
pub struct SendCase<'a, T> {
    channel: &'a Chan<T>,
    message: &'a mut Option<T>,
    position: Option<Position>,
    sent: Option<Result<(), Disconnected>>,
}

impl<'a, T> SendCase<'a, T> {
    /// Creates a case that has not been tried.
    pub fn new(sender: &'a Sender<T>, message: &'a mut Option<T>) -> Self {
        SendCase {
            channel: sender.chan(),
            message,
            position: None,
            sent: None,
        }
    }

    /// Returns the case as the select sees it.
    pub fn erase(&mut self) -> Erased<'_> {
        Erased(self)
    }

    /// Takes the output of the case, if it was done.
    pub fn take(&mut self) -> Option<Result<(), Disconnected>> {
        self.sent.take()
    }
}

impl<T> Case for SendCase<'_, T> {
    fn attempt(&mut self) -> Tried {
        // Taken for the attempt only: a message that was not sent goes back to its owner.
        let Some(message) = self.message.take() else {
            return Tried::NotNow;
        };

        let sent = self.channel.try_send(message).map_err(|(message, error)| {
            *self.message = Some(message);
            error
        });

        keep(&mut self.sent, sent)
    }

    fn rank(&self) -> u64 {
        self.channel.id
    }

    fn may_spin(&self) -> bool {
        // Without room, a sender and a receiver that are in no queue would spin past each other.
        self.channel.capacity != 0 || self.message.is_none()
    }

    fn enter(&mut self, waiter: &Arc<Waiter>, case: u32) -> Entered {
        // Without a message there is no queue, and nothing ends the wait.
        let Some(message) = self.message.take() else {
            return Entered::Waits;
        };

        // The message enters with the waiter, so that a receiver is done when it takes it.
        match self.channel.enter_sending(waiter, case, message) {
            Ok(position) => self.position = Some(position),
            Err(message) => *self.message = Some(message),
        }

        Entered::at(self.position)
    }

    fn leave(&mut self) {
        if let Some(position) = self.position.take() {
            *self.message = Some(self.channel.leave_sending(position));
        }
    }

    fn granted(&mut self, grant: Grant) -> Tried {
        // The thread that granted the wait has taken the message, and the entry with it.
        if grant == Grant::Given {
            self.position = None;
            return keep(&mut self.sent, Ok(()));
        }

        // Refused: the message is still in the queue, since only a message that was sent leaves it.
        self.leave();
        let disconnected = OpError::Disconnected(self.channel.without_receivers());
        keep(&mut self.sent, Err(disconnected.or_cancelled()))
    }
}

/// The case that waits for the cancel of a token.
#[derive(Debug)]
pub struct CancelledCase<'a> {
    token: &'a CancelToken,
    callback: Option<CallbackGuard>,
    cancelled: Option<Cancelled>,
}

impl<'a> CancelledCase<'a> {
    /// Creates a case that has not been tried.
    pub fn new(token: &'a CancelToken) -> Self {
        CancelledCase {
            token,
            callback: None,
            cancelled: None,
        }
    }

    /// Returns the case as the select sees it.
    pub fn erase(&mut self) -> Erased<'_> {
        Erased(self)
    }

    /// Takes the output of the case, if it was done.
    pub fn take(&mut self) -> Option<Cancelled> {
        self.cancelled.take()
    }
}

impl Case for CancelledCase<'_> {
    fn attempt(&mut self) -> Tried {
        self.cancelled = self.token.cancelled();
        match self.cancelled {
            Some(_) => Tried::Done,
            None => Tried::NotNow,
        }
    }

    fn rank(&self) -> u64 {
        u64::MAX
    }

    fn enter(&mut self, waiter: &Arc<Waiter>, case: u32) -> Entered {
        // The queue of a token are its callbacks. A callback that comes at once grants the wait
        // here.
        let waiter = waiter.clone();
        self.callback = Some(self.token.on_cancel(move || waiter.wake_for(case)));
        Entered::Waits
    }

    fn leave(&mut self) {
        // Removes the callback, or waits until it has run.
        self.callback = None;
    }

    fn granted(&mut self, _: Grant) -> Tried {
        self.leave();
        self.attempt()
    }
}
