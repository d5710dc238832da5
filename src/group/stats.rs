//! How many tasks of a group are in which state.

/// How many tasks, daemons included, a group has in each state, at the moment of the call.
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
