//! How a thread waits so that a cancel finds it: one slot for each thread, one word for each slot,
//! one protocol; and the queue of the threads that wait for the same thing.

mod enqueued;
#[cfg(any(loom, all(unix, feature = "net")))]
#[cfg_attr(loom, allow(dead_code, reason = "for the models"))]
mod known_patience;
mod on_cancel;
mod shown_wait;
mod slot;
mod wait_kind;
mod wait_queue;

pub(crate) use enqueued::Enqueued;
#[cfg(any(loom, all(unix, feature = "net")))]
#[cfg_attr(loom, allow(unused_imports, reason = "for the models"))]
pub(crate) use known_patience::{KnownPatience, READS_WAIT, WRITES_WAIT};
pub(crate) use on_cancel::OnCancel;
pub(crate) use shown_wait::WaitFor;
#[cfg(any(unix, loom))]
pub(crate) use slot::Polled;
pub(crate) use slot::{Fired, Marked, Marks, Slot, Woken};
pub(crate) use wait_kind::WaitKind;
pub(crate) use wait_queue::{Grant, Position, WaitQueue, Waiter, Wakes};
