//! The scope: a group of tasks that end before it does.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool as PlainBool, Ordering::Relaxed};
use std::time::Duration;

use super::core::Core;
use super::erased::{ErasedTask, erase};
use super::release::Release;
use super::stats::GroupStats;
use super::stopwatch::Timing;
use crate::cancel::CancelToken;
use crate::error::TaskError;
use crate::facade::Mutex;

/// A scope whose tasks have all ended when it returns.
///
/// [`scope`](Self::scope) runs a body, which spawns tasks that may borrow what the body may borrow.
/// The first failure, of a task or of the body, cancels the group: every blocking point of every
/// task, and of the body, fails. When all have ended, the scope returns what the body returned, or
/// one [`GroupError`] with every error and panic.
///
/// # Memory ordering
///
/// What happened before a spawn happens before the task; what a task did happens before a `join` of
/// it returns, and before the scope does.
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
    pub(crate) core: Core<E>,
    /// The hooks, last registered last; none once they are being run.
    pub(crate) releases: Mutex<Option<Vec<ErasedTask>>>,
    /// A hook has been registered. For the owner, when all tasks have ended.
    pub(crate) has_releases: PlainBool,
    pub(crate) stack_size: Option<usize>,
    /// Invariant in both, as in `std::thread::scope`. If `'scope` could shrink, a task could borrow
    /// what the body owns and drops; if `'env` could, a group could be passed off as one that may
    /// borrow less than it does.
    pub(crate) scope: PhantomData<&'scope mut &'scope ()>,
    pub(crate) env: PhantomData<&'env mut &'env ()>,
}

impl<'scope, E: TaskError> TaskGroup<'scope, '_, E> {
    /// Has `hook` run on this thread after every task has ended, the last registered first,
    /// whatever the outcome; all run, and all their errors are reported. The hooks run in the scope
    /// that the group was opened in, so that the group's own cancel does not cut the clean-up
    /// short.
    ///
    /// A cancel of that scope does: a hook that returns such a [`Cancelled`] has not failed, and
    /// the scope returns the cancel, as where it cuts a task short. Clean-up that must be done all
    /// the same is for [`shield_for`](crate::shield_for).
    ///
    /// A hook that is registered too late, by another hook, runs at once.
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
        let hook = erase(Arc::new(Release::new(&self.core, Location::caller(), hook)));
        if let Some(hooks) = &mut *self.releases.lock() {
            self.has_releases.store(true, Relaxed);
            return hooks.push(hook);
        }
        let _ = hook.run(Timing::Precise, None);
    }

    /// Cancels the group: tasks and body. The group absorbs it: a scope that cancels itself is no
    /// error.
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

    /// Cancels the group, and spares what runs inside of [`winding_down`](crate::winding_down) for
    /// at most `grace`: tasks that serve somebody finish what they have begun, and all others wake
    /// at once.
    ///
    /// What ends the grace early, and what does not, is said at [`CancelToken::cancel_gracefully`].
    /// Tasks that have not begun never do. The group absorbs the cancel, as that of
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
    ///             // One that was taken is answered, if that takes no more than the grace.
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

    /// As [`cancel_gracefully`](Self::cancel_gracefully), with a reason for people to read.
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

    /// The group's token: a child of that of the scope it was opened in.
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

    /// How many tasks are in which state.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok(())).join()?;
    ///     assert_eq!(g.stats().finished, 1);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn stats(&self) -> GroupStats {
        self.core.state.stats()
    }

    pub(crate) fn core(&self) -> &Core<E> {
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
