//! The arithmetic of a rate: when a request for permits may be granted.
//!
//! It is the generic cell rate algorithm, in the form of virtual scheduling (ITU-T I.371), as in
//! the crate `governor`. Each permit moves a *theoretical arrival time* on by one interval. A
//! request is granted if the time after it is at most the burst ahead of the clock. This is a
//! bucket of tokens that refills by itself, with one number as its state.
//!
//! `governor` rounds the interval to nanoseconds, which changes the rate. Here a time is counted in
//! nanoseconds times the permits of a period. An interval is then the whole number of nanoseconds
//! of the period, and nothing is rounded.

use std::num::NonZeroU32;
use std::time::Duration;

const SECOND: u128 = 1_000_000_000;

/// A rate with its burst. Times are durations since some beginning.
//
// A `Duration` has less than 2^94 nanoseconds. So an interval is below 2^94, a time and a burst are
// below 2^126, and a theoretical arrival time, which is at most a burst ahead of the clock, is
// below 2^127. Another burst on top of it still fits into 128 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gcra {
    /// The units of a nanosecond: the permits of a period.
    permits: NonZeroU32,
    /// The time between two permits, in units.
    interval: u128,
    /// The most permits at once.
    burst: NonZeroU32,
}

/// The theoretical arrival time, in units: when the bucket is full again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tat(u128);

impl Tat {
    /// No permit has been taken.
    pub(super) const START: Tat = Tat(0);
}

impl Gcra {
    /// `permits` in each `per`, which is not zero, and at most `burst` at once.
    pub(super) const fn new(per: Duration, permits: NonZeroU32, burst: NonZeroU32) -> Self {
        Gcra {
            permits,
            interval: per.as_nanos(),
            burst,
        }
    }

    pub(super) const fn with_burst(self, burst: NonZeroU32) -> Self {
        Gcra { burst, ..self }
    }

    pub(super) fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// Takes `count` permits at the time `now`. The count is at most the burst.
    ///
    /// # Errors
    ///
    /// If they may not be taken yet, and none was. The error is the time from which on they may.
    pub(super) fn take(&self, tat: &mut Tat, now: Duration, count: u32) -> Result<(), Duration> {
        debug_assert!(count <= self.burst.get());
        let now = now.as_nanos() * u128::from(self.permits.get());

        // A bucket that is full does not fill further.
        let after = tat.0.max(now) + u128::from(count) * self.interval;
        let earliest = after.saturating_sub(u128::from(self.burst.get()) * self.interval);
        if earliest <= now {
            *tat = Tat(after);
            return Ok(());
        }

        // Rounded up: the nanosecond before is too early.
        let nanos = earliest.div_ceil(u128::from(self.permits.get()));
        Err(
            u64::try_from(nanos / SECOND).map_or(Duration::MAX, |seconds| {
                Duration::new(seconds, (nanos % SECOND) as u32)
            }),
        )
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NANO: Duration = Duration::from_nanos(1);

    fn number(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).expect("it is not zero")
    }

    fn rate(per: Duration, permits: u32, burst: u32) -> Gcra {
        Gcra::new(per, number(permits), number(burst))
    }

    #[test]
    fn the_burst_comes_first_and_then_one_permit_an_interval() {
        let rate = rate(Duration::from_secs(1), 10, 3);
        let mut tat = Tat::START;
        for _ in 0..3 {
            assert_eq!(rate.take(&mut tat, Duration::ZERO, 1), Ok(()));
        }
        for n in 1..=20 {
            let due = Duration::from_millis(100) * n;
            assert_eq!(rate.take(&mut tat, due - NANO, 1), Err(due));
            assert_eq!(rate.take(&mut tat, due, 1), Ok(()));
        }
    }

    #[test]
    fn an_idle_minute_gives_no_more_than_the_burst() {
        let rate = rate(Duration::from_millis(1), 1, 5);
        let mut tat = Tat::START;
        for minute in 0..3 {
            let now = Duration::from_secs(60) * minute;
            let taken = (0..100).filter(|_| rate.take(&mut tat, now, 1).is_ok());
            assert_eq!(taken.count(), 5);
        }
    }

