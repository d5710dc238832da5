//! What the maps of a group have in common: a task for each of the next few items of the input.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::input::Input;
use crate::blocking::Halt;
use crate::cancel::{Cancelled, context};
use crate::error::TaskError;
use crate::facade::parallelism;
use crate::group::scope::TaskGroup;
use crate::group::task::failed_item;
use crate::group::task::handle::TaskHandle;
use crate::group::task_end::Role;

/// The tasks of the items that were pulled and not given out, in the order in which their results
/// are.
pub(crate) trait ResultOrder<'scope, T> {
    fn len(&self) -> usize;
    fn add(&mut self, task: TaskHandle<'scope, T>);
    /// Takes out the next result, waiting for it if need be; there is one. The outer error is the
    /// cancel of whoever waits, and then nothing was taken.
    fn take(&mut self) -> Result<Result<T, Cancelled>, Cancelled>;
    fn clear(&mut self);
}

/// An input, and the tasks of those of its items that are in hand, as many as the window is wide.
pub(crate) struct InFlight<'scope, I: Iterator, T, H> {
    input: Input<I>,
    tasks: H,
    width: usize,
    pulled: usize,
    /// Makes the task of the item with this index.
    spawn: Box<dyn Fn(usize, I::Item) -> TaskHandle<'scope, T> + Send + Sync + 'scope>,
    halt: Halt,
}

impl<'scope, I: Iterator, T, H: ResultOrder<'scope, T>> InFlight<'scope, I, T, H> {
    /// Over `items`, whose tasks are those of `group`, call `f` and are kept in `tasks`.
    #[track_caller]
    pub(crate) fn new<E, F>(
        group: &'scope TaskGroup<'scope, '_, E>,
        tasks: H,
        items: I,
        f: F,
    ) -> Self
    where
        I::Item: Send + 'scope,
        T: Send + 'scope,
        E: TaskError,
        F: Fn(I::Item) -> Result<T, E> + Send + Sync + 'scope,
    {
        let (f, location) = (Arc::new(f), Location::caller());
        let spawn = move |index, item| {
            let f = f.clone();
            let task = move || {
                failed_item::noted(move |at| {
                    at.set(Some(index));
                    f(item)
                })
            };
            group.task().launch(location, Role::Task, None, task)
        };
        let width = group.core().state.limit().unwrap_or_else(parallelism);
        InFlight {
            input: Input::new(items),
            tasks,
            width,
            pulled: 0,
            spawn: Box::new(spawn),
            halt: Halt::default(),
        }
    }

    /// The result of the next item; the outer error is the cancel of whoever iterates.
    #[track_caller]
    fn step(&mut self) -> Result<Option<Result<T, Cancelled>>, Cancelled> {
        context::check()?;
        while self.tasks.len() < self.width {
            let Some(item) = self.input.pull() else {
                break;
            };
            self.tasks.add((self.spawn)(self.pulled, item));
            self.pulled += 1;
        }
        if self.tasks.len() == 0 {
            return Ok(None);
        }
        self.tasks.take().map(Some)
    }
}

impl<'scope, I: Iterator, T, H: ResultOrder<'scope, T>> Iterator for InFlight<'scope, I, T, H> {
    type Item = Result<T, Cancelled>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.input.has_panicked() || (self.tasks.len() == 0 && self.input.is_spent()) {
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
        let in_hand = if self.input.has_panicked() {
            0
        } else {
            self.tasks.len()
        };
        let (least, most) = self.input.size_hint();
        (
            least.saturating_add(in_hand),
            most.and_then(|most| most.checked_add(in_hand)),
        )
    }
}

impl<'scope, I: Iterator, T, H: ResultOrder<'scope, T>> fmt::Debug for InFlight<'scope, I, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight")
            .field("input", &self.input)
            .field("in_hand", &self.tasks.len())
            .field("window", &self.width)
            .finish_non_exhaustive()
    }
}
