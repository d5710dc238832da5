//! The spawns of a group.

use super::task_builder::TaskBuilder;
use crate::error::{Failure, SpawnError, TaskError};
use crate::group::scope::TaskGroup;
use crate::group::task::TaskHandle;

impl<'scope, 'env, E: TaskError> TaskGroup<'scope, 'env, E> {
    /// Spawns a task. Its failure is a failure of the group.
    ///
    /// It never blocks, and it does not start a thread for each task. Tasks run on cached threads,
    /// or on a thread that waits for them. There are about as many cached threads as the machine
    /// has cores, and one more for each that is blocked.
    ///
    /// # Cancellation
    ///
    /// In a cancelled group the closure is dropped unrun, and the status of the handle is
    /// [`NeverRan`](crate::TaskStatus::NeverRan). [`try_spawn`](Self::try_spawn) gives the closure
    /// back.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| Ok(g.spawn(|| Ok(1)).join()?)).map(drop)
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn<T, F>(&'scope self, f: F) -> TaskHandle<'scope, T>
    where
        T: Send + 'scope,
        F: FnOnce() -> Result<T, E> + Send + 'scope,
    {
        self.task().spawn(f)
    }

    /// Spawns an isolated task: its failure is its result, which `join` returns, and cancels
    /// nothing.
    ///
    /// If the failure is never taken out of the handle, because the handle is dropped or its `join`
    /// is cancelled, it is logged with `tracing` as a warning.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.spawn_isolated(|| Ok("x".parse::<u32>()?));
    ///     assert!(task.join()?.is_err());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[must_use = "the failure of an isolated task is in its handle alone"]
    #[track_caller]
    pub fn spawn_isolated<T, F>(&'scope self, f: F) -> TaskHandle<'scope, Result<T, Failure<E>>>
    where
        T: Send + 'scope,
        F: FnOnce() -> Result<T, E> + Send + 'scope,
    {
        self.task().spawn_isolated(f)
    }

    /// Spawns a task that serves the others.
    ///
    /// It is cancelled, with [`CancelCause::GroupFinished`](crate::CancelCause::GroupFinished),
    /// once the body and all ordinary tasks have ended. Its failure is a failure of the group.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::time::Duration;
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.spawn_daemon(|| loop {
    ///         taskgroup::sleep(Duration::from_secs(1))?;
    ///     });
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_daemon<F>(&'scope self, f: F) -> TaskHandle<'scope, ()>
    where
        F: FnOnce() -> Result<(), E> + Send + 'scope,
    {
        self.task().spawn_daemon(f)
    }

    /// Spawns a task if the group's limit lets it begin at once.
    ///
    /// # Errors
    ///
    /// Fails if the group is cancelled or closed, if its limit is reached, or if the system refuses
    /// the thread that the task asks for. The error holds the closure, which has not run.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.cancel();
    ///     let refused = g.try_spawn(|| Ok(5)).err().expect("the group is cancelled");
    ///     assert_eq!(refused.into_task()()?, 5);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn try_spawn<T, F>(&'scope self, f: F) -> Result<TaskHandle<'scope, T>, SpawnError<F>>
    where
        T: Send + 'scope,
        F: FnOnce() -> Result<T, E> + Send + 'scope,
    {
        self.task().try_spawn(f)
    }

    /// Returns the options of a new task, such as a name or a thread of its own.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.task().name("reader").spawn(|| Ok(()));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn task(&'scope self) -> TaskBuilder<'scope, 'env, E> {
        TaskBuilder::new(self)
    }
}