    #[test]
    fn an_interval_that_is_no_whole_number_of_nanoseconds_does_not_drift() {
        // 333 333 333.3.. ns: rounded, a day would be 86 microseconds too short.
        let rate = rate(Duration::from_secs(1), 3, 2);
        let mut tat = Tat::START;
        assert_eq!(rate.take(&mut tat, Duration::ZERO, 2), Ok(()));
        let day = 24 * 60 * 60;
        let mut now = Duration::ZERO;
        for _ in 0..3 * day {
            now = rate.take(&mut tat, now, 1).expect_err("none is left");
            assert_eq!(rate.take(&mut tat, now, 1), Ok(()));
        }
        assert_eq!(now, Duration::from_secs(day));
    }

    #[test]
    fn the_longest_periods_and_the_largest_counts_overflow_nothing() {
        let most = u32::MAX;
        for (permits, burst) in [(1, 1), (1, most), (most, 1), (most, most)] {
            let rate = rate(Duration::MAX, permits, burst);
            let mut tat = Tat::START;
            assert_eq!(rate.take(&mut tat, Duration::ZERO, burst), Ok(()));
            // A whole period later there are the permits of one period.
            let again = rate.take(&mut tat, Duration::MAX, burst);
            assert_eq!(again.is_ok(), burst <= permits);
            let refused = rate.take(&mut tat, Duration::MAX, burst);
            assert_eq!(refused, Err(Duration::MAX));
        }
        let rate = rate(NANO, most, most);
        let mut tat = Tat::START;
        assert_eq!(rate.take(&mut tat, Duration::ZERO, most), Ok(()));
        assert_eq!(rate.take(&mut tat, Duration::ZERO, 1), Err(NANO));
    }

    #[test]
    fn a_request_for_nothing_is_granted() {
        let rate = rate(Duration::from_secs(1), 1, 1);
        let mut tat = Tat::START;
        for count in [0, 1, 0] {
            assert_eq!(rate.take(&mut tat, Duration::ZERO, count), Ok(()));
        }
    }

    /// A bucket of tokens that counts them, in the same units.
    struct Bucket {
        per: u128,
        permits: u128,
        burst: u128,
        tokens: u128,
        filled: u128,
    }

    impl Bucket {
        fn fill(&mut self, now: u128) {
            let filled = (now - self.filled) * self.permits;
            self.tokens = (self.tokens + filled).min(self.burst * self.per);
            self.filled = now;
        }

        fn take(&mut self, now: u128, count: u128) -> bool {
            self.fill(now);
            let needed = count * self.per;
            let enough = self.tokens >= needed;
            self.tokens -= if enough { needed } else { 0 };
            enough
        }
    }

    proptest! {
        #[test]
        fn grants_are_the_ones_of_a_bucket_that_counts(
            per in 1..5_000_u64,
            permits in 1..50_u32,
            burst in 1..20_u32,
            requests in prop::collection::vec((0..2_000_u64, 0..20_u32), 1..200),
        ) {
            let rate = rate(Duration::from_nanos(per), permits, burst);
            let mut tat = Tat::START;
            let (per, permits, burst) = (u128::from(per), u128::from(permits), u128::from(burst));
            let mut bucket = Bucket { per, permits, burst, tokens: burst * per, filled: 0 };
            let (mut now, mut taken) = (0_u64, 0);

            for (passed, count) in requests {
                now += passed;
                let count = count.min(burst as u32);
                let answer = rate.take(&mut tat, Duration::from_nanos(now), count);
                prop_assert_eq!(answer.is_ok(), bucket.take(now.into(), count.into()));
                taken += if answer.is_ok() { u128::from(count) } else { 0 };

                // The bound that users are told.
                prop_assert!(taken * per <= burst * per + u128::from(now) * permits);

                // A refusal names the first nanosecond at which the bucket has enough.
                if let Err(due) = answer {
                    let due = due.as_nanos();
                    let missing = u128::from(count) * per - bucket.tokens;
                    prop_assert_eq!(due - u128::from(now), missing.div_ceil(permits));
                }
            }
        }
    }
}
