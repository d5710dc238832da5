//! Cancels that cross between this crate and tokio. Needs the feature `tokio`.
//!
//! Code on tokio that has to call code that blocks gives it to threads. Then the two sides know
//! nothing of each other: when its client has gone away, a request is dropped, and its blocking
//! work goes on for as long as it likes.
//!
//! | to | use |
//! |---|---|
//! | run blocking work for a future, and cancel it when the future is dropped | [`spawn_blocking`] |
//! | cancel a group, or any scope, by a `CancellationToken` | [`token_from`] |
//! | wake futures when a group, or any token of this crate, is cancelled | [`token_into`] |
//!
//! ```
//! use std::time::Duration;
//! use taskgroup::tokio_bridge::spawn_blocking;
//! use taskgroup::{TaskGroup, sync::Event};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! runtime.block_on(async {
//!     // A handler of a request. If its client goes away, the server drops it here, and both
//!     // tasks end.
//!     let sum = spawn_blocking(|| {
//!         TaskGroup::scope(|g| {
//!             let a = g.spawn(|| Ok(taskgroup::sleep(Duration::from_millis(1)).map(|()| 20)?));
//!             let b = g.spawn(|| Ok(22));
//!             Ok(a.join()? + b.join()?)
//!         })
//!     })
//!     .await??;
//!     assert_eq!(sum, 42);
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # Cancels leave the thread of the runtime
//!
//! A cancel of this crate wakes threads one by one and runs callbacks, which may block. A thread of
//! the runtime must not wait for that. So a cancel that comes from the side of tokio is handed to a
//! thread of this crate, and takes effect a moment later.

// # Invariants
//
// 1. A cancel that was seen on one side reaches the other: dropping the [`Link`] afterwards does
//    not take it back. A handler that is dropped because of the cancel often holds the link.
// 2. A link acts in one direction. A token that was made from another token never cancels it, so
//    there are no cycles.
// 3. The closure of [`spawn_blocking`] is taken once: by the thread that runs it, or by the drop
//    of its future.
//
// The locks here are held for a move of a value. No user code runs under them.

mod aside;
mod link;
mod spawn_blocking;

pub use link::{Link, token_from, token_into};
pub use spawn_blocking::{SpawnBlocking, spawn_blocking};
