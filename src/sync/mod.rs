//! Locks and signals whose waits end when the scope is cancelled.
//!
//! | | what for | what a wait gives |
//! |---|---|---|
//! | [`Mutex`] | a value, one at a time | a [`MutexGuard`] |
//! | [`RwLock`] | a value, many that read or one that writes | a [`ReadGuard`], a [`WriteGuard`] |
//! | [`Condvar`] | something that is to hold of what a [`Mutex`] protects | nothing; the mutex is locked again |
//! | [`Semaphore`] | at most n at once, in order | a [`Permit`], or an [`OwnedPermit`] |
//! | [`Barrier`] | n threads that wait for each other | whether this one came last |
//! | [`Event`] | a flag, up or down | nothing, once it is up |
//! | [`Latch`] | a count that goes down to zero, once | nothing, at zero |
//! | [`WaitGroup`] | a count that goes up and down, any number of times | nothing, when the other references are gone |
//! | [`OnceCell`] | a value that is made at its first use | the value |
//! | [`Promise`] | a value that somebody gives, once | the value |
//!
//! Guards can be mapped to a part of the value ([`MutexGuard::map`], [`ReadGuard::map`],
//! [`WriteGuard::map`]), and a guard to write can become one to read ([`WriteGuard::downgrade`]).
//!
//! All of them but the wait group can be made in a `static`, and in all of them
//!
//! - a wait **fails at its entry** in a cancelled scope, each time, and wakes when the scope is
//!   cancelled meanwhile;
//! - a wait that fails **had no effect**: it took no permit, no lock and no notification. What was
//!   granted while the scope was being cancelled is returned. (A cancelled waiter breaks a
//!   [`Barrier`] for the others, who could wait for ever.)
//! - a wait **outside of any scope**, and inside [`shield`](crate::shield), is never cancelled;
//! - a wait **spins** for about a microsecond before it parks, except on one core;
//! - what never blocks (`try_`, `set`, dropping a guard) works in a cancelled scope as in any
//!   other, so that nothing is lost in whatever order things are dropped.
//!
//! To wait for a limited time use the `_timeout` methods, or [`timeout`](crate::timeout), which
//! takes any of them. What must happen in spite of a cancel goes into a
//! [`shield_for`](crate::shield_for), or uses [`lock_uncancellable`](Mutex::lock_uncancellable).

mod barrier;
mod condvar;
mod event;
mod gate;
mod hold;
#[cfg(debug_assertions)]
mod holders;
mod latch;
mod lock_queue;
mod mapped;
mod mutex;
mod once_cell;
mod permit;
mod promise;
mod rwlock;
mod rwlock_guards;
mod semaphore;
mod wait_group;

pub use crate::error::Broken;
pub use barrier::{Barrier, BarrierError};
pub use condvar::Condvar;
pub use event::Event;
pub use latch::Latch;
pub use mapped::{MappedMutexGuard, MappedWriteGuard};
pub use mutex::{Mutex, MutexGuard};
pub use once_cell::OnceCell;
pub use permit::{OwnedPermit, Permit};
pub use promise::Promise;
pub use rwlock::RwLock;
pub use rwlock_guards::{ReadGuard, WriteGuard};
pub use semaphore::Semaphore;
pub use wait_group::WaitGroup;
