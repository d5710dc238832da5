//! How an iteration ends after a cancel.

use std::mem;

use crate::cancel::context;
use crate::error::TaskError;

/// Ends an iteration after a cancel: first the error, so that the loop does not look finished, and
/// then the end, so that a loop that does not stop at errors stops anyway.
///
/// An iteration that is taken up again starts over: with the items that are left, or, as long as
/// the scope is cancelled, with the error.
#[derive(Debug, Default)]
pub(crate) struct CancelFuse {
    /// The last step was cancelled.
    cancelled: bool,
}

impl CancelFuse {
    /// Returns whether the iteration ends here, after a cancel. Asked before each step.
    pub(crate) fn ends(&mut self) -> bool {
        mem::take(&mut self.cancelled) && context::is_cancelled()
    }

    /// Returns the next item: the result of a step, or the cancel that the step met. An error that
    /// is not a cancel ends nothing.
    pub(crate) fn after<T, E: TaskError>(
        &mut self,
        step: Result<Option<T>, E>,
    ) -> Option<Result<T, E>> {
        self.cancelled = step
            .as_ref()
            .is_err_and(|error| error.cancelled().is_some());
        step.transpose()
    }
}
