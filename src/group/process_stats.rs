//! The tasks and threads of the process, in numbers.

use std::time::Duration;

use super::latency::{LatencyHistogram, LatencyRecorder};
use super::process_counts::Counter;
use super::status::TaskStatus;
use crate::facade::per_process;
use crate::workers;

per_process! {
    pub(super) static CANCEL_LATENCY: LatencyRecorder = LatencyRecorder::new();
}

/// Returns the numbers of this process: tasks by state and outcome, threads, and how long tasks
/// took to end once they were cancelled.
///
/// It reads a few counters of each thread and stops none, so it may be called as often as a monitor
/// likes, from any thread, even in a callback, a destructor or a panic hook. It takes the lock of
/// the pool of workers, so a global allocator must not call it; [`snapshot`](crate::snapshot) may
/// be called there. Counts are kept whether it is called or not. A task costs three additions on
/// memory of its thread.
///
/// For one group, see [`TaskGroup::stats`](crate::TaskGroup::stats). The example [`metrics`] serves
/// both to Prometheus.
///
#[doc = concat!("[`metrics`]: ", env!("CARGO_PKG_REPOSITORY"), "/tree/main/examples/metrics")]
///
/// ```
/// use taskgroup::TaskGroup;
///
/// let before = taskgroup::stats();
/// TaskGroup::scope(|g| {
///     g.spawn(|| Ok(()));
///     Ok(())
/// })?;
/// assert!(taskgroup::stats().finished > before.finished);
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
pub fn stats() -> ProcessStats {
    // The counts that come last in the life of a task are read first: then no count is ahead of one
    // that comes before it.
    let cancel_latency = CANCEL_LATENCY.read();
    let permit_wait = Duration::from_millis(Counter::PermitMillis.sum());
    let permit_waits = Counter::PermitWaits.sum();
    let finished = Counter::Finished.sum();
    let (failed, panicked) = (Counter::Failed.sum(), Counter::Panicked.sum());
    let (cancelled, never_ran) = (Counter::Cancelled.sum(), Counter::NeverRan.sum());
    let started = Counter::Started.sum();
    let spawned = Counter::Spawned.sum();

    let threads = workers::census();
    ProcessStats {
        // No count is ahead of an earlier one, so nothing falls below zero.
        queued: spawned - started - never_ran,
        running: started - finished - failed - panicked - cancelled,
        finished,
        failed: failed + panicked,
        cancelled: cancelled + never_ran,
        panicked,
        never_ran,
        threads: threads.threads,
        peak_threads: threads.peak_threads,
        workers: threads.workers,
        idle_workers: threads.idle_workers,
        permit_waits,
        permit_wait,
        cancel_latency,
    }
}

/// The tasks of all groups of the process, and the threads that run them, in numbers. See
/// [`stats`](fn@crate::stats).
///
/// - [`spawned`](Self::spawned), [`started`](Self::started), `finished`, `failed`, `cancelled`,
///   `panicked`, `never_ran`, `permit_waits`, `permit_wait`, `peak_threads` and the counts of
///   `cancel_latency` never fall. All of them begin with 0 at the start of the process.
/// - `queued`, `running`, `threads`, `workers` and `idle_workers` are the numbers of a moment ago.
/// - Once the scopes have returned, their tasks are all counted as ended: then the
///   [`outcomes`](Self::outcomes) add up.
///
/// No count is kept for each name, place or id, so exporting them needs no label but the outcome.
/// Daemons are tasks; bodies of scopes, and code that `abandon` runs, are not.
///
/// ```
/// let stats = taskgroup::stats();
/// println!("{} tasks on {} threads", stats.live(), stats.threads);
/// assert!(stats.idle_workers <= stats.workers);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessStats {
    /// Tasks that wait for a thread or a permit.
    pub queued: u64,
    /// Tasks that have begun and not ended. Unlike in [`GroupStats`](crate::GroupStats), tasks on
    /// the thread that joins them are included.
    pub running: u64,
    /// Tasks that returned `Ok`.
    pub finished: u64,
    /// Tasks that ended with an error or a panic.
    pub failed: u64,
    /// Tasks that were cancelled, before they began or after.
    pub cancelled: u64,
    /// The part of the `failed` tasks that panicked.
    pub panicked: u64,
    /// The part of the `cancelled` tasks that never began.
    pub never_ran: u64,
    /// Threads of the crate that run tasks: the `workers`, and the threads of
    /// [`dedicated`](crate::TaskBuilder::dedicated) tasks.
    pub threads: usize,
    /// The most `threads` that there were at once.
    pub peak_threads: usize,
    /// Threads that run any task.
    pub workers: usize,
    /// The part of the `workers` that is cached: they have no task, and end if none comes in 10
    /// seconds.
    pub idle_workers: usize,
    /// Tasks that had to wait for a permit of a limited group and have begun, or been dropped,
    /// since.
    pub permit_waits: u64,
    /// How long these waited, all together. A wait that goes on is counted when it ends; the stats
    /// of its group count it up to now.
    pub permit_wait: Duration,
    /// How long tasks took to end once they were cancelled.
    pub cancel_latency: LatencyHistogram,
}

impl ProcessStats {
    /// Returns the number of tasks that were spawned.
    ///
    /// ```
    /// let stats = taskgroup::stats();
    /// assert_eq!(stats.spawned(), stats.live() + stats.finished + stats.failed + stats.cancelled);
    /// ```
    pub fn spawned(&self) -> u64 {
        self.live() + self.finished + self.failed + self.cancelled
    }

    /// Returns the number of tasks that have begun, whether they have ended or not.
    ///
    /// A task for which the system refused a thread counts as begun and failed.
    ///
    /// ```
    /// let stats = taskgroup::stats();
    /// assert!(stats.started() <= stats.spawned());
    /// ```
    pub fn started(&self) -> u64 {
        self.spawned() - self.queued - self.never_ran
    }

    /// Returns the number of tasks that have not ended.
    ///
    /// ```
    /// let stats = taskgroup::stats();
    /// assert_eq!(stats.live(), stats.queued + stats.running);
    /// ```
    pub fn live(&self) -> u64 {
        self.queued + self.running
    }

    /// Returns the ended tasks by their outcome, each in one count.
    ///
    /// They add up to [`spawned`](Self::spawned) without [`live`](Self::live), and without
    /// [`NeverRan`](TaskStatus::NeverRan) to [`started`](Self::started) without `running`.
    ///
    /// ```
    /// for (outcome, tasks) in taskgroup::stats().outcomes() {
    ///     println!("tasks_ended_total{{outcome=\"{}\"}} {tasks}", outcome.as_str());
    /// }
    /// ```
    pub fn outcomes(&self) -> [(TaskStatus, u64); 5] {
        [
            (TaskStatus::Finished, self.finished),
            (TaskStatus::Failed, self.failed - self.panicked),
            (TaskStatus::Panicked, self.panicked),
            (TaskStatus::Cancelled, self.cancelled - self.never_ran),
            (TaskStatus::NeverRan, self.never_ran),
        ]
    }
}
