//! The number of tasks of a group in each state.

/// The number of tasks of a group, daemons included, in each state.
///
/// Each task is counted once, so the states add up to the number of tasks that were spawned.
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
}
