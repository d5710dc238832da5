//! How a task ends its span.

use std::sync::Arc;

use super::common::TaskRef;
use crate::cancel::Node;
use crate::error::{Failure, TaskError};
use crate::group::failure_log::failed_how;
use crate::group::status::TaskStatus;
use crate::trace::{self, EndOfTask, TaskRun, TaskTrace};

/// The end of a task with `node` as the node of its innermost scope.
fn end_of(node: &Node, outcome: &'static str) -> EndOfTask {
    EndOfTask {
        outcome,
        cancelled: node.recorded().map(|cancelled| cancelled.at()),
    }
}

impl<E: TaskError> TaskRef<'_, '_, E> {
    /// Enters the span of the task, which this thread runs.
    #[inline]
    pub(super) fn begin_trace(self) -> Option<Box<TaskRun>> {
        self.common
            .spec
            .take_trace()
            .map(|trace| self.enter_span(trace))
    }

    #[cold]
    fn enter_span(self, trace: Arc<TaskTrace>) -> Box<TaskRun> {
        // The subscriber may block, and the closure does not run yet.
        let _shown = self.show(self.frame_kind());
        trace.begin()
    }

    /// Ends the span of a task that this thread has run. To be called in the frame of the task.
    #[cold]
    #[allow(clippy::boxed_local, reason = "the caller moves one word")]
    pub(super) fn end_trace(self, traced: Box<TaskRun>, status: TaskStatus) {
        let _shown = self.show(self.frame_kind());
        traced.end(end_of(&self.innermost_here(), status.as_str()));
    }

    /// Ends the span that this thread has entered for a task that the system refused a thread.
    #[cold]
    #[allow(clippy::boxed_local, reason = "the caller moves one word")]
    pub(super) fn end_trace_without_thread(self, traced: Box<TaskRun>) {
        traced.end(end_of(&self.innermost(), "refused"));
    }

    /// Ends the span of a task that did not run, and counts the task.
    #[cold]
    pub(super) fn end_unrun_trace(self, status: TaskStatus) {
        let group = self.common.core.state.trace();
        if let Some(group) = group.filter(|_| status == TaskStatus::NeverRan) {
            group.note_never_ran();
        }

        // A task that was spawned without a subscriber has no span.
        let Some(task) = self.common.spec.take_trace() else {
            return;
        };
        let end = end_of(&self.innermost(), status.as_str());
        match group {
            Some(group) => group.end_unrun(task, end),
            None => task.end_unrun(end),
        }
    }

    /// Ends the span of a task that `try_spawn` refuses.
    #[cold]
    pub(super) fn end_refused_trace(self) {
        if let Some(task) = self.common.spec.take_trace() {
            task.end_unrun(end_of(&self.innermost(), "refused"));
        }
    }

    /// Sends the event of a failure that is the result of the task.
    pub(super) fn tell_isolated(self, failure: &Failure<E>) {
        // The text is made by user code, so it is made only for a subscriber that wants it.
        if trace::wants_failures() {
            trace::isolated_failed(failed_how(failure.kind()), &failure.text());
        }
    }
}
