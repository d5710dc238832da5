//! The part of a group that a task and its handle know.

use std::sync::Arc;

use super::failure_log::FailureLog;
use super::state::group_state::GroupState;
use crate::cancel::Cancelled;
use crate::cancel::actor::{Actor, Part, TaskIdentity};
use crate::error::{Elapsed, Failure, FailureKind, Origin, TaskError};
use crate::lanes::Listed;
use crate::trace;

/// The state of a group and its failures.
///
/// Tasks and handles borrow it from the scope, and use nothing of it after the task has left the
/// counts.
pub(crate) struct GroupCore<E> {
    pub(crate) state: Listed<GroupState>,
    pub(crate) failures: FailureLog<E>,
}

impl<E: TaskError> GroupCore<E> {
    /// Records a failure, with which the group is cancelled if the policy says so: see
    /// [`FailureLog::fail`].
    pub(crate) fn fail(
        &self,
        origin: Origin,
        kind: FailureKind<E>,
        elapsed: impl Into<Elapsed>,
    ) -> Cancelled {
        // The actor of a failure is the task, or else the body of the group.
        let node = self.state.node();
        let part = match &origin {
            Origin::Task(task) => Part::Task(TaskIdentity::of(task)),
            Origin::Body | Origin::Release(_) | Origin::Callback => Part::Body(node.id()),
        };

        let failed = Arc::new(Actor::new(part, self.state.opened_in()));
        self.failures
            .fail(node, origin, kind, elapsed.into(), failed)
    }

    /// Logs the failure of an isolated task with a result that is dropped.
    pub(crate) fn log_untaken(&self, failure: &Failure<E>) {
        let text = failure.text();
        match self.state.trace() {
            Some(trace) => trace.untaken(text),
            None => trace::untaken(&text),
        }
    }

    /// Cancels the group for a panic of the body, which is not recorded: it resumes.
    pub(crate) fn body_panicked(&self) {
        let node = self.state.node();
        let failed = Actor::new(Part::Body(node.id()), self.state.opened_in());
        self.failures.body_panicked(node, Arc::new(failed));
    }
}
