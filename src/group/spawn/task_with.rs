//! Tasks that are given a value to keep until their outcome is known.

use std::fmt;
use std::panic::Location;

use super::start::{Ready, start};
use super::task_builder::TaskBuilder;
use crate::error::{Failure, SpawnError, StartError, TaskError};
use crate::group::task::closure::WithValue;
use crate::group::task::handle::TaskHandle;
use crate::group::task::isolation::Isolation;
use crate::group::task_end::Role;

/// The options of a task that is given a value. [`TaskBuilder::with`] makes it, and one of the
/// spawns uses it up.
///
/// The closure borrows the value. The group drops the value on the task's thread, after the task's
/// outcome has been recorded and, for a failure, the group has been cancelled, and before the task
/// counts as ended. Code that reacts to the drop, like the other side of a channel, then finds the
/// failure or the cancel, and not a plain end. If the task does not run, the value is dropped with
/// the closure.
///
/// A panic of the value's destructor is a failure of the group.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::{channel, TaskGroup};
///
/// let (sender, receiver) = channel::bounded(1);
/// let sum = TaskGroup::scope(|g| {
///     g.task().name("reader").with(sender).spawn(|sender| {
///         for line in ["20", "22"] {
///             sender.send(line.parse::<u32>()?)?;
///         }
///         Ok(())
///     });
///     Ok(receiver.iter().sum::<Result<u32, _>>()?)
/// })?;
/// assert_eq!(sum, 42);
/// # Ok(())
/// # }
/// ```
#[must_use = "a task builder does nothing until a task is spawned with it"]
pub struct TaskWith<'scope, 'env, E, V> {
    task: TaskBuilder<'scope, 'env, E>,
    value: V,
}

impl<'scope, 'env, E: TaskError> TaskBuilder<'scope, 'env, E> {
    /// Gives the task `value`, which the group drops after the task's outcome is known: see
    /// [`TaskWith`].
    ///
    /// This is for the ends of a channel. A closure that owns an end drops it when it returns,
    /// before the group can know that the closure failed. An end that the task was given is dropped
    /// later, and the other side learns how the task ended. See
    /// [Pipelines](crate::channel#pipelines). Two ends are given as a tuple:
    /// `with((input, output)).spawn(|(input, output)| ..)`.
    ///
    /// ```
    /// use taskgroup::{channel, TaskGroup};
    ///
    /// let (sender, receiver) = channel::bounded(1);
    /// let failed = TaskGroup::scope(|g| {
    ///     g.task().name("reader").with(sender).spawn(|sender| {
    ///         for line in ["20", "x"] {
    ///             sender.send(line.parse::<u32>()?)?;
    ///         }
    ///         Ok(())
    ///     });
    ///     let sum = receiver.iter().sum::<Result<u32, _>>()?;
    ///     unreachable!("{sum} is not the whole sum");
    ///     # #[allow(unreachable_code)]
    ///     Ok(())
    /// });
    /// assert_eq!(failed.unwrap_err().failures().len(), 1);
    /// ```
    pub fn with<V: Send + 'scope>(self, value: V) -> TaskWith<'scope, 'env, E, V> {
        TaskWith { task: self, value }
    }
}

