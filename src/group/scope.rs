//! The scope: a group of tasks that end before it does.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{Location, resume_unwind};
use std::sync::atomic::{AtomicBool as PlainBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::builder::{Builder, Options};
use super::erased::{ErasedTask, erase};
use super::handle::TaskHandle;
use super::ledger::Ledger;
use super::release::Release;
use super::shared::Shared;
use super::stats::GroupStats;
use super::stopwatch::Stopwatch;
use super::task::Group;
use super::task_builder::TaskBuilder;
use crate::cancel::actor::{Actor, Part};
use crate::cancel::{
    CancelCause, CancelToken, Cancelled, Node, Observer, OwnedBy, context, current,
};
use crate::error::{
    Failure, FailureKind, GroupError, Origin, PanicPayload, SpawnError, TaskError, drop_contained,
};
use crate::facade::{Contained, Mutex, Payload, catch};

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
    group: Group<E>,
    /// The hooks, last registered last; none once they are being run.
    releases: Mutex<Option<Vec<ErasedTask>>>,
    /// A hook has been registered. For the owner, when all tasks have ended.
    has_releases: PlainBool,
    stack_size: Option<usize>,
    /// Invariant in both, as in `std::thread::scope`. If `'scope` could shrink, a task could borrow
    /// what the body owns and drops; if `'env` could, a group could be passed off as one that may
    /// borrow less than it does.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Opens a group with `options` and runs it to its end.
#[track_caller]
pub(super) fn run<'env, T, F, E>(options: Options, body: F) -> Result<T, GroupError<E>>
where
    E: TaskError,
    F: for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env, E>) -> Result<T, E>,
{
    let location = Location::caller();
    let begun = Stopwatch::start_coarse();
    let opened_in = current::actor().map(Arc::new);
    let shared = Shared::new(options.limit, opened_in.clone(), |observer| {
        open(&options, observer, location)
    });
    let node = shared.node().clone();
    let group = TaskGroup {
        group: Group {
            shared,
            ledger: Ledger::new(location, options.fatal, options.on_panic),
        },
        releases: Mutex::new(Some(Vec::new())),
        has_releases: PlainBool::new(false),
        stack_size: options.stack_size,
        scope: PhantomData,
        env: PhantomData,
    };
    let inside = context::enter(node);
    let recorded = current::begin_body(group.token().id(), opened_in);
    let returned = catch(|| body(&group));
    drop(recorded);
    // Until `finish` has returned nothing may unwind past here: the tasks still borrow.
    let contained = Contained::begin();
    let outcome = match returned {
        Ok(Ok(value)) => Body::Value(value),
        Ok(Err(error)) => {
            catch(|| group.failed(error, begun)).unwrap_or_else(|payload| group.panicked(payload))
        }
        Err(payload) => group.panicked(payload),
    };
    group.group.shared.finish(location);
    contained.end();
    drop(inside);
    group.release();
    group.report(outcome, options.name, begun)
}

/// The error of a scope that went well and has no result all the same: it was cancelled from
/// inside, or had no tasks.
pub(super) fn no_result<E: 'static>(
    token: Option<CancelToken>,
    location: &'static Location<'static>,
) -> GroupError<E> {
    match token.and_then(|token| token.cancelled()) {
        Some(cancelled) => GroupError::from(cancelled),
        None => GroupError::new(None, location, Vec::new(), None, None),
    }
}

/// The node of a group: a child of the current scope and of the parents it was given.
fn open(
    options: &Options,
    observer: Weak<dyn Observer>,
    location: &'static Location<'static>,
) -> Arc<Node> {
    let current = context::current();
    let node = Node::of_group(
        current
            .iter()
            .chain(options.parents.iter().map(CancelToken::node)),
        observer,
    );
    let timeout = options
        .timeout
        .and_then(|timeout| Instant::now().checked_add(timeout));
    if let Some(deadline) = [options.deadline, timeout].into_iter().flatten().min() {
        node.set_deadline(deadline, location);
    }
    node
}

/// How a body ended.
enum Body<T> {
    Value(T),
    /// With its own cancel.
    Cancelled(Cancelled),
    /// With an error, which is in the ledger.
    Failed,
    Panicked(Payload),
}

impl TaskGroup<'_, '_> {
    /// Runs `body` with a new group, and returns when every task of it has ended.
    ///
    /// A group opened inside of a task, a body, [`timeout`](crate::timeout) or [`CancelToken::run`]
    /// is cancelled with it.
    ///
    /// # Cancellation
    ///
    /// The scope waits for its tasks whatever is cancelled, and they end early because of it. One
    /// that is cancelled from outside and whose body and tasks all produced their values anyway
    /// returns the value.
    ///
    /// # Errors
    ///
    /// Every error and panic of a task and every error of the body, or the cancel from outside that
    /// cut one of them short.
    ///
    /// # Panics
    ///
    /// A panic of the body resumes after everything has ended; the failures that it hides are
    /// logged with `tracing`.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     taskgroup::sleep(std::time::Duration::from_secs(60))?; // wakes at once
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert_eq!(error.failures().len(), 1);
    /// ```
    #[track_caller]
    pub fn scope<'env, T, F>(body: F) -> Result<T, GroupError>
    where
        F: for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env>) -> anyhow::Result<T>,
    {
        run(Options::new(), body)
    }

    /// A group with options.
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

