//! The common part of the maps of a group: a task for each of the next few items of the input.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::input::Input;
use crate::blocking::CancelFuse;
use crate::cancel::{Cancelled, context};
use crate::error::TaskError;
use crate::facade::parallelism;
use crate::group::scope::TaskGroup;
use crate::group::task::TaskHandle;
use crate::group::task::failed_item;
use crate::group::task_end::Role;

/// The tasks of the items that were pulled and have not given out a result, in the order of the
/// results.
pub(super) trait ResultOrder<'scope, T> {
    fn len(&self) -> usize;

    fn add(&mut self, task: TaskHandle<'scope, T>);

    /// Takes the next result, and waits for it if necessary. There must be a task.
    ///
    /// # Errors
    ///
    /// The outer error is the cancel of the waiting thread. Nothing has been taken then.
    fn take(&mut self) -> Result<Result<T, Cancelled>, Cancelled>;

    fn clear(&mut self);
}

/// An input, and the tasks of those of its items that are in flight.
pub(super) struct InFlight<'scope, I: Iterator, T, O> {
    input: Input<I>,
    tasks: O,
    /// The most items in flight.
    window: usize,
    pulled: usize,
    /// Makes the task of the item with this index.
    spawn: Box<dyn Fn(usize, I::Item) -> TaskHandle<'scope, T> + Send + Sync + 'scope>,
    fuse: CancelFuse,
}

impl<'scope, I: Iterator, T, O: ResultOrder<'scope, T>> InFlight<'scope, I, T, O> {
    /// Makes an iteration over `items`. Their tasks belong to `group`, call `f`, and are kept in
    /// `tasks`.
    #[track_caller]
    pub(super) fn new<E, F>(
        group: &'scope TaskGroup<'scope, '_, E>,
        tasks: O,
        items: I,
        f: F,
    ) -> Self
    where
        I::Item: Send + 'scope,
        T: Send + 'scope,
        E: TaskError,
        F: Fn(I::Item) -> Result<T, E> + Send + Sync + 'scope,
    {
        // Boxed, so that the public types name neither the function nor the error type.
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

        InFlight {
            input: Input::new(items),
            tasks,
            window: group.core().state.limit().unwrap_or_else(parallelism),
            pulled: 0,
            spawn: Box::new(spawn),
            fuse: CancelFuse::default(),
        }
    }

    /// Fills the window and takes the next result; none at the end of the input. The outer error is
    /// the cancel of the iterating thread.
    #[track_caller]
    fn step(&mut self) -> Result<Option<Result<T, Cancelled>>, Cancelled> {
        context::check()?;

        // The window is full before each wait, so that all its tasks can run meanwhile.
        while self.tasks.len() < self.window {
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

impl<'scope, I: Iterator, T, O: ResultOrder<'scope, T>> Iterator for InFlight<'scope, I, T, O> {
    type Item = Result<T, Cancelled>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        // The end comes first: an iteration that is over is not cancelled.
        if self.input.has_panicked() || (self.tasks.len() == 0 && self.input.is_spent()) {
            self.tasks.clear();
            return None;
        }

        if self.fuse.ends() {
            return None;
        }
        let result = self.step();
        self.fuse.after(result).map(|result| result?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // After a panic of the input the iteration has ended.
        let in_flight = if self.input.has_panicked() {
            0
        } else {
            self.tasks.len()
        };
        let (least, most) = self.input.size_hint();
        (
            least.saturating_add(in_flight),
            most.and_then(|most| most.checked_add(in_flight)),
        )
    }
}

impl<'scope, I: Iterator, T, O: ResultOrder<'scope, T>> fmt::Debug for InFlight<'scope, I, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight")
            .field("input", &self.input)
            .field("in_flight", &self.tasks.len())
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// Implements the traits of a public map, which is a newtype of [`InFlight`].
macro_rules! impl_map_iterator {
    ($map:ident) => {
        impl<I: Iterator, T> Iterator for $map<'_, I, T> {
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
        impl<I: ExactSizeIterator, T> ExactSizeIterator for $map<'_, I, T> {}

        impl<I: Iterator, T> fmt::Debug for $map<'_, I, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($map)).field(&self.0).finish()
            }
        }
    };
}
pub(super) use impl_map_iterator;
