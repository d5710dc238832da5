//! Errors: the report of a group and each failure in it, the errors of starting a task, and the
//! errors of a call that has lost its other side.

mod broken;
#[cfg(all(unix, not(loom), any(feature = "net", feature = "io")))]
mod broken_stream;
mod chain;
mod disconnected;
mod dismantle;
mod echo;
mod elapsed;
mod failure;
mod group_error;
mod line;
mod named_actor;
mod origin;
mod panic_hook;
mod spawn_error;
mod start_error;
mod task_error;
mod task_error_macro;
mod text;
mod traces;
mod tree;

#[cfg(all(test, not(loom)))]
mod testing;

pub use broken::Broken;
#[cfg(all(unix, not(loom), any(feature = "net", feature = "io")))]
pub(crate) use broken_stream::broken_stream;
pub use disconnected::Disconnected;
pub(crate) use disconnected::SideEnd;
pub(crate) use failure::FailedWhen;
pub use failure::{Failure, FailureKind};
pub use group_error::GroupError;
pub use panic_hook::install_panic_hook;
pub use spawn_error::{SpawnError, SpawnErrorKind};
pub use start_error::StartError;
pub use task_error::TaskError;
#[doc(hidden)]
pub use task_error_macro::probe;

#[cfg(all(unix, not(any(loom, target_os = "openbsd")), feature = "process"))]
pub(crate) use chain::chain;
pub(crate) use echo::find_echoes;
pub(crate) use elapsed::Elapsed;
pub(crate) use line::line_of;
pub(crate) use origin::Origin;
