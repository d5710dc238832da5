//! A function over an iterator, all of it.

use super::map_workers::MapWorkers;
use crate::error::{GroupError, TaskError};
use crate::group::scope::TaskGroup;

/// Calls `f` for each item, at most `limit` at once, in a scope of its own, and returns the results
/// in the order of the input.
///
/// It stops at the first failure: no more items are pulled, and what runs is cancelled. For results
/// one by one, or in the order in which they come, there is
/// [`TaskGroup::map`](crate::TaskGroup::map).
///
/// The calls may block: while one does, the others go on, as many at once as `limit` says. What
/// makes a call cost nanoseconds and not a task is that a task takes several items that are quick,
/// one after the other. So items begin roughly in order, not strictly; a call that waits for
/// another call needs a limit that leaves room beyond those that wait. In the report of a failure,
/// the task is named after the item, `map item 3`, counted from 0, and how long it ran counts the
/// calls that it made before.
///
/// # Cancellation
///
/// As [`TaskGroup::scope`](crate::TaskGroup::scope).
///
/// # Errors
///
/// Every error and panic of the calls of `f`, or the cancel from outside that cut them short.
///
/// # Panics
///
/// If `limit` is 0. A panic of the input resumes when all calls have ended.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// let numbers = taskgroup::map(["1", "2"], 4, |word| Ok::<u32, anyhow::Error>(word.parse()?))?;
/// assert_eq!(numbers, [1, 2]);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn map<I, T, E, F>(items: I, limit: usize, f: F) -> Result<Vec<T>, GroupError<E>>
where
    I: IntoIterator,
    I::Item: Send,
    T: Send,
    E: TaskError,
    F: Fn(I::Item) -> Result<T, E> + Send + Sync,
{
    let lanes = MapWorkers::new(limit, f);
    TaskGroup::builder()
        .error_type()
        .limit(limit)
        .scope(|g| Ok(lanes.feed(g, items.into_iter())?))?;
    Ok(lanes.into_results())
}
