//! Cancellation: the tree of tokens, causes, callbacks, deadlines, and the context of each thread.

pub(crate) mod actor;
mod callback;
mod cause;
#[cfg(feature = "crossbeam")]
mod closed;
pub(crate) mod context;
pub(crate) mod current;
mod deadline;
mod node;
pub(crate) mod region;
mod repeat;
mod text;
mod timer;
mod token;

pub use callback::CancelGuard;
pub use cause::{CancelCause, Cancelled, TaskId, TaskInfo, TokenId};
pub(crate) use node::{Grace, Node, Observer, OwnedBy};
pub(crate) use text::{Escaped, one_line};
pub use token::{CancelToken, DropGuard};
