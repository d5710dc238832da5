//! What the two ends of a channel share: its state, behind a lock, and the waits.

mod ends;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::Disconnected;
use super::closing::Closing;
use super::refusal::Refusal;
use super::state::{Sending, State};
use super::timer::Timer;
use crate::cancel::context::{self, Outcome};
use crate::facade::{Mutex, Track, spin};
use crate::waiting::{Grant, Position, WaitKind, WaitQueue, Waiter, Wakes};

// In the order of declaration: what each send and receive touches stands together.
#[repr(C)]
pub(super) struct Shared<T> {
    /// In the order in which channels were made, which is that in which a select enters their
    /// queues.
    pub(super) id: u64,
    /// How many messages there is room for; `usize::MAX` for any number.
    pub(super) capacity: usize,
    state: Mutex<State<T>>,
    /// Where the messages come from, if that is the clock. The state is that of a channel to which
    /// nothing was sent then.
    timer: Option<Timer<T>>,
    _leaks: Track,
}

/// The case of a thread that waits for nothing else.
const ONLY: u32 = 0;

fn or_cancelled<T>((message, refusal): (T, Refusal)) -> (T, Refusal) {
    (message, refusal.or_cancelled())
}

impl<T> Shared<T> {
    /// With one sender and one receiver.
    pub(super) fn new(capacity: usize) -> Self {
        Shared::with_timer(capacity, None)
    }

    /// With one receiver, and one sender that does not exist, so that the channel never ends.
    pub(super) fn timed(timer: Timer<T>) -> Self {
        Shared::with_timer(1, Some(timer))
    }

    fn with_timer(capacity: usize, timer: Option<Timer<T>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let state = State {
            buffer: VecDeque::new(),
            sending: WaitQueue::new(),
            receiving: WaitQueue::new(),
            senders: 1,
            receivers: 1,
            senders_closing: Closing::default(),
            receivers_closing: Closing::default(),
        };
        Shared {
            id: NEXT.fetch_add(1, Relaxed),
            capacity,
            state: Mutex::new(state),
            timer,
            _leaks: Track::new(),
        }
    }

    /// With one receiver, and one sender that does not exist and so never goes. All of them have
    /// one id, since nothing tells one from another.
    pub(super) fn never() -> Self {
        Shared {
            id: u64::MAX,
            ..Shared::new(0)
        }
    }