impl<'scope, 'env, E: TaskError> TaskGroup<'scope, 'env, E> {
    /// Spawns a task whose failure is the group's.
    ///
    /// It never blocks and starts no thread for each task: tasks run on cached threads, as many as
    /// block and as the machine has cores, or on a thread that waits for them.
    ///
    /// # Cancellation
    ///
    /// In a cancelled group the closure is dropped unrun, and the handle says
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

    /// Spawns a task whose failure is its result: it goes to whoever joins it, and cancels nothing.
    ///
    /// A failure that is never taken out of the handle, since the handle is dropped or its `join`
    /// is cancelled, is logged with `tracing`, as a warning.
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

    /// Spawns a task that serves the others: it is cancelled, with [`CancelCause::GroupFinished`],
    /// once the body and all ordinary tasks are done. Its failure is the group's.
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

    /// Spawns a task if it can begin at once, as far as the group's limit goes.
    ///
    /// # Errors
    ///
    /// The closure, unrun: because the group is cancelled or closed, because its limit is reached,
    /// or because the system refused the thread that the task asked for.
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

    /// A task with options: a name, a thread of its own.
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
        let hook = erase(Arc::new(Release::new(
            &self.group,
            Location::caller(),
            hook,
        )));
        if let Some(hooks) = &mut *self.releases.lock() {
            self.has_releases.store(true, Relaxed);
            return hooks.push(hook);
        }
        let _ = hook.run(true, None);
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
        self.group.shared.token()
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
        self.group.shared.stats()
    }

    pub(super) fn group(&'scope self) -> &'scope Group<E> {
        &self.group
    }

    pub(super) fn limit(&self) -> Option<usize> {
        self.group.shared.limit()
    }

    pub(super) fn stack_size(&self) -> Option<usize> {
        self.stack_size
    }

    /// The cancel that stands for a task that came when the group had closed.
    pub(super) fn closed(&self, location: &'static Location<'static>) -> Cancelled {
        Cancelled::new(CancelCause::GroupFinished, location, self.token().id())
    }
}

impl<E: TaskError> TaskGroup<'_, '_, E> {
    /// Takes note of the error that the body returned, which is a failure unless it is the cancel
    /// of the scope. What the error says of itself, and its destructor, are the user's and may
    /// panic.
    fn failed<T>(&self, error: E, begun: Stopwatch) -> Body<T> {
        let shared = &self.group.shared;
        let own = error
            .cancelled()
            .filter(|cancelled| shared.node().owner_of(cancelled) != OwnedBy::Foreign)
            .cloned();
        match own {
            Some(cancelled) => {
                shared.note_cut(&cancelled);
                self.discard(error, begun);
                Body::Cancelled(cancelled)
            }
            None => {
                self.group
                    .fail(Origin::Body, FailureKind::Error(error), begun.elapsed());
                Body::Failed
            }
        }
    }

    /// Drops what the body returned and nobody gets. A panic of its destructor is a failure of the
    /// body.
    fn discard(&self, returned: impl Sized, begun: Stopwatch) {
        if let Err(payload) = catch(move || drop(returned)) {
            self.group.fail(
                Origin::Body,
                FailureKind::Panic(PanicPayload::new(payload)),
                begun.elapsed(),
            );
        }
    }

    fn panicked<T>(&self, payload: Payload) -> Body<T> {
        let node = self.group.shared.node();
        let failed = Actor::new(Part::Body(node.id()), self.group.shared.opened_in());
        self.group.ledger.body_panicked(node, Arc::new(failed));
        Body::Panicked(payload)
    }

    /// Runs the release hooks, those that register meanwhile included.
    fn release(&self) {
        if !self.has_releases.load(Relaxed) {
            return;
        }
        self.group.shared.close();
        let hooks = self.releases.lock().take();
        for hook in hooks.into_iter().flatten().rev() {
            let _ = hook.run(true, None);
        }
    }

    /// What the scope returns.
    fn report<T>(
        &self,
        body: Body<T>,
        name: Option<Cow<'static, str>>,
        begun: Stopwatch,
    ) -> Result<T, GroupError<E>> {
        let Group { shared, ledger } = &self.group;
        let panics = shared.take_callback_panics();
        if !panics.is_empty() {
            ledger.add_callback_panics(panics);
        }
        let cut = shared.cut();
        let failed = !ledger.is_empty();
        match body {
            Body::Value(value) if !failed && cut.is_none() => Ok(value),
            Body::Value(value) => {
                self.discard(value, begun);
                Err(self.resume_or_return(ledger.take(shared.node(), name, cut)))
            }
            Body::Failed => Err(self.resume_or_return(ledger.take(shared.node(), name, cut))),
            Body::Cancelled(cancelled) => {
                let cancelled = cut.or(if failed { None } else { Some(cancelled) });
                Err(self.resume_or_return(ledger.take(shared.node(), name, cancelled)))
            }
            Body::Panicked(payload) => {
                // A destructor that panics must not hide the panic of the body.
                for failure in ledger.take(shared.node(), name, cut).into_failures() {
                    failure.log_hidden();
                    drop_contained("failure that a panic hides", failure);
                }
                resume_unwind(payload)
            }
        }
    }

    fn resume_or_return(&self, error: GroupError<E>) -> GroupError<E> {
        if self.group.ledger.resumes_panics() {
            error.resume_panic()
        } else {
            error
        }
    }
}

impl<E> fmt::Debug for TaskGroup<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("token", self.group.shared.token())
            .finish_non_exhaustive()
    }
}
