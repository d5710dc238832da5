//! The options of one task.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::cancel::{CancelCause, Cancelled};
use crate::error::{Failure, SpawnError, SpawnErrorKind, TaskError};
use crate::facade::CountedRef;
use crate::group::erased::{ErasedTask, Runnable, erase};
use crate::group::scope::TaskGroup;
use crate::group::state::group_state::GroupState;
use crate::group::state::submit::{NotSpawned, RunsOn, WhenFull};
use crate::group::task::TaskHandle;
use crate::group::task::closure::Closure;
use crate::group::task::isolation::Isolation;
use crate::group::task::record::Task;
use crate::group::task::spec::{OwnThread, TaskSpec};
use crate::group::task_end::Role;
use crate::trace;

/// A task that has not been submitted: the reference for its handle, and the one for its queue.
pub(super) type PreparedTask<T> = (CountedRef<T>, CountedRef<T>);

/// The options of one task. [`TaskGroup::task`] makes it, and one of the spawns uses it up.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// taskgroup::TaskGroup::scope(|g| {
///     let task = g.task().name("parser").dedicated().spawn(|| Ok("1".parse::<u32>()?));
///     assert_eq!(task.join()?, 1);
///     Ok(())
/// })
/// # }
/// ```
#[must_use = "a task builder does nothing until a task is spawned with it"]
pub struct TaskBuilder<'scope, 'env, E> {
    group: &'scope TaskGroup<'scope, 'env, E>,
    name: Option<Cow<'static, str>>,
    dedicated: bool,
    stack_size: Option<usize>,
}

impl<'scope, 'env, E: TaskError> TaskBuilder<'scope, 'env, E> {
    pub(crate) fn new(group: &'scope TaskGroup<'scope, 'env, E>) -> Self {
        TaskBuilder {
            group,
            name: None,
            dedicated: false,
            stack_size: group.stack_size(),
        }
    }

