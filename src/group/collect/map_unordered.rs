//! A function over an iterator, by tasks, with the results in the order in which the tasks end.

use std::fmt;
use std::sync::Arc;

use slab::Slab;

use super::in_flight::{InFlight, ResultOrder, impl_map_iterator};
use crate::cancel::Cancelled;
use crate::error::TaskError;
use crate::group::scope::TaskGroup;
use crate::group::state::completions::Completions;
use crate::group::state::group_state::GroupState;
use crate::group::task::TaskHandle;
use crate::waiting::WaitKind;

/// The results of a function for each item, in the order in which the calls end: see
/// [`TaskGroup::map_unordered`].
///
/// Dropping it cancels nothing and waits for nothing, like dropping a [`Map`](crate::Map).
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// taskgroup::TaskGroup::scope(|g| {
///     let squares = g.map_unordered([1, 2, 3], |n| Ok(n * n));
///     assert_eq!(squares.sum::<Result<u32, _>>()?, 14);
///     Ok(())
/// })
/// # }
/// ```
#[must_use = "iterators are lazy: nothing is pulled or spawned until `next` is called"]
pub struct MapUnordered<'scope, I: Iterator, T>(InFlight<'scope, I, T, AsTheyEnd<'scope, T>>);

impl_map_iterator!(MapUnordered);

struct AsTheyEnd<'scope, T> {
    /// By the number of the event that is the end of the task.
    tasks: Slab<TaskHandle<'scope, T>>,
    completions: Arc<Completions>,
    group: Arc<GroupState>,
}

impl<'scope, T> ResultOrder<'scope, T> for AsTheyEnd<'scope, T> {
    fn len(&self) -> usize {
        self.tasks.len()
    }

    fn add(&mut self, task: TaskHandle<'scope, T>) {
        let place = self.tasks.vacant_entry();
        let event = place.key();
        place.insert(task).notify(self.completions.clone(), event);
    }

    #[track_caller]
    fn take(&mut self) -> Result<Result<T, Cancelled>, Cancelled> {
        let what = self.group.awaited(WaitKind::MapUnordered);
        let event = self.completions.next(what, &self.group)?;
        // The task has ended, so this neither waits nor fails.
        self.tasks.remove(event).join_or_keep()
    }

    fn clear(&mut self) {
        self.tasks.clear();
    }
}

impl<T> Drop for AsTheyEnd<'_, T> {
    fn drop(&mut self) {
        self.completions.abandon(&self.group);
    }
}

impl<'scope, E: TaskError> TaskGroup<'scope, '_, E> {
    /// Calls `f` for each item in a task of its own, and gives out the results in the order in
    /// which the calls end.
    ///
    /// In all else it is like [`map`](Self::map). An item that takes long delays no other. The
    /// window counts the results that wait to be given out, too.
    ///
    /// # Cancellation
    ///
    /// Like [`map`](Self::map).
    ///
    /// # Panics
    ///
    /// Like [`map`](Self::map).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// let sum = taskgroup::TaskGroup::builder().limit(4).scope(|g| {
    ///     let mut sum = 0;
    ///     for length in g.map_unordered(["one", "three"], |word| Ok(word.len())) {
    ///         sum += length?;
    ///     }
    ///     Ok(sum)
    /// })?;
    /// assert_eq!(sum, 8);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn map_unordered<I, T, F>(
        &'scope self,
        items: I,
        f: F,
    ) -> MapUnordered<'scope, I::IntoIter, T>
    where
        I: IntoIterator,
        I::Item: Send + 'scope,
        T: Send + 'scope,
        F: Fn(I::Item) -> Result<T, E> + Send + Sync + 'scope,
    {
        let tasks = AsTheyEnd {
            tasks: Slab::new(),
            completions: Completions::new(),
            group: self.core().state.clone(),
        };
        MapUnordered(InFlight::new(self, tasks, items.into_iter(), f))
    }
}
