//! Hooks that release the resources of a scope after its tasks have ended.

use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use super::core::GroupCore;
use super::erased::{ErasedTask, Runnable};
use super::job::{Claimed, Job};
use super::status::TaskStatus;
use super::stopwatch::Timing;
use super::task_end::{Role, RunsInPlace, TaskEnd};
use crate::cancel::actor::TaskIdentity;
use crate::cancel::context::OwnNode;
use crate::cancel::{Node, OwnedBy, TaskId};
use crate::error::{FailureKind, Origin, TaskError};
use crate::facade::{CountedRef, catch, coerced};
use crate::panics::PanicPayload;

/// A release hook. It is not a task, but it borrows from the scope like one, and ends before the
/// scope does.
pub(crate) struct Release<'scope, F, E> {
    job: Job<F, ()>,
    core: &'scope GroupCore<E>,
    location: &'static Location<'static>,
}

impl<'scope, F, E> Release<'scope, F, E> {
    pub(crate) fn new(
        core: &'scope GroupCore<E>,
        location: &'static Location<'static>,
        hook: F,
    ) -> Self {
        Release {
            job: Job::new(hook),
            core,
            location,
        }
    }
}

impl<F, E: TaskError> Release<'_, F, E> {
    /// Returns the error, unless it is a cancel of the group or of a scope that the group is in.
    /// That cancel cut the hook short, and the scope returns it, like for a task.
    fn errored(&self, error: E) -> Option<E> {
        // A foreign cancel, such as the close of a semaphore, is a failure like any other.
        let state = &self.core.state;
        match error
            .cancelled()
            .filter(|cancelled| state.node().owner_of(cancelled) != OwnedBy::Foreign)
        {
            Some(cancelled) => {
                state.note_cut(cancelled);
                None
            }
            None => Some(error),
        }
    }
}

impl<'scope, F, E> Runnable<'scope> for Release<'scope, F, E>
where
    F: FnOnce() -> Result<(), E> + Send + 'scope,
    E: TaskError,
{
    fn run(
        &self,
        _this: &ErasedTask,
        _timing: Timing,
        _before_end: Option<&dyn Fn()>,
    ) -> Option<TaskEnd> {
        let claim = self.job.word().claim()?;
        let hook = self.job.closure(&claim)?;
        let begun = Instant::now();

        // The methods and the destructor of the error are user code, like the hook.
        let failed = match catch(|| hook().map_or_else(|error| self.errored(error), |()| None)) {
            Ok(failed) => failed.map(FailureKind::Error),
            Err(payload) => Some(FailureKind::Panic(PanicPayload::new(payload))),
        };

        let status = match failed {
            None => TaskStatus::Finished,
            Some(kind) => {
                self.core
                    .fail(Origin::Release(self.location), kind, begun.elapsed());
                TaskStatus::Failed
            }
        };

        // The caller drops the end: a hook is on no counts.
        self.job.word().end(claim, status);
        Some(TaskEnd {
            role: Role::Task,
            status,
        })
    }

    fn discard(&self) -> Option<TaskEnd> {
        None
    }

    fn refuse(&self, _error: io::Error) -> Option<TaskEnd> {
        None
    }

    fn claimed(&self) -> Claimed {
        self.job.word().claimed()
    }

    fn identity(&self) -> TaskIdentity {
        // It is in no queue, so nothing asks.
        TaskIdentity {
            id: TaskId(0),
            name: None,
            location: self.location,
        }
    }

    fn place(&self) -> RunsInPlace {
        RunsInPlace::Anywhere
    }

    fn is_at_home(&self) -> bool {
        true
    }

    fn own_thread(&self) -> Option<(&str, Option<usize>)> {
        None
    }

    fn to_lazy(&self, _this: &ErasedTask) -> CountedRef<dyn OwnNode + 'scope> {
        // A hook has no node of its own, so another reference to its group's does.
        coerced!(CountedRef::new(GroupNode(self.core.state.node().clone())) => dyn OwnNode + 'scope)
    }
}

/// The scope that a hook runs in.
struct GroupNode(Arc<Node>);

impl OwnNode for GroupNode {
    fn own_node(&self) -> Arc<Node> {
        self.0.clone()
    }
}