    /// Runs `f` under the lock, and then wakes.
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut State<T>, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = f(&mut self.state.lock(), &mut wakes);
        wakes.wake();
        result
    }

    /// Why a message cannot be sent, once the receivers are gone.
    pub(super) fn without_receivers(&self) -> Disconnected {
        self.state.lock().without_receivers()
    }

    pub(super) fn timer(&self) -> Option<&Timer<T>> {
        self.timer.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        match &self.timer {
            Some(timer) => timer.is_due().into(),
            None => self.state.lock().buffer.len(),
        }
    }

    /// Sends `message` if that takes neither a wait nor a wake, as most often; else returns it.
    ///
    /// An `Option`, here and in `pop`, since an outcome with all the ways to fail costs as much to
    /// pass on as the push.
    #[inline]
    pub(super) fn push(&self, message: T) -> Option<T> {
        let mut state = self.state.lock();
        if state.receiving.is_empty() && state.receivers != 0 && state.buffer.len() < self.capacity
        {
            state.buffer.push_back(message);
            return None;
        }
        Some(message)
    }

    /// Sends `message` if that takes no wait.
    pub(super) fn try_send(&self, message: T) -> Result<(), (T, Refusal)> {
        match self.push(message) {
            None => Ok(()),
            Some(message) => self.offer(message),
        }
    }

    #[cold]
    fn offer(&self, message: T) -> Result<(), (T, Refusal)> {
        self.with(|state, wakes| state.offer(message, self.capacity, wakes))
            .map_err(or_cancelled)
    }

    /// Receives a message if that takes neither a wait nor a wake.
    #[inline]
    pub(super) fn pop(&self) -> Option<T> {
        let mut state = self.state.lock();
        // fault: receive-passes-a-waiting-sender
        if state.sending.is_empty() {
            state.buffer.pop_front()
        } else {
            None
        }
    }

    /// Receives a message if that takes no wait.
    pub(super) fn try_recv(&self) -> Result<T, Refusal> {
        match self.pop() {
            Some(message) => Ok(message),
            None => self.take(),
        }
    }

    /// Receives a message if that takes no wait, and perhaps wakes a sender.
    #[cold]
    pub(super) fn take(&self) -> Result<T, Refusal> {
        if let Some(timer) = &self.timer {
            return timer.take().map_err(|_| Refusal::NotNow);
        }
        self.with(|state, wakes| state.take(self.capacity, wakes))
            .map_err(Refusal::or_cancelled)
    }

    /// Sends `message`, waiting for room until the limit if need be.
    #[cold]
    #[track_caller]
    pub(super) fn send(
        &self,
        message: T,
        limit: impl FnOnce() -> Option<Instant>,
    ) -> Result<(), (T, Refusal)> {
        if let Err(cancelled) = context::check() {
            return Err((message, Refusal::Cancelled(cancelled)));
        }
        match self.try_send(message) {
            Err((message, Refusal::NotNow)) => {
                self.send_slowly(message, limit()).map_err(or_cancelled)
            }
            done => done,
        }
    }

    /// Receives a message, waiting for one until the limit if need be.
    #[cold]
    #[track_caller]
    pub(super) fn recv(&self, limit: impl FnOnce() -> Option<Instant>) -> Result<T, Refusal> {
        context::check().map_err(Refusal::Cancelled)?;
        match self.try_recv() {
            Err(Refusal::NotNow) => self.recv_slowly(limit()).map_err(Refusal::or_cancelled),
            done => done,
        }
    }

    #[track_caller]
    fn send_slowly(&self, message: T, limit: Option<Instant>) -> Result<(), (T, Refusal)> {
        let mut offered = Err((message, Refusal::NotNow));
        // Without room, a sender that is not in the queue and a receiver that is not would spin
        // past each other.
        let may_spin = self.capacity != 0;
        let _ = may_spin
            && spin(|| match mem::replace(&mut offered, Ok(())) {
                Err((message, Refusal::NotNow)) => {
                    offered = self.try_send(message);
                    !matches!(offered, Err((_, Refusal::NotNow)))
                }
                done => {
                    offered = done;
                    true
                }
            });
        let Err((message, Refusal::NotNow)) = offered else {
            return offered;
        };

        let waiter = Waiter::new(context::slot());
        let place = self.with(
            |state, wakes| match state.offer(message, self.capacity, wakes) {
                Err((message, Refusal::NotNow)) => Ok(state.sending.push(
                    waiter.clone(),
                    Sending {
                        case: ONLY,
                        message,
                    },
                )),
                done => Err(done),
            },
        );
        let place = match place {
            Ok(place) => place,
            Err(done) => return done,
        };
        if !may_spin {
            spin(|| waiter.is_granted());
        }
        let refusal = match context::wait(WaitKind::Send, limit, || waiter.is_granted()) {
            Ok(Outcome::Ready) if waiter.grant() == Grant::Given => return Ok(()),
            Ok(Outcome::Ready) => Refusal::Disconnected(self.without_receivers()),
            Ok(Outcome::TimedOut) => Refusal::NotNow,
            Err(cancelled) => Refusal::Cancelled(cancelled),
        };
        // Invariant 1.
        let mut state = self.state.lock();
        let sent = waiter.grant() == Grant::Given;
        // fault: send-is-taken-back-after-the-look
        if sent {
            return Ok(());
        }
        let (_, sending) = state.sending.remove(place);
        Err((sending.message, refusal))
    }

    #[track_caller]
    fn recv_slowly(&self, limit: Option<Instant>) -> Result<T, Refusal> {
        if let Some(timer) = &self.timer {
            return timer.recv(limit);
        }
        let mut received = Err(Refusal::NotNow);
        spin(|| {
            received = self.try_recv();
            !matches!(received, Err(Refusal::NotNow))
        });
        let Err(Refusal::NotNow) = received else {
            return received;
        };

        loop {
            let waiter = Waiter::new(context::slot());
            let place = self.with(|state, wakes| match state.take(self.capacity, wakes) {
                Err(Refusal::NotNow) => Ok(state.wait_to_receive(waiter.clone(), ONLY)),
                done => Err(done),
            });
            let place = match place {
                Ok(place) => place,
                Err(done) => return done,
            };
            let ended = context::wait(WaitKind::Receive, limit, || waiter.is_granted());
            // Invariant 3.
            //
            // fault: cancelled-receiver-stays
            let received = self.with(|state, wakes| {
                state.end_receiving(place, waiter.is_granted(), self.capacity, wakes)
            });
            // fault: cancelled-receiver-drops-its-message
            match (received, ended) {
                (Ok(message), _) => return Ok(message),
                (_, Err(cancelled)) => return Err(Refusal::Cancelled(cancelled)),
                // Another was faster.
                (Err(Refusal::NotNow), Ok(Outcome::Ready)) => {}
                (received, Ok(_)) => return received,
            }
        }
    }
}

