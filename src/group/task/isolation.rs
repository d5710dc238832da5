//! Isolated tasks: their failure is their result.

use crate::error::Failure;

/// How a failure becomes the result of a task, and how it is found in the result.
pub(crate) struct Isolation<T, E> {
    pub(crate) wrap: fn(Failure<E>) -> T,
    /// Returns the failure that the result is, if it is one.
    pub(crate) failure: fn(&T) -> Option<&Failure<E>>,
}
