//! A function over an iterator, by tasks, in the order of the input.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::handle::TaskHandle;
use super::scope::TaskGroup;
use super::shared::Role;
use super::source::{self, Source};
use crate::blocking::Halt;
use crate::cancel::{context, Cancelled};
use crate::error::TaskError;

/// Makes the task of one item.
pub(super) type Spawn<'scope, Item, T> = Box<dyn Fn(Item) -> TaskHandle<'scope, T> + Send + Sync + 'scope>;

/// The results of a function for each item, in the order of the input: see [`TaskGroup::map`].
///
/// Dropping it cancels nothing and waits for nothing: tasks that run go on, those that are queued are still begun, and
/// their results are dropped. What has not been pulled from the input never is.
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
pub struct Map<'scope, I: Iterator, T> {
    source: Source<I>,
    /// The tasks of the items that were pulled and not given out, in order.
    tasks: VecDeque<TaskHandle<'scope, T>>,
    window: usize,
    spawn: Spawn<'scope, I::Item, T>,
    halt: Halt,
}

impl<'scope, E: TaskError> TaskGroup<'scope, '_, E> {
    /// Calls `f` for each item in a task of its own, and gives out the results in the order of the input.
    ///
    /// The input is pulled by the calls of [`next`](Iterator::next), on their thread, as far as the *window*: at no time are
    /// more items pulled and not given out than the group's limit, or, without one, than the machine has cores. So a map over
    /// an endless iterator runs in bounded memory. If `f` blocks, set a limit: it says how many calls block at once.
    ///
    /// An item whose task failed, panicked or was cancelled gives a [`Cancelled`]; the failure itself is reported by the group.
    /// A task may run on the thread that calls `next`, as in [`TaskHandle::join`](crate::TaskHandle::join).
    ///
    /// # Cancellation
    ///
    /// `next` is a blocking point. In a cancelled scope it pulls nothing and takes nothing: it gives the [`Cancelled`], and
    /// after that the end, so that every loop stops and none looks finished. Results stay, and an iteration that is taken up
    /// again, in a [`shield`](crate::shield) say, goes on with them.
    ///
    /// # Panics
    ///
    /// A panic of the input comes out of `next`; after that the iteration has ended. A panic of `f` is the group's.
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
        Map {
            source: Source::new(items.into_iter()),
            tasks: VecDeque::new(),
            window: source::window(self.limit()),
            spawn: self.spawner(Location::caller(), f),
            halt: Halt::default(),
        }
    }

    /// What spawns the task of one item, said to be spawned at `location`.
    pub(super) fn spawner<Item, T, F>(&'scope self, location: &'static Location<'static>, f: F) -> Spawn<'scope, Item, T>
    where
        Item: Send + 'scope,
        T: Send + 'scope,
        F: Fn(Item) -> Result<T, E> + Send + Sync + 'scope,
    {
        let f = Arc::new(f);
        Box::new(move |item| {
            let f = f.clone();
            self.task().launch(location, Role::Task, None, move || f(item))
        })
    }
}

impl<I: Iterator, T> Map<'_, I, T> {
    /// The result of the next item; the outer error is the cancel of whoever iterates.
    #[track_caller]
    fn step(&mut self) -> Result<Option<Result<T, Cancelled>>, Cancelled> {
        context::check()?;
        while self.tasks.len() < self.window {
            let Some(item) = self.source.pull() else { break };
            self.tasks.push_back((self.spawn)(item));
        }
        let Some(first) = self.tasks.front_mut() else { return Ok(None) };
        let result = first.join_or_keep()?;
        self.tasks.pop_front();
        Ok(Some(result))
    }
}

impl<I: Iterator, T> Iterator for Map<'_, I, T> {
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
impl<I: ExactSizeIterator, T> ExactSizeIterator for Map<'_, I, T> {}

impl<I: Iterator, T> fmt::Debug for Map<'_, I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("source", &self.source)
            .field("in_hand", &self.tasks.len())
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
