//! How long tasks take to end once they are cancelled.
//!
//! The buckets are log-linear: eight of equal width to each power of two, from about a microsecond
//! to about an hour. So a value is known to within an eighth, and the recorder needs no lock, two
//! kilobytes and no allocation.

use std::fmt;
use std::sync::atomic::AtomicU64 as PlainU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::cancel::{TaskInfo, WorstLatencies};
use crate::facade::PlainMutex;

/// Values below 2 to this power, in nanoseconds, are in the first bucket.
const FIRST_EXPONENT: u32 = 10;
/// Values from 2 to this power on are in the last bucket.
const LAST_EXPONENT: u32 = 42;
/// The buckets of one power of two, as a power of two.
const SPLIT: u32 = 3;
const BUCKETS: usize = 2 + (((LAST_EXPONENT - FIRST_EXPONENT) as usize) << SPLIT);

/// Returns the number of the bucket for a value in nanoseconds.
fn bucket_of(nanos: u64) -> usize {
    let exponent = nanos.max(1).ilog2();
    if exponent < FIRST_EXPONENT {
        return 0;
    }
    if exponent >= LAST_EXPONENT {
        return BUCKETS - 1;
    }

    // The bits below the leading one.
    let part = (nanos >> (exponent - SPLIT)) as usize & ((1 << SPLIT) - 1);
    1 + (((exponent - FIRST_EXPONENT) as usize) << SPLIT) + part
}

/// Returns the value in nanoseconds that all values of the bucket are below. `None` for the last
/// bucket.
fn end_of(bucket: usize) -> Option<u64> {
    let Some(from_first) = bucket.checked_sub(1) else {
        return Some(1 << FIRST_EXPONENT);
    };
    let exponent = FIRST_EXPONENT + (from_first >> SPLIT) as u32;
    let part = (from_first & ((1 << SPLIT) - 1)) as u64;
    (exponent < LAST_EXPONENT).then(|| ((1 << SPLIT) + part + 1) << (exponent - SPLIT))
}

/// A histogram that threads record in at the same time.
pub(super) struct LatencyRecorder {
    buckets: [PlainU64; BUCKETS],
    nanos: PlainU64,
    longest: PlainU64,
}

impl LatencyRecorder {
    pub(super) const fn new() -> Self {
        LatencyRecorder {
            buckets: [const { PlainU64::new(0) }; BUCKETS],
            nanos: PlainU64::new(0),
            longest: PlainU64::new(0),
        }
    }

    pub(super) fn record(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.longest.fetch_max(nanos, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
        // Last, and release pairs with the acquire in `read`: a value that is counted is no longer
        // than the longest.
        self.buckets[bucket_of(nanos)].fetch_add(1, Release);
    }

    pub(super) fn read(&self) -> LatencyHistogram {
        let counts = self.buckets.iter().map(|count| count.load(Acquire));
        let counts: Vec<_> = counts.collect();
        if counts.iter().all(|count| *count == 0) {
            return LatencyHistogram::default();
        }
        LatencyHistogram {
            counts,
            sum: Duration::from_nanos(self.nanos.load(Relaxed)),
            longest: Duration::from_nanos(self.longest.load(Relaxed)),
        }
    }
}

/// How late the tasks of a group ended after their cancels, made when the first of them does.
pub(super) struct GroupLatencies {
    pub(super) recorder: LatencyRecorder,
    /// A lock of its own, which no other is taken inside of. Only ends after a cancel take it.
    worst: PlainMutex<WorstLatencies>,
}

impl GroupLatencies {
    pub(super) fn new() -> Self {
        GroupLatencies {
            recorder: LatencyRecorder::new(),
            worst: PlainMutex::new(WorstLatencies::default()),
        }
    }

    /// Notes the end of a task.
    pub(super) fn record(
        &self,
        to_sight: Option<Duration>,
        to_end: Duration,
        task: impl Fn() -> TaskInfo,
    ) {
        self.recorder.record(to_end);
        self.worst.lock().note(to_sight, to_end, task);
    }

    pub(super) fn worst(&self) -> WorstLatencies {
        self.worst.lock().clone()
    }
}

impl fmt::Debug for LatencyRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

/// How long tasks took to end once they were cancelled, as a histogram.
///
/// Each task that was running at a cancel and has ended since is in it once, with the time from the
/// cancel to its end: whether the cancel cut it short, or it failed on its way out, or it finished
/// anyway. A task that does not see its cancel is the one with the longest time. Tasks that never
/// ran are not in it.
///
/// The widths of the buckets are an eighth of a power of two, from 1 microsecond to about 70
/// minutes. So a [`quantile`](Self::quantile) is at most an eighth too long. The
/// [`count`](Self::count), the [`sum`](Self::sum) and the [`longest`](Self::longest) are exact.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::TaskGroup;
///
/// let begun = taskgroup::sync::Latch::new(2);
/// TaskGroup::scope(|g| {
///     for _ in 0..2 {
///         g.spawn(|| {
///             begun.count_down();
///             Ok(taskgroup::sleep(Duration::MAX)?) // until the cancel
///         });
///     }
///     begun.wait()?;
///     g.on_release(|| {
///         // All tasks have ended here.
///         let latency = g.stats().cancel_latency;
///         assert_eq!(latency.count(), 2);
///         assert!(latency.quantile(0.5) <= Some(latency.longest()));
///         Ok(())
///     });
///     g.cancel();
///     Ok(())
/// })?;
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LatencyHistogram {
    /// One for each bucket; none at all if nothing was recorded.
    counts: Vec<u64>,
    sum: Duration,
    longest: Duration,
}

impl LatencyHistogram {
    /// Returns the number of tasks.
    ///
    /// ```
    /// assert_eq!(taskgroup::GroupStats::default().cancel_latency.count(), 0);
    /// ```
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all times.
    ///
    /// ```
    /// assert!(taskgroup::GroupStats::default().cancel_latency.sum().is_zero());
    /// ```
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Returns the longest time, or zero if there is none.
    ///
    /// ```
    /// assert!(taskgroup::GroupStats::default().cancel_latency.longest().is_zero());
    /// ```
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Returns a time that the part `quantile` of the tasks did not exceed, or `None` if there are
    /// no tasks.
    ///
    /// `quantile(0.5)` is the median and `quantile(1.0)` the longest time.
    ///
    /// # Panics
    ///
    /// If `quantile` is not from 0 to 1.
    ///
    /// ```
    /// let stats = taskgroup::stats();
    /// match stats.cancel_latency.quantile(0.99) {
    ///     Some(time) => println!("99 of 100 cancelled tasks ended within {time:?}"),
    ///     None => println!("no task has been cancelled while it ran"),
    /// }
    /// ```
    #[track_caller]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        assert!(
            (0.0..=1.0).contains(&quantile),
            "a quantile is from 0 to 1, and this is {quantile}"
        );

