//! A worker, as a snapshot finds it.

use std::sync::Arc;

use crate::cancel::TaskId;

/// A thread that the crate keeps for tasks, when a [`Snapshot`](super::Snapshot) was taken.
///
/// ```
/// use taskgroup::{WorkerSnapshot, snapshot};
///
/// let seen = snapshot();
/// let idle = seen.workers().iter().filter(|worker| worker.is_idle()).count();
/// assert!(idle <= seen.workers().len());
/// ```
#[derive(Clone, Debug)]
pub struct WorkerSnapshot {
    pub(super) thread: Option<Arc<str>>,
    pub(super) system_thread: Option<u32>,
    pub(super) task: Option<TaskId>,
}

impl WorkerSnapshot {
    /// Returns the name of the thread.
    pub fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// Returns the number of the thread in the system. Known on Linux only.
    pub fn system_thread(&self) -> Option<u32> {
        self.system_thread
    }

    /// Returns the innermost task that the worker runs. An idle worker has none: it stays for the
    /// next task, and ends after ten seconds without one.
    pub fn task(&self) -> Option<TaskId> {
        self.task
    }

    /// Returns whether the worker waits for a task.
    pub fn is_idle(&self) -> bool {
        self.task.is_none()
    }
}
