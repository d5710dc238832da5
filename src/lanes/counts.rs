//! Counts of the process, of which each lane keeps a part.
//!
//! # Invariants
//!
//! 1. Only the thread that has a lane writes its counts. So a count is a load, an addition and a
//!    store, with no read-modify-write and no cache line that threads share. The counts of threads
//!    without a lane belong to no lane: such threads share them, and add by a read-modify-write.
//! 2. They are never set back, even when the lane gets another thread. So the sum over all lanes
//!    never falls.

use std::sync::atomic::AtomicU64 as PlainU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// How many counts there are.
pub(crate) const COUNTS: usize = 9;

/// The counts of one lane.
pub(super) struct Counts([PlainU64; COUNTS]);

impl Counts {
    pub(super) const fn new() -> Self {
        Counts([const { PlainU64::new(0) }; COUNTS])
    }

    /// Adds to a count. For the owner of the lane.
    #[inline]
    pub(super) fn add(&self, count: usize, by: u64) {
        // Invariant 1: the owner alone writes, so a load and a store do.
        let count = &self.0[count];

        // Release pairs with the acquire in `get`: a thread that sees this count sees all counts
        // that came before it, on whatever threads.
        count.store(count.load(Relaxed) + by, Release);
    }

    /// Adds to a count that threads without a lane share (invariant 1).
    pub(super) fn add_shared(&self, count: usize, by: u64) {
        self.0[count].fetch_add(by, Release);
    }

    pub(super) fn get(&self, count: usize) -> u64 {
        self.0[count].load(Acquire)
    }
}
