//! A lock that only readers can fail at: the writer never waits.
//!
//! The owner makes the version odd, writes, and makes it even again. A reader reads between two
//! looks at the version, and keeps what it has read if both looks found the same even version. This
//! is a sequence lock, as in Linux, for data that consists of atomics; Boehm's "Can seqlocks get
//! along with programming language memory models?" (2012) has the fences.

use crate::facade::{AtomicU32, Ordering, acquire_fence, const_fn, release_fence};

/// How often a reader tries before it takes the owner to be busy. A model needs one try: each of
/// more would be like the first.
const TRIES: usize = if cfg!(loom) { 1 } else { 64 };

/// The version of data that one thread writes and any thread reads.
///
/// # Memory ordering
///
/// A reader that reads any value of a write sees, after its fence, the odd version of that write or
/// a later one. So its second look differs from its first.
#[derive(Debug)]
pub(crate) struct Version(AtomicU32);

impl Version {
    const_fn! {
        pub(crate) const fn new() -> Self {
            Version(AtomicU32::new(0))
        }
    }

    /// Runs `write`, which stores to the atomics that this version is about. For the owner.
    #[inline(always)]
    pub(crate) fn change(&self, write: impl FnOnce()) {
        // Only the owner writes the version, so a load and a store do.
        let version = self.0.load(Ordering::Relaxed);
        self.0.store(version.wrapping_add(1), Ordering::Relaxed);

        // fault: data-is-written-before-the-odd-version
        release_fence(); // between the odd version and the data
        write();

        // Release: a reader that sees this version sees the data of it.
        self.0.store(version.wrapping_add(2), Ordering::Release);
    }

    /// Runs `read`, which loads the atomics that this version is about, until it has seen one
    /// version of them. Returns that version too. Returns none if the owner writes all the time.
    pub(crate) fn read<T>(&self, mut read: impl FnMut() -> T) -> Option<(u32, T)> {
        for _ in 0..TRIES {
            // Acquire pairs with the release in `change`.
            let before = self.0.load(Ordering::Acquire);
            if before % 2 != 0 {
                std::hint::spin_loop();
                continue;
            }

            let value = read();

            // fault: version-is-looked-at-before-the-data
            acquire_fence(); // between the data and the second look
            // fault: torn-data-is-kept
            if self.0.load(Ordering::Relaxed) == before {
                return Some((before, value));
            }
        }

        None
    }
}
