//! The options of a group.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::options::Options;
use super::policy::{OnFailure, OnPanic};
use super::run::run;
use super::scope::TaskGroup;
use crate::cancel::CancelToken;
use crate::error::{GroupError, TaskError};
use crate::stall::StallPolicy;

/// The options of a group. [`scope`](Self::scope) opens the group.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use std::time::Duration;
/// use taskgroup::TaskGroup;
///
/// let builder = TaskGroup::builder().name("sums").limit(2).timeout(Duration::from_secs(60));
/// let sum = builder.scope(|g| {
///     let tasks: Vec<_> = (1..=4).map(|n| g.spawn(move || Ok(n))).collect();
///     let mut sum = 0;
///     for task in tasks {
///         sum += task.join()?;
///     }
///     Ok(sum)
/// })?;
/// assert_eq!(sum, 10);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `scope` is called"]
pub struct Builder<E = anyhow::Error> {
    options: Options,
    error: PhantomData<fn() -> E>,
}

impl TaskGroup<'_, '_> {
    /// Returns the options of a new group. [`Builder::scope`] opens the group.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::builder().limit(4).scope(|g| {
    ///     g.spawn(|| Ok(()));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl Builder {
    fn new() -> Self {
        Builder {
            options: Options::new(),
            error: PhantomData,
        }
    }
}

