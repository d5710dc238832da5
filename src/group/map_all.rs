//! A function over an iterator, all of it.

use super::builder::Builder;
use crate::error::{GroupError, TaskError};

/// Calls `f` for each item, at most `limit` at once, in a scope of its own, and returns the results in the order of the
/// input.
///
/// It stops at the first failure: no more items are pulled, and what runs is cancelled. For results one by one, or in the
/// order in which they come, there is [`TaskGroup::map`](crate::TaskGroup::map).
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
    Builder::new().error_type().limit(limit).scope(|g| {
        let items = items.into_iter();
        // An endless input knows that it is long, and no more.
        let (least, most) = items.size_hint();
        let mut results = Vec::with_capacity(most.map_or(0, |_| least));
        for result in g.map(items, f) {
            results.push(result?);
        }
        Ok(results)
    })
}