/// What a select does with a channel while it waits.
impl<T> Shared<T> {
    /// Lets `waiter` wait for a message, for its `case`; `None` if it need not wait.
    pub(super) fn enter_receiving(&self, waiter: &Arc<Waiter>, case: u32) -> Option<Position> {
        let mut state = self.state.lock();
        // fault: select-misses-a-message
        // fault: select-misses-the-last-sender
        // fault: select-misses-a-waiting-sender
        let can_receive = !state.buffer.is_empty()
            || state.senders == 0
            || state
                .sending
                .iter()
                .any(|(other, _)| !other.is_granted() && !Arc::ptr_eq(other, waiter));
        if can_receive {
            return None;
        }
        Some(state.wait_to_receive(waiter.clone(), case))
    }

    /// Takes out a waiter that was granted nothing here.
    pub(super) fn leave_receiving(&self, place: Position) {
        self.state.lock().receiving.remove(place);
    }

    /// Takes out a waiter that was granted its wait here, and receives a message if there still is
    /// one.
    pub(super) fn end_receiving(&self, place: Position) -> Result<T, Refusal> {
        let received =
            self.with(|state, wakes| state.end_receiving(place, true, self.capacity, wakes));
        received.map_err(Refusal::or_cancelled)
    }

    /// Lets `waiter` wait to send, for its `case`.
    ///
    /// # Errors
    ///
    /// The message, if it need not wait.
    pub(super) fn enter_sending(
        &self,
        waiter: &Arc<Waiter>,
        case: u32,
        message: T,
    ) -> Result<Position, T> {
        let mut state = self.state.lock();
        // fault: select-misses-the-last-receiver
        // fault: select-misses-room
        // fault: select-misses-a-waiting-receiver
        let can_send = state.receivers == 0
            || state.buffer.len() < self.capacity
            || self.capacity == 0
                && state
                    .receiving
                    .iter()
                    .any(|(other, _)| !other.is_granted() && !Arc::ptr_eq(other, waiter));
        if can_send {
            return Err(message);
        }
        Ok(state
            .sending
            .push(waiter.clone(), Sending { case, message }))
    }

    /// Takes out a waiter whose message was not sent, with the message.
    pub(super) fn leave_sending(&self, place: Position) -> T {
        self.state.lock().sending.remove(place).1.message
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.len();
        let state = self.state.lock();
        let mut out = f.debug_struct("Channel");
        out.field("len", &len);
        if self.capacity != usize::MAX {
            out.field("capacity", &self.capacity);
        }
        out.field("senders", &state.senders)
            .field("receivers", &state.receivers);
        if let Some(timer) = &self.timer {
            out.field("due", &timer.due());
        }
        out.field("sending", &state.sending.len())
            .field("receiving", &state.receiving.len())
            .finish()
    }
}
