//! Tasks of any type and lifetime, as the queues of the process hold them.

use std::fmt;
use std::io;
use std::ops::Deref;

use super::job::Claimed;
use super::permit_wait::PermitWait;
use super::stopwatch::Timing;
use super::task_end::{RunsInPlace, TaskEnd};
#[cfg(not(loom))]
use crate::cancel::TaskId;
use crate::cancel::actor::TaskIdentity;
use crate::cancel::context::{LazyTask, OwnNode};
use crate::facade::{CountedRef, coerced};

/// The operations of a queue and of a worker on a task.
///
/// `run`, `discard` and `refuse` claim the task first, and return none if another thread has
/// claimed it.
pub(crate) trait Runnable<'scope>: Send + Sync {
    /// Runs the task, timed by the clock of `timing`. `this` is the task itself. `before_end` is
    /// called after all code of the task has run, and before another thread can see that the task
    /// has ended.
    fn run(
        &self,
        this: &ErasedTask,
        timing: Timing,
        before_end: Option<&dyn Fn()>,
    ) -> Option<TaskEnd>;

    /// Drops the task unrun.
    fn discard(&self) -> Option<TaskEnd>;

    /// Fails the task, for which the system refused a thread.
    fn refuse(&self, error: io::Error) -> Option<TaskEnd>;

    /// Returns whether the task has been claimed, and how much is left of it then.
    fn claimed(&self) -> Claimed;

    /// Returns whether the task is queued: neither claimed nor marked as dealt.
    #[cfg(not(loom))]
    fn is_queued(&self) -> bool {
        self.claimed() == Claimed::No
    }

    /// Notes that a thread has taken the task and is about to claim it, although the queue still
    /// has an entry of it. To be called under the lock of the queue.
    #[cfg(not(loom))]
    fn mark_dealt(&self) {}

    /// Returns the id of the task, if its end is watched.
    #[cfg(not(loom))]
    fn id_if_watched(&self) -> Option<TaskId> {
        None
    }

    /// Returns the identity of the task.
    #[cfg_attr(loom, allow(dead_code, reason = "a model has no snapshots"))]
    fn identity(&self) -> TaskIdentity;

    /// Returns on which of the threads that wait for the task it may run.
    fn place(&self) -> RunsInPlace;

    /// Returns whether this thread is the place of a task that is to run where its span is. It
    /// calls the subscriber, so the caller holds no lock.
    fn is_at_home(&self) -> bool;

    /// Returns whether a call of `start` waits for the task to be ready. Takes no lock but by
    /// trying.
    #[cfg(not(loom))]
    fn is_starting(&self) -> bool {
        false
    }

    /// Returns the name and the stack size of the thread of its own that the task asks for, if it
    /// asks for one.
    fn own_thread(&self) -> Option<(&str, Option<usize>)>;

    /// Returns the wait of the task for a permit. `None` if it never needs one.
    fn permit_wait(&self) -> Option<&PermitWait> {
        None
    }

    /// The task as a scope that makes its node when something asks for it. `this` is the task
    /// itself.
    fn to_lazy(&self, this: &ErasedTask) -> CountedRef<dyn OwnNode + 'scope>;
}

/// A task with an erased lifetime, so that a queue of the process can hold it: see [`erase`].
#[derive(Clone)]
pub(crate) struct ErasedTask(CountedRef<dyn Runnable<'static>>);

/// Erases the lifetime of a task that borrows from its scope.
///
/// # Why a task may borrow
///
/// A task borrows from `'scope`, which ends when the call of `scope` returns. Two things hold for
/// everything that is erased here:
///
/// 1. Before the scope returns, the task is run, or dropped unrun, through its claim. A group
///    counts each task before it queues it and takes it off the counts after its end. The scope
///    does not return while a count is not zero, whatever panics (invariant 1 of
///    [`group_state`](super::state::group_state)). A release hook is not counted: the owner runs
///    all of them before the scope returns.
/// 2. After its end, the only thing that happens to the task is the drop of the references. The
///    memory of a task belongs to them. The closure and the result have been moved out, and the
///    callbacks and waiters were taken out at the end. So nothing of `'scope` that has a destructor
///    is left in the task.
///
/// The model `broken_scope_result_dropped_after_end` takes the premise out, so that a result is
/// dropped after the end was signalled, and fails.
pub(crate) fn erase<'scope>(task: CountedRef<impl Runnable<'scope> + 'scope>) -> ErasedTask {
    let task = coerced!(task => dyn Runnable<'scope> + 'scope);
    // SAFETY: only lifetimes of the trait object change. That the task is not used after `'scope`
    // is shown above.
    ErasedTask(unsafe {
        std::mem::transmute::<
            CountedRef<dyn Runnable<'scope> + 'scope>,
            CountedRef<dyn Runnable<'static>>,
        >(task)
    })
}

impl ErasedTask {
    pub(crate) fn is_claimed(&self) -> bool {
        self.0.claimed() != Claimed::No
    }

    /// Returns the address of the task, to find its entry again. Another task may have it later.
    #[cfg(not(loom))]
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(&*self.0).addr()
    }

    /// Returns whether both are the same task.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.is(&other.0)
    }

    /// Runs the task, unless another thread has claimed it: see [`Runnable::run`].
    pub(crate) fn run(&self, timing: Timing, before_end: Option<&dyn Fn()>) -> Option<TaskEnd> {
        self.0.run(self, timing, before_end)
    }

    /// Returns whether this is the only reference to the task. Then the task has no handle, and no
    /// other thread can claim it, watch it or give it a token.
    #[inline]
    pub(crate) fn is_sole(&self) -> bool {
        // fault: shared-task-counts-as-sole
        self.0.is_sole()
    }

    /// Returns the reference if it is the only one, and only memory is left of the task. Otherwise
    /// drops it.
    pub(crate) fn into_spent(self) -> Option<Self> {
        (self.is_sole() && self.0.claimed() == Claimed::Spent).then_some(self)
    }

    /// Returns the reference as such.
    pub(crate) fn as_counted(&self) -> &CountedRef<dyn Runnable<'static>> {
        &self.0
    }

    /// The task as a scope that makes its node when something asks for it.
    pub(crate) fn to_lazy(&self) -> LazyTask {
        self.0.to_lazy(self)
    }
}

impl Deref for ErasedTask {
    type Target = dyn Runnable<'static>;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for ErasedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasedTask")
            .field("claimed", &self.0.claimed())
            .finish()
    }
}
