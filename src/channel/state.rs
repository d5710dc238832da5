//! What is in a channel, and each step that is taken under its lock.
//!
//! # Invariants
//!
//! All under the one lock:
//!
//! 1. A message is in one place: with its sender, in the queue of senders, in the buffer, in the
//!    queue of receivers, or with its receiver. A sender that finds its message in the queue takes
//!    it back; if it is not there, it was sent.
//! 2. No sender waits while there is room and a receiver: the receive that makes room fills it from
//!    the queue of senders.
//! 3. A message that enters the buffer tells one of the waiting receivers. A receiver that was told
//!    takes a message if there is one, also when it was cancelled meanwhile. If another thread was
//!    faster, the receiver waits on.
//! 4. The buffer of a channel without room is always empty. A message goes from a sender straight
//!    to a receiver that waits: it is left in the entry of the receiver, in the critical section
//!    that grants the wait, and no other thread can take it.
//! 5. A receiver that was told is set apart from its queue by the thread that tells it, and takes
//!    its entry out by itself.
//! 6. A side remembers the first of its ends that was dropped because a task did not end well, from
//!    the critical section that takes the end out: so whoever finds the side without ends finds
//!    that too.
//! 7. A thread that selects stands here for one of its cases, and elsewhere for others. Its word
//!    decides where it is granted; while it stands here although its wait is over, it is passed
//!    over, as if it had left.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Disconnected;
use super::closing::Closing;
use super::refusal::Refusal;
use crate::waiting::{Grant, Position, WaitQueue, Waiter, Wakes};

// In the order of declaration: how the ends went is touched at the end alone.
#[repr(C)]
pub(super) struct State<T> {
    pub(super) buffer: VecDeque<T>,
    /// The waiting senders, with their messages.
    pub(super) sending: WaitQueue<Sending<T>>,
    /// The waiting receivers.
    pub(super) receiving: WaitQueue<Receiving<T>>,
    pub(super) senders: usize,
    pub(super) receivers: usize,
    /// How the senders went.
    pub(super) senders_closing: Closing,
    /// How the receivers went.
    pub(super) receivers_closing: Closing,
}

pub(super) struct Sending<T> {
    pub(super) case: u32,
    pub(super) message: T,
}

pub(super) struct Receiving<T> {
    pub(super) case: u32,
    /// The message that was handed over.
    pub(super) handed: Option<T>,
}

impl<T> State<T> {
    #[cold]
    pub(super) fn without_receivers(&mut self) -> Disconnected {
        self.receivers_closing.disconnected()
    }

    #[cold]
    pub(super) fn without_senders(&mut self) -> Disconnected {
        self.senders_closing.disconnected()
    }

    /// Sends `message` if that can be done now.
    #[inline]
    pub(super) fn offer(
        &mut self,
        message: T,
        capacity: usize,
        wakes: &mut Wakes,
    ) -> Result<(), (T, Refusal)> {
        if self.receivers == 0 {
            return Err((message, Refusal::Disconnected(self.without_receivers())));
        }
        if self.buffer.len() < capacity {
            self.buffer.push_back(message);
            self.tell_receiver(Grant::Given, wakes);
            return Ok(());
        }
        if capacity != 0 {
            return Err((message, Refusal::NotNow));
        }
        // Invariant 4.
        match self.tell_receiver(Grant::Given, wakes) {
            // fault: message-is-left-in-the-channel
            Some(handed) => *handed = Some(message),
            None => return Err((message, Refusal::NotNow)),
        }
        Ok(())
    }

    /// Tells the first waiting receiver, if there is one, and gives the place where a message can
    /// be handed to it.
    pub(super) fn tell_receiver(
        &mut self,
        grant: Grant,
        wakes: &mut Wakes,
    ) -> Option<&mut Option<T>> {
        let (waiter, receiving) = self
            .receiving
            .set_apart_if(|waiter, receiving| waiter.claim(grant, receiving.case))?;
        wakes.keep(waiter.clone());
        Some(&mut receiving.handed)
    }

    /// Enters `waiter` as one that waits for a message, for its `case`.
    pub(super) fn wait_to_receive(&mut self, waiter: Arc<Waiter>, case: u32) -> Position {
        self.receiving
            .push(waiter, Receiving { case, handed: None })
    }

    /// Takes the waiter at `place` out: with the message that it was handed, or, if it was told,
    /// with the next one.
    pub(super) fn end_receiving(
        &mut self,
        place: Position,
        is_told: bool,
        capacity: usize,
        wakes: &mut Wakes,
    ) -> Result<T, Refusal> {
        match self.receiving.remove(place).1.handed {
            Some(message) => Ok(message),
            None if is_told => self.take(capacity, wakes),
            None => Err(Refusal::NotNow),
        }
    }

    /// Takes the message of the first waiting sender.
    pub(super) fn take_sending(&mut self, wakes: &mut Wakes) -> Option<T> {
        let (waiter, sending) = self
            .sending
            .pop_if(|waiter, sending| waiter.claim(Grant::Given, sending.case))?;
        wakes.keep(waiter);
        Some(sending.message)
    }

    /// Receives a message if that can be done now.
    #[inline]
    pub(super) fn take(&mut self, capacity: usize, wakes: &mut Wakes) -> Result<T, Refusal> {
        if let Some(message) = self.buffer.pop_front() {
            // Invariant 2.
            //
            // fault: room-is-left-empty
            if self.buffer.len() < capacity {
                if let Some(next) = self.take_sending(wakes) {
                    self.buffer.push_back(next);
                    // Invariant 3: who takes this message was told of that one.
                    //
                    // fault: room-is-filled-silently
                    self.tell_receiver(Grant::Given, wakes);
                }
            }
            return Ok(message);
        }
        match self.take_sending(wakes) {
            Some(message) => Ok(message),
            None if self.senders == 0 => Err(Refusal::Disconnected(self.without_senders())),
            None => Err(Refusal::NotNow),
        }
    }
}
