//! The part of a group that has no user types: its queue, its counts and its permits, as workers,
//! cancels and waiting threads see them.

pub(super) mod completions;
mod counting;
pub(super) mod deferred_drops;
#[cfg_attr(loom, path = "describe_model.rs")]
mod describe;
mod dispatch;
mod end_counts;
mod finish;
pub(super) mod group_state;
pub(super) mod held_permits;
mod outer_permit;
mod permit;
mod queue;
#[cfg_attr(loom, path = "stalls_model.rs")]
mod stalls;
pub(super) mod submit;
mod worker_loop;
pub(super) mod yielding;

#[cfg(all(test, not(loom)))]
mod tests;
