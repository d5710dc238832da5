//! How a task gets to run: on a worker, on a thread of its own, or in place.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::closure::Closure;
use super::record::Task;
use crate::cancel::actor::TaskIdentity;
use crate::cancel::context::{self, OwnNode};
use crate::error::{FailureKind, TaskError};
use crate::group::erased::{ErasedTask, Runnable};
use crate::group::job::{Claim, Claimed};
use crate::group::permit_wait::PermitWait;
use crate::group::status::TaskStatus;
use crate::group::stopwatch::{Stopwatch, Timing};
use crate::group::task_end::{Place, Role, TaskEnd};
use crate::workers;

impl<'scope, T, F, E> Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    /// Runs the task in the frame that it belongs in. While the task has a handle, its frame finds
    /// the node that a cancel through the handle makes.
    fn run_in_frame(
        &self,
        this: &ErasedTask,
        claim: Claim,
        begun: Stopwatch,
        before_end: Option<&dyn Fn()>,
    ) -> TaskEnd {
        // A result is stored before the end can be seen.
        let run = || {
            let (status, value) = self.execute(&claim, begun);
            if let Some(value) = value {
                self.job.store(&claim, value);
            }
            self.end(claim, status, before_end)
        };

        // A handle may have cancelled the task after it was claimed, and have been dropped since.
        //
        // fault: handle-takes-its-cancel-along
        if self.job.is_detached() && !self.job.is_tokened() {
            context::within_task(self.base().clone(), run)
        } else {
            context::within_lazy(this.to_lazy(), run)
        }
    }

    /// Runs the task on the thread that joins it, if it can begin now.
    #[inline]
    pub(super) fn run_here(&self) -> Option<Option<T>> {
        let state = &self.core.state;
        // The permit first: a claimed task cannot go back to the queue.
        let permit = state.begin_in_place(&self.spec.permit_wait)?;
        let Some(claim) = self.job.claim() else {
            // fault: late-joiner-keeps-its-permit
            state.free_permit(permit);
            return None;
        };

        if self.base().is_cancelled() {
            self.note_never_ran();
            let end = self.drop_unrun(claim, TaskStatus::NeverRan, None);
            state.ended_in_place(end, permit);
            return Some(None);
        }

        let holding = state.hold(permit);
        let (status, value) = self.execute(&claim, Stopwatch::start(Timing::Coarse));
        // `join` has consumed the handle, and takes the result along.
        let end = match self.job.end_unshared(claim, status) {
            Ok(()) => self.task_end(status),
            Err(claim) => self.end_watched(claim, status, None),
        };

        // The thread forgets the permit before it counts as free.
        drop(holding);
        state.ended_in_place(end, permit);
        Some(value)
    }

    /// Notes the cancel because of which the task never ran.
    fn note_never_ran(&self) {
        // The end of the scope cancels daemons, so they cut nothing short.
        if self.spec.role == Role::Daemon {
            return;
        }
        if let Some(cancelled) = self.innermost().cancelled() {
            self.core.state.note_cut(&cancelled);
        }
    }
}

impl<'scope, T, F, E> Runnable<'scope> for Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    fn run(
        &self,
        this: &ErasedTask,
        timing: Timing,
        before_end: Option<&dyn Fn()>,
    ) -> Option<TaskEnd> {
        let claim = self.job.claim()?;

        // A cancel that came first means that the task never runs, even if the queue has not been
        // emptied yet.
        if self.base().is_cancelled() {
            self.note_never_ran();
            return Some(self.drop_unrun(claim, TaskStatus::NeverRan, before_end));
        }

        let begun = Stopwatch::start(timing);
        Some(match self.spec.name() {
            Some(name) => workers::with_thread_name(name, || {
                self.run_in_frame(this, claim, begun, before_end)
            }),
            None => self.run_in_frame(this, claim, begun, before_end),
        })
    }

    fn discard(&self) -> Option<TaskEnd> {
        let claim = self.job.claim()?;
        self.note_never_ran();
        Some(self.drop_unrun(claim, TaskStatus::NeverRan, None))
    }

    fn refuse(&self, error: io::Error) -> Option<TaskEnd> {
        let claim = self.job.claim()?;
        // A task that would not have run has not lacked a thread.
        if self.base().is_cancelled() {
            self.note_never_ran();
            return Some(self.drop_unrun(claim, TaskStatus::NeverRan, None));
        }

        let kind = FailureKind::Spawn(error);
        let traced = self.spec.begin_trace();
        let (status, value) = self.failed(None, kind, TaskStatus::Failed, Duration::ZERO.into());
        if let Some(traced) = traced {
            self.end_trace_without_thread(traced);
        }
        // The failure of an isolated task is its result.
        if let Some(value) = value {
            self.job.store(&claim, value);
        }
        Some(self.drop_unrun(claim, status, None))
    }

    fn claimed(&self) -> Claimed {
        self.job.claimed()
    }

    fn identity(&self) -> TaskIdentity {
        self.spec.identity()
    }

    fn place(&self) -> Place {
        if self.spec.role == Role::Task {
            self.spec.place()
        } else {
            Place::Elsewhere
        }
    }

    fn is_at_home(&self) -> bool {
        self.spec.is_at_home()
    }

    #[cfg(not(loom))]
    fn is_starting(&self) -> bool {
        // Tried, since the caller holds the lock of the queue, which comes after this one.
        self.isolation.is_some()
            && self
                .watch_list
                .try_lock()
                .is_some_and(|list| list.as_ref().is_some_and(|list| list.handshake.is_some()))
    }

    fn own_thread(&self) -> Option<(&str, Option<usize>)> {
        let stack_size = self.spec.own_thread()?.stack_size;
        Some((self.spec.name().unwrap_or("taskgroup"), stack_size))
    }

    fn permit_wait(&self) -> Option<&PermitWait> {
        (self.spec.role == Role::Task).then_some(&self.spec.permit_wait)
    }

    fn into_lazy(self: Arc<Self>) -> Arc<dyn OwnNode + 'scope> {
        self
    }
}
