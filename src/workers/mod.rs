//! The threads that run tasks: a cache of the process that grows with the tasks that block, not
//! with the tasks that are queued. `README.md` in this folder describes how tasks get threads.

mod census;
mod idle_workers;
mod local_batch;
mod look;
mod members;
mod monitor;
mod name;
mod pool;
mod process;
mod source;
mod stack;
mod start_hook;
mod thread;
mod worker;

pub(crate) use local_batch::LocalBatch;
#[cfg(not(loom))]
pub(crate) use name::THREAD_NAME;
pub(crate) use name::ThreadName;
pub(crate) use process::{
    Blocking, begin_task, blocking, census, ensure_monitor, list, list_without_worker, others_wait,
    pass_on, unlist,
};
pub(crate) use source::{Refusal, Source};
pub(crate) use stack::InPlace;
pub use start_hook::{WorkerHookError, on_worker_start};
pub(crate) use thread::start_dedicated;
pub(crate) use worker::Worker;

#[cfg(taskgroup_models)]
#[allow(unused_imports, reason = "not every set of models has a pool")]
pub(crate) use process::{give_back_batches, give_back_flagged_batches, shut_down};
