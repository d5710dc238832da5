//! A function over an iterator, all of it, in one call.

use super::map_workers::MapWorkers;
use crate::error::{GroupError, TaskError};
use crate::group::scope::TaskGroup;

/// Calls `f` for each item, at most `limit` at once, in a scope of its own, and returns the results
/// in the order of the input.
///
/// It stops at the first failure: no more items are pulled, and the running calls are cancelled.
/// [`TaskGroup::map`](crate::TaskGroup::map) gives results one by one, and
/// [`map_unordered`](crate::TaskGroup::map_unordered) in the order in which the calls end.
///
/// The calls may block. While one does, the others go on, as many at once as `limit` says. A call
/// costs nanoseconds, and not as much as a task, because a task takes several quick items, one
/// after the other. So items begin roughly in order, not strictly. If calls wait for other calls,
/// the limit must be larger than the number of calls that wait at once. The report of a failure
/// names the task after the item, `map item 3`, counted from 0. How long it ran includes the calls
/// that it made before.
///
/// # Cancellation
///
/// Like [`TaskGroup::scope`](crate::TaskGroup::scope). If all calls return values in spite of a
/// cancel from outside, the result is `Ok`. This is certain only for an input whose
/// [`size_hint`](Iterator::size_hint) says when it is spent, because a cancelled scope pulls no
/// more items.
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
    let workers = MapWorkers::new(limit, f);

    // The limit of the group is the number of map workers.
    let outcome = TaskGroup::builder()
        .error_type()
        .limit(limit)
        .scope(|g| Ok(workers.feed(g, items.into_iter())?));

    // fault: late-cancel-takes-the-values
    match outcome {
        // A late cancel has cut only a map worker short that had nothing left to do.
        Err(error) if error.failures().is_empty() && workers.has_all_results() => {}
        outcome => outcome?,
    }
    Ok(workers.into_results())
}
