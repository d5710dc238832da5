//! Destructors of the user on threads that a panic must not end.

use std::mem;

use super::payload::PanicPayload;
use crate::facade::{catch, error_event};
use crate::trace::log;

/// Drops a value of the user where a panic must not go further. A panic of its destructor is
/// logged, and `what` names the value there.
pub(crate) fn drop_contained(what: &str, value: impl Sized) {
    if let Err(payload) = catch(move || drop(value)) {
        let panic = PanicPayload::new(payload);
        log(|| error_event!(panic = panic.message(), "the drop of a {what} panicked"));
    }
}

/// The same for several values of one kind. A collection that drops them itself would end the
/// process if two of them panicked, or one during an unwinding.
pub(crate) fn drop_each_contained<T>(what: &str, values: impl IntoIterator<Item = T>) {
    if mem::needs_drop::<T>() {
        for value in values {
            drop_contained(what, value);
        }
    }
}
