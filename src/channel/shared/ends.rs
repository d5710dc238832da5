//! How the ends of a channel come and go.

use std::collections::VecDeque;
use std::mem;
use std::panic;
use std::thread;

use super::Shared;
use crate::error::{PanicPayload, log};
use crate::facade::{Guard, catch, holds};
use crate::waiting::Grant;

impl<T> Shared<T> {
    pub(in crate::channel) fn add_sender(&self) {
        self.state.lock().senders += 1;
    }

    pub(in crate::channel) fn add_receiver(&self) {
        self.state.lock().receivers += 1;
    }

    pub(in crate::channel) fn remove_sender(&self) {
        self.with(|state, wakes| {
            state.senders -= 1;
            // Invariant 6.
            if holds(Guard::EndIsNotedAsItGoes) {
                state.senders_closing.note(state.senders == 0);
            }
            if state.senders == 0 && holds(Guard::LastEndWakes) {
                while state.tell_receiver(Grant::Refused, wakes).is_some() {}
            }
        });
        if !holds(Guard::EndIsNotedAsItGoes) {
            self.state.lock().senders_closing.note(false);
        }
    }

    pub(in crate::channel) fn remove_receiver(&self) {
        let unread = self.with(|state, wakes| {
            state.receivers -= 1;
            // Invariant 6.
            if holds(Guard::EndIsNotedAsItGoes) {
                state.receivers_closing.note(state.receivers == 0);
            }
            if state.receivers != 0 {
                return VecDeque::new();
            }
            // They stay in the queue, where each finds its message.
            for (waiter, sending) in state.sending.iter().filter(|_| holds(Guard::LastEndWakes)) {
                if waiter.claim(Grant::Refused, sending.case) {
                    wakes.keep(waiter.clone());
                }
            }
            if holds(Guard::LastReceiverDrops) {
                mem::take(&mut state.buffer)
            } else {
                VecDeque::new()
            }
        });
        if !holds(Guard::EndIsNotedAsItGoes) {
            self.state.lock().receivers_closing.note(false);
        }
        // Outside of the lock: the messages may hold ends of this channel.
        drop_each(unread);
    }
}

/// Drops every message, also where the drop of one panics. The first panic goes on then; any other
/// is logged, since a second one would end the process.
fn drop_each<T>(messages: VecDeque<T>) {
    let mut first = None;
    for message in messages {
        let Err(payload) = catch(|| drop(message)) else {
            continue;
        };
        if first.is_none() && !thread::panicking() {
            first = Some(payload);
        } else {
            let panic = PanicPayload::new(payload);
            log(|| tracing::error!(panic = panic.message(), "the drop of a message panicked"));
        }
    }
    if let Some(payload) = first {
        panic::resume_unwind(payload);
    }
}
