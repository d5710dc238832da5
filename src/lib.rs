//! Task groups for OS threads: structured concurrency for code that blocks.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(doctest)]
mod compile_fail;

mod blocking;
mod cancel;
mod error;
mod facade;
mod group;
mod waiting;
mod workers;

pub mod channel;
pub mod sync;

#[cfg(taskgroup_models)]
#[path = "../loom-tests/models/mod.rs"]
pub mod models;

pub use blocking::{
    abandon, abandoned, checkpoint, current_token, deadline, is_cancelled, park, park_timeout, remaining, shield, shield_for,
    sleep, sleep_until, timeout, with_cancel_hook, yield_now, Cancellable, CancellableExt,
};
pub use cancel::{CancelCause, CancelGuard, CancelToken, Cancelled, DropGuard, TaskId, TaskInfo, TokenId};
pub use error::{
    install_panic_hook, Failure, FailureKind, GroupError, PanicPayload, SpawnError, SpawnErrorKind, StartError, TaskError,
};
pub use group::{
    join, map, race, AsCompleted, Builder, GroupStats, Map, MapUnordered, OnFailure, OnPanic, Ready, TaskBuilder, TaskGroup,
    TaskHandle, TaskStatus,
};
