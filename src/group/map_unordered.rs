//! A function over an iterator, by tasks, in the order in which they end.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use slab::Slab;

use super::completions::Completions;
use super::handle::TaskHandle;
use super::map::Spawn;
use super::scope::TaskGroup;
use super::shared::Shared;
use super::source::{self, Source};
use crate::blocking::Halt;
use crate::cancel::{context, Cancelled};
use crate::error::TaskError;

/// The results of a function for each item, in the order in which they come: see [`TaskGroup::map_unordered`].
///
/// Dropping it cancels nothing and waits for nothing, as dropping a [`Map`](crate::Map).
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
pub struct MapUnordered<'scope, I: Iterator, T> {
    source: Source<I>,
    /// The tasks of the items that were pulled and not given out, by the number of the event that is the task's end.
    tasks: Slab<TaskHandle<'scope, T>>,
    window: usize,
    spawn: Spawn<'scope, I::Item, T>,
    completions: Arc<Completions>,
    group: Arc<Shared>,
    halt: Halt,
}

impl<'scope, E: TaskError> TaskGroup<'scope, '_, E> {
    /// Calls `f` for each item in a task of its own, and gives out the results in the order in which they come.
    ///
    /// In all else it is [`map`](Self::map); an item that takes long holds up no other. The window counts the results that
    /// wait to be given out, too.
    ///
    /// # Cancellation
    ///
    /// As [`map`](Self::map).
    ///
    /// # Panics
    ///
    /// As [`map`](Self::map).
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
    pub fn map_unordered<I, T, F>(&'scope self, items: I, f: F) -> MapUnordered<'scope, I::IntoIter, T>
    where
        I: IntoIterator,
        I::Item: Send + 'scope,
        T: Send + 'scope,
        F: Fn(I::Item) -> Result<T, E> + Send + Sync + 'scope,
    {
        MapUnordered {
            source: Source::new(items.into_iter()),
            tasks: Slab::new(),
            window: source::window(self.limit()),
            spawn: self.spawner(Location::caller(), f),
            completions: Completions::new(),
            group: self.group().shared.clone(),
            halt: Halt::default(),
        }
    }
}

impl<I: Iterator, T> MapUnordered<'_, I, T> {
    /// The next result; the outer error is the cancel of whoever iterates.
    #[track_caller]
    fn step(&mut self) -> Result<Option<Result<T, Cancelled>>, Cancelled> {
        context::check()?;
        while self.tasks.len() < self.window {
            let Some(item) = self.source.pull() else { break };
            let place = self.tasks.vacant_entry();
            let event = place.key();
            place.insert((self.spawn)(item)).tell(self.completions.clone(), event);
        }
        if self.tasks.is_empty() {
            return Ok(None);
        }
        let event = self.completions.next(&self.group)?;
        // The task has ended, so this neither waits nor fails.
        self.tasks.remove(event).join_or_keep().map(Some)
    }
}

impl<I: Iterator, T> Iterator for MapUnordered<'_, I, T> {
    type Item = Result<T, Cancelled>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.source.has_panicked() || (self.tasks.is_empty() && self.source.is_spent()) {
            self.tasks.clear();
            return None;
        }
        if self.halt.ends() {
            return None;
        }
        let result = self.step();
        self.halt.after(result).map(|result| result?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        source::add(self.source.size_hint(), if self.source.has_panicked() { 0 } else { self.tasks.len() })
    }
}

/// The number of items left. A cancelled iteration stops short of it.
impl<I: ExactSizeIterator, T> ExactSizeIterator for MapUnordered<'_, I, T> {}

impl<I: Iterator, T> fmt::Debug for MapUnordered<'_, I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapUnordered")
            .field("source", &self.source)
            .field("in_hand", &self.tasks.len())
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
