//! The part of a channel that its ends share: the state behind a lock, and the waits.

mod cases;
mod ends;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::Disconnected;
use super::closing::Closing;
use super::op_error::OpError;
use super::state::ChannelState;
use super::ticker::Ticker;
use crate::cancel::context::{self, Outcome};
use crate::facade::{Mutex, Track, spin};
use crate::waiting::{Enqueued, Grant, Position, WaitKind, WaitQueue, Wakes};

/// A channel, as its ends share it.
// In the order of declaration: the fields that each send and receive touches stand together.
#[repr(C)]
pub(super) struct Chan<T> {
    /// Grows from channel to channel. A select enters its queues in the order of the ids.
    pub(super) id: u64,
    /// The number of messages that there is room for, or `usize::MAX` for any number.
    pub(super) capacity: usize,
    state: Mutex<ChannelState<T>>,
    /// Makes the messages, if they come from the clock. Then the state is the one of an empty
    /// channel.
    ticker: Option<Ticker<T>>,
    _leaks: Track,
}

/// The number of the case of a thread that waits for one operation only.
const ONLY: u32 = 0;

fn or_cancelled<T>((message, error): (T, OpError)) -> (T, OpError) {
    (message, error.or_cancelled())
}

impl<T> Chan<T> {
    /// Creates a channel with one sender and one receiver.
    pub(super) fn new(capacity: usize) -> Self {
        Chan::with_timer(capacity, None)
    }

    /// Creates a channel with one receiver. It counts a sender that does not exist, so that the
    /// channel never ends.
    pub(super) fn timed(ticker: Ticker<T>) -> Self {
        Chan::with_timer(1, Some(ticker))
    }

    fn with_timer(capacity: usize, ticker: Option<Ticker<T>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let state = ChannelState {
            buffer: VecDeque::new(),
            sending: WaitQueue::new(),
            receiving: WaitQueue::new(),
            senders: 1,
            receivers: 1,
            senders_closing: Closing::default(),
            receivers_closing: Closing::default(),
        };

        Chan {
            // Relaxed: the id only has to be unique.
            id: NEXT.fetch_add(1, Relaxed),
            capacity,
            state: Mutex::new(state),
            ticker,
            _leaks: Track::new(),
        }
    }

    /// Creates a channel with one receiver, without messages and without an end. All of these
    /// channels have one id, since no operation tells them apart.
    pub(super) fn never() -> Self {
        Chan {
            id: u64::MAX,
            ..Chan::new(0)
        }
    }

    /// Runs `f` under the lock, and then wakes the waiters that it granted.
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut ChannelState<T>, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = f(&mut self.state.lock(), &mut wakes);

