//! How a thread waits so that a cancel finds it: one slot a thread, one word a slot, one protocol.

mod point;
mod slot;

pub(crate) use point::Point;
pub(crate) use slot::{Marked, Slot, Woken};
