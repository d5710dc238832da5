//! Locks and signals whose waits end when the scope is cancelled.
//!
//! | | what for | what a wait gives |
//! |---|---|---|
//! | [`Event`] | a flag, up or down | nothing, once it is up |
//! | [`Latch`] | a count that goes down to zero, once | nothing, at zero |
//! | [`Promise`] | a value that somebody gives, once | the value |
//! | [`Semaphore`] | at most n at once, in order | a [`Permit`] |
//!
//! All of them can be made in a `static`, and in all of them
//!
//! - a wait **fails at its entry** in a cancelled scope, each time, and wakes when the scope is cancelled meanwhile;
//! - a wait that fails **had no effect**: it took no permit, no lock and no item. What was granted while the scope was
//!   being cancelled is returned;
//! - a wait **outside of any scope**, and inside [`shield`](crate::shield), is never cancelled;
//! - a wait **spins** for a few microseconds before it parks, except on one core;
//! - what never blocks (`try_`, `set`, dropping a guard) works in a cancelled scope as in any other, so that nothing is lost
//!   in whatever order things are dropped.
//!
//! To wait for a limited time use the `_timeout` methods, or [`timeout`](crate::timeout), which takes any of them.

mod event;
mod gate;
mod latch;
mod promise;
mod semaphore;

pub use event::Event;
pub use latch::Latch;
pub use promise::Promise;
pub use semaphore::{Permit, Semaphore};
