//! What goes wrong in a scope: the report of a whole group, each failure in it, the errors of
//! starting a task, and the errors that say which task a call's counterpart went with.

mod chain;
mod dismantle;
mod echo;
mod elapsed;
mod failure;
mod gone;
mod group_error;
mod panic_hook;
mod spawn;
mod task_error;
mod task_error_macro;
mod tree;

#[cfg(all(test, not(loom)))]
mod testing;

pub(crate) use crate::panics::{PanicPayload, drop_contained, log};
pub use failure::{Failure, FailureKind};
pub use gone::{Broken, Disconnected};
pub use group_error::GroupError;
pub use panic_hook::install_panic_hook;
pub use spawn::{SpawnError, SpawnErrorKind, StartError};
pub use task_error::TaskError;
#[doc(hidden)]
pub use task_error_macro::probe;

pub(crate) use echo::find_echoes;
pub(crate) use elapsed::Elapsed;
pub(crate) use failure::Origin;
