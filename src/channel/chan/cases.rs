//! How a select, which waits for other channels too, enters and leaves the queues of a channel.

use std::sync::Arc;

use super::Chan;
use crate::waiting::{Position, Waiter};

impl<T> Chan<T> {
    /// Puts `waiter` into the queue of receivers, for its `case`. Returns `None` if it need not
    /// wait.
    pub(in crate::channel) fn enter_receiving(
        &self,
        waiter: &Arc<Waiter>,
        case: u32,
    ) -> Option<Position> {
        let mut state = self.state.lock();

        // Not counted: this select itself, and selects that were granted elsewhere (invariant 7).
        //
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

    /// Takes a waiter out of the queue of receivers. It was granted nothing here.
    pub(in crate::channel) fn leave_receiving(&self, position: Position) {
        self.state.lock().receiving.remove(position);
    }

    /// Puts `waiter` into the queue of senders with its message, for its `case`.
    ///
    /// # Errors
    ///
    /// Returns the message if the waiter need not wait.
    pub(in crate::channel) fn enter_sending(
        &self,
        waiter: &Arc<Waiter>,
        case: u32,
        message: T,
    ) -> Result<Position, T> {
        let mut state = self.state.lock();

        // Not counted: this select itself, and selects that were granted elsewhere (invariant 7).
        //
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

        Ok(state.wait_to_send(waiter.clone(), case, message))
    }
}
