//! The ways to spawn a task.
//!
//! All of them go through [`TaskBuilder`](task_builder::TaskBuilder) and use three steps:
//!
//! | step | effect |
//! |---|---|
//! | `prepare` | makes the task, with its options |
//! | `submit` | hands it to the group, which counts it and queues it, or starts its thread |
//! | `launch` | both, and ends the task unrun if the group does not take it |

mod start;
pub(super) mod task_builder;
mod task_group;
mod task_with;

pub use start::Ready;
pub use task_builder::TaskBuilder;
pub use task_with::TaskWith;
