//! The counts of all tasks of the process.
//!
//! A count is one addition on the lane of this thread (see `lanes`). For each task,
//! the counts come in the order of its life: spawned, started, ended. A task that never ran was not
//! started.

use std::time::Duration;

use super::status::TaskStatus;
use crate::lanes::{self, COUNTS};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Counter {
    Spawned,
    Started,
    Finished,
    Failed,
    Panicked,
    Cancelled,
    NeverRan,
    /// Tasks that have waited for a permit.
    PermitWaits,
    /// How long they have waited, in milliseconds.
    PermitMillis,
}

const _: () = assert!(Counter::PermitMillis as usize + 1 == COUNTS);

impl Counter {
    #[inline]
    fn count(self, by: u64) {
        lanes::add_to(self as usize, by);
    }

    pub(super) fn sum(self) -> u64 {
        lanes::sum(self as usize)
    }
}

/// Counts a task that a group has taken.
#[inline]
pub(super) fn spawned() {
    Counter::Spawned.count(1);
}

/// Counts a task that begins, or for which the system refused a thread.
#[inline]
pub(super) fn started() {
    Counter::Started.count(1);
}

/// Counts a task that has ended, before it leaves the counts of its group.
#[inline]
pub(super) fn ended(status: TaskStatus) {
    let counter = match status {
        TaskStatus::Failed => Counter::Failed,
        TaskStatus::Panicked => Counter::Panicked,
        TaskStatus::Cancelled => Counter::Cancelled,
        TaskStatus::NeverRan => Counter::NeverRan,
        _ => Counter::Finished,
    };
    counter.count(1);
}

/// Counts a task that has waited for a permit for so long.
pub(super) fn waited_for_permit(waited: Duration) {
    Counter::PermitWaits.count(1);
    // Most waits take less than a step of the coarse clock.
    if !waited.is_zero() {
        Counter::PermitMillis.count(waited.as_millis() as u64);
    }
}
