//! The time that a queued task waits for a permit of its group.
//!
//! It is read from the coarse clock, where there is one. A wait ends with the same chance anywhere
//! between two steps of that clock, so a sum of many waits is right although a short one is counted
//! as nothing or as a whole step.

use std::sync::atomic::{AtomicU32 as PlainU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::stopwatch::coarse_millis;
use crate::facade::Leaked;

/// Returns the time in milliseconds from an instant of the past. Its lower half is not 0.
fn now() -> u64 {
    static EPOCH: Leaked<Instant> = Leaked::new();
    let millis = coarse_millis().unwrap_or_else(|| {
        let since = Instant::now().saturating_duration_since(*EPOCH.get_or_make(Instant::now));
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    });
    with_lower_half(millis)
}

/// Returns `millis`, or one more if its lower half would be 0.
fn with_lower_half(millis: u64) -> u64 {
    if millis as u32 == 0 {
        millis + 1
    } else {
        millis
    }
}

/// When a task began to wait for a permit: the lower half of the time in milliseconds, and 0 while
/// the task does not wait.
///
/// It fits into a gap of the task, so it takes no memory. Of two threads that end the wait, the
/// exchange makes one count it.
#[derive(Debug, Default)]
pub(crate) struct PermitWait(PlainU32);

/// The waits of the tasks of a group, under the lock of its queue.
#[derive(Debug)]
pub(super) struct PermitWaits {
    /// Waits that have not ended.
    waiting: u64,
    /// The sum of their beginnings. It wraps around, and so does each value that is computed from
    /// it, which comes out right since the sum of the waits itself fits.
    beginnings: u64,
    /// Waits that have ended, and how long these took together, in milliseconds.
    ended: u64,
    millis: u64,
}

impl PermitWaits {
    pub(super) const fn new() -> Self {
        PermitWaits {
            waiting: 0,
            beginnings: 0,
            ended: 0,
            millis: 0,
        }
    }

    /// Begins the wait of a task that has not been queued yet.
    pub(super) fn begin(&mut self, wait: &PermitWait) {
        let now = now();
        wait.0.store(now as u32, Relaxed);
        self.waiting += 1;
        self.beginnings = self.beginnings.wrapping_add(now);
    }

    /// Ends the wait of a task, if it has one. Returns how long it took.
    pub(super) fn end(&mut self, wait: &PermitWait) -> Option<Duration> {
        let begun = wait.0.swap(0, Relaxed);
        if begun == 0 {
            return None;
        }

        // No task waits for more than the 49 days after which the lower half is the same again.
        let now = now();
        let millis = (now as u32).wrapping_sub(begun).into();
        self.waiting -= 1;
        self.beginnings = self.beginnings.wrapping_sub(now.wrapping_sub(millis));
        self.ended += 1;
        self.millis = self.millis.saturating_add(millis);
        Some(Duration::from_millis(millis))
    }

    /// Returns how many tasks have waited or wait.
    pub(super) fn count(&self) -> u64 {
        self.ended + self.waiting
    }

    /// Returns how long tasks have waited together, up to now.
    pub(super) fn total(&self) -> Duration {
        // The clock is read only where a task waits.
        let under_way = if self.waiting == 0 {
            0
        } else {
            now()
                .wrapping_mul(self.waiting)
                .wrapping_sub(self.beginnings)
        };
        Duration::from_millis(self.millis.saturating_add(under_way))
    }
}

impl PermitWait {
    /// Returns whether the task waits. A hint: the exchange decides.
    #[inline]
    pub(super) fn is_under_way(&self) -> bool {
        self.0.load(Relaxed) != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_lower_half_of_a_time_is_never_0() {
        let wrapped = u64::from(u32::MAX) + 1;
        let times = [0, 7, wrapped - 1, wrapped, wrapped + 1].map(with_lower_half);
        assert_eq!(times, [1, 7, wrapped - 1, wrapped + 1, wrapped + 1]);
    }

    #[test]
    fn waits_that_go_on_count_up_to_now_and_each_ends_once() {
        let mut waits = PermitWaits::new();
        let (first, second) = (PermitWait::default(), PermitWait::default());
        assert_eq!((waits.count(), waits.total()), (0, Duration::ZERO));

        waits.begin(&first);
        waits.begin(&second);
        // Longer than some steps of the clock.
        std::thread::sleep(Duration::from_millis(60));
        assert!(waits.total() >= Duration::from_millis(80));
        assert!(waits.total() < Duration::from_secs(3600), "it has wrapped");

        let before = waits.total();
        assert!(waits.end(&first) >= Some(Duration::from_millis(40)));
        assert_eq!(waits.end(&first), None);
        assert!(first.0.load(Relaxed) == 0 && second.is_under_way());
        assert!(waits.total() >= before);

        waits.end(&second);
        let total = waits.total();
        assert_eq!((waits.count(), waits.waiting, waits.beginnings), (2, 0, 0));
        assert_eq!(waits.total(), total, "nothing waits, so no time passes");
    }
}
