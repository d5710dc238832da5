//! How a thread waits so that a cancel finds it: one slot a thread, one word a slot, one protocol;
//! and the queue in which those who wait for the same thing stand.

mod point;
mod queue;
mod slot;

pub(crate) use point::Point;
pub(crate) use queue::{Grant, Place, Queue, Waiter, Wakes};
pub(crate) use slot::{Fired, Marked, Marks, OnCancel, Slot, Woken};
