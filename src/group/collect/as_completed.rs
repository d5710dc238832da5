//! Handles in the order in which their tasks end.

use std::fmt;
use std::sync::Arc;

use crate::blocking::CancelFuse;
use crate::cancel::Cancelled;
use crate::error::TaskError;
use crate::group::scope::TaskGroup;
use crate::group::state::completions::Completions;
use crate::group::state::group_state::GroupState;
use crate::group::task::handle::TaskHandle;
use crate::waiting::WaitKind;

/// The handles of tasks in the order in which the tasks end: see [`TaskGroup::as_completed`].
///
/// Dropping it leaves the tasks running, like dropping their handles.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// taskgroup::TaskGroup::scope(|g| {
///     let mut done = g.as_completed([1, 2].map(|n| g.spawn(move || Ok(n))));
///     assert_eq!(done.len(), 2);
///     assert!(done.next().is_some_and(|task| task.is_ok_and(|task| task.is_finished())));
///     Ok(())
/// })
/// # }
/// ```
#[must_use = "iterators are lazy: nothing is waited for until `next` is called"]
pub struct AsCompleted<'scope, T> {
    /// By the number of the event that is the end of the task; none once the handle has been given
    /// out.
    handles: Vec<Option<TaskHandle<'scope, T>>>,
    left: usize,
    completions: Arc<Completions>,
    group: Arc<GroupState>,
    fuse: CancelFuse,
}

impl<'scope, E: TaskError> TaskGroup<'scope, '_, E> {
    /// Gives out each of `handles` when its task has ended, in the order of the ends.
    ///
    /// A handle that is given out has its result, so its `join` does not wait. Tasks that ended
    /// before the call come first.
    ///
    /// # Cancellation
    ///
    /// [`next`](Iterator::next) is a blocking point. In a cancelled scope it takes nothing. It
    /// gives the [`Cancelled`], and after that the end, so that every loop stops and none looks
    /// finished. The handles stay. An iteration that is resumed, for example in a
    /// [`shield`](crate::shield), goes on with them.
    ///
    /// While a task waits here for tasks of its own group, it gives its permit of the group's limit
    /// to them, so that it cannot deadlock.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// let lengths = taskgroup::TaskGroup::scope(|g| {
    ///     let tasks = ["one", "three"].map(|word| g.spawn(move || Ok(word.len())));
    ///     let mut lengths = 0;
    ///     for task in g.as_completed(tasks) {
    ///         lengths += task?.join()?;
    ///     }
    ///     Ok(lengths)
    /// })?;
    /// assert_eq!(lengths, 8);
    /// # Ok(())
    /// # }
    /// ```
    pub fn as_completed<T: Send + 'scope>(
        &'scope self,
        handles: impl IntoIterator<Item = TaskHandle<'scope, T>>,
    ) -> AsCompleted<'scope, T> {
        let completions = Completions::new();
        let handles: Vec<_> = handles.into_iter().map(Some).collect();

        // Tasks that have ended already are events at once, so they come first.
        for (event, handle) in handles.iter().enumerate() {
            if let Some(handle) = handle {
                handle.notify(completions.clone(), event);
            }
        }

        let left = handles.len();
        AsCompleted {
            handles,
            left,
            completions,
            group: self.core().state.clone(),
            fuse: CancelFuse::default(),
        }
    }
}

impl<'scope, T> Iterator for AsCompleted<'scope, T> {
    type Item = Result<TaskHandle<'scope, T>, Cancelled>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 || self.fuse.ends() {
            return None;
        }

        // A cancelled step takes no event, so it is not counted either.
        let what = self.group.awaited(WaitKind::Completion);
        let handle = match self.completions.next(what, &self.group) {
            Ok(event) => {
                self.left -= 1;
                Ok(self.handles[event].take())
            }
            Err(cancelled) => Err(cancelled),
        };
        self.fuse.after(handle)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// The number of handles left. A cancelled iteration stops short of it.
impl<T> ExactSizeIterator for AsCompleted<'_, T> {}

impl<T> Drop for AsCompleted<'_, T> {
    fn drop(&mut self) {
        self.completions.abandon(&self.group);
    }
}

impl<T> fmt::Debug for AsCompleted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
