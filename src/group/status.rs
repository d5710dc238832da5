//! What a task is doing, or how it ended.

/// What a task is doing, or how it ended.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::{TaskGroup, TaskStatus};
///
/// TaskGroup::scope(|g| {
///     let task = g.spawn_isolated(|| -> anyhow::Result<()> { anyhow::bail!("no input") });
///     assert_eq!(task.wait()?, TaskStatus::Failed);
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskStatus {
    /// Waits for a thread.
    Queued,
    /// Has begun.
    Running,
    /// Returned `Ok`.
    Finished,
    /// Returned an error of its own, or the system had no thread for it.
    Failed,
    /// Panicked.
    Panicked,
    /// Began, and ended with the error of its own cancel or that of a scope it is in.
    Cancelled,
    /// Was cancelled before it began: its closure was dropped unrun.
    NeverRan,
}

impl TaskStatus {
    pub(crate) fn code(self) -> u8 {
        match self {
            TaskStatus::Queued | TaskStatus::Running | TaskStatus::Finished => 0,
            TaskStatus::Failed => 1,
            TaskStatus::Panicked => 2,
            TaskStatus::Cancelled => 3,
            TaskStatus::NeverRan => 4,
        }
    }

    pub(crate) fn from_code(code: u8) -> Self {
        match code {
            0 => TaskStatus::Finished,
            1 => TaskStatus::Failed,
            2 => TaskStatus::Panicked,
            3 => TaskStatus::Cancelled,
            _ => TaskStatus::NeverRan,
        }
    }
}
