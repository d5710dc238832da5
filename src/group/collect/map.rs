//! A function over an iterator, by tasks, in the order of the input.

use std::collections::VecDeque;
use std::fmt;

use super::in_flight::{InFlight, ResultOrder};
use crate::cancel::Cancelled;
use crate::error::TaskError;
use crate::group::scope::TaskGroup;
use crate::group::task::handle::TaskHandle;

/// The results of a function for each item, in the order of the input: see [`TaskGroup::map`].
///
/// Dropping it cancels nothing and waits for nothing: tasks that run go on, those that are queued
/// are still begun, and their results are dropped. What has not been pulled from the input never
/// is.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// taskgroup::TaskGroup::scope(|g| {
///     let mut squares = g.map([1, 2, 3], |n| Ok(n * n));
///     assert_eq!(squares.len(), 3);
///     assert_eq!(squares.next().transpose()?, Some(1));
///     Ok(())
/// })
/// # }
/// ```
#[must_use = "iterators are lazy: nothing is pulled or spawned until `next` is called"]
pub struct Map<'scope, I: Iterator, T>(InFlight<'scope, I, T, InOrder<'scope, T>>);

type InOrder<'scope, T> = VecDeque<TaskHandle<'scope, T>>;

impl<'scope, E: TaskError> TaskGroup<'scope, '_, E> {
    /// Calls `f` for each item in a task of its own, and gives out the results in the order of the
    /// input.
    ///
    /// The input is pulled by the calls of [`next`](Iterator::next), on their thread, as far as the
    /// *window*: at no time are more items pulled and not given out than the group's limit, or,
    /// without one, than the machine has cores. So a map over an endless iterator runs in bounded
    /// memory. If `f` blocks, set a limit: it says how many calls block at once.
    ///
    /// An item whose task failed, panicked or was cancelled gives a [`Cancelled`]; the failure
    /// itself is reported by the group, as that of a task which is named after the item: `map item
    /// 3`, counted from 0. A task may run on the thread that calls `next`, as in
    /// [`TaskHandle::join`](crate::TaskHandle::join).
    ///
    /// # Cancellation
    ///
    /// `next` is a blocking point. In a cancelled scope it pulls nothing and takes nothing: it
    /// gives the [`Cancelled`], and after that the end, so that every loop stops and none looks
    /// finished. Results stay, and an iteration that is taken up again, in a
    /// [`shield`](crate::shield) say, goes on with them.
    ///
    /// # Panics
    ///
    /// A panic of the input comes out of `next`; after that the iteration has ended. A panic of `f`
    /// is the group's.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use taskgroup::TaskGroup;
    ///
    /// let firsts: Vec<u64> = TaskGroup::builder().limit(4).scope(|g| {
    ///     let squares = g.map(1.., |n: u64| Ok(n * n));
    ///     Ok(squares.take(3).collect::<Result<_, _>>()?)
    /// })?;
    /// assert_eq!(firsts, [1, 4, 9]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn map<I, T, F>(&'scope self, items: I, f: F) -> Map<'scope, I::IntoIter, T>
    where
        I: IntoIterator,
        I::Item: Send + 'scope,
        T: Send + 'scope,
        F: Fn(I::Item) -> Result<T, E> + Send + Sync + 'scope,
    {
        Map(InFlight::new(self, VecDeque::new(), items.into_iter(), f))
    }
}

impl<'scope, T> ResultOrder<'scope, T> for InOrder<'scope, T> {
    fn len(&self) -> usize {
        VecDeque::len(self)
    }

    fn add(&mut self, task: TaskHandle<'scope, T>) {
        self.push_back(task);
    }

    #[track_caller]
    fn take(&mut self) -> Result<Result<T, Cancelled>, Cancelled> {
        let result = self[0].join_or_keep()?;
        self.pop_front();
        Ok(result)
    }

    fn clear(&mut self) {
        VecDeque::clear(self);
    }
}

impl<I: Iterator, T> Iterator for Map<'_, I, T> {
    type Item = Result<T, Cancelled>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// The number of items left. A cancelled iteration stops short of it.
impl<I: ExactSizeIterator, T> ExactSizeIterator for Map<'_, I, T> {}

impl<I: Iterator, T> fmt::Debug for Map<'_, I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Map").field(&self.0).finish()
    }
}
