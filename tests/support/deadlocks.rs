//! The parts of a deadlock, and what is found of it.

use std::collections::BTreeSet;
use std::sync::Barrier;

use taskgroup::deadlock::Deadlock;
use taskgroup::sync::Mutex;
use taskgroup::{TaskGroup, TaskHandle};

/// Returns the names of the tasks in a deadlock.
pub(crate) fn names(found: &Deadlock) -> BTreeSet<&str> {
    let tasks = found.threads().iter();
    tasks.filter_map(|thread| thread.task_name()).collect()
}

/// Locks `first`, waits for the others at `both`, and locks `second`.
pub(crate) fn cross(first: &Mutex<()>, second: &Mutex<()>, both: &Barrier) -> anyhow::Result<()> {
    let _first = first.lock()?;
    both.wait();
    drop(second.lock()?);
    Ok(())
}

/// Spawns a task of this name, on a thread of its own, that locks both of these in turn.
#[track_caller]
pub(crate) fn spawn_cross<'scope>(
    g: &'scope TaskGroup<'scope, '_>,
    name: &str,
    [first, second]: [&'scope Mutex<()>; 2],
    both: &'scope Barrier,
) -> TaskHandle<'scope, ()> {
    let task = g.task().name(name.to_owned()).dedicated();
    task.spawn(move || cross(first, second, both))
}