    /// Names the task in reports.
    ///
    /// While the task runs, its thread has the name in the operating system too, if the system can
    /// rename a running thread. The system may cut the name. A named task does not run on the
    /// thread that waits for it.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.task().name("reader").spawn(|| Ok(()));
    ///     assert_eq!(task.name(), Some("reader"));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Gives the task a thread of its own, which ends with it.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::thread;
    ///
    /// let here = thread::current().id();
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let there = g.task().dedicated().spawn(|| Ok(thread::current().id()));
    ///     assert_ne!(there.join()?, here);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn dedicated(mut self) -> Self {
        self.dedicated = true;
        self
    }

    /// Gives the task a thread of its own with a stack of `bytes`. Default: the option of the
    /// group.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.task().stack_size(16 << 20);
    ///     task.spawn(|| Ok(println!("there is room here for deep recursion")));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Like [`TaskGroup::spawn`].
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.task().name("parser").spawn(|| Ok("1".parse::<u32>()?));
    ///     assert_eq!(task.join()?, 1);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn<T, F>(self, f: F) -> TaskHandle<'scope, T>
    where
        T: Send + 'scope,
        F: FnOnce() -> Result<T, E> + Send + 'scope,
    {
        self.launch(Location::caller(), Role::Task, None, f)
    }

    /// Like [`TaskGroup::spawn_isolated`].
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.task().name("parser").spawn_isolated(|| Ok("x".parse::<u32>()?));
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
        F: FnOnce() -> Result<T, E> + Send + 'scope,
    {
        let isolation = Some(&Isolation::IN_HANDLE);
        self.launch(Location::caller(), Role::Task, isolation, || f().map(Ok))
    }

    /// Like [`TaskGroup::spawn_daemon`].
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::time::Duration;
    ///
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.task().name("ticker").spawn_daemon(|| loop {
    ///         taskgroup::sleep(Duration::from_secs(1))?;
    ///     });
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_daemon<F>(self, f: F) -> TaskHandle<'scope, ()>
    where
        F: FnOnce() -> Result<(), E> + Send + 'scope,
    {
        self.launch(Location::caller(), Role::Daemon, None, f)
    }

    /// Like [`TaskGroup::try_spawn`].
    ///
    /// # Errors
    ///
    /// Like [`TaskGroup::try_spawn`].
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     match g.task().name("parser").try_spawn(|| Ok("1".parse::<u32>()?)) {
    ///         Ok(task) => assert_eq!(task.join()?, 1),
    ///         Err(refused) => println!("{refused}"),
    ///     }
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn try_spawn<T, F>(self, f: F) -> Result<TaskHandle<'scope, T>, SpawnError<F>>
    where
        T: Send + 'scope,
        F: FnOnce() -> Result<T, E> + Send + 'scope,
    {
        self.try_launch(Location::caller(), f)
    }

    pub(super) fn state(&self) -> &'scope Arc<GroupState> {
        &self.group.core().state
    }

    /// Makes the task. Returns a reference for its handle and one for its queue.
    pub(super) fn prepare<T, F>(
        &self,
        location: &'static Location<'static>,
        role: Role,
        isolation: Option<&'scope Isolation<T, E>>,
        f: F,
    ) -> PreparedTask<Task<'scope, T, F, E>>
    where
        T: Send + 'scope,
        F: Closure<T, E> + 'scope,
    {
        Task::new(self.group.core(), self.spec(location, role), isolation, f)
    }

    #[inline(always)]
    fn spec(&self, location: &'static Location<'static>, role: Role) -> TaskSpec {
        // A stack size implies a thread of its own.
        let own_thread = (self.dedicated || self.stack_size.is_some()).then_some(OwnThread {
            stack_size: self.stack_size,
        });
        let group = || self.state().node().id();
        TaskSpec::new(self.name.clone(), own_thread, location, role, group)
    }

    /// Makes the task and submits it. If the group does not take it, ends it unrun.
    pub(crate) fn launch<T, F>(
        self,
        location: &'static Location<'static>,
        role: Role,
        isolation: Option<&'scope Isolation<T, E>>,
        f: F,
    ) -> TaskHandle<'scope, T>
    where
        T: Send + 'scope,
        F: Closure<T, E> + 'scope,
    {
        let task = self.prepare(location, role, isolation, f);
        self.launch_prepared(task)
    }

    /// Submits a task. If the group does not take it, ends it unrun.
    pub(super) fn launch_prepared<T, F>(
        self,
        task: PreparedTask<Task<'scope, T, F, E>>,
    ) -> TaskHandle<'scope, T>
    where
        T: Send + 'scope,
        F: Closure<T, E> + 'scope,
    {
        // The handle tells what became of the task.
        let (task, queued) = task;
        match self.submit(erase(queued), task.spec(), WhenFull::Queue) {
            Ok(()) => {}
            // The task is not on the counts, so its end is not reported.
            Err(NotSpawned::NoThread(error)) => drop(task.refuse(error)),
            Err(_) => drop(task.discard()),
        }
        TaskHandle::new(task)
    }

    /// Makes the task and submits it if it can begin at once.
    pub(super) fn try_launch<T, F>(
        self,
        location: &'static Location<'static>,
        f: F,
    ) -> Result<TaskHandle<'scope, T>, SpawnError<F>>
    where
        T: Send + 'scope,
        F: Closure<T, E> + 'scope,
    {
        let token = self.group.token();

        let (task, queued) = self.prepare(location, Role::Task, None, f);
        let kind = match self.submit(erase(queued), task.spec(), WhenFull::Refuse) {
            Ok(()) => return Ok(TaskHandle::new(task)),
            Err(NotSpawned::NoThread(error)) => SpawnErrorKind::Os(error),
            Err(NotSpawned::Full) => SpawnErrorKind::Full,
            Err(NotSpawned::Cancelled | NotSpawned::Closed) => {
                // A closed group need not be cancelled.
                SpawnErrorKind::Cancelled(token.cancelled().unwrap_or_else(|| {
                    Cancelled::new(CancelCause::GroupFinished, location, token.id())
                }))
            }
        };

        match task.take_closure() {
            Some(closure) => {
                trace::refused(&kind);
                Err(SpawnError::new(kind, closure))
            }
            // A cancel that came in between has dropped the closure already. The handle says so.
            None => Ok(TaskHandle::new(task)),
        }
    }

    /// Hands the task to the group, which counts it and queues it, or starts its thread.
    #[inline(always)]
    fn submit(
        &self,
        task: ErasedTask,
        spec: &TaskSpec,
        when_full: WhenFull,
    ) -> Result<(), NotSpawned> {
        let state = self.state();

        // The node of the daemons is made before the first daemon is counted.
        state.base(spec.role);

        let runs_on = match spec.own_thread() {
            None => RunsOn::AnyThread,
            Some(_) => RunsOn::OwnThread,
        };
        state.submit(task, spec.role, runs_on, when_full)
    }
}

impl<E> fmt::Debug for TaskBuilder<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("name", &self.name)
            .field("dedicated", &self.dedicated)
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}
