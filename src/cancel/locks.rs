//! The locks of this crate that a thread holds, counted; and, in debug builds, which task runs.

use std::cell::Cell;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64 as PlainU64, Ordering::Relaxed};

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

#[cfg(debug_assertions)]
local! {
    // The number of the innermost task that runs on this thread; zero outside any task.
    static ERRAND: Cell<u64> = Cell::new(0);
}

/// While it lives, this thread runs one more task.
#[cfg(debug_assertions)]
#[must_use = "the task has ended at once if this is not kept"]
pub(crate) struct Errand {
    before: u64,
}

#[cfg(debug_assertions)]
impl Errand {
    pub(crate) fn begin() -> Self {
        static NEXT: PlainU64 = PlainU64::new(1);
        let number = NEXT.fetch_add(1, Relaxed);
        Errand {
            before: ERRAND
                .try_with(|errand| errand.replace(number))
                .unwrap_or(0),
        }
    }

    /// Returns the number of the innermost task of this thread, unique in the process; zero outside
    /// any task.
    pub(crate) fn current() -> u64 {
        ERRAND.try_with(Cell::get).unwrap_or(0)
    }
}

#[cfg(debug_assertions)]
impl Drop for Errand {
    fn drop(&mut self) {
        let _ = ERRAND.try_with(|errand| errand.set(self.before));
    }
}
