//! Locks and signals with waits that a cancel ends.
//!
//! | | what for | what a wait gives |
//! |---|---|---|
//! | [`Mutex`] | a value, one thread at a time | a [`MutexGuard`] |
//! | [`RwLock`] | a value, many readers or one writer | a [`ReadGuard`], a [`WriteGuard`] |
//! | [`Condvar`] | a condition on data of a [`Mutex`] | nothing; the mutex is locked again |
//! | [`Semaphore`] | at most n threads at once, in order | a [`Permit`], or an [`OwnedPermit`] |
//! | [`RateLimiter`] | at most n times in each second, in order | nothing; the permit is used up |
//! | [`Barrier`] | n threads that wait for each other | whether this thread came last |
//! | [`Event`] | a flag, up or down | nothing, once it is up |
//! | [`Latch`] | a count that goes down to zero, once | nothing, at zero |
//! | [`WaitGroup`] | a count that goes up and down | nothing, when the other references are gone |
//! | [`OnceCell`] | a value that is made at its first use | the value |
//! | [`Promise`] | a value that a thread gives, once | the value |
//!
//! Guards can be mapped to a part of the value ([`MutexGuard::map`], [`ReadGuard::map`],
//! [`WriteGuard::map`]), and a guard to write can become one to read ([`WriteGuard::downgrade`]).
//!
//! All of them but the wait group can be made in a `static`. All of them follow the same rules:
//!
//! - A wait **fails at its entry** in a cancelled scope, each time, and wakes when the scope is
//!   cancelled meanwhile.
//! - A wait that fails **had no effect**: it took no permit, no lock and no notification. A permit
//!   or notification that was granted while the scope was being cancelled is returned; a lock, or
//!   the turn to make a value, is passed on to the next thread. (A cancelled waiter breaks a
//!   [`Barrier`] for the other threads, which could wait for ever.)
//! - A wait **outside of any scope**, and inside [`shield`](crate::shield), is never cancelled.
//! - A wait **spins** for about a microsecond before it parks, except on one core, and for a permit
//!   of a rate, which comes with the clock.
//! - A call that never blocks (`try_`, `set`, dropping a guard) works in a cancelled scope like in
//!   any other. So nothing is lost, in whatever order values are dropped.
//!
//! To wait for a limited time use the `_timeout` methods, or [`timeout`](crate::timeout), which
//! limits any of them. Work that must be done in spite of a cancel goes into a
//! [`shield_for`](crate::shield_for), or uses [`lock_uncancellable`](Mutex::lock_uncancellable).

mod acquire;
mod barrier;
mod condvar;
mod event;
mod gcra;
mod guard;
mod hold;
mod latch;
mod lock_queue;
mod mapped;
mod mutex;
mod once_cell;
mod permit;
mod promise;
mod rate_limiter;
mod rwlock;
mod rwlock_guards;
mod semaphore;
mod wait_group;
mod wait_set;

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
pub use rate_limiter::RateLimiter;
pub use rwlock::RwLock;
pub use rwlock_guards::{ReadGuard, WriteGuard};
pub use semaphore::Semaphore;
pub use wait_group::WaitGroup;