        let count = self.count();

        // At least one task, so that `quantile(0.0)` is the shortest time.
        let rank = ((quantile * count as f64).ceil() as u64).max(1);

        let mut below = 0;
        let mut buckets = self.buckets();
        buckets.find_map(|(end, tasks)| {
            below += tasks;
            (below >= rank).then_some(end.min(self.longest))
        })
    }

    /// Returns the buckets that are not empty, from the shortest times to the longest: the end of
    /// each, which its times do not exceed, and the number of tasks in it.
    ///
    /// The end of a bucket is always the same, and its count never falls. So an exporter may report
    /// the difference to what it read before. The last bucket is for all times from about 70
    /// minutes on, and ends at [`Duration::MAX`].
    ///
    /// ```
    /// let latency = taskgroup::stats().cancel_latency;
    /// let tasks: u64 = latency.buckets().map(|(_, tasks)| tasks).sum();
    /// assert_eq!(tasks, latency.count());
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.counts.iter().copied().enumerate();
        counts
            .filter(|(_, tasks)| *tasks > 0)
            .map(|(bucket, tasks)| {
                // Not the longest time for the last bucket: it changes, and an exporter that knows
                // the buckets by their ends would take that for another bucket.
                let end = end_of(bucket).map_or(Duration::MAX, Duration::from_nanos);
                (end, tasks)
            })
    }
}

impl fmt::Debug for LatencyHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyHistogram")
            .field("count", &self.count())
            .field("median", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_ends_at_most_an_eighth_above_it() {
        let mut nanos = 1_u64;
        let mut before = 0;
        while nanos < 1 << LAST_EXPONENT {
            let values = [nanos - 1, nanos, nanos + 1, nanos + nanos / 3];
            for value in values
                .into_iter()
                .filter(|value| value >> LAST_EXPONENT == 0)
            {
                let end = end_of(bucket_of(value)).expect("it is not in the last bucket");
                assert!(value < end, "{value} is not below {end}");
                let most = (value + value / 8 + 1).max(1 << FIRST_EXPONENT);
                assert!(end <= most, "{value} is in the bucket up to {end}");
            }
            assert!(bucket_of(nanos) >= before);
            before = bucket_of(nanos);
            nanos += nanos / 9 + 1;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(end_of(BUCKETS - 1), None);
        assert_eq!(end_of(BUCKETS - 2), Some(1 << LAST_EXPONENT));
        assert_eq!(bucket_of(0), 0);
    }

    #[test]
    fn quantiles_follow_the_values() {
        let recorder = LatencyRecorder::new();
        assert_eq!(recorder.read().quantile(0.5), None);
        for millis in 1..=100 {
            recorder.record(Duration::from_millis(millis));
        }
        let read = recorder.read();
        assert_eq!(
            (read.count(), read.longest()),
            (100, Duration::from_millis(100))
        );
        assert_eq!(read.sum(), Duration::from_millis(5050));
        for (quantile, millis) in [(0.0, 1), (0.01, 1), (0.5, 50), (0.9, 90), (0.99, 99)] {
            let exact = Duration::from_millis(millis);
            let found = read.quantile(quantile).unwrap();
            assert!(
                found >= exact && found <= exact + exact / 8,
                "{quantile}: {found:?} for {exact:?}"
            );
        }
        assert_eq!(read.buckets().map(|(_, tasks)| tasks).sum::<u64>(), 100);
        // What no bucket has room for counts with the time that it took.
        recorder.record(Duration::from_secs(100_000));
        let longest = recorder.read().quantile(1.0).unwrap();
        assert_eq!(longest, Duration::from_secs(100_000));
    }

    /// Also that of the last, whose longest time grows.
    #[test]
    fn the_end_of_a_bucket_is_always_the_same() {
        let recorder = LatencyRecorder::new();
        let mut ends = Vec::new();
        for seconds in [100_000, 200_000] {
            recorder.record(Duration::from_secs(seconds));
            let read = recorder.read();
            ends.extend(read.buckets().map(|(end, _)| end));
            assert_eq!(read.quantile(1.0), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(ends, [Duration::MAX; 2]);
    }

    #[test]
    #[should_panic(expected = "a quantile is from 0 to 1, and this is 50")]
    fn a_per_cent_is_no_quantile() {
        LatencyHistogram::default().quantile(50.0);
    }
}
