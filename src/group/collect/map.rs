//! A function over an iterator, by tasks, with the results in the order of the input.

use std::collections::VecDeque;
use std::fmt;

use super::in_flight::{InFlight, ResultOrder, impl_map_iterator};
use crate::cancel::Cancelled;
use crate::error::TaskError;
use crate::group::scope::TaskGroup;
use crate::group::task::TaskHandle;

/// The results of a function for each item, in the order of the input: see [`TaskGroup::map`].
///
/// Dropping it cancels nothing and waits for nothing. Tasks that run go on, tasks that are queued
/// still begin, and their results are dropped. Items that have not been pulled from the input never
/// are.
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

impl_map_iterator!(Map);

type InOrder<'scope, T> = VecDeque<TaskHandle<'scope, T>>;

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

impl<'scope, E: TaskError> TaskGroup<'scope, '_, E> {
    /// Calls `f` for each item in a task of its own, and gives out the results in the order of the
    /// input.
    ///
    /// The calls of [`next`](Iterator::next) pull the input, on their thread, as far as the
    /// *window* allows. At no time are more items pulled and not given out than the group's limit
    /// or, without a limit, than the machine has cores. So a map over an endless iterator runs in
    /// bounded memory. If `f` blocks, set a limit: it says how many calls may block at once.
    ///
    /// If the task of an item failed, panicked or was cancelled, the item gives a [`Cancelled`].
    /// The group reports the failure itself, as a failure of a task that is named after the item:
    /// `map item 3`, counted from 0. A task may run on the thread that calls `next`, like in
    /// [`TaskHandle::join`](crate::TaskHandle::join).
    ///
    /// # Cancellation
    ///
    /// `next` is a blocking point. In a cancelled scope it pulls nothing and takes nothing. It
    /// gives the [`Cancelled`], and after that the end, so that every loop stops and none looks
    /// finished. The results stay. An iteration that is resumed, for example in a
    /// [`shield`](crate::shield), goes on with them.
    ///
    /// # Panics
    ///
    /// A panic of the input comes out of `next`, and after that the iteration has ended. A panic of
    /// `f` is a failure of the group.
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
