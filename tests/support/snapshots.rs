//! Helpers of the tests of snapshots: looks for a state of the process.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

use std::panic::Location;

use taskgroup::{Snapshot, TaskId, TaskSnapshot, TaskState, snapshot};

use super::support::LONG;

/// Takes snapshots until `found` finds in one of them what it looks for.
#[track_caller]
pub(crate) fn until<T>(mut found: impl FnMut(&Snapshot) -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        let seen = snapshot();
        if let Some(found) = found(&seen) {
            return found;
        }
        assert!(begun.elapsed() < LONG, "at {}: {seen}", Location::caller());
        std::thread::yield_now();
    }
}

/// Returns the task with this id once it is in this state.
#[track_caller]
pub(crate) fn task_in(state: TaskState, id: TaskId) -> TaskSnapshot {
    until(|seen| {
        let task = seen.tasks().find(|task| task.id() == id)?;
        (task.state() == state).then(|| task.clone())
    })
}

/// Returns the task with this id once it waits at a point of this name.
#[track_caller]
pub(crate) fn task_at(what: &str, id: TaskId) -> TaskSnapshot {
    until(|seen| {
        let task = seen.tasks().find(|task| task.id() == id)?;
        let wait = task.waits()?;
        (wait.what() == what).then(|| task.clone())
    })
}
