//! The handle of a task.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::joinable::{AlreadyEnded, Joinable, JoinableTask, WaitGuards, joinable};
use crate::cancel::context::{self, Outcome};
use crate::cancel::{Cancelled, TaskId};
use crate::deadlock;
use crate::facade::{CountedRef, spin};
use crate::group::state::completions::Completions;
use crate::group::status::TaskStatus;
use crate::lanes::Object;
use crate::waiting::{Slot, WaitKind};

/// Gives access to a task's result and its state, and cancels it.
///
/// Dropping the handle leaves the task running. The group waits for the task and reports its
/// failure anyway. The result is dropped then.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// let answer = taskgroup::TaskGroup::scope(|g| {
///     let task = g.spawn(|| Ok(6 * 7));
///     Ok(task.join()?)
/// })?;
/// assert_eq!(answer, 42);
/// # Ok(())
/// # }
/// ```
pub struct TaskHandle<'scope, T> {
    /// None once the result has been taken.
    task: Option<JoinableTask<'scope, T>>,
}

// A panic cannot leave a task in a wrong state: no user code runs under its lock. The handle gives
// out no reference to the result, only the result.
impl<T> UnwindSafe for TaskHandle<'_, T> {}
impl<T> RefUnwindSafe for TaskHandle<'_, T> {}

impl<'scope, T> TaskHandle<'scope, T> {
    pub(crate) fn new(task: CountedRef<impl Joinable<'scope, T> + 'scope>) -> Self {
        TaskHandle {
            task: Some(joinable(task)),
        }
    }

