//! The group: the scope that joins, its tasks and their handles.

mod builder;
mod collect;
mod core;
mod erased;
mod failure_log;
mod job;
mod options;
mod policy;
mod release;
mod run;
mod scope;
mod spawn;
mod state;
mod stats;
mod status;
mod stopwatch;
mod task;
mod task_end;

pub use builder::Builder;
pub use collect::{AsCompleted, Map, MapUnordered, join, map, race};
pub use policy::{OnFailure, OnPanic};
pub use scope::TaskGroup;
pub use spawn::{Ready, TaskBuilder, TaskWith};
pub use stats::GroupStats;
pub use status::TaskStatus;
pub use task::TaskHandle;
