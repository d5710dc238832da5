//! What goes wrong in a scope: the report of a whole group, each failure in it, and the errors of starting a task.

mod chain;
mod dismantle;
mod elapsed;
mod failure;
mod group_error;
mod panic;
mod panic_hook;
mod spawn;
mod task_error;
mod task_error_macro;
mod tree;

#[cfg(all(test, not(loom)))]
mod testing;

pub use failure::{Failure, FailureKind};
pub use group_error::GroupError;
pub use panic::PanicPayload;
pub(crate) use panic::{drop_contained, log};
pub use panic_hook::install_panic_hook;
pub use spawn::{SpawnError, SpawnErrorKind, StartError};
pub use task_error::TaskError;
#[doc(hidden)]
pub use task_error_macro::probe;

pub(crate) use elapsed::Elapsed;
pub(crate) use failure::Origin;
