//! Shows what the process is doing in this crate: the live tree of groups and tasks, and what each
//! waits for.

mod collect;
mod draw;
mod holders;
mod kernel;
mod kinds;
pub(crate) mod label;
mod nodes;
mod parts;
mod queue_walk;
#[cfg(feature = "serde")]
mod serialize;
mod states;
mod take;
mod tree;
mod view;
mod wait;
mod whole;
mod worker;

pub(crate) use draw::held_by as holder;
#[cfg(all(target_os = "linux", feature = "signal"))]
pub(crate) use kernel::calls;
pub use kinds::{Inside, LimitSnapshot, RegionKind, TaskKind, TaskState};
pub(crate) use label::{GUARD_DROP, of as label_of};
pub use nodes::{GroupSnapshot, TaskSnapshot};
pub(crate) use queue_walk::{LARGEST_LISTING, Place, QueueWalk, QueuedTask};
pub use take::snapshot;
pub(crate) use view::{BatchView, GroupView, LimitView, QueueView, TokenView};
pub use wait::{Holder, ObjectId, Wait};
pub use whole::Snapshot;
pub use worker::WorkerSnapshot;
