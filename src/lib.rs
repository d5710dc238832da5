//! Task groups for OS threads: structured concurrency for code that blocks.
//!
//! Threads keep every existing library, but what they lack is an end: when one dies the others go on, their errors do not
//! come together, and a token to cancel them is a thing that somebody must not forget to check. Here, tasks belong to a
//! scope. It returns when all of them have ended; the first failure cancels the others *where they block*, because blocking
//! itself checks; and every error and panic is in one report.
//!
//! ```
//! use std::time::Duration;
//! use taskgroup::TaskGroup;
//!
//! let words = ["20", "22"];
//! let sum = TaskGroup::scope(|g| {
//!     let a = g.spawn(|| Ok(words[0].parse::<u32>()?)); // borrows what the caller owns
//!     let b = g.spawn(|| {
//!         taskgroup::sleep(Duration::from_millis(1))?; // wakes if `a` fails
//!         Ok(words[1].parse::<u32>()?)
//!     });
//!     Ok(a.join()? + b.join()?)
//! })?;
//! assert_eq!(sum, 42);
//! # Ok::<(), taskgroup::GroupError>(())
//! ```
//!
//! # Groups
//!
//! | to | use |
//! |---|---|
//! | open a group | [`TaskGroup::scope`]; with a name, limit, deadline or policy, [`TaskGroup::builder`]; with errors of your own, [`Builder::error_type`] and [`TaskError`] |
//! | spawn | [`TaskGroup::spawn`]; one whose failure is its result, [`spawn_isolated`](TaskGroup::spawn_isolated); one that serves the others, [`spawn_daemon`](TaskGroup::spawn_daemon); one that says when it is ready, [`start`](TaskGroup::start) |
//! | wait for one, or cancel it | [`TaskHandle`] |
//! | work through a sequence | [`TaskGroup::map`], [`map_unordered`](TaskGroup::map_unordered), [`as_completed`](TaskGroup::as_completed) |
//! | do it all in one call | [`map`], [`join`], [`race`] |
//! | clean up after the tasks | [`TaskGroup::on_release`] |
//! | read what went wrong | [`GroupError`], [`Failure`], [`PanicPayload`], and [`install_panic_hook`] for the places of panics |
//!
//! # Cancellation
//!
//! Every thread that runs a task, a body, [`timeout`] or [`CancelToken::run`] is in a scope, and every blocking point of this
//! crate looks at it: [`sleep`], [`park`], the waits of handles and tokens, all of [`sync`] and [`channel`]. In a cancelled
//! scope each of them fails at once, every time, and has no effect; one that is blocked wakes. What was produced or granted
//! before that is never lost. Outside of any scope they behave as the standard library's do.
//!
//! | to | use |
//! |---|---|
//! | cancel | [`TaskGroup::cancel`], [`TaskHandle::cancel`], [`CancelToken`] |
//! | look from code that computes | [`checkpoint`], [`is_cancelled`], [`CancellableExt::cancellable`] |
//! | limit the time | [`timeout`], [`deadline`], [`Builder::timeout`], [`CancelToken::cancel_at`] |
//! | clean up in peace | [`shield_for`], [`shield`] |
//! | let some finish what they have begun | [`TaskGroup::cancel_gracefully`], [`winding_down`] |
//! | stop code that is not ours | [`with_cancel_hook`], [`with_cancel_hook_repeating`], [`CancelToken::on_cancel`]; what cannot be stopped, [`abandon`], and [`abandoned`] lists it |
//! | know why | [`Cancelled`], [`CancelCause`] |
//!
//! # Threads
//!
//! A task costs about what a job of a thread pool costs, and may block for as long as it likes: threads are cached, and their
//! number grows with what blocks, not with what is queued. A task may run on the thread that waits for it, so thread-locals
//! and re-entrant locks may be shared with the waiting code. [`TaskBuilder::dedicated`] asks for a thread of its own.
//!
//! # Model checks
//!
//! The sources are compiled a second time for [loom](https://docs.rs/loom) and checked by models, most of them exhaustively or
//! to a bound on preemptions that is stated with each; `cargo test` in the repository runs them.

// The pages outside of the sources, so that their blocks are run too.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/tutorial.md")]
    mod tutorial {}
    #[doc = include_str!("../docs/design.md")]
    mod design {}
    #[doc = include_str!("../docs/verification.md")]
    mod verification {}
    #[doc = include_str!("../docs/performance.md")]
    mod performance {}
}

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
    abandon, abandon_named, abandoned, checkpoint, current_token, deadline, is_cancelled, park, park_timeout, remaining,
    shield, shield_for, sleep, sleep_until, timeout, winding_down, with_cancel_hook, with_cancel_hook_repeating, yield_now,
    Abandoned, Cancellable, CancellableExt,
};
pub use cancel::{CancelCause, CancelGuard, CancelToken, Cancelled, DropGuard, TaskId, TaskInfo, TokenId};
pub use error::{
    install_panic_hook, Failure, FailureKind, GroupError, PanicPayload, SpawnError, SpawnErrorKind, StartError, TaskError,
};
pub use group::{
    join, map, race, AsCompleted, Builder, GroupStats, Map, MapUnordered, OnFailure, OnPanic, Ready, TaskBuilder, TaskGroup,
    TaskHandle, TaskStatus,
};