    #[inline]
    fn task(&self) -> &JoinableTask<'scope, T> {
        match &self.task {
            Some(task) => task,
            // Only `join` takes it out, and `join` consumes the handle.
            None => unreachable!("the handle has been joined"),
        }
    }

    /// Returns the result of the task, and waits for it if necessary.
    ///
    /// A task that has not begun may run on the thread that waits for it. It shares thread-locals
    /// and re-entrant locks with the waiting code then.
    ///
    /// # Cancellation
    ///
    /// A blocking point as long as the task has not ended. A task that has ended gives its result
    /// in a cancelled scope, too: a produced value is not lost. When the wait is cancelled, the
    /// task goes on and its result is dropped.
    ///
    /// # Errors
    ///
    /// The cancel that ended the wait, or a cancel in place of the result: a task that failed,
    /// panicked or was cancelled has no result. The group reports the failure itself.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// let word = String::from("borrowed");
    /// let length = taskgroup::TaskGroup::scope(|g| Ok(g.spawn(|| Ok(word.len())).join()?))?;
    /// assert_eq!(length, 8);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn join(mut self) -> Result<T, Cancelled> {
        self.join_or_keep()?
    }

    /// Like `join`, but keeps the handle usable if the wait is cancelled, which is the outer error.
    #[track_caller]
    pub(crate) fn join_or_keep(&mut self) -> Result<Result<T, Cancelled>, Cancelled> {
        let task = self.task();

        // On this thread it costs no wake.
        let value = match task.run_in_place() {
            Some(value) => value,
            None => {
                self.wait_until(None)?;
                self.task().take()
            }
        };

        // The result has been taken, so the drop of the handle has nothing to tell the task.
        let task = self.task.take();
        Ok(value.ok_or_else(|| match task {
            Some(task) => task.no_result(),
            None => unreachable!("the handle has been joined"),
        }))
    }

    /// Blocks until the task has ended.
    ///
    /// # Cancellation
    ///
    /// Like [`join`](Self::join), without its result.
    ///
    /// # Errors
    ///
    /// Fails if the current scope is cancelled before the task has ended.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use taskgroup::TaskStatus;
    /// taskgroup::TaskGroup::scope(|g| {
    ///     assert_eq!(g.spawn(|| Ok(())).wait()?, TaskStatus::Finished);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<TaskStatus, Cancelled> {
        self.wait_until(None)?;
        Ok(self.status())
    }

    /// Blocks until the task has ended. Returns `None` if `duration` has passed first.
    ///
    /// # Cancellation
    ///
    /// Like [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// Like [`wait`](Self::wait).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::time::Duration;
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.spawn_daemon(|| Ok(taskgroup::sleep(Duration::from_secs(60))?));
    ///     assert_eq!(task.wait_timeout(Duration::from_millis(1))?, None);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, duration: Duration) -> Result<Option<TaskStatus>, Cancelled> {
        match self.wait_until(Instant::now().checked_add(duration))? {
            Outcome::Ready => Ok(Some(self.status())),
            Outcome::TimedOut => Ok(None),
        }
    }

    #[track_caller]
    fn wait_until(&self, limit: Option<Instant>) -> Result<Outcome, Cancelled> {
        match self.wait_unless_cancelled(limit) {
            // It may have ended after the last look at it, and before the cancel.
            //
            // fault: late-cancel-hides-the-end-of-a-task
            Err(_) if self.is_finished() => Ok(Outcome::Ready),
            waited => waited,
        }
    }

    #[track_caller]
    fn wait_unless_cancelled(&self, limit: Option<Instant>) -> Result<Outcome, Cancelled> {
        struct EnteredWaiter<'a, 'scope, T> {
            task: &'a JoinableTask<'scope, T>,
            thread: Arc<Slot>,
            _guards: WaitGuards,
        }

        impl<T> Drop for EnteredWaiter<'_, '_, T> {
            fn drop(&mut self) {
                self.task.remove_waiter(&self.thread);
            }
        }

        // A task that runs may end within a spin. A queued task has to begin first.
        let task = self.task();
        if self.is_finished()
            || (task.status() == TaskStatus::Running && spin(|| self.is_finished()))
        {
            return Ok(Outcome::Ready);
        }

        context::check()?;
        deadlock::expect_wait();
        let what = WaitKind::Join.on(Object::Task(self.id().0));

        // Dropped at the end of the wait, however it ends: the waiter is taken out again.
        let thread = context::slot();
        let _waiting = match task.add_waiter(&thread, &|| task.erased(task)) {
            Ok(guards) => EnteredWaiter {
                task,
                thread,
                _guards: guards,
            },
            Err(AlreadyEnded) => return Ok(Outcome::Ready),
        };
        context::wait(what, limit, || self.is_finished())
    }

    /// Makes the end of the task an event of `completions` with the number `event`.
    pub(crate) fn notify(&self, completions: Arc<Completions>, event: usize) {
        let task = self.task();
        task.notify(completions, event, &|| task.erased(task));
    }

    /// Returns the state of the task, or how it ended.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.spawn(|| Ok(()));
    ///     task.wait()?;
    ///     assert_eq!(task.status(), taskgroup::TaskStatus::Finished);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn status(&self) -> TaskStatus {
        self.task().status()
    }

    /// Returns whether the task has ended, in whatever way.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.spawn(|| Ok(()));
    ///     task.wait()?;
    ///     assert!(task.is_finished());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn is_finished(&self) -> bool {
        !matches!(self.status(), TaskStatus::Queued | TaskStatus::Running)
    }

    /// Cancels this task and nothing else, and returns immediately. A task that has not begun never
    /// begins.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::time::Duration;
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.spawn(|| Ok(taskgroup::sleep(Duration::from_secs(60))?));
    ///     task.cancel();
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn cancel(&self) {
        if !self.is_finished() {
            self.task().cancel(Location::caller());
        }
    }

    /// Cancels this task and blocks until it has ended, its clean-up included.
    ///
    /// # Cancellation
    ///
    /// Like [`wait`](Self::wait). The task is cancelled in any case.
    ///
    /// # Errors
    ///
    /// Like [`wait`](Self::wait).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::time::Duration;
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.spawn(|| Ok(taskgroup::sleep(Duration::from_secs(60))?));
    ///     task.cancel_and_wait()?;
    ///     assert!(task.is_finished());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn cancel_and_wait(&self) -> Result<TaskStatus, Cancelled> {
        self.cancel();
        self.wait()
    }

    /// Returns the identity of the task.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     assert_ne!(g.spawn(|| Ok(())).id(), g.spawn(|| Ok(())).id());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn id(&self) -> TaskId {
        self.task().spec().id
    }

    /// Returns the name that was given with [`TaskBuilder::name`](crate::TaskBuilder::name).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     assert_eq!(g.task().name("parser").spawn(|| Ok(())).name(), Some("parser"));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.task().spec().name()
    }

    /// Registers `callback`, which is called when the task has ended.
    ///
    /// It is called on the task's thread, before any thread that waits for the task goes on. If the
    /// task has ended already, it is called at once, on this thread. The callback must not wait for
    /// the task.
    ///
    /// # Panics
    ///
    /// A panic of the callback loses neither the thread nor the result. It is a failure of the
    /// group.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use taskgroup::TaskStatus;
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let task = g.spawn(|| Ok(()));
    ///     task.on_finished(|status| assert_eq!(status, TaskStatus::Finished));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn on_finished(&self, callback: impl FnOnce(TaskStatus) + Send + 'scope) {
        self.task().on_finished(Box::new(callback));
    }
}

impl<T> Drop for TaskHandle<'_, T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.detach();
        }
    }
}

impl<T> fmt::Debug for TaskHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("status", &self.status())
            .finish()
    }
}
