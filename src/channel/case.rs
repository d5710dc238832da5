//! The cases of a select: what each of them waits for, and what it came to.

use std::sync::Arc;

use std::time::Instant;

use super::parts::Erased;
use super::refusal::Refusal;
use super::shared::Shared;
use super::{Disconnected, Receiver, Sender};
use crate::cancel::{CallbackGuard, CancelToken, Cancelled};
use crate::waiting::{Grant, Position, Waiter};

/// What became of an attempt to do a case.
pub(super) enum Attempt {
    /// It takes a wait.
    NotNow,
    Done,
    /// The other side of its channel has gone, and the scope is cancelled.
    Cancelled(Cancelled),
}

impl Attempt {
    fn done(is_done: bool) -> Self {
        if is_done {
            Attempt::Done
        } else {
            Attempt::NotNow
        }
    }
}

/// What became of an attempt to enter the queue of a case.
pub(super) enum Entered {
    /// The case need not wait.
    NeedNotWait,
    /// Another thread will end the wait.
    Waits,
    /// The clock will end the wait, at this instant.
    WaitsUntil(Instant),
}

impl Entered {
    fn waits(waits: bool) -> Self {
        if waits {
            Entered::Waits
        } else {
            Entered::NeedNotWait
        }
    }
}

/// One of several things of which a select does one.
///
/// What it comes to is kept in the case, with its type, until the select is over: the select knows
/// only which it was.
pub(super) trait Case {
    /// Does it if that takes no wait.
    fn attempt(&mut self) -> Attempt;

    /// Where among the others it enters its queue: see [`super::select`].
    fn rank(&self) -> u64;

    /// Whether trying again without being in a queue may lead to anything.
    fn may_spin(&self) -> bool {
        true
    }

    /// Lets `waiter` wait for it as its case number `case`, unless it need not wait.
    fn enter(&mut self, waiter: &Arc<Waiter>, case: u32) -> Entered;

    /// Leaves the queue that it has entered. The wait is over, and came to something else.
    fn leave(&mut self);

    /// What the wait came to was this; `NotNow` if another thread was faster after all.
    fn granted(&mut self, grant: Grant) -> Attempt;
}

/// Receives a message. Without a channel, it is never chosen.
#[derive(Debug)]
pub struct RecvCase<'a, T> {
    channel: Option<&'a Shared<T>>,
    place: Option<Position>,
    received: Option<Result<T, Disconnected>>,
}

impl<'a, T> RecvCase<'a, T> {
    /// A case that has not been tried.
    pub fn new(receiver: Option<&'a Receiver<T>>) -> Self {
        RecvCase {
            channel: receiver.map(Receiver::shared),
            place: None,
            received: None,
        }
    }

    /// The case as the select sees it.
    pub fn erase(&mut self) -> Erased<'_> {
        Erased(self)
    }

    /// What it came to, if it was done.
    pub fn take(&mut self) -> Option<Result<T, Disconnected>> {
        self.received.take()
    }
}

impl<T> RecvCase<'_, T> {
    fn keep(&mut self, received: Result<T, Refusal>) -> Attempt {
        self.received = match received {
            Ok(message) => Some(Ok(message)),
            Err(Refusal::Disconnected(disconnected)) => Some(Err(disconnected)),
            Err(Refusal::NotNow) => return Attempt::NotNow,
            Err(Refusal::Cancelled(cancelled)) => return Attempt::Cancelled(cancelled),
        };
        Attempt::Done
    }
}

impl<T> Case for RecvCase<'_, T> {
    fn attempt(&mut self) -> Attempt {
        let Some(channel) = self.channel else {
            return Attempt::NotNow;
        };
        // Apart from the rest: a message is most often there, and a result with all the ways to
        // fail costs as much to pass on as the receive.
        if let Some(message) = channel.pop() {
            self.received = Some(Ok(message));
            return Attempt::Done;
        }
        let received = channel.take();
        self.keep(received)
    }

    fn rank(&self) -> u64 {
        self.channel.map_or(u64::MAX, |channel| channel.id)
    }

    fn enter(&mut self, waiter: &Arc<Waiter>, case: u32) -> Entered {
        let Some(channel) = self.channel else {
            return Entered::Waits;
        };
        if let Some(timer) = channel.timer() {
            return timer.due().map_or(Entered::Waits, Entered::WaitsUntil);
        }
        self.place = channel.enter_receiving(waiter, case);
        Entered::waits(self.place.is_some())
    }

    fn leave(&mut self) {
        if let Some((channel, place)) = self.channel.zip(self.place.take()) {
            channel.leave_receiving(place);
        }
    }

    fn granted(&mut self, _: Grant) -> Attempt {
        let Some((channel, place)) = self.channel.zip(self.place.take()) else {
            return Attempt::NotNow;
        };
        let received = channel.end_receiving(place);
        self.keep(received)
    }
}

