//! Values that are bound for a piece of code and for the tasks of the groups that are opened in it.
//!
//! # The bindings of a thread
//!
//! Each call of [`ScopedValue::with`] has a binding on its stack: the key, a pointer to the value,
//! and the binding around it. A thread-local points to the innermost. A group keeps the pointer
//! that was there when it was opened.
//!
//! # Invariants
//!
//! 1. A thread's pointer is set by `with`, which puts the pointer before it back when its closure
//!    has returned or panicked; by a task, which runs under the bindings of its group; and by
//!    [`unbound`], under which other user code runs. Each restores the pointer before it.
//! 2. A group that keeps the binding of a `with` is opened and ends inside its closure. Its tasks
//!    have put its bindings away before they count as ended. So a binding outlives every pointer
//!    to it.
//! 3. Bindings are never changed once a pointer to them exists. Values are `Sync`, so the tasks of
//!    several threads may read them.

mod bindings;
mod scoped_value;

#[cfg(taskgroup_models)]
#[allow(unused_imports, reason = "only the wrong code of a fault calls it")]
pub(crate) use bindings::last_made;
pub(crate) use bindings::{Bindings, unbound};
pub use scoped_value::ScopedValue;
