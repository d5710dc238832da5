//! Isolated tasks: their failure is their result.

use crate::error::Failure;

/// How a failure becomes the result of a task, and how it is found in the result.
pub(crate) struct Isolation<T, E> {
    pub(crate) wrap: fn(Failure<E>) -> T,
    /// Returns the failure that the result is, if it is one.
    pub(crate) failure: fn(&T) -> Option<&Failure<E>>,
}

impl<T, E> Isolation<Result<T, Failure<E>>, E> {
    /// The handle of the task returns the failure.
    pub(crate) const IN_HANDLE: Self = Isolation {
        wrap: Err,
        failure: |result| result.as_ref().err(),
    };
}
