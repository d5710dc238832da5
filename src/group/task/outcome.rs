//! The run of a task's closure and the record of its outcome: steps 1 and 2 of the end.

use std::mem;
use std::time::Duration;

use super::closure::Closure;
use super::common::TaskRef;
use super::failed_item;
use super::record::Task;
use crate::cancel::Cancelled;
use crate::cancel::current::{self, Recorded};
use crate::error::{Elapsed, FailedWhen, Failure, FailureKind, Origin, TaskError};
use crate::facade::{Payload, catch};
use crate::group::job::Claim;
use crate::group::process_counts;
use crate::group::status::TaskStatus;
use crate::group::stopwatch::Stopwatch;
use crate::group::task_end::Role;
use crate::lanes;
use crate::panics::PanicPayload;
use crate::trace::TaskRun;

impl<'scope, T, F, E> Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    /// Runs the closure in the span of the task. Returns the status and the result. The result of
    /// an isolated task may be its failure.
    #[inline]
    pub(super) fn execute(&self, claim: &Claim, begun: Stopwatch) -> (TaskStatus, Option<T>) {
        let mut traced = self.task().begin_trace();
        let (status, value) = self.run_closure(claim, begun, &mut traced);
        if let Some(traced) = traced {
            self.task().end_trace(traced, status);
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

        let task = self.task();
        let recorded = task.begin();

        // A panic leaves the belongings in `kept`, too.
        let mut kept = None;
        let (status, value) = match catch(|| closure.run(&mut kept)) {
            Ok(Ok(value)) => (TaskStatus::Finished, Some(value)),
            Ok(Err(error)) => self.with_failure(task.errored(error, begun.elapsed())),
            Err(payload) => self.with_failure(task.panicked(payload, begun.elapsed())),
        };

        task.note_end(status, traced);

        // Dropped after the outcome was recorded: if the task failed, an end of a channel among
        // the belongings must not look like a plain end.
        if let Some(belongings) = kept {
            if status != TaskStatus::Finished {
                recorded.turn_ill();
            }
            task.guard_drop(belongings);
        }
        (status, value)
    }

    /// Makes the failure of an isolated task its result.
    pub(super) fn with_failure(
        &self,
        (status, failure): (TaskStatus, Option<Failure<E>>),
    ) -> (TaskStatus, Option<T>) {
        let wrap = self.isolation.map(|isolation| isolation.wrap);
        (status, failure.and_then(|failure| Some(wrap?(failure))))
    }
}

impl<E: TaskError> TaskRef<'_, '_, E> {
    /// Records that this thread runs the closure.
    #[inline(always)]
    fn begin(self) -> Recorded {
        process_counts::started();
        let state = &self.common.core.state;

        // The bindings of the group: the code that spawned the task may have returned.
        //
        // fault: task-has-the-bindings-of-its-spawn
        let bindings = state.bindings();
        let recorded = current::begin(
            self.common.spec.identity(),
            self.frame_kind(),
            state.node().id(),
            state.opened_in(),
            bindings,
        );

        if self.common.spec.is_isolatable {
            self.show_start();
        }
        recorded
    }

    /// Shows that the task is being started, if it is.
    #[cold]
    fn show_start(self) {
        let watch_list = self.common.watch_list.lock();
        let handshake = watch_list.as_ref().and_then(|list| list.handshake.clone());
        drop(watch_list);

        if let Some(handshake) = handshake {
            if let Some(mark) = lanes::mark_starting() {
                handshake.begin(mark);
            }
        }
    }

