//! Whether a thread spins before it waits for a descriptor.

use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

/// Whether the owner spins before it waits for a descriptor.
///
/// To sleep in the kernel and be woken takes tens of microseconds. Where the other side answers
/// within a few, a thread that tries a few more times saves them. Where it does not, the tries cost
/// a few microseconds of a core that others may want. So the last spins decide: after a spin
/// without success, the next waits do not spin: at first one wait, then each time twice as many and
/// one more, up to [`MOST`](Self::MOST).
#[derive(Debug)]
pub(super) struct Spins {
    /// How many waits to come do not spin.
    skip: AtomicU8,
    /// How many waits the last spin without success has cost.
    skipped: AtomicU8,
}

impl Spins {
    const MOST: u8 = 63;

    pub(super) const fn new() -> Self {
        Spins {
            skip: AtomicU8::new(0),
            skipped: AtomicU8::new(0),
        }
    }

    /// Calls `spin`, which returns whether it paid, if the next wait is to spin.
    pub(super) fn try_spin(&self, spin: impl FnOnce() -> bool) -> bool {
        // Relaxed: only the owner reads and writes.
        let skip = self.skip.load(Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Relaxed);
            return false;
        }

        let paid = spin();
        let skip = if paid {
            0
        } else {
            (2 * self.skipped.load(Relaxed) + 1).min(Self::MOST)
        };

        self.skip.store(skip, Relaxed);

        // Kept apart from `skip`, which counts down: the next failed spin doubles this one.
        self.skipped.store(skip, Relaxed);
        paid
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Spins;

    /// How many waits do without a spin until the next, which pays or not.
    fn waits_without(spins: &Spins, pays: bool) -> usize {
        (0..)
            .find(|_| {
                let mut spun = false;
                spins.try_spin(|| {
                    spun = true;
                    pays
                });
                spun
            })
            .expect("it spins again")
    }

    #[test]
    fn spins_in_vain_become_rare_until_one_pays() {
        let spins = Spins::new();
        let waits = [false; 9].map(|pays| waits_without(&spins, pays));
        assert_eq!(waits, [0, 1, 3, 7, 15, 31, 63, 63, 63]);
        assert_eq!(waits_without(&spins, true), 63);
        assert_eq!(waits_without(&spins, true), 0);
        assert_eq!(waits_without(&spins, false), 0);
        assert_eq!(waits_without(&spins, false), 1);
    }
}