        // No thread is woken under the lock, which a woken receiver takes next.
        wakes.wake();
        result
    }

    /// Returns the error of a send, once the receivers are gone.
    pub(super) fn without_receivers(&self) -> Disconnected {
        self.state.lock().without_receivers()
    }

    pub(super) fn ticker(&self) -> Option<&Ticker<T>> {
        self.ticker.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        match &self.ticker {
            Some(ticker) => ticker.is_due().into(),
            None => self.state.lock().buffer.len(),
        }
    }

    /// Sends `message` if no thread has to wait or to be woken for it. Otherwise returns it.
    ///
    /// This is the usual case. Here and in `pop` the outcome is an `Option`: passing on a `Result`
    /// with all errors costs as much as the push itself.
    #[inline]
    pub(super) fn push(&self, message: T) -> Option<T> {
        let mut state = self.state.lock();

        // A receiver that waits would have to be told: invariant 3.
        if state.receiving.is_empty() && state.receivers != 0 && state.buffer.len() < self.capacity
        {
            state.buffer.push_back(message);
            return None;
        }

        Some(message)
    }

    /// Sends `message` if this thread need not wait.
    pub(super) fn try_send(&self, message: T) -> Result<(), (T, OpError)> {
        match self.push(message) {
            None => Ok(()),
            Some(message) => self.offer(message),
        }
    }

    #[cold]
    fn offer(&self, message: T) -> Result<(), (T, OpError)> {
        self.with(|state, wakes| state.offer(message, self.capacity, wakes))
            .map_err(or_cancelled)
    }

    /// Receives a message if no thread has to wait or to be woken for it.
    #[inline]
    pub(super) fn pop(&self) -> Option<T> {
        let mut state = self.state.lock();

        // A sender that waits would have to fill the room: invariant 2.
        //
        // fault: receive-passes-a-waiting-sender
        if state.sending.is_empty() {
            state.buffer.pop_front()
        } else {
            None
        }
    }

    /// Receives a message if this thread need not wait.
    pub(super) fn try_recv(&self) -> Result<T, OpError> {
        match self.pop() {
            Some(message) => Ok(message),
            None => self.take(),
        }
    }

    /// Receives a message if this thread need not wait. May wake a sender.
    #[cold]
    pub(super) fn take(&self) -> Result<T, OpError> {
        // The state of a channel of the clock is always empty.
        if let Some(ticker) = &self.ticker {
            return ticker.take().map_err(|_| OpError::NotNow);
        }

        self.with(|state, wakes| state.take(self.capacity, wakes))
            .map_err(OpError::or_cancelled)
    }

    /// Blocks until there is room for `message` or until the limit, and sends it.
    #[cold]
    #[track_caller]
    pub(super) fn send(
        &self,
        message: T,
        limit: impl FnOnce() -> Option<Instant>,
    ) -> Result<(), (T, OpError)> {
        // A cancelled scope fails even if there is room.
        if let Err(cancelled) = context::check() {
            return Err((message, OpError::Cancelled(cancelled)));
        }

        // The limit is asked for only if the thread has to wait, since it may read the clock.
        match self.try_send(message) {
            Err((message, OpError::NotNow)) => {
                self.send_slowly(message, limit()).map_err(or_cancelled)
            }
            done => done,
        }
    }

    /// Blocks until there is a message or until the limit, and receives it.
    #[cold]
    #[track_caller]
    pub(super) fn recv(&self, limit: impl FnOnce() -> Option<Instant>) -> Result<T, OpError> {
        // A cancelled scope fails even if there is a message.
        context::check().map_err(OpError::Cancelled)?;

        match self.try_recv() {
            Err(OpError::NotNow) => self.recv_slowly(limit()).map_err(OpError::or_cancelled),
            done => done,
        }
    }

    /// Tries to send `message` for a moment.
    fn spin_to_send(&self, message: T) -> Result<(), (T, OpError)> {
        // The message goes into each attempt and comes back if there is no room.
        let mut sent = Err((message, OpError::NotNow));
        spin(|| match mem::replace(&mut sent, Ok(())) {
            Err((message, OpError::NotNow)) => {
                sent = self.try_send(message);
                !matches!(sent, Err((_, OpError::NotNow)))
            }
            done => {
                sent = done;
                true
            }
        });

        sent
    }

    #[track_caller]
    fn send_slowly(&self, mut message: T, limit: Option<Instant>) -> Result<(), (T, OpError)> {
        // Without room, a sender and a receiver that are in no queue would spin past each other.
        let may_spin = self.capacity != 0;
        if may_spin {
            match self.spin_to_send(message) {
                Err((unsent, OpError::NotNow)) => message = unsent,
                done => return done,
            }
        }

        // Tried once more in the critical section of the entry: a receive that makes room after it
        // finds this waiter (invariant 2).
        let entered =
            Enqueued::enter(
                &self.state,
                context::slot(),
                |state, waiter, wakes| match state.offer(message, self.capacity, wakes) {
                    Err((message, OpError::NotNow)) => {
                        Ok(state.wait_to_send(waiter.clone(), ONLY, message))
                    }
                    done => Err(done),
                },
            );

        let entered = match entered {
            Ok(entered) => entered,
            Err(done) => return done,
        };

        // In the queue a receiver can find the message, so now a spin helps.
        if !may_spin {
            spin(|| entered.is_granted());
        }

        let ended = context::wait(WaitKind::Send.on(entered.object()), limit, || {
            entered.is_granted()
        });

        // Invariant 1: a message that was not sent is still in the queue, and is taken back.
        let mut unsent = None;
        let settled = entered.settle(ended, |state, position, _| {
            unsent = Some(state.sending.remove(position).1.message);
        });

        let error = match settled {
            // The entry of a refused sender is still in the queue, with its message (invariant 1).
            Ok(Grant::Refused) => {
                unsent = Some(self.leave_sending(entered.position()));
                OpError::Disconnected(self.without_receivers())
            }
            Ok(Grant::Given | Grant::None) => return Ok(()),
            Err(Ok(_)) => OpError::NotNow,
            Err(Err(cancelled)) => OpError::Cancelled(cancelled),
        };

        match unsent {
            Some(message) => Err((message, error)),
            None => unreachable!("a message that was not sent is taken back"),
        }
    }

    fn spin_to_receive(&self) -> Result<T, OpError> {
        let mut received = Err(OpError::NotNow);
        spin(|| {
            received = self.try_recv();
            !matches!(received, Err(OpError::NotNow))
        });
        received
    }

    #[track_caller]
    fn recv_slowly(&self, limit: Option<Instant>) -> Result<T, OpError> {
        // No thread ends this wait: a spin and a queue would be useless.
        if let Some(ticker) = &self.ticker {
            return ticker.recv(limit);
        }

        match self.spin_to_receive() {
            Err(OpError::NotNow) => {}
            received => return received,
        }

        loop {
            // Tried once more in the critical section of the entry: a message that comes after it
            // finds this waiter to tell (invariant 3).
            let entered =
                Enqueued::enter(
                    &self.state,
                    context::slot(),
                    |state, waiter, wakes| match state.take(self.capacity, wakes) {
                        Err(OpError::NotNow) => Ok(state.wait_to_receive(waiter.clone(), ONLY)),
                        done => Err(done),
                    },
                );
            let entered = match entered {
                Ok(entered) => entered,
                Err(done) => return done,
            };

            let ended = context::wait(WaitKind::Receive.on(entered.object()), limit, || {
                entered.is_granted()
            });

            // Kept: a receiver that was told settles without it, and may still find no message.
            let cut_short = match &ended {
                Ok(Outcome::Ready) => None,
                Ok(Outcome::TimedOut) => Some(OpError::NotNow),
                Err(cancelled) => Some(OpError::Cancelled(cancelled.clone())),
            };
            let settled = entered.settle(ended, |state, position, _| {
                state.receiving.remove(position);
            });

            // Invariant 3: a receiver that was told takes a message, even if it was cancelled.
            let received = match settled {
                Ok(_) => self.end_receiving(entered.position()),
                Err(_) => Err(OpError::NotNow),
            };
            match (received, cut_short) {
                // Another thread was faster, or there was no message: the cancel and the limit
                // hold.
                (Err(OpError::NotNow), Some(cut_short)) => return Err(cut_short),
                // Invariant 3: it was told and found no message, and waits again.
                (Err(OpError::NotNow), None) => {}
                (received, _) => return received,
            }
        }
    }
}

/// The steps with which a wait ends, also that of a select.
impl<T> Chan<T> {
    /// Takes out a receiver that was told, with the message that it was handed, or else the next
    /// one. Returns `NotNow` if other threads were faster.
    pub(super) fn end_receiving(&self, position: Position) -> Result<T, OpError> {
        let received =
            self.with(|state, wakes| state.end_receiving(position, self.capacity, wakes));
        received.map_err(OpError::or_cancelled)
    }

    /// Takes out a sender, and returns its message, which was not sent.
    pub(super) fn leave_sending(&self, position: Position) -> T {
        self.state.lock().sending.remove(position).1.message
    }
}

impl<T> fmt::Debug for Chan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Before the lock is taken, since it takes the lock too.
        let len = self.len();
        let state = self.state.lock();

        let mut out = f.debug_struct("Channel");
        out.field("len", &len);
        if self.capacity != usize::MAX {
            out.field("capacity", &self.capacity);
        }

        out.field("senders", &state.senders)
            .field("receivers", &state.receivers);
        if let Some(ticker) = &self.ticker {
            out.field("due", &ticker.due());
        }

        out.field("sending", &state.sending.len())
            .field("receiving", &state.receiving.len())
            .finish()
    }
}
