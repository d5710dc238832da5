//! The state of a channel, and each step that is taken under its lock.
//!
//! # Invariants
//!
//! All of them hold under the lock of the channel.
//!
//! 1. A message is in one place: with its sender, in the queue of senders, in the buffer, in the
//!    queue of receivers, or with its receiver. A sender that finds its message in the queue takes
//!    it back. If the message is not there, it was sent.
//! 2. No sender waits while there is room and a receiver: the receive that makes room fills it from
//!    the queue of senders.
//! 3. A message that enters the buffer tells one of the waiting receivers. A receiver that was told
//!    takes a message if there is one, even if it was cancelled meanwhile. If another thread was
//!    faster, the receiver waits again.
//! 4. The buffer of a channel without room is always empty. A message goes from a sender straight
//!    to a receiver that waits: it is left in the entry of the receiver, in the critical section
//!    that grants the wait, and no other thread can take it.
//! 5. A receiver that was told is set apart from its queue by the thread that tells it, and takes
//!    its entry out by itself.
//! 6. A side remembers the first of its ends that was dropped because a task did not end well. It
//!    notes that in the critical section that counts the end out. So a thread that finds the side
//!    without ends also finds that.
//! 7. A thread that selects is in the queue for one of its cases, and in other queues for others.
//!    The word of its waiter decides for which case it is granted. While it is in the queue
//!    although its wait is over, other threads pass it over.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Disconnected;
use super::closing::Closing;
use super::op_error::OpError;
use crate::waiting::{Grant, Position, WaitQueue, Waiter, Wakes};

/// The state behind the lock of a channel.
// In the order of declaration: how the ends were closed is touched at their end alone.
#[repr(C)]
pub(super) struct ChannelState<T> {
    /// The messages that no waiter holds.
    pub(super) buffer: VecDeque<T>,
    /// The waiting senders, with their messages.
    pub(super) sending: WaitQueue<Sending<T>>,
    /// The waiting receivers.
    pub(super) receiving: WaitQueue<Receiving<T>>,
    pub(super) senders: usize,
    pub(super) receivers: usize,
    /// How the senders were closed.
    pub(super) senders_closing: Closing,
    /// How the receivers were closed.
    pub(super) receivers_closing: Closing,
}

/// The entry of a waiting sender.
pub(super) struct Sending<T> {
    pub(super) case: u32,
    pub(super) message: T,
}

/// The entry of a waiting receiver.
pub(super) struct Receiving<T> {
    pub(super) case: u32,
    /// The message that was handed to it: invariant 4.
    pub(super) handed: Option<T>,
}

impl<T> ChannelState<T> {
    /// Returns the error of a send, once the receivers are gone.
    #[cold]
    pub(super) fn without_receivers(&mut self) -> Disconnected {
        self.receivers_closing.disconnected()
    }

    /// Returns the error of a receive, once the senders are gone.
    #[cold]
    pub(super) fn without_senders(&mut self) -> Disconnected {
        self.senders_closing.disconnected()
    }

    /// Sends `message` if there is room, or if a receiver waits.
    #[inline]
    pub(super) fn offer(
        &mut self,
        message: T,
        capacity: usize,
        wakes: &mut Wakes,
    ) -> Result<(), (T, OpError)> {
        if self.receivers == 0 {
            return Err((message, OpError::Disconnected(self.without_receivers())));
        }

        if self.buffer.len() < capacity {
            // Invariant 3: the message that enters the buffer tells one waiting receiver.
            self.buffer.push_back(message);
            self.tell_receiver(Grant::Given, wakes);
            return Ok(());
        }

        if capacity != 0 {
            return Err((message, OpError::NotNow));
        }

        // Invariant 4: from hand to hand.
        match self.tell_receiver(Grant::Given, wakes) {
            // fault: message-is-left-in-the-channel
            Some(handed) => *handed = Some(message),
            None => return Err((message, OpError::NotNow)),
        }

        Ok(())
    }

    /// Tells the first waiting receiver, if there is one. Returns where to put a message that is
    /// handed to it.
    pub(super) fn tell_receiver(
        &mut self,
        grant: Grant,
        wakes: &mut Wakes,
    ) -> Option<&mut Option<T>> {
        // Invariant 5: set apart. Invariant 7: a receiver is passed over if its wait is over.
        let (waiter, receiving) = self
            .receiving
            .set_apart_if(|waiter, receiving| waiter.claim(grant, receiving.case))?;

        wakes.keep(waiter.clone());
        Some(&mut receiving.handed)
    }

    /// Puts `waiter` into the queue of senders with its message, for its `case`.
    pub(super) fn wait_to_send(&mut self, waiter: Arc<Waiter>, case: u32, message: T) -> Position {
        self.sending.push(waiter, Sending { case, message })
    }

    /// Puts `waiter` into the queue of receivers, for its `case`.
    pub(super) fn wait_to_receive(&mut self, waiter: Arc<Waiter>, case: u32) -> Position {
        self.receiving
            .push(waiter, Receiving { case, handed: None })
    }

    /// Takes the receiver at `position` out, which was told. Returns the message that it was
    /// handed, or else the next one.
    pub(super) fn end_receiving(
        &mut self,
        position: Position,
        capacity: usize,
        wakes: &mut Wakes,
    ) -> Result<T, OpError> {
        // Invariant 5: its entry is still there.
        match self.receiving.remove(position).1.handed {
            Some(message) => Ok(message),
            None => self.take(capacity, wakes),
        }
    }

    /// Takes the message of the first waiting sender, and grants its wait.
    pub(super) fn take_sending(&mut self, wakes: &mut Wakes) -> Option<T> {
        // Invariant 7: a sender is passed over if its wait is over.
        let (waiter, sending) = self
            .sending
            .pop_if(|waiter, sending| waiter.claim(Grant::Given, sending.case))?;

        wakes.keep(waiter);
        Some(sending.message)
    }

    /// Receives a message if there is one.
    #[inline]
    pub(super) fn take(&mut self, capacity: usize, wakes: &mut Wakes) -> Result<T, OpError> {
        if let Some(message) = self.buffer.pop_front() {
            // Invariant 2: the room that this message leaves is filled.
            //
            // fault: room-is-left-empty
            if self.buffer.len() < capacity {
                if let Some(next) = self.take_sending(wakes) {
                    self.buffer.push_back(next);
                    // Invariant 3: it enters the buffer. The receive that takes `message` may have
                    // been told of that one only.
                    //
                    // fault: room-is-filled-silently
                    self.tell_receiver(Grant::Given, wakes);
                }
            }

            return Ok(message);
        }

        match self.take_sending(wakes) {
            Some(message) => Ok(message),
            None if self.senders == 0 => Err(OpError::Disconnected(self.without_senders())),
            None => Err(OpError::NotNow),
        }
    }
}
