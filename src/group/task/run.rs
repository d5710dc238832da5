//! How a task gets to run: on a worker, on a thread of its own, or in place.

use std::io;
use std::time::Duration;

use super::closure::Closure;
use super::common::TaskRef;
use super::end::References;
use super::record::Task;
#[cfg(not(loom))]
use crate::cancel::TaskId;
use crate::cancel::actor::TaskIdentity;
use crate::cancel::context::{self, InsideInPlace, InsideScope, OwnNode};
use crate::error::{Failure, FailureKind, TaskError};
use crate::facade::{CountedRef, coerced};
use crate::group::erased::{ErasedTask, Runnable};
use crate::group::job::{Claim, Claimed};
use crate::group::permit_wait::PermitWait;
use crate::group::status::TaskStatus;
use crate::group::stopwatch::{Stopwatch, Timing};
use crate::group::task_end::{Role, RunsInPlace, TaskEnd};
use crate::workers::ThreadName;

/// While it lives, this thread is inside a task.
enum TaskFrame {
    Frame(#[allow(dead_code, reason = "its drop leaves the frame")] InsideScope),
    InPlace(#[allow(dead_code, reason = "its drop leaves the task")] InsideInPlace),
}

impl<'scope, T, F, E> Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    /// Runs the task in the frame that it belongs in, and ends it there.
    fn run_in_frame(
        &self,
        this: &ErasedTask,
        claim: Claim,
        begun: Stopwatch,
        before_end: Option<&dyn Fn()>,
    ) -> TaskEnd {
        let _inside = self.task().enter(this);
        let (status, value) = self.execute(&claim, begun);

        // A result is stored before the end can be seen.
        if let Some(value) = value {
            self.job.store(&claim, value);
        }
        self.end(claim, status, before_end, References::to(this))
    }

    /// Runs the task on the thread that joins it, if it can begin now.
    #[inline]
    pub(super) fn run_here(&self) -> Option<Option<T>> {
        let task = self.task();
        let state = &self.common.core.state;

        // The permit first: a claimed task cannot go back to the queue.
        let permit = state.begin_in_place(&self.common.spec.permit_wait)?;
        let Some(claim) = task.word.claim() else {
            // fault: late-joiner-keeps-its-permit
            state.free_permit(permit);
            return None;
        };

        if task.base().is_cancelled() {
            task.note_never_ran();
            let end = self.drop_unrun(claim, TaskStatus::NeverRan, None);
            state.ended_in_place(end, permit);
            return Some(None);
        }

        // This thread waits for the task, also while it runs it. The permits of groups around it
        // are lent as if a worker ran the task.
        //
        // fault: joiner-keeps-its-permits-for-a-task-in-place
        let _lending = state.wait_inside();
        let holding = state.hold(permit);
        let (status, value) = self.execute(&claim, Stopwatch::start(Timing::Coarse));

        // `join` has consumed the handle, and takes the result along.
        let end = match task.word.end_unshared(claim, status) {
            Ok(()) => task.task_end(status),
            Err(claim) => self.end_watched(claim, status, None),
        };

        // The thread forgets the permit before it counts as free.
        drop(holding);
        state.ended_in_place(end, permit);
        Some(value)
    }
}

impl<E: TaskError> TaskRef<'_, '_, E> {
    /// Enters the frame of the task, `this`. While the task has a handle, its frame finds the node
    /// that a cancel through the handle makes.
    #[inline]
    fn enter(self, this: &ErasedTask) -> TaskFrame {
        // A handle may have cancelled the task after it was claimed, and have been dropped since.
        //
        // fault: handle-takes-its-cancel-along
        if !self.word.is_detached() || self.word.is_tokened() {
            return TaskFrame::Frame(context::enter_lazy(this.to_lazy()));
        }

        // The owner is in the scope of its group already when it runs the tasks that are left, and
        // so needs neither a frame nor a reference to the node.
        match context::enter_in_place(self.base()) {
            Some(in_place) => TaskFrame::InPlace(in_place),
            None => TaskFrame::Frame(context::enter_task(self.base().clone())),
        }
    }

