//! Random numbers, for fair choices and for pauses that differ from thread to thread.

use std::cell::Cell;

use super::{InChild, local};

local! {
    static RANDOM: Cell<u32> = Cell::new(0);
}

/// A child of `fork` must not draw the numbers that its parent draws.
static IN_CHILD: InChild = InChild::new(|| _ = RANDOM.try_with(|state| state.set(0)));

/// The generator of this thread: xorshift with 32 bits of state.
pub(crate) struct Random(u32);

impl Random {
    pub(crate) fn here() -> Self {
        Random(match RANDOM.try_with(Cell::get).unwrap_or(0) {
            0 => new_seed(),
            state => state,
        })
    }

    /// Returns a number below `limit`. Each is equally likely.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u64::from(self.next()) * limit as u64) >> 32) as usize
    }

    /// Returns a number up to `most`. Each is equally likely.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        let high = u64::from(self.next()) << 32;
        let bits = high | u64::from(self.next());
        // The product of two numbers of 64 bits, of which the upper half is at most `most`.
        ((u128::from(bits) * (u128::from(most) + 1)) >> 64) as u64
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

#[cold]
fn new_seed() -> u32 {
    IN_CHILD.ensure();
    super::seed().max(1)
}

impl Drop for Random {
    fn drop(&mut self) {
        // When the locals of the thread are gone, each generator begins with a new seed.
        let _ = RANDOM.try_with(|state| state.set(self.0));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_below_it() {
        let mut random = Random::here();
        let mut seen = [0_u32; 4];
        for _ in 0..4_000 {
            seen[random.below(4)] += 1;
            seen[random.up_to(3) as usize] += 1;
            assert_eq!((random.below(1), random.up_to(0)), (0, 0));
        }
        assert!(seen.iter().all(|&count| count > 1_000), "{seen:?}");
    }

    #[test]
    fn a_bound_of_all_bits_gives_large_numbers() {
        let mut random = Random::here();
        let half = (0..1_000).filter(|_| random.up_to(u64::MAX) > u64::MAX / 2);
        assert!((300..700).contains(&half.count()));
    }
}
