//! How a task runs its closure, and what becomes of the outcome: steps 1 and 2 of the end.

use std::time::Duration;

use super::closure::Closure;
use super::failed_item;
use super::record::Task;
use crate::cancel::{Cancelled, context, current};
use crate::error::{Elapsed, Failure, FailureKind, Origin, TaskError};
use crate::facade::{Payload, catch};
use crate::group::job::Claim;
use crate::group::process_counts;
use crate::group::status::TaskStatus;
use crate::group::stopwatch::Stopwatch;
use crate::group::task_end::Role;
use crate::lanes::{self, FrameKind};
use crate::panics::PanicPayload;
use crate::trace::TaskRun;

impl<'scope, T, F, E> Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    /// Runs the closure in the span of the task. Returns the status and the result. The result of an
    /// isolated task may be its failure.
    #[inline]
    pub(super) fn execute(&self, claim: &Claim, begun: Stopwatch) -> (TaskStatus, Option<T>) {
        let mut traced = self.spec.begin_trace();
        let (status, value) = self.run_closure(claim, begun, &mut traced);
        if let Some(traced) = traced {
            self.end_trace(traced, status);
        }
        (status, value)
    }

    #[inline(always)]
    fn run_closure(
        &self,
        claim: &Claim,
        begun: Stopwatch,
        traced: &mut Option<Box<TaskRun>>,
    ) -> (TaskStatus, Option<T>) {
        let Some(closure) = self.job.closure(claim) else {
            return (TaskStatus::NeverRan, None);
        };
        process_counts::started();
        let state = &self.core.state;
        // Those of the group: the code that spawned the task may have returned.
        //
        // fault: task-has-the-bindings-of-its-spawn
        let bindings = state.bindings();
        let recorded = current::begin(
            self.spec.identity(),
            match self.spec.role {
                Role::Task => FrameKind::Task,
                Role::Daemon => FrameKind::Daemon,
            },
            state.node().id(),
            state.opened_in(),
            bindings,
        );
        if self.isolation.is_some() {
            self.show_start();
        }

        // A panic leaves the belongings in `kept`, too.
        let mut kept = None;
        let (status, value) = match catch(|| closure.run(&mut kept)) {
            Ok(Ok(value)) => (TaskStatus::Finished, Some(value)),
            Ok(Err(error)) => self.errored(error, begun.elapsed()),
            Err(payload) => self.panicked(payload, begun.elapsed()),
        };
        // In the frame of the task, which has its sight of the cancel. Two loads for a task that was
        // not cancelled.
        if status == TaskStatus::Cancelled || self.base().is_flagged() || self.job.is_tokened() {
            self.note_end_after_cancel(status, traced.as_deref_mut());
        }

        // Dropped after the outcome was recorded: the end of a channel in there must not look like
        // a plain end if the task failed.
        if let Some(belongings) = kept {
            if status != TaskStatus::Finished {
                recorded.turn_ill();
            }
            self.guard_drop(belongings);
        }
        (status, value)
    }

    /// Shows that the task is being started, if it is.
    #[cold]
    fn show_start(&self) {
        let watch_list = self.watch_list.lock();
        let handshake = watch_list.as_ref().and_then(|list| list.handshake.clone());
        drop(watch_list);

        if let Some(handshake) = handshake {
            if let Some(mark) = lanes::mark_starting() {
                handshake.begin(mark);
            }
        }
    }

    /// Records an error that the closure returned, unless it is the task's own cancel.
    #[cold]
    fn errored(&self, error: E, elapsed: Elapsed) -> (TaskStatus, Option<T>) {
        let item = failed_item::take();
        // `cancelled` is user code and may panic.
        let own = match catch(|| {
            error
                .cancelled()
                .filter(|cancelled| self.is_own(cancelled))
                .cloned()
        }) {
            Ok(own) => own,
            Err(payload) => {
                self.guard_drop(error);
                let kind = FailureKind::Panic(PanicPayload::new(payload));
                return self.failed(item, kind, TaskStatus::Panicked, elapsed);
            }
        };

        match own {
            Some(cancelled) => {
                // The end of the scope cancels daemons, so they cut nothing short.
                if self.spec.role == Role::Task {
                    self.core.state.note_cut(&cancelled);
                }
                self.watch_list.lock().get_or_insert_default().no_result = Some(cancelled);
                self.guard_drop(error);
                (TaskStatus::Cancelled, None)
            }
            None => self.failed(item, FailureKind::Error(error), TaskStatus::Failed, elapsed),
        }
    }

    /// Notes how long a task that was cancelled took to end, if it did not end because of that.
    #[cold]
    fn note_end_after_cancel(&self, status: TaskStatus, traced: Option<&mut TaskRun>) {
        // A task without a handle keeps its node in its frame.
        let node = context::made_own().unwrap_or_else(|| self.innermost());
        // The record is locked only if there is one: each task that has a handle and blocks gets
        // here.
        let recorded = node.is_flagged().then(|| node.recorded()).flatten();
        let cancelled = match (recorded, status) {
            // The task's own failure has cancelled the group.
            (Some(cancelled), _) if cancelled.is_by_failure_of(self.spec.id) => None,
            // A check of a token above can find a cancel that has not come down to the node yet.
            (None, TaskStatus::Cancelled) => self.cut_short_by(),
            (recorded, _) => recorded,
        };
        let Some(cancelled) = cancelled else {
            return;
        };

        let to_sight = lanes::to_sight();
        if let Some(traced) = traced {
            traced.note_sight(to_sight);
        }
        let state = &self.core.state;
        state.note_cancel_latency(cancelled.at(), to_sight, || self.spec.info());
    }

    /// The cancel that the task has returned.
    fn cut_short_by(&self) -> Option<Cancelled> {
        self.watch_list.lock().as_ref()?.no_result.clone()
    }

    #[cold]
    fn panicked(&self, payload: Payload, elapsed: Elapsed) -> (TaskStatus, Option<T>) {
        let kind = FailureKind::Panic(PanicPayload::new(payload));
        self.failed(failed_item::take(), kind, TaskStatus::Panicked, elapsed)
    }

    /// Records a failure: as the result of an isolated task, otherwise in the failure log.
    pub(super) fn failed(
        &self,
        item: Option<usize>,
        kind: FailureKind<E>,
        status: TaskStatus,
        elapsed: Elapsed,
    ) -> (TaskStatus, Option<T>) {
        let origin = Origin::Task(self.spec.info_at(item));
        if let Some(isolation) = self.isolation.filter(|_| self.is_isolated()) {
            // Nothing is cancelled and nothing is reported: the result says it all.
            let after_cancel = self.base().is_flagged();
            let traces = kind.traces();
            let mut failure = Failure::new(origin, kind, after_cancel, elapsed).with_traces(traces);
            failure.set_at(self.core.failures.now());
            self.tell_isolated(&failure);
            return (status, Some((isolation.wrap)(failure)));
        }

        let cancelled = self.core.fail(origin, kind, elapsed);
        self.watch_list.lock().get_or_insert_default().no_result = Some(cancelled);
        (status, None)
    }

    /// Returns whether an isolated task still is. A started task that has said that it is ready is
    /// not.
    fn is_isolated(&self) -> bool {
        let watch_list = self.watch_list.lock();
        let handshake = watch_list.as_ref().and_then(|list| list.handshake.clone());
        drop(watch_list);

        // The failure closes the handshake, unless the task has sent before.
        handshake.is_none_or(|handshake| handshake.close())
    }

    /// Drops a user value. A panic of its destructor is a failure like any other.
    pub(super) fn guard_drop<U>(&self, value: U) {
        if let Err(payload) = catch(move || drop(value)) {
            self.fail_aside(payload);
        }
    }

    /// Records a panic of user code that runs beside the closure.
    pub(super) fn fail_aside(&self, payload: Payload) {
        let kind = FailureKind::Panic(PanicPayload::new(payload));
        self.core
            .fail(Origin::Task(self.spec.info()), kind, Duration::ZERO);
    }
}
