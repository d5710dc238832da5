//! The locks of this crate that a thread holds, counted.

use std::cell::Cell;

use crate::facade::local;

local! {
    // Apart from the frames, so that counting costs one instruction.
    static LOCKS: Cell<usize> = Cell::new(0);
}

/// Says that this thread has locked a lock of this crate.
#[inline]
pub(crate) fn lock_taken() -> bool {
    // The count has no destructor: it is there for as long as the thread.
    let before = LOCKS.try_with(|locks| locks.replace(locks.get().wrapping_add(1)));
    // A thread of a model has no such error that can be compared.
    before.is_ok_and(|before| before == 0)
}

/// Says that this thread has unlocked a lock of this crate.
#[inline]
pub(crate) fn lock_released() {
    let _ = LOCKS.try_with(|locks| locks.set(locks.get().wrapping_sub(1)));
}

/// Whether this thread holds a lock of this crate.
///
/// A cancel or a deadline may end the `join` of a thread that holds a lock, and then the thread
/// unlocks. A task that ran in place of that `join`, and waited for the lock where no cancel
/// reaches, would wait for ever.
#[inline]
pub(super) fn holds_lock() -> bool {
    LOCKS.try_with(|locks| locks.get() != 0).unwrap_or(false)
}