impl<E: TaskError> Builder<E> {
    /// Makes the tasks and the body fail with `E2` instead of `anyhow::Error`.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError<std::io::Error>> {
    /// use taskgroup::TaskGroup;
    /// TaskGroup::builder().error_type::<std::io::Error>().scope(|g| {
    ///     g.spawn(|| std::fs::read("Cargo.toml"));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn error_type<E2: TaskError>(self) -> Builder<E2> {
        Builder {
            options: self.options,
            error: PhantomData,
        }
    }

    /// Names the group in its reports. Default: no name.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::builder()
    ///     .name("import")
    ///     .scope(|_| -> anyhow::Result<()> { anyhow::bail!("no input") })
    ///     .unwrap_err();
    /// assert!(error.to_string().contains("group `import`"));
    /// ```
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// Lets at most `limit` tasks of the group run at once. The others queue, in the order of their
    /// spawns. Default: no limit. Daemons and the body do not count.
    ///
    /// While a task waits for tasks of its own group, it gives its permit to a queued task, so that
    /// nested use does not deadlock. It never waits to get a permit back. So the group can run more
    /// than `limit` tasks after a wait that ended without the end of a running task, for example by
    /// a timeout or a cancel: one more for each such wait. Nothing else begins until the limit is
    /// kept again. A task also gives its permit away while it waits for tasks of an inner group, if
    /// one of these waits for a task of this group.
    ///
    /// In every other wait, such as for a message, for room in a channel or for a lock, a task
    /// keeps its permit. So tasks that wait for each other in this way, such as the stages of a
    /// pipeline, need a limit that lets all of them run at once.
    ///
    /// # Panics
    ///
    /// If `limit` is 0: no task could ever run.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use taskgroup::TaskGroup;
    ///
    /// let running = AtomicUsize::new(0);
    /// TaskGroup::builder().limit(2).scope(|g| {
    ///     for _ in 0..8 {
    ///         g.spawn(|| {
    ///             assert!(running.fetch_add(1, Ordering::Relaxed) < 2);
    ///             running.fetch_sub(1, Ordering::Relaxed);
    ///             Ok(())
    ///         });
    ///     }
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn limit(mut self, limit: usize) -> Self {
        assert!(
            limit > 0,
            "a group with `limit(0)` could never run a task: the limit must be at least 1"
        );
        self.options.limit = Some(limit);
        self
    }

    /// Cancels the group when `duration` has passed since the call of `scope`. Default: never.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::builder()
    ///     .timeout(Duration::from_millis(1))
    ///     .scope(|_| Ok(taskgroup::sleep(Duration::from_secs(60))?))
    ///     .unwrap_err();
    /// assert!(error.timed_out());
    /// ```
    pub fn timeout(mut self, duration: Duration) -> Self {
        self.options.timeout = Some(duration);
        self
    }

    /// Cancels the group at `deadline`. A deadline that has passed cancels it before any task runs.
    /// Default: never. If a [`timeout`](Self::timeout) is set too, the earlier of the two holds.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::builder()
    ///     .deadline(Instant::now())
    ///     .scope(|_| Ok(taskgroup::sleep(Duration::from_secs(60))?))
    ///     .unwrap_err();
    /// assert!(error.timed_out());
    /// ```
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// Sets the effect of a failure on the other tasks. Default: [`OnFailure::CancelSiblings`].
    ///
    /// ```
    /// use taskgroup::{OnFailure, TaskGroup};
    ///
    /// let error = TaskGroup::builder()
    ///     .on_failure(OnFailure::Collect)
    ///     .scope(|g| {
    ///         for word in ["1", "x", "2", "y"] {
    ///             g.spawn(move || Ok(word.parse::<u32>()?));
    ///         }
    ///         Ok(())
    ///     })
    ///     .unwrap_err();
    /// assert_eq!(error.failures().len(), 2);
    /// ```
    pub fn on_failure(mut self, policy: OnFailure) -> Self {
        self.options.fatal = policy.into();
        self
    }

    /// Sets the effect of a panic of a task. Default: [`OnPanic::Collect`].
    ///
    /// ```should_panic
    /// use taskgroup::{OnPanic, TaskGroup};
    ///
    /// let _ = TaskGroup::builder().on_panic(OnPanic::Resume).scope(|g| {
    ///     g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
    ///     Ok(())
    /// });
    /// // Not reached: the scope has panicked.
    /// ```
    pub fn on_panic(mut self, policy: OnPanic) -> Self {
        self.options.on_panic = policy;
        self
    }

    /// Cancels the group also when `token` is cancelled, and not only when the scope around the
    /// group is. May be called more than once.
    ///
    /// ```
    /// use taskgroup::{CancelToken, TaskGroup};
    ///
    /// let shutdown = CancelToken::new();
    /// shutdown.cancel_because("the service ends");
    /// let builder = TaskGroup::builder().parent(&shutdown);
    /// let stopped = builder.scope(|_| Ok(taskgroup::checkpoint()?));
    /// assert!(stopped.unwrap_err().to_string().contains("the service ends"));
    /// ```
    pub fn parent(mut self, token: &CancelToken) -> Self {
        self.options.parents.push(token.clone());
        self
    }

    /// Gives each task a thread of its own with a stack of `bytes`. Default: tasks share cached
    /// threads, with the standard library's stack size.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use taskgroup::TaskGroup;
    ///
    /// TaskGroup::builder().stack_size(16 << 20).scope(|g| {
    ///     g.spawn(|| Ok(println!("there is room here for deep recursion")));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.options.stack_size = Some(bytes);
        self
    }

    /// Sets how long the scope may take to end once it was cancelled, or its deadline has passed.
    /// Default: 5 s. After that it is reported, with the tasks that it waits for.
    ///
    /// The report says what each of these tasks does and what would end it. It goes to `tracing`
    /// and to stderr, or to a hook of [`on_stall`](crate::on_stall). It comes again after twice the
    /// time, four times the time, and so on. A scope that is neither cancelled nor past its
    /// deadline is never reported, however long it runs.
    ///
    /// While a debugger is attached to the process, nothing is reported. If the process was stopped
    /// for a time, the delay starts again. Code inside of [`winding_down`](crate::winding_down) is
    /// not reported before the grace of the cancel has ended, and this time has passed since.
    ///
    /// `Duration::MAX` turns the reports of this scope off.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::time::Duration;
    /// use taskgroup::TaskGroup;
    ///
    /// TaskGroup::builder().stall_after(Duration::from_secs(1)).scope(|g| {
    ///     g.spawn(|| Ok(()));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn stall_after(mut self, duration: Duration) -> Self {
        self.options.stall_after = duration;
        self
    }

    /// Sets the effect of a stall of the scope. Default: [`StallPolicy::Report`].
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use taskgroup::{StallPolicy, TaskGroup};
    ///
    /// TaskGroup::builder().stall_policy(StallPolicy::Panic).scope(|g| {
    ///     g.spawn(|| Ok(()));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn stall_policy(mut self, policy: StallPolicy) -> Self {
        self.options.stall_policy = policy;
        self
    }

    /// Opens the group: see [`TaskGroup::scope`].
    ///
    /// # Cancellation
    ///
    /// Like [`TaskGroup::scope`].
    ///
    /// # Errors
    ///
    /// Like [`TaskGroup::scope`].
    ///
    /// # Panics
    ///
    /// Like [`TaskGroup::scope`]. With [`OnPanic::Resume`], also with the first panic of a task.
    /// With [`StallPolicy::Panic`], also if the scope was reported as stalled.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// let builder = taskgroup::TaskGroup::builder().limit(4);
    /// let sum = builder.scope(|g| Ok(g.spawn(|| Ok(20)).join()? + 22))?;
    /// assert_eq!(sum, 42);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn scope<'env, T, F>(self, body: F) -> Result<T, GroupError<E>>
    where
        F: for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env, E>) -> Result<T, E>,
    {
        run(self.options, body)
    }
}

impl<E> fmt::Debug for Builder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Builder").field(&self.options).finish()
    }
}
