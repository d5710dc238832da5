//! The scope: a group of tasks that end before it does.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe};
use std::sync::atomic::{AtomicBool as PlainBool, Ordering::Relaxed};
use std::time::Duration;

use super::core::GroupCore;
use super::erased::{ErasedTask, erase};
use super::release::Release;
use super::stats::GroupStats;
use super::stopwatch::Timing;
use crate::cancel::CancelToken;
use crate::error::TaskError;
use crate::facade::{CountedRef, Mutex};

/// A group of tasks that have all ended when its scope returns.
///
/// [`scope`](Self::scope) runs a body, which spawns tasks. Tasks may borrow everything that the
/// body may borrow. The first failure, of a task or of the body, cancels the group: every blocking
/// point of every task, and of the body, fails. When all have ended, the scope returns the value of
/// the body, or one [`GroupError`](crate::GroupError) with every error and panic.
///
/// # Memory ordering
///
/// Everything before a spawn happens before the task. Everything that a task did happens before a
/// `join` of it returns, and before the scope returns.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::TaskGroup;
///
/// let words = ["1", "2"];
/// let sum = TaskGroup::scope(|g| {
///     let a = g.spawn(|| Ok(words[0].parse::<u32>()?));
///     let b = g.spawn(|| Ok(words[1].parse::<u32>()?));
///     Ok(a.join()? + b.join()?)
/// })?;
/// assert_eq!(sum, 3);
/// # Ok(())
/// # }
/// ```
pub struct TaskGroup<'scope, 'env: 'scope, E = anyhow::Error> {
    pub(crate) core: GroupCore<E>,
    /// The hooks in the order of their registration; none once they are being run.
    pub(crate) releases: Mutex<Option<Vec<ErasedTask>>>,
    /// A hook has been registered. Read by the owner after all tasks have ended.
    pub(crate) has_releases: PlainBool,
    pub(crate) stack_size: Option<usize>,
    /// Both lifetimes are invariant, like in `std::thread::scope`. If `'scope` could shrink, a task
    /// could borrow values that the body owns and drops. If `'env` could, a group could be passed
    /// off as a group that may borrow less than it does.
    pub(crate) scope: PhantomData<&'scope mut &'scope ()>,
    pub(crate) env: PhantomData<&'env mut &'env ()>,
}

// A panic cannot leave a group in a wrong state: no user code runs under its locks.
impl<E> RefUnwindSafe for TaskGroup<'_, '_, E> {}

