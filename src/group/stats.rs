//! How many tasks of a group are in which state.

/// How many tasks, daemons included, a group has in each state.
///
/// Each task is counted once, so the states add up to the number of tasks that were spawned. A task
/// can count as queued or running for a moment longer than its handle says: workers report what
/// they have begun and ended in batches of at most 32, when they come for more or block. A task
/// that runs on the thread that joins it counts as queued until it has ended. When every task has
/// ended, in a hook of [`on_release`](crate::TaskGroup::on_release) for example, the counts are
/// exact.
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
    /// Waiting for a thread.
    pub queued: usize,
    /// Begun and not ended.
    pub running: usize,
    /// Ended with `Ok`.
    pub finished: usize,
    /// Ended with an error or a panic.
    pub failed: usize,
    /// Cancelled, before they began or after.
    pub cancelled: usize,
}
