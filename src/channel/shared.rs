//! What the two ends of a channel share.
//!
//! # Invariants
//!
//! All under the one lock:
//!
//! 1. A message is in one place: with its sender, in the queue of senders, in the buffer, or with its receiver. A sender
//!    that finds its own in the queue has it back; one that does not has sent it.
//! 2. Nobody waits to send while there is room and a receiver: whoever makes room fills it from the queue.
//! 3. A message that enters the buffer tells one of those who wait to receive. Whoever was told takes a message if there is
//!    one, also when he was cancelled meanwhile; if another was faster, the message is not lost, and he waits on.
//! 4. In a channel without room the buffer holds messages only for receivers that have been told.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use crate::cancel::context::{self, Outcome};
use crate::cancel::Cancelled;
use crate::facade::{holds, spin, Guard, Mutex, Track};
use crate::waiting::{Grant, Point, Queue, Waiter, Wakes};

pub(super) struct Shared<T> {
    /// How many messages there is room for; `usize::MAX` for any number.
    pub(super) capacity: usize,
    state: Mutex<State<T>>,
    _leaks: Track,
}

struct State<T> {
    buffer: VecDeque<T>,
    /// Those who wait for room, with their messages.
    sending: Queue<T>,
    receiving: Queue<()>,
    senders: usize,
    receivers: usize,
}

/// Why a message was not sent or received.
pub(super) enum Refusal {
    /// Full, or empty.
    NotNow,
    Disconnected,
    Cancelled(Cancelled),
}

impl<T> Shared<T> {
    /// With one sender and one receiver.
    pub(super) fn new(capacity: usize) -> Self {
        let state = State { buffer: VecDeque::new(), sending: Queue::new(), receiving: Queue::new(), senders: 1, receivers: 1 };
        Shared { capacity, state: Mutex::new(state), _leaks: Track::new() }
    }

