//! One task: its closure, its result, and what happens from its spawn to its end.
//!
//! # The end
//!
//! The steps are in this order, and another thread can see each of them before the next:
//!
//! 1. The closure has returned, and its captured values have been dropped.
//! 2. A failure is in the failure log, and the group is cancelled; or the result is there. After
//!    that, the value that the task was given with [`TaskBuilder::with`](crate::TaskBuilder::with)
//!    is dropped, and a result is stored.
//! 3. If there is a limit, the permit of the task counts as ending: a thread that sees the end can
//!    spawn the next task. A waiter that has given its own permit away is owed one in the same
//!    critical section. It gets the permit in step 6, and the task gives its own back in step 7.
//! 4. The callbacks of `on_finished` have run.
//! 5. The phase is `ENDED`: `join` has the result. If there is no handle, the result is dropped.
//! 6. The threads that wait for the task are woken.
//! 7. The task leaves the counts of the group: from here on the scope may return. `stats` shows the
//!    end a little later than the handle does, since a worker reports ends in batches.

use std::fmt;
use std::sync::Arc;

use super::closure::Closure;
use super::handshake::Handshake;
use super::isolation::Isolation;
use super::spec::TaskSpec;
use super::watch_list::WatchList;
use crate::cancel::context::{self, OwnNode};
use crate::cancel::{Cancelled, Node, OwnedBy};
use crate::error::TaskError;
use crate::facade::Mutex;
use crate::group::core::GroupCore;
use crate::group::job::{Claimed, Job};
use crate::group::status::TaskStatus;
use crate::group::task_end::{Role, TaskEnd};

pub(crate) struct Task<'scope, T, F, E> {
    pub(super) job: Job<F, T>,
    pub(super) spec: TaskSpec,
    pub(super) core: &'scope GroupCore<E>,
    /// Makes a failure the task's result instead of the group's failure.
    pub(super) isolation: Option<&'scope Isolation<T, E>>,
    /// The task's own node, made when something asks for it: the first blocking point inside the
    /// task, or a cancel through the handle. A task that begins without a handle has its node in
    /// its frame, if at all.
    own_node: Mutex<Option<Arc<Node>>>,
    pub(super) watch_list: Mutex<Option<Box<WatchList<'scope>>>>,
}

impl<'scope, T, F, E> Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    pub(crate) fn new(
        core: &'scope GroupCore<E>,
        spec: TaskSpec,
        isolation: Option<&'scope Isolation<T, E>>,
        closure: F,
    ) -> Arc<Self> {
        Arc::new(Task {
            job: Job::new(closure),
            spec,
            core,
            isolation,
            own_node: Mutex::new(None),
            watch_list: Mutex::new(None),
        })
    }

    pub(crate) fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    /// Makes the task's failures those of the group only once `handshake` says that the task is
    /// ready. To be called before the task is submitted.
    pub(crate) fn isolate_until_ready(&self, handshake: Arc<Handshake>) {
        self.watch_list.lock().get_or_insert_default().handshake = Some(handshake);
    }

    /// Takes the closure back, unless another thread has claimed the task.
    pub(crate) fn take_closure(&self) -> Option<F> {
        let claim = self.job.claim()?;
        let closure = self.job.closure(&claim);
        self.end_refused_trace();

        // No thread waits for a task that was refused, so nothing is woken.
        self.job.end(claim, TaskStatus::NeverRan);
        closure
    }

    /// Returns whether the task waits in the queue and needs a permit to begin.
    pub(super) fn is_queued(&self) -> bool {
        self.spec.role == Role::Task && self.job.claimed() == Claimed::No
    }

    /// The node of the group that the task runs under.
    #[inline]
    pub(super) fn base(&self) -> &Arc<Node> {
        self.core.state.base(self.spec.role)
    }

    /// The node that a cancel of this task alone cancels.
    pub(super) fn own(&self) -> Arc<Node> {
        // The flag is set under the lock, so that `innermost` finds the node.
        let mut own = self.own_node.lock();
        own.get_or_insert_with(|| {
            self.job.set_tokened();
            Node::of_task(self.base())
        })
        .clone()
    }

    /// The innermost node that the task runs under, as far as one has been made.
    pub(super) fn innermost(&self) -> Arc<Node> {
        // Few tasks have a node of their own, so the lock is taken only for these.
        let own = if self.job.is_tokened() {
            self.own_node.lock().clone()
        } else {
            None
        };

        own.unwrap_or_else(|| self.base().clone())
    }

    /// Returns whether `cancelled` came from the task's own token, its group, or a scope that the
    /// group is in. To be called in the frame of the task.
    pub(super) fn is_own(&self, cancelled: &Cancelled) -> bool {
        // A task without a handle keeps its node in its frame.
        context::made_own()
            .unwrap_or_else(|| self.innermost())
            .owner_of(cancelled)
            != OwnedBy::Foreign
    }

    pub(super) fn task_end(&self, status: TaskStatus) -> TaskEnd {
        TaskEnd {
            role: self.spec.role,
            status,
        }
    }
}

impl<'scope, T, F, E> OwnNode for Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    fn own_node(&self) -> Arc<Node> {
        self.own()
    }
}

impl<T, F, E> fmt::Debug for Task<'_, T, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.spec.id)
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}
