//! The threads that run tasks: a process-wide cache that grows with what blocks and not with what
//! is queued.

mod look;
mod monitor;
mod name;
mod pool;
mod stack;
mod start_hook;
mod worker;

pub(crate) use name::with_thread_name;
pub(crate) use pool::{
    Refusal, Source, Stash, list, list_unsupplied, others_wait, pass_on, unlist, watch_stash,
};
pub(crate) use stack::InPlace;
pub use start_hook::{WorkerHookError, on_worker_start};
pub(crate) use worker::{Worker, blocking, start_dedicated};

#[cfg(taskgroup_models)]
#[allow(unused_imports, reason = "not every set of models has a pool")]
pub(crate) use pool::{give_back_flagged_stashes, give_back_stashes, shut_down};
