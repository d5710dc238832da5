//! Random numbers, for choices that are to be fair.

use std::cell::Cell;

use crate::facade::{self, local};

local! {
    static RANDOM: Cell<u32> = Cell::new(0);
}

/// The random numbers of this thread.
pub(super) struct Random(u32);

impl Random {
    pub(super) fn here() -> Self {
        Random(match RANDOM.try_with(Cell::get).unwrap_or(0) {
            0 => facade::seed().max(1),
            state => state,
        })
    }

    /// A number below `limit`, each as likely as any other.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        ((u64::from(self.0) * limit as u64) >> 32) as usize
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        // A thread whose locals are gone begins anew each time.
        let _ = RANDOM.try_with(|state| state.set(self.0));
    }
}