    /// Notes the cancel because of which the task never ran.
    fn note_never_ran(self) {
        // The end of the scope cancels daemons, so they cut nothing short.
        if self.common.spec.role == Role::Daemon {
            return;
        }
        if let Some(cancelled) = self.innermost().cancelled() {
            self.common.core.state.note_cut(&cancelled);
        }
    }

    /// Fails the task, for which the system refused a thread. Returns the failure if it is the
    /// result.
    fn refused(self, error: io::Error) -> (TaskStatus, Option<Failure<E>>) {
        let kind = FailureKind::Spawn(error);
        let traced = self.begin_trace();
        let failed = self.failed(None, kind, TaskStatus::Failed, Duration::ZERO.into());
        if let Some(traced) = traced {
            self.end_trace_without_thread(traced);
        }
        failed
    }

    fn place(self) -> RunsInPlace {
        if self.common.spec.role == Role::Task {
            self.common.spec.place()
        } else {
            RunsInPlace::Elsewhere
        }
    }

    #[cfg(not(loom))]
    fn is_starting(self) -> bool {
        // Tried, since the caller holds the lock of the queue, which comes after this one.
        self.common.spec.is_isolatable
            && self
                .common
                .watch_list
                .try_lock()
                .is_some_and(|list| list.as_ref().is_some_and(|list| list.handshake.is_some()))
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
        let task = self.task();
        let claim = if this.is_sole() {
            task.word.claim_unshared()
        } else {
            task.word.claim()
        }?;

        // A cancel that came first means that the task never runs, even if the queue has not been
        // emptied yet.
        if task.base().is_cancelled() {
            task.note_never_ran();
            return Some(self.drop_unrun(claim, TaskStatus::NeverRan, before_end));
        }

        let begun = Stopwatch::start(timing);
        let _named = self.common.spec.name().map(ThreadName::set);
        Some(self.run_in_frame(this, claim, begun, before_end))
    }

    fn discard(&self) -> Option<TaskEnd> {
        let claim = self.job.word().claim()?;
        self.task().note_never_ran();
        Some(self.drop_unrun(claim, TaskStatus::NeverRan, None))
    }

    fn refuse(&self, error: io::Error) -> Option<TaskEnd> {
        let task = self.task();
        let claim = task.word.claim()?;

        // A task that would not have run has not lacked a thread.
        if task.base().is_cancelled() {
            task.note_never_ran();
            return Some(self.drop_unrun(claim, TaskStatus::NeverRan, None));
        }

        // The failure of an isolated task is its result.
        let (status, value) = self.with_failure(task.refused(error));
        if let Some(value) = value {
            self.job.store(&claim, value);
        }
        Some(self.drop_unrun(claim, status, None))
    }

    fn claimed(&self) -> Claimed {
        self.job.word().claimed()
    }

    #[cfg(not(loom))]
    fn is_queued(&self) -> bool {
        self.job.word().is_queued()
    }

    #[cfg(not(loom))]
    fn mark_dealt(&self) {
        self.job.word().mark_dealt();
    }

    #[cfg(not(loom))]
    fn id_if_watched(&self) -> Option<TaskId> {
        let is_watched = self.job.word().is_watched();
        is_watched.then_some(self.common.spec.id)
    }

    fn identity(&self) -> TaskIdentity {
        self.common.spec.identity()
    }

    fn place(&self) -> RunsInPlace {
        self.task().place()
    }

    fn is_at_home(&self) -> bool {
        self.common.spec.is_at_home()
    }

    #[cfg(not(loom))]
    fn is_starting(&self) -> bool {
        self.task().is_starting()
    }

    fn own_thread(&self) -> Option<(&str, Option<usize>)> {
        let stack_size = self.common.spec.own_thread()?.stack_size;
        Some((self.common.spec.name().unwrap_or("taskgroup"), stack_size))
    }

    fn permit_wait(&self) -> Option<&PermitWait> {
        let spec = &self.common.spec;
        (spec.role == Role::Task).then_some(&spec.permit_wait)
    }

    fn to_lazy(&self, this: &ErasedTask) -> CountedRef<dyn OwnNode + 'scope> {
        coerced!(self.another_reference(this.as_counted()) => dyn OwnNode + 'scope)
    }
}
