//! Tasks whose failure is their result.

use crate::error::Failure;

/// How a failure becomes the result of a task, and is found in it again.
pub(super) struct Isolation<T, E> {
    pub(super) wrap: fn(Failure<E>) -> T,
    /// The failure that the result is, if it is one.
    pub(super) failure: fn(&T) -> Option<&Failure<E>>,
}