impl<'scope, 'env, E: TaskError, V: Send + 'scope> TaskWith<'scope, 'env, E, V> {
    /// Returns the options of the task, and its closure together with the value.
    #[inline]
    fn with_closure<F>(self, closure: F) -> (TaskBuilder<'scope, 'env, E>, WithValue<V, F>) {
        let value = self.value;
        (self.task, WithValue { value, closure })
    }

    /// Like [`TaskGroup::spawn`](crate::TaskGroup::spawn), with the value.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.task().with(vec![1, 2]).spawn(|numbers| {
    ///         numbers.push(3);
    ///         Ok(numbers.len())
    ///     });
    ///     assert_eq!(task.join()?, 3);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn<T, F>(self, f: F) -> TaskHandle<'scope, T>
    where
        T: Send + 'scope,
        F: FnOnce(&mut V) -> Result<T, E> + Send + 'scope,
    {
        let (task, closure) = self.with_closure(f);
        task.launch(Location::caller(), Role::Task, None, closure)
    }

    /// Like [`TaskGroup::spawn_isolated`](crate::TaskGroup::spawn_isolated), with the value.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.task().with(String::from("x"));
    ///     let task = task.spawn_isolated(|text| Ok(text.parse::<u32>()?));
    ///     assert!(task.join()?.is_err());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[must_use = "the failure of an isolated task is in its handle alone"]
    #[track_caller]
    pub fn spawn_isolated<T, F>(self, f: F) -> TaskHandle<'scope, Result<T, Failure<E>>>
    where
        T: Send + 'scope,
        F: FnOnce(&mut V) -> Result<T, E> + Send + 'scope,
    {
        let (task, closure) = self.with_closure(|value: &mut V| f(value).map(Ok));
        let isolation = Some(&Isolation::IN_HANDLE);
        task.launch(Location::caller(), Role::Task, isolation, closure)
    }

    /// Like [`TaskGroup::spawn_daemon`](crate::TaskGroup::spawn_daemon), with the value.
    ///
    /// A daemon that is cancelled by the end of its scope does not end well, unless it returns
    /// `Ok`.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// let (sender, receiver) = taskgroup::channel::bounded(1);
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.task().with(sender).spawn_daemon(|sender| {
    ///         for n in 0.. {
    ///             sender.send(n)?;
    ///         }
    ///         Ok(())
    ///     });
    ///     assert_eq!(receiver.recv()?, 0);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_daemon<F>(self, f: F) -> TaskHandle<'scope, ()>
    where
        F: FnOnce(&mut V) -> Result<(), E> + Send + 'scope,
    {
        let (task, closure) = self.with_closure(f);
        task.launch(Location::caller(), Role::Daemon, None, closure)
    }

    /// Like [`TaskGroup::try_spawn`](crate::TaskGroup::try_spawn), with the value.
    ///
    /// # Errors
    ///
    /// Like [`TaskGroup::try_spawn`](crate::TaskGroup::try_spawn), with the value and the closure.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.cancel();
    ///     let task = g.task().with(vec![1, 2]);
    ///     let refused = task.try_spawn(|numbers| Ok(numbers.len())).unwrap_err();
    ///     let (mut numbers, closure) = refused.into_task();
    ///     assert_eq!(closure(&mut numbers)?, 2);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn try_spawn<T, F>(self, f: F) -> Result<TaskHandle<'scope, T>, SpawnError<(V, F)>>
    where
        T: Send + 'scope,
        F: FnOnce(&mut V) -> Result<T, E> + Send + 'scope,
    {
        let (task, closure) = self.with_closure(f);
        let launched = task.try_launch(Location::caller(), closure);
        launched.map_err(|refused| refused.map(|WithValue { value, closure }| (value, closure)))
    }

    /// Like [`TaskGroup::start`](crate::TaskGroup::start), with the value.
    ///
    /// # Cancellation
    ///
    /// Like [`TaskGroup::start`](crate::TaskGroup::start).
    ///
    /// # Errors
    ///
    /// Like [`TaskGroup::start`](crate::TaskGroup::start).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// let (sender, receiver) = taskgroup::channel::bounded(1);
    /// let sum = taskgroup::TaskGroup::scope(|g| {
    ///     let first = g.task().with(sender).start(|ready, sender| {
    ///         ready.send(20);
    ///         sender.send(22)?;
    ///         Ok(())
    ///     })?;
    ///     Ok(first + receiver.recv()?)
    /// })?;
    /// assert_eq!(sum, 42);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn start<T, F>(self, f: F) -> Result<T, StartError<E>>
    where
        T: Send + 'scope,
        F: FnOnce(Ready<T>, &mut V) -> Result<(), E> + Send + 'scope,
    {
        let value = self.value;
        start(self.task, Location::caller(), |ready| WithValue {
            value,
            closure: move |value: &mut V| f(ready, value).map(|()| None),
        })
    }
}

impl<E, V> fmt::Debug for TaskWith<'_, '_, E, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskWith")
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}
