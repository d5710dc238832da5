//! How many tasks of a group are in which state.

/// How many tasks, daemons included, a group has in each state.
///
/// Each task is counted once. A task may count as running for a moment longer than its handle says: workers report what
/// they have ended in batches, when they come for more or block.
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
