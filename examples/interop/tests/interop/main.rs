//! Each library, the real one, in tasks that are cancelled while they block in it.

// This crate's own tests use the same latches.
#[path = "../../../../tests/support/mod.rs"]
mod support;

mod child;
mod crossbeam;
mod file_events;
#[cfg(unix)]
mod http_client;
mod http_server;
#[cfg(unix)]
mod postgres_server;
#[cfg(unix)]
mod postgresql;
#[cfg(unix)]
mod queue_worker;
mod rayon_pool;
#[cfg(unix)]
mod redis_client;
mod reqwest_client;
mod sqlite;
#[cfg(unix)]
mod tls;
#[cfg(unix)]
mod web_socket;

use taskgroup::{CancelToken, Cancelled, TaskGroup};

/// Runs `blocking` in a task and `meanwhile` beside it, then cancels the scope of `blocking`.
/// Returns the error with which it ended.
fn cancelled_during<T>(
    blocking: impl FnOnce() -> anyhow::Result<T> + Send,
    meanwhile: impl FnOnce(),
) -> anyhow::Error {
    let token = CancelToken::new();
    let ended = TaskGroup::scope(|g| {
        let task = g.spawn(|| Ok(token.run(|| blocking().map(drop))));
        meanwhile();
        token.cancel();
        Ok(task.join()?)
    });

    let ended = ended.expect("neither the task nor the body fails");
    ended.expect_err("the cancel came before its end")
}

/// Fails if `error` is not the cancel.
#[track_caller]
fn assert_cancel(error: &anyhow::Error) {
    assert!(Cancelled::find(error.as_ref()).is_some(), "{error:?}");
}
