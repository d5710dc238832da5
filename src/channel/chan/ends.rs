//! The count of the ends of a channel, and what happens when the last one goes.

use std::collections::VecDeque;
use std::mem;
use std::panic;
use std::thread;

use super::Chan;
use crate::facade::{catch, error_event};
use crate::panics::{PanicPayload, log};
use crate::waiting::Grant;

impl<T> Chan<T> {
    pub(in crate::channel) fn add_sender(&self) {
        self.state.lock().senders += 1;
    }

    pub(in crate::channel) fn add_receiver(&self) {
        self.state.lock().receivers += 1;
    }

    pub(in crate::channel) fn remove_sender(&self) {
        // fault: sender-is-noted-late
        self.with(|state, wakes| {
            state.senders -= 1;
            // Invariant 6: the end is noted in the critical section that counts it out.
            state.senders_closing.note(state.senders);

            // fault: last-sender-tells-nothing
            if state.senders == 0 {
                while state.tell_receiver(Grant::Refused, wakes).is_some() {}
            }
        });
    }

    pub(in crate::channel) fn remove_receiver(&self) {
        // fault: receiver-is-noted-late
        let unread = self.with(|state, wakes| {
            state.receivers -= 1;
            // Invariant 6: the end is noted in the critical section that counts it out.
            state.receivers_closing.note(state.receivers);
            if state.receivers != 0 {
                return VecDeque::new();
            }

            // Invariant 1: the refused senders stay in the queue, where each finds its message.
            //
            // fault: last-receiver-tells-nothing
            for (waiter, sending) in state.sending.iter() {
                if waiter.claim(Grant::Refused, sending.case) {
                    wakes.keep(waiter.clone());
                }
            }

            // fault: last-receiver-leaves-the-messages
            mem::take(&mut state.buffer)
        });

        // Outside of the lock: the messages may hold ends of this channel, and run any code.
        drop_each(unread);
    }
}

/// Drops every message, even if the drop of one panics.
///
/// The first panic is resumed at the end. Any other is logged, since a second panic would end the
/// process.
fn drop_each<T>(messages: VecDeque<T>) {
    let mut first = None;
    for message in messages {
        let Err(payload) = catch(|| drop(message)) else {
            continue;
        };

        // During an unwinding, a second panic that leaves a destructor ends the process.
        if first.is_none() && !thread::panicking() {
            first = Some(payload);
        } else {
            let panic = PanicPayload::new(payload);
            log(|| error_event!(panic = panic.message(), "the drop of a message panicked"));
        }
    }

    if let Some(payload) = first {
        panic::resume_unwind(payload);
    }
}
