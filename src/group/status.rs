//! The state of a task, or how it ended.

/// The state of a task, or how it ended.
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
    /// The task waits for a thread.
    Queued,
    /// The task has begun.
    Running,
    /// The task returned `Ok`.
    Finished,
    /// The task returned an error of its own, or the system had no thread for it.
    Failed,
    /// The task panicked.
    Panicked,
    /// The task began, and ended with the error of its own cancel or of a cancel of a scope that it
    /// is in.
    Cancelled,
    /// The task was cancelled before it began: its closure was dropped unrun.
    NeverRan,
}

impl TaskStatus {
    /// Returns the status as one lower-case word, for labels and logs: `"queued"`, `"running"`,
    /// `"finished"`, `"failed"`, `"panicked"`, `"cancelled"` or `"never_ran"`.
    ///
    /// ```
    /// assert_eq!(taskgroup::TaskStatus::NeverRan.as_str(), "never_ran");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            TaskStatus::Queued => "queued",
            TaskStatus::Running => "running",
            TaskStatus::Finished => "finished",
            TaskStatus::Failed => "failed",
            TaskStatus::Panicked => "panicked",
            TaskStatus::Cancelled => "cancelled",
            TaskStatus::NeverRan => "never_ran",
        }
    }

    /// The status of an ended task in three bits, for the word of its job.
    pub(crate) fn code(self) -> u8 {
        match self {
            // The word of a job keeps a status only from its end on, so the first two do not
            // come here.
            TaskStatus::Queued | TaskStatus::Running | TaskStatus::Finished => 0,
            TaskStatus::Failed => 1,
            TaskStatus::Panicked => 2,
            TaskStatus::Cancelled => 3,
            TaskStatus::NeverRan => 4,
        }
    }

    /// The status with this code.
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
