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
use std::ptr;
use std::sync::Arc;

use super::closure::Closure;
use super::common::{Common, TaskRef};
use super::handshake::Handshake;
use super::isolation::Isolation;
use super::spec::TaskSpec;
use crate::cancel::Node;
use crate::cancel::context::OwnNode;
use crate::error::TaskError;
use crate::facade::CountedRef;
use crate::group::core::GroupCore;
use crate::group::job::Job;
use crate::group::status::TaskStatus;

pub(crate) struct Task<'scope, T, F, E> {
    pub(super) job: Job<F, T>,
    pub(super) common: Common<'scope, E>,
    /// Makes a failure the task's result instead of the group's failure.
    pub(super) isolation: Option<&'scope Isolation<T, E>>,
}

impl<'scope, T, F, E> Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    /// Makes a task. Returns a reference for its handle and one for its queue.
    #[inline]
    pub(crate) fn new(
        core: &'scope GroupCore<E>,
        mut spec: TaskSpec,
        isolation: Option<&'scope Isolation<T, E>>,
        closure: F,
    ) -> (CountedRef<Self>, CountedRef<Self>) {
        spec.is_isolatable = isolation.is_some();
        CountedRef::pair(Task {
            job: Job::new(closure),
            common: Common::new(core, spec),
            isolation,
        })
    }

    /// Returns another reference to this task. `this` is one, of any type.
    pub(super) fn another_reference<R: ?Sized>(&self, this: &CountedRef<R>) -> CountedRef<Self> {
        assert!(
            ptr::addr_eq(&raw const **this, self),
            "the reference is to another task"
        );
        // SAFETY: by the addresses, `this` refers to the memory of this task. A task is made as the
        // value of a reference, in `new`, and never as a part of such a value. So the value of
        // `this` is a `Self`.
        unsafe { this.downcast() }
    }

    pub(crate) fn spec(&self) -> &TaskSpec {
        &self.common.spec
    }

    /// Returns the task without the types of its closure and its result.
    #[inline(always)]
    pub(super) fn task(&self) -> TaskRef<'_, 'scope, E> {
        TaskRef {
            word: self.job.word(),
            common: &self.common,
        }
    }

    /// Makes the task's failures failures of the group only once `handshake` says that the task is
    /// ready. To be called before the task is submitted.
    pub(crate) fn isolate_until_ready(&self, handshake: Arc<Handshake>) {
        self.task().isolate_until_ready(handshake);
    }

    /// Takes the closure back, unless another thread has claimed the task.
    pub(crate) fn take_closure(&self) -> Option<F> {
        let claim = self.job.word().claim()?;
        let closure = self.job.closure(&claim);
        self.task().end_refused_trace();

        // No thread waits for a task that was refused, so nothing is woken.
        self.job.word().end(claim, TaskStatus::NeverRan);
        closure
    }
}

impl<'scope, T, F, E> OwnNode for Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    fn own_node(&self) -> Arc<Node> {
        self.task().own()
    }
}

impl<T, F, E> fmt::Debug for Task<'_, T, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.common.spec.id)
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}
