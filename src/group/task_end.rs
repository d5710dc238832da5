//! The role of a task, its place and its end, as the queue and the counts of a group know them.

use super::status::TaskStatus;

/// How a task takes part in its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// The scope waits for the task.
    Task,
    /// The scope cancels the task once the body and all tasks have ended.
    Daemon,
}

/// Which threads a task may run on in place, while they wait for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RunsInPlace {
    /// On all.
    Anywhere,
    /// Where the span is current that was current at its spawn. The subscriber is asked.
    WhereItsSpanIs,
    /// On none: a worker, or a thread of its own, runs the task.
    Elsewhere,
}

/// A task that has ended and is still on the counts of its group.
#[derive(Clone, Copy, Debug)]
#[must_use = "the scope waits until the task is off the counts"]
pub(crate) struct TaskEnd {
    pub(crate) role: Role,
    pub(crate) status: TaskStatus,
}

impl TaskEnd {
    /// Returns whether the counts need to know nothing but that one task has finished.
    pub(crate) fn is_plain(self) -> bool {
        self.status == TaskStatus::Finished && self.role == Role::Task
    }
}
