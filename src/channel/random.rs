//! Random numbers for fair choices.

use std::cell::Cell;

use crate::facade::{self, local};

local! {
    static RANDOM: Cell<u32> = Cell::new(0);
}

/// The generator of this thread: xorshift with 32 bits of state.
pub(super) struct Random(u32);

impl Random {
    pub(super) fn here() -> Self {
        Random(match RANDOM.try_with(Cell::get).unwrap_or(0) {
            0 => facade::seed().max(1),
            state => state,
        })
    }

    /// Returns a number below `limit`. Each is equally likely.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        ((u64::from(self.0) * limit as u64) >> 32) as usize
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        // When the locals of the thread are gone, each generator begins with a new seed.
        let _ = RANDOM.try_with(|state| state.set(self.0));
    }
}
