//! What a cancel does to an iteration.

use std::mem;

use crate::cancel::{Cancelled, context};

/// Lets an iteration end after a cancel: the error first, so that the loop does not look finished,
/// and then the end, so that a loop over results, which does not stop at errors, stops all the
/// same.
///
/// An iteration that is taken up again starts over: with what is left, or, as long as the scope is
/// cancelled, with the error.
#[derive(Debug, Default)]
pub(crate) struct Halt {
    /// The last step was cancelled.
    cancelled: bool,
}

impl Halt {
    /// Whether the iteration ends here, after a cancel. Asked before each step.
    pub(crate) fn ends(&mut self) -> bool {
        mem::take(&mut self.cancelled) && context::is_cancelled()
    }

    /// The next item: what a step gave, or the cancel that it met.
    pub(crate) fn after<T>(
        &mut self,
        step: Result<Option<T>, Cancelled>,
    ) -> Option<Result<T, Cancelled>> {
        self.cancelled = step.is_err();
        step.transpose()
    }
}
