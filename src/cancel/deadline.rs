//! An instant in one word: the deadline of a node, or the end of a grace.

use std::panic::Location;
use std::time::{Duration, Instant};

use crossbeam_utils::atomic::AtomicCell;

use crate::facade::{AtomicU64, Leaked, Ordering};

static EPOCH: Leaked<Instant> = Leaked::new();

/// The word for no instant: greater than the word for any instant.
pub(crate) const NEVER: u64 = u64::MAX;

#[inline]
fn epoch() -> Instant {
    *EPOCH.get_or_make(Instant::now)
}

/// Returns the nanoseconds from the first deadline of the process to `instant`.
pub(crate) fn encode(instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(epoch()).as_nanos();
    u64::try_from(since).unwrap_or(NEVER - 1).min(NEVER - 1)
}

pub(crate) fn decode(nanos: u64) -> Option<Instant> {
    if nanos == NEVER {
        None
    } else {
        epoch().checked_add(Duration::from_nanos(nanos))
    }
}

/// An instant that can be set and moved, and the place in the source that set it.
///
/// That it was set is published by the `TIMED` flag of the node and by an unpark.
#[derive(Debug)]
pub(super) struct Deadline {
    nanos: AtomicU64,
    location: AtomicCell<Option<&'static Location<'static>>>,
}

impl Deadline {
    pub(super) fn none() -> Self {
        Deadline {
            nanos: AtomicU64::new(NEVER),
            location: AtomicCell::new(None),
        }
    }

    pub(super) fn set(&self, instant: Instant, location: &'static Location<'static>) {
        self.location.store(Some(location));
        // Release pairs with the acquire in `get`: a thread that finds a deadline that was moved
        // may have seen neither a flag nor a lock that came after it.
        self.nanos.store(encode(instant), Ordering::Release);
    }

    pub(super) fn clear(&self) {
        // Relaxed: a thread that finds no deadline does nothing.
        self.nanos.store(NEVER, Ordering::Relaxed);
    }

    /// Sets the instant if there is none or a later one. The caller holds the lock of the node.
    pub(super) fn set_earlier(&self, instant: Instant, location: &'static Location<'static>) {
        if self.get().is_none_or(|set| instant < set) {
            self.set(instant, location);
        }
    }

    pub(super) fn get(&self) -> Option<Instant> {
        // Acquire pairs with the release in `set`.
        decode(self.nanos.load(Ordering::Acquire))
    }

    /// Returns the place in the source that set the instant.
    pub(super) fn location(&self) -> Option<&'static Location<'static>> {
        self.location.load()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::Location;
    use std::time::{Duration, Instant};

    use super::{Deadline, NEVER, decode, encode};

    #[test]
    fn a_deadline_keeps_its_instant() {
        let now = Instant::now();
        encode(now); // the epoch: instants before it are all encoded as zero
        for later in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_secs(3_600),
        ] {
            let at = Instant::now() + later;
            assert_eq!(decode(encode(at)), Some(at));
        }
    }

    #[test]
    fn a_deadline_that_is_too_far_off_for_its_word_is_not_none() {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
        let Some(far) = Instant::now().checked_add(CENTURY * 6) else {
            return;
        };
        assert_eq!(encode(far), NEVER - 1);
        assert!(decode(encode(far)).is_none_or(|at| at > Instant::now() + CENTURY * 5));
        assert_eq!(decode(NEVER), None);
    }

    #[test]
    fn of_two_deadlines_the_earlier_is_kept_with_its_place() {
        encode(Instant::now()); // the epoch
        let deadline = Deadline::none();
        let places = [Location::caller(), Location::caller(), Location::caller()];
        let [first, earlier, later] =
            [20, 10, 30].map(|seconds| Instant::now() + Duration::from_secs(seconds));
        for (set, place, kept) in [
            (first, 0, (first, 0)),
            (later, 1, (first, 0)),
            (first, 1, (first, 0)),
            (earlier, 2, (earlier, 2)),
        ] {
            deadline.set_earlier(set, places[place]);
            assert_eq!(
                (deadline.get(), deadline.location()),
                (Some(kept.0), Some(places[kept.1]))
            );
        }
    }
}
