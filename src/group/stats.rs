//! The number of tasks of a group in each state.

use std::time::Duration;

use super::latency::LatencyHistogram;
use super::status::TaskStatus;
use crate::cancel::WorstLatencies;

/// The tasks of a group, daemons included: how many are in each state, how long they waited for
/// permits, and how long they took to end once they were cancelled.
///
/// Each task is in one of `queued`, `running`, `finished`, `failed` and `cancelled`, so these add
/// up to the number of tasks that were [spawned](Self::spawned). A spawn into a group that is
/// cancelled or has closed is not counted: its handle says [`NeverRan`](TaskStatus::NeverRan). For
/// the tasks of all groups, see [`taskgroup::stats`](fn@crate::stats).
///
/// A task can count as queued or running for a moment longer than its handle says: a worker reports
/// the tasks that it has begun and ended in batches of at most 32, when it takes more tasks or
/// blocks. A task that runs on the thread that joins it counts as queued until it has ended. Once
/// every task has ended, for example in a hook of [`on_release`](crate::TaskGroup::on_release), the
/// counts are exact.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// taskgroup::TaskGroup::scope(|g| {
///     g.spawn(|| Ok(())).wait()?;
///     let stats = g.stats();
///     assert_eq!(stats.queued + stats.running + stats.finished, 1);
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStats {
    /// Tasks that wait for a thread.
    pub queued: usize,
    /// Tasks that have begun and not ended.
    pub running: usize,
    /// Tasks that returned `Ok`.
    pub finished: usize,
    /// Tasks that ended with an error or a panic.
    pub failed: usize,
    /// Tasks that were cancelled, before they began or after.
    pub cancelled: usize,
    /// The part of the `failed` tasks that panicked.
    pub panicked: usize,
    /// The part of the `cancelled` tasks that never began.
    pub never_ran: usize,
    /// The most tasks that ran at once, and so the most threads that the group had. A task that ran
    /// on the thread that joined it is not counted beside others. In a group with a limit this can
    /// be more than the limit: tasks that have given their permits away while they wait for others
    /// are counted.
    pub peak_running: usize,
    /// Tasks that had to wait for a permit: when they were spawned, the tasks before them had, or
    /// were about to have, all that [`limit`](crate::Builder::limit) allows. 0 without a limit.
    pub permit_waits: u64,
    /// How long these waited from their spawns until they began or were dropped, all together and
    /// up to now. If 10 tasks wait, it grows by 10 seconds each second. The clock is the coarse
    /// clock of the system: a short wait counts as 0 or as some milliseconds, and the sum of many
    /// waits is right.
    pub permit_wait: Duration,
    /// How long tasks took to end once they were cancelled.
    pub cancel_latency: LatencyHistogram,
    /// The tasks that took longest to see their cancel, and to end after it.
    pub worst_latencies: WorstLatencies,
}

impl GroupStats {
    /// Returns the number of tasks that were spawned: the sum of all states.
    ///
    /// ```
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok(()));
    ///     assert_eq!(g.stats().spawned(), 1);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), taskgroup::GroupError>(())
    /// ```
    pub fn spawned(&self) -> usize {
        self.live() + self.finished + self.failed + self.cancelled
    }

    /// Returns the number of tasks that have begun, whether they have ended or not.
    ///
    /// A task for which the system refused a thread counts as begun and failed.
    ///
    /// ```
    /// assert_eq!(taskgroup::GroupStats::default().started(), 0);
    /// ```
    pub fn started(&self) -> usize {
        self.spawned() - self.queued - self.never_ran
    }

    /// Returns the number of tasks that have not ended.
    ///
    /// ```
    /// assert_eq!(taskgroup::GroupStats::default().live(), 0);
    /// ```
    pub fn live(&self) -> usize {
        self.queued + self.running
    }

    /// Returns the ended tasks by their outcome, each in one count.
    ///
    /// Once all tasks have ended, the counts add up to [`spawned`](Self::spawned), and without
    /// [`NeverRan`](TaskStatus::NeverRan) to [`started`](Self::started).
    ///
    /// ```
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.on_release(|| {
    ///         for (outcome, tasks) in g.stats().outcomes() {
    ///             println!("{} {tasks}", outcome.as_str());
    ///         }
    ///         Ok(())
    ///     });
    ///     Ok(())
    /// })?;
    /// # Ok::<(), taskgroup::GroupError>(())
    /// ```
    pub fn outcomes(&self) -> [(TaskStatus, usize); 5] {
        [
            (TaskStatus::Finished, self.finished),
            (TaskStatus::Failed, self.failed - self.panicked),
            (TaskStatus::Panicked, self.panicked),
            (TaskStatus::Cancelled, self.cancelled - self.never_ran),
            (TaskStatus::NeverRan, self.never_ran),
        ]
    }
}
