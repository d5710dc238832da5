//! The locks of this crate that a thread holds, counted.

use std::cell::Cell;

use crate::facade::local;
use crate::lanes::LockRank;

local! {
    // Apart from the frames, so that counting costs one instruction.
    static LOCKS: Cell<usize> = Cell::new(0);
}

/// Counts a lock of this crate that this thread has locked. Returns whether it holds others.
#[inline]
pub(crate) fn lock_taken() -> LockRank {
    // The count has no destructor, so it lives as long as the thread.
    let before = LOCKS.try_with(|locks| locks.replace(locks.get().wrapping_add(1)));
    // Not compared with `Ok(0)`: the error of a model's thread-local cannot be compared.
    if before.is_ok_and(|before| before == 0) {
        LockRank::First
    } else {
        LockRank::Further
    }
}

/// Takes a lock of this crate that this thread has unlocked off the count.
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
