//! Task groups: the scope of a group, its tasks and their handles.
//!
//! Each file or folder imports only from those below it in this table:
//!
//! | file or folder | contents |
//! |---|---|
//! | `collect` | ways to run many tasks and collect their results: maps, `race`, `join` |
//! | `builder`, `run` | the options of a group; the run of a scope from its opening to its report |
//! | `stalled` | the end of a scope that was reported as stalled |
//! | `spawn` | the ways to spawn a task |
//! | `scope`, `release` | the public type of a group; the hooks at its end |
//! | `task` | one task from its spawn to its end, and its handle |
//! | `core` | the part of a group that a task and its handle know |
//! | `failure_log`, `policy`, `options` | the failures of a group, and what they do |
//! | `state` | the part of a group without user types: queue, counts, permits |
//! | `erased`, `job`, `task_end`, `status`, `stats`, `stopwatch` | the parts of a task that the queue knows |
//! | `callback_panic`, `permit_wait` | the panic of a callback, and the time that a task waits for a permit |
//! | `process_stats`, `process_counts`, `latency` | the counts of the process; how long cancelled tasks take to end |

mod builder;
mod callback_panic;
mod collect;
mod core;
mod erased;
mod failure_log;
mod job;
mod latency;
mod options;
mod permit_wait;
mod policy;
mod process_counts;
mod process_stats;
mod release;
mod run;
mod scope;
mod spawn;
#[cfg_attr(loom, path = "stalled_model.rs")]
mod stalled;
mod state;
mod stats;
mod status;
mod stopwatch;
mod task;
mod task_end;

pub use builder::Builder;
pub use collect::{AsCompleted, Map, MapUnordered, join, map, race};
pub use latency::LatencyHistogram;
pub use policy::{OnFailure, OnPanic};
pub use process_stats::{ProcessStats, stats};
pub use scope::TaskGroup;
pub use spawn::{Ready, TaskBuilder, TaskWith};
pub use stats::GroupStats;
pub use status::TaskStatus;
pub use task::TaskHandle;
