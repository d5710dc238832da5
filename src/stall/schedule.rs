//! When the watcher looks next: one word.

use crate::facade::{AtomicU64, Ordering, const_fn};

/// No look is asked for: later than any instant.
const NEVER: u64 = u64::MAX;

/// The instant of the next look that some thread has asked for, in a word.
///
/// A thread that asks has made its scope visible before: it has cancelled it, or opened it. If a
/// look is asked for already that is early enough, it does not tell the timer.
///
/// # Memory ordering
///
/// A look that finds the word of a thread, or a word that was written later, sees the scope of that
/// thread. Both sides are read-modify-writes of one word, so one comes first. If the thread comes
/// first, the look sees its scope. If the look comes first, the thread finds that no look is asked
/// for, and tells the timer.
#[derive(Debug)]
pub(crate) struct Schedule {
    next: AtomicU64,
}

impl Schedule {
    const_fn! {
        pub(crate) const fn new() -> Self {
            Schedule {
                next: AtomicU64::new(NEVER),
            }
        }
    }

    /// Asks for a look at the instant `at`. Returns whether the caller has to tell the timer.
    pub(crate) fn ask(&self, at: u64) -> bool {
        // Release pairs with the acquire in `begin`. An exchange also where it changes nothing: a
        // load could miss a look that has just begun, which in turn misses the scope.
        let before = self.next.fetch_min(at, Ordering::Release);
        before > at
    }

    /// Begins a look. Returns the instant that it was asked for. What other threads ask for from
    /// now on is for the next look.
    pub(crate) fn begin(&self) -> u64 {
        // Acquire: the scopes of all threads that have asked before.
        //
        // fault: look-does-not-see-the-scopes-of-those-that-asked
        self.next.swap(NEVER, Ordering::Acquire)
    }
}