    /// Records an error that the closure returned, unless it is the task's own cancel. Returns the
    /// failure if it is the result.
    #[cold]
    fn errored(self, error: E, elapsed: Elapsed) -> (TaskStatus, Option<Failure<E>>) {
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
                if self.common.spec.role == Role::Task {
                    self.common.core.state.note_cut(&cancelled);
                }
                self.set_no_result(cancelled);
                self.guard_drop(error);
                (TaskStatus::Cancelled, None)
            }
            None => self.failed(item, FailureKind::Error(error), TaskStatus::Failed, elapsed),
        }
    }

    /// Records a panic of the closure. Returns the failure if it is the result.
    #[cold]
    fn panicked(self, payload: Payload, elapsed: Elapsed) -> (TaskStatus, Option<Failure<E>>) {
        let kind = FailureKind::Panic(PanicPayload::new(payload));
        self.failed(failed_item::take(), kind, TaskStatus::Panicked, elapsed)
    }

    /// Records a failure in the failure log, or returns it if the task is isolated.
    pub(super) fn failed(
        self,
        item: Option<usize>,
        kind: FailureKind<E>,
        status: TaskStatus,
        elapsed: Elapsed,
    ) -> (TaskStatus, Option<Failure<E>>) {
        let origin = Origin::Task(self.common.spec.info_at(item));
        let core = self.common.core;
        if self.common.spec.is_isolatable && self.is_isolated() {
            // Nothing is cancelled or reported: the failure becomes the result.
            let when = if self.base().is_flagged() {
                FailedWhen::AfterCancel
            } else {
                FailedWhen::BeforeCancel
            };
            let traces = kind.traces();
            let mut failure = Failure::new(origin, kind, when, elapsed).with_traces(traces);
            failure.set_at(core.failures.now());
            self.tell_isolated(&failure);
            return (status, Some(failure));
        }

        self.set_no_result(core.fail(origin, kind, elapsed));
        (status, None)
    }

    /// Sets the cancel that `join` returns in place of a result.
    fn set_no_result(self, cancelled: Cancelled) {
        let mut watch_list = self.common.watch_list.lock();
        watch_list.get_or_insert_default().no_result = Some(cancelled);
    }

    /// Returns whether an isolated task is still isolated. A started task is not, once its `Ready`
    /// has sent.
    fn is_isolated(self) -> bool {
        let watch_list = self.common.watch_list.lock();
        let handshake = watch_list.as_ref().and_then(|list| list.handshake.clone());
        drop(watch_list);

        // The failure closes the handshake, unless the task has sent before.
        handshake.is_none_or(|handshake| handshake.close())
    }

    /// Notes how long the task took to end, if it was cancelled. Runs in the frame of the task,
    /// which has the sight of the cancel.
    #[inline(always)]
    fn note_end(self, status: TaskStatus, traced: &mut Option<Box<TaskRun>>) {
        // Two loads for a task that was not cancelled.
        if status == TaskStatus::Cancelled || self.base().is_flagged() || self.word.is_tokened() {
            self.note_end_after_cancel(status, traced.as_deref_mut());
        }
    }

    /// Notes how long a task that was cancelled took to end, if it did not end because of that.
    #[cold]
    fn note_end_after_cancel(self, status: TaskStatus, traced: Option<&mut TaskRun>) {
        let node = self.innermost_here();

        // The record is locked only if there is one: each task that has a handle and blocks gets
        // here.
        let recorded = node.is_flagged().then(|| node.recorded()).flatten();
        let cancelled = match (recorded, status) {
            // The task's own failure has cancelled the group.
            (Some(cancelled), _) if cancelled.is_by_failure_of(self.common.spec.id) => None,
            // A check of an ancestor can find a cancel that has not reached the node yet.
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
        let state = &self.common.core.state;
        state.note_cancel_latency(cancelled.at(), to_sight, || self.common.spec.info());
    }

    /// The cancel that the task has returned.
    fn cut_short_by(self) -> Option<Cancelled> {
        self.common.watch_list.lock().as_ref()?.no_result.clone()
    }

    /// Drops a user value. A panic of its destructor is a failure like any other.
    pub(super) fn guard_drop<U>(self, value: U) {
        // Most values have no destructor.
        if mem::needs_drop::<U>() {
            if let Err(payload) = catch(move || drop(value)) {
                self.fail_aside(payload);
            }
        }
    }

    /// Records a panic of user code that runs beside the closure.
    pub(super) fn fail_aside(self, payload: Payload) {
        let kind = FailureKind::Panic(PanicPayload::new(payload));
        let origin = Origin::Task(self.common.spec.info());
        self.common.core.fail(origin, kind, Duration::ZERO);
    }
}