impl<'scope, E: TaskError> TaskGroup<'scope, '_, E> {
    /// Registers `hook`, which runs on the scope's thread after every task has ended.
    ///
    /// All hooks run, the last registered first, whatever the outcome, and all their errors are
    /// reported. They run in the scope that the group was opened in, so the group's own cancel does
    /// not cut the clean-up short. A cancel of the scope outside does. A hook that returns such a
    /// [`Cancelled`](crate::Cancelled) has not failed: the scope returns the cancel, like when it
    /// cuts a task short. Use [`shield_for`](crate::shield_for) for clean-up that must be done in
    /// any case.
    ///
    /// A hook that another hook registers runs at once.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// let released = AtomicBool::new(false);
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.on_release(|| Ok(released.store(true, Ordering::Relaxed)));
    ///     g.spawn(|| Ok(()));
    ///     Ok(())
    /// })?;
    /// assert!(released.into_inner());
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn on_release(&'scope self, hook: impl FnOnce() -> Result<(), E> + Send + 'scope) {
        let hook = erase(CountedRef::new(Release::new(
            &self.core,
            Location::caller(),
            hook,
        )));
        if let Some(hooks) = &mut *self.releases.lock() {
            self.has_releases.store(true, Relaxed);
            return hooks.push(hook);
        }

        // The hooks are being run already. The end of a hook is on no counts.
        let _ = hook.run(Timing::Precise, None);
    }

    /// Cancels the group: its tasks and its body.
    ///
    /// The group absorbs the cancel: a scope that cancels itself returns no error because of it.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::time::Duration;
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok(taskgroup::sleep(Duration::from_secs(60))?));
    ///     g.cancel();
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn cancel(&self) {
        self.token().cancel();
    }

    /// Cancels the group with a reason for people to read.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.cancel_because("found it");
    ///     assert!(taskgroup::checkpoint().unwrap_err().to_string().contains("found it"));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn cancel_because(&self, reason: impl Into<String>) {
        self.token().cancel_because(reason);
    }

    /// Cancels the group, but spares code inside of [`winding_down`](crate::winding_down) for at
    /// most `grace`.
    ///
    /// So tasks that serve requests can finish the requests they have begun, and all other tasks
    /// wake at once. [`CancelToken::cancel_gracefully`] lists the events that end the grace early.
    /// Tasks that have not begun never do. The group absorbs the cancel, like the one of
    /// [`cancel`](Self::cancel).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::time::Duration;
    /// use taskgroup::{channel, winding_down, TaskGroup};
    ///
    /// let (requests, queue) = channel::unbounded();
    /// # let has_begun = taskgroup::sync::Event::new();
    /// # let begun = &has_begun;
    /// let served = TaskGroup::scope(|g| {
    ///     let server = g.spawn(move || {
    ///         # begun.set();
    ///         let mut served = 0;
    ///         while let Ok(request) = queue.recv() {
    ///             // A request that was taken is answered, if that takes no more than the grace.
    ///             winding_down(|| taskgroup::sleep(Duration::from_millis(request)))?;
    ///             served += 1;
    ///         }
    ///         Ok(served)
    ///     });
    ///     for request in [1, 2, 3] {
    ///         requests.send(request)?;
    ///     }
    ///     # begun.wait()?;
    ///     g.cancel_gracefully(Duration::from_secs(10));
    ///     Ok(taskgroup::shield(|| server.join())?)
    /// })?;
    /// assert!(served <= 3);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn cancel_gracefully(&self, grace: Duration) {
        self.token().cancel_gracefully(grace);
    }

    /// Like [`cancel_gracefully`](Self::cancel_gracefully), with a reason for people to read.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::time::Duration;
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.cancel_gracefully_because(Duration::from_secs(10), "a new version is to be started");
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn cancel_gracefully_because(&self, grace: Duration, reason: impl Into<String>) {
        self.token().cancel_gracefully_because(grace, reason);
    }

    /// Returns the group's token, a child of the token of the scope that the group was opened in.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     assert_eq!(taskgroup::current_token().as_ref(), Some(g.token()));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn token(&self) -> &CancelToken {
        self.core.state.token()
    }

    /// Returns how many tasks are in which state. The counts may be late: see [`GroupStats`]. Once
    /// all tasks have ended, as in [`on_release`](Self::on_release), they are exact.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.on_release(|| {
    ///         assert_eq!(g.stats().finished, 1);
    ///         Ok(())
    ///     });
    ///     g.spawn(|| Ok(())).join()?;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn stats(&self) -> GroupStats {
        self.core.state.stats()
    }

    pub(crate) fn core(&self) -> &GroupCore<E> {
        &self.core
    }

    pub(crate) fn stack_size(&self) -> Option<usize> {
        self.stack_size
    }
}

impl<E: TaskError> TaskGroup<'_, '_, E> {
    /// Runs the release hooks, and those that they register.
    pub(crate) fn release(&self) {
        if !self.has_releases.load(Relaxed) {
            return;
        }
        self.core.state.close();

        // Taken out first: a hook that registers another finds that it is too late.
        let hooks = self.releases.lock().take();
        for hook in hooks.into_iter().flatten().rev() {
            let _ = hook.run(Timing::Precise, None);
        }
    }
}

impl<E> fmt::Debug for TaskGroup<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("token", self.core.state.token())
            .finish_non_exhaustive()
    }
}
