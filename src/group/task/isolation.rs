//! Tasks whose failure is their result.

use crate::error::Failure;

/// How a failure becomes the result of a task, and is found in it again.
pub(crate) struct Isolation<T, E> {
    pub(crate) wrap: fn(Failure<E>) -> T,
    /// The failure that the result is, if it is one.
    pub(crate) failure: fn(&T) -> Option<&Failure<E>>,
}