    /// Runs `f` under the lock, and then wakes.
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut State<T>, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = f(&mut self.state.lock(), &mut wakes);
        wakes.wake();
        result
    }

    pub(super) fn add_sender(&self) {
        self.state.lock().senders += 1;
    }

    pub(super) fn add_receiver(&self) {
        self.state.lock().receivers += 1;
    }

    pub(super) fn remove_sender(&self) {
        self.with(|state, wakes| {
            state.senders -= 1;
            if state.senders == 0 && holds(Guard::LastEndWakes) {
                state.receiving.grant_all(Grant::Refused, wakes);
            }
        });
    }

    pub(super) fn remove_receiver(&self) {
        let unread = self.with(|state, wakes| {
            state.receivers -= 1;
            if state.receivers != 0 {
                return VecDeque::new();
            }
            // They stay in the queue, where each finds its message.
            for (waiter, _) in state.sending.iter().filter(|_| holds(Guard::LastEndWakes)) {
                wakes.grant(waiter.clone(), Grant::Refused);
            }
            std::mem::take(&mut state.buffer)
        });
        // Outside of the lock: the messages may hold ends of this channel.
        drop(unread);
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().buffer.len()
    }

    /// Sends `message` if that takes no wait. Most often it takes no wake either, and then it is no more than a push.
    #[inline]
    pub(super) fn try_send(&self, message: T) -> Result<(), (T, Refusal)> {
        let mut state = self.state.lock();
        if state.receiving.is_empty() && state.receivers != 0 && state.buffer.len() < self.capacity {
            state.buffer.push_back(message);
            return Ok(());
        }
        drop(state);
        self.offer(message)
    }

    #[cold]
    fn offer(&self, message: T) -> Result<(), (T, Refusal)> {
        self.with(|state, wakes| state.offer(message, self.capacity, wakes))
    }

    /// Receives a message if that takes no wait.
    #[inline]
    pub(super) fn try_recv(&self) -> Result<T, Refusal> {
        let mut state = self.state.lock();
        if state.sending.is_empty() {
            if let Some(message) = state.buffer.pop_front() {
                return Ok(message);
            }
        }
        drop(state);
        self.take()
    }

    #[cold]
    fn take(&self) -> Result<T, Refusal> {
        self.with(|state, wakes| state.take(self.capacity, wakes))
    }

    #[inline]
    #[track_caller]
    pub(super) fn send(&self, message: T, limit: impl FnOnce() -> Option<Instant>) -> Result<(), (T, Refusal)> {
        if let Err(cancelled) = context::check() {
            return Err((message, Refusal::Cancelled(cancelled)));
        }
        match self.try_send(message) {
            Err((message, Refusal::NotNow)) => self.send_slowly(message, limit()),
            done => done,
        }
    }

    #[inline]
    #[track_caller]
    pub(super) fn recv(&self, limit: impl FnOnce() -> Option<Instant>) -> Result<T, Refusal> {
        context::check().map_err(Refusal::Cancelled)?;
        match self.try_recv() {
            Err(Refusal::NotNow) => self.recv_slowly(limit()),
            done => done,
        }
    }

    #[cold]
    #[track_caller]
    fn send_slowly(&self, message: T, limit: Option<Instant>) -> Result<(), (T, Refusal)> {
        let mut offered = Err((message, Refusal::NotNow));
        // Without room, a sender that is not in the queue and a receiver that is not would spin past each other.
        let may_spin = self.capacity != 0;
        let _ = may_spin
            && spin(|| match std::mem::replace(&mut offered, Ok(())) {
                Err((message, Refusal::NotNow)) => {
                    offered = self.try_send(message);
                    !matches!(offered, Err((_, Refusal::NotNow)))
                }
                done => {
                    offered = done;
                    true
                }
            });
        let Err((message, Refusal::NotNow)) = offered else { return offered };

        let waiter = Waiter::new(context::slot());
        let place = self.with(|state, wakes| match state.offer(message, self.capacity, wakes) {
            Err((message, Refusal::NotNow)) => Ok(state.sending.push(waiter.clone(), message)),
            done => Err(done),
        });
        let place = match place {
            Ok(place) => place,
            Err(done) => return done,
        };
        if !may_spin {
            spin(|| waiter.is_granted());
        }
        let refusal = match context::wait(Point::Send, limit, || waiter.is_granted()) {
            Ok(Outcome::Ready) if waiter.grant() == Grant::Given => return Ok(()),
            Ok(Outcome::Ready) => Refusal::Disconnected,
            Ok(Outcome::TimedOut) => Refusal::NotNow,
            Err(cancelled) => Refusal::Cancelled(cancelled),
        };
        // Invariant 1.
        let mut state = self.state.lock();
        let sent = waiter.grant() == Grant::Given;
        if !holds(Guard::SendLooksUnderLock) {
            drop(state);
            state = self.state.lock();
        }
        if sent {
            return Ok(());
        }
        let (_, message) = state.sending.remove(place);
        Err((message, refusal))
    }

    #[cold]
    #[track_caller]
    fn recv_slowly(&self, limit: Option<Instant>) -> Result<T, Refusal> {
        let mut received = Err(Refusal::NotNow);
        spin(|| {
            received = self.try_recv();
            !matches!(received, Err(Refusal::NotNow))
        });
        let Err(Refusal::NotNow) = received else { return received };

        loop {
            let waiter = Waiter::new(context::slot());
            let place = self.with(|state, wakes| match state.take(self.capacity, wakes) {
                Err(Refusal::NotNow) => Ok(state.receiving.push(waiter.clone(), ())),
                done => Err(done),
            });
            let place = match place {
                Ok(place) => place,
                Err(done) => return done,
            };
            let refusal = match context::wait(Point::Receive, limit, || waiter.is_granted()) {
                Ok(Outcome::Ready) => match self.try_recv() {
                    // Another was faster.
                    Err(Refusal::NotNow) => continue,
                    done => return done,
                },
                Ok(Outcome::TimedOut) => Refusal::NotNow,
                Err(cancelled) => Refusal::Cancelled(cancelled),
            };
            return self.with(|state, wakes| {
                if !waiter.is_granted() {
                    state.receiving.remove(place);
                } else if holds(Guard::GrantBeatsCancel) {
                    // Invariant 3.
                    if let Ok(message) = state.take(self.capacity, wakes) {
                        return Ok(message);
                    }
                }
                Err(refusal)
            });
        }
    }
}

impl<T> State<T> {
    /// Sends `message` if that can be done now.
    #[inline]
    fn offer(&mut self, message: T, capacity: usize, wakes: &mut Wakes) -> Result<(), (T, Refusal)> {
        if self.receivers == 0 {
            return Err((message, Refusal::Disconnected));
        }
        // Invariant 4.
        let fits = if capacity == 0 { !self.receiving.is_empty() } else { self.buffer.len() < capacity };
        if !fits {
            return Err((message, Refusal::NotNow));
        }
        self.buffer.push_back(message);
        if let Some((waiter, ())) = self.receiving.pop() {
            wakes.grant(waiter, Grant::Given);
        }
        Ok(())
    }

    /// Receives a message if that can be done now.
    #[inline]
    fn take(&mut self, capacity: usize, wakes: &mut Wakes) -> Result<T, Refusal> {
        if let Some(message) = self.buffer.pop_front() {
            // Invariant 2.
            if self.buffer.len() < capacity {
                if let Some((waiter, next)) = self.sending.pop() {
                    self.buffer.push_back(next);
                    wakes.grant(waiter, Grant::Given);
                }
            }
            return Ok(message);
        }
        match self.sending.pop() {
            Some((waiter, message)) => {
                wakes.grant(waiter, Grant::Given);
                Ok(message)
            }
            None if self.senders == 0 => Err(Refusal::Disconnected),
            None => Err(Refusal::NotNow),
        }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let mut out = f.debug_struct("Channel");
        out.field("len", &state.buffer.len());
        if self.capacity != usize::MAX {
            out.field("capacity", &self.capacity);
        }
        out.field("senders", &state.senders).field("receivers", &state.receivers);
        out.field("sending", &state.sending.len()).field("receiving", &state.receiving.len()).finish()
    }
}
