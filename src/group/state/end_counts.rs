//! Ends of tasks, counted before their group hears of them.

use crate::group::stats::GroupStats;
use crate::group::status::TaskStatus;
use crate::group::task_end::{Role, TaskEnd};

/// Tasks that have ended and are still on the counts of their group.
#[derive(Default)]
pub(super) struct EndCounts {
    pub(super) tasks: usize,
    pub(super) daemons: usize,
    /// Tasks that a worker has begun, less those of an earlier report that another thread had
    /// claimed. So it can be negative.
    pub(super) begun: isize,
    pub(super) ended: GroupStats,
}

impl EndCounts {
    pub(super) fn add(&mut self, end: TaskEnd) {
        match end.role {
            Role::Task => self.tasks += 1,
            Role::Daemon => self.daemons += 1,
        }
        match end.status {
            TaskStatus::Failed | TaskStatus::Panicked => self.ended.failed += 1,
            TaskStatus::Cancelled | TaskStatus::NeverRan => self.ended.cancelled += 1,
            _ => self.ended.finished += 1,
        }
    }
}