/// Sends a message, which is with its owner, in the queue of the channel, or sent.
#[derive(Debug)]
pub struct SendCase<'a, T> {
    channel: &'a Shared<T>,
    message: &'a mut Option<T>,
    place: Option<Position>,
    sent: Option<Result<(), Disconnected>>,
}

impl<'a, T> SendCase<'a, T> {
    /// A case that has not been tried.
    pub fn new(sender: &'a Sender<T>, message: &'a mut Option<T>) -> Self {
        SendCase {
            channel: sender.shared(),
            message,
            place: None,
            sent: None,
        }
    }

    /// The case as the select sees it.
    pub fn erase(&mut self) -> Erased<'_> {
        Erased(self)
    }

    /// What it came to, if it was done.
    pub fn take(&mut self) -> Option<Result<(), Disconnected>> {
        self.sent.take()
    }
}

impl<T> SendCase<'_, T> {
    fn keep(&mut self, refusal: Option<Refusal>) -> Attempt {
        self.sent = match refusal {
            None => Some(Ok(())),
            Some(Refusal::Disconnected(disconnected)) => Some(Err(disconnected)),
            Some(Refusal::NotNow) => return Attempt::NotNow,
            Some(Refusal::Cancelled(cancelled)) => return Attempt::Cancelled(cancelled),
        };
        Attempt::Done
    }
}

impl<T> Case for SendCase<'_, T> {
    fn attempt(&mut self) -> Attempt {
        let Some(message) = self.message.take() else {
            return Attempt::NotNow;
        };
        let refusal = match self.channel.try_send(message) {
            Ok(()) => None,
            Err((message, refusal)) => {
                *self.message = Some(message);
                Some(refusal)
            }
        };
        self.keep(refusal)
    }

    fn rank(&self) -> u64 {
        self.channel.id
    }

    fn may_spin(&self) -> bool {
        // Sender and receiver would spin past each other.
        self.channel.capacity != 0 || self.message.is_none()
    }

    fn enter(&mut self, waiter: &Arc<Waiter>, case: u32) -> Entered {
        let Some(message) = self.message.take() else {
            return Entered::Waits;
        };
        match self.channel.enter_sending(waiter, case, message) {
            Ok(place) => self.place = Some(place),
            Err(message) => *self.message = Some(message),
        }
        Entered::waits(self.place.is_some())
    }

    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            *self.message = Some(self.channel.leave_sending(place));
        }
    }

    fn granted(&mut self, grant: Grant) -> Attempt {
        if grant == Grant::Given {
            self.place = None;
            return self.keep(None);
        }
        // Only a message that was sent has left the queue.
        self.leave();
        self.keep(Some(
            Refusal::Disconnected(self.channel.without_receivers()).or_cancelled(),
        ))
    }
}

/// Waits for the cancel of a token.
#[derive(Debug)]
pub struct CancelledCase<'a> {
    token: &'a CancelToken,
    callback: Option<CallbackGuard>,
    cancelled: Option<Cancelled>,
}

impl<'a> CancelledCase<'a> {
    /// A case that has not been tried.
    pub fn new(token: &'a CancelToken) -> Self {
        CancelledCase {
            token,
            callback: None,
            cancelled: None,
        }
    }

    /// The case as the select sees it.
    pub fn erase(&mut self) -> Erased<'_> {
        Erased(self)
    }

    /// What it came to, if it was done.
    pub fn take(&mut self) -> Option<Cancelled> {
        self.cancelled.take()
    }
}

impl Case for CancelledCase<'_> {
    fn attempt(&mut self) -> Attempt {
        self.cancelled = self.token.cancelled();
        Attempt::done(self.cancelled.is_some())
    }

    fn rank(&self) -> u64 {
        u64::MAX
    }

    fn enter(&mut self, waiter: &Arc<Waiter>, case: u32) -> Entered {
        let waiter = waiter.clone();
        self.callback = Some(self.token.on_cancel(move || waiter.wake_for(case)));
        Entered::Waits
    }

    fn leave(&mut self) {
        self.callback = None;
    }

    fn granted(&mut self, _: Grant) -> Attempt {
        self.leave();
        self.attempt()
    }
}
