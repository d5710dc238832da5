//! The group: the scope that joins, its tasks and their handles.

mod builder;
mod handle;
mod ledger;
mod policy;
mod release;
mod scope;
mod shared;
mod stats;
mod status;
mod stopwatch;
mod task;
mod task_builder;

pub use builder::Builder;
pub use handle::TaskHandle;
pub use policy::{OnFailure, OnPanic};
pub use scope::TaskGroup;
pub use stats::GroupStats;
pub use status::TaskStatus;
pub use task_builder::TaskBuilder;
