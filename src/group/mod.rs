//! The group: the scope that joins, its tasks and their handles.

mod as_completed;
mod builder;
mod completions;
mod handle;
mod join;
mod lanes;
mod ledger;
mod map;
mod map_all;
mod map_unordered;
mod policy;
mod race;
mod release;
mod scope;
mod shared;
mod source;
mod start;
mod stats;
mod status;
mod stopwatch;
mod task;
mod task_builder;

pub use as_completed::AsCompleted;
pub use builder::Builder;
pub use handle::TaskHandle;
pub use join::join;
pub use map::Map;
pub use map_all::map;
pub use map_unordered::MapUnordered;
pub use policy::{OnFailure, OnPanic};
pub use race::race;
pub use scope::TaskGroup;
pub use start::Ready;
pub use stats::GroupStats;
pub use status::TaskStatus;
pub use task_builder::TaskBuilder;
