//! Deadlocks: threads that wait for each other, found while the program runs.
//!
//! Two classes are told apart.
//!
//! # Certain
//!
//! Some waits have wakers that are known: the thread that holds a lock, the thread that makes a
//! value, the tasks that a scope or a join waits for. If threads wait for each other in a cycle of
//! such waits, no other thread can let them go on. Threads that run, sleep or read beside them do
//! not matter, and neither do the deadlines and tokens of their scopes: a cancel can end such
//! waits, and there was a cycle anyway.
//!
//! - [`check`] looks now. It is always there.
//! - A thread looks by itself, as [`DeadlockPolicy`] says: by default in builds with debug
//!   assertions. It finds a deadlock one to two seconds after its threads have gone to sleep, and
//!   reports it once.
//! - A task that locks a [`Mutex`](crate::sync::Mutex) that it holds already is not even put to
//!   sleep: the call panics, in every build.
//!
//! The waits with known wakers:
//!
//! | wait | is for |
//! |---|---|
//! | `Mutex::lock`, and the end of `Condvar::wait` | the thread that has the guard |
//! | `RwLock::write` | every thread that has a guard |
//! | `RwLock::read` | the thread that writes; or a queued writer, which waits for readers |
//! | `OnceCell::get_or_init` | the thread that makes the value |
//! | `TaskHandle::join`, `wait` | the task; while it is queued, one of the tasks that have the permits |
//! | the end of a scope | every task of the group |
//! | `as_completed`, `map_unordered` | one task of the group, so all must be stuck |
//! | `start`, if the task is queued or its [`Ready`](crate::Ready) is gone | the task, like `join` |
//! | the drop of a [`CallbackGuard`](crate::CallbackGuard) | the thread that runs the callback |
//!
//! A wait with a time limit of its own, such as `wait_timeout`, is never part of a deadlock.
//!
//! A report is not a guess. Every thread of the cycle was asleep in one and the same wait from
//! before to after a moment at which each had itself found that its wait was not over.
//!
//! Its limits:
//!
//! - Not seen are cycles that go over a lock of std's or another crate's, over a plain thread's
//!   `join`, a channel, or a descriptor. A plain thread with a `Sender` is such a link.
//! - Not seen either are cycles over the end of a scope that waits for a callback of its cancel,
//!   or over a `map` that waits for its tasks.
//! - Not seen is a cycle over a call of `start` while there is a [`Ready`](crate::Ready): any
//!   thread could have it.
//! - A thread shows the first lock that it holds and 12 more objects. A cycle over a further one
//!   is not seen.
//! - A danger that does not come about is not reported: two locks that are taken in both orders,
//!   but never at once.
//! - A guard that is leaked with `mem::forget` still counts as held, even when its lock has been
//!   moved or freed.
//!
//! # Suspected
//!
//! An event, a channel or a semaphore may be used by any thread that has a reference. So nothing is
//! known as long as one thread runs that could have one. [`watch_suspected`] reports a process in
//! which no thread is left to do anything. It is opt-in.
//!
//! # Cost
//!
//! A lock that is free costs nothing more, and neither does a wait that ends before its thread
//! sleeps. A wait that sleeps costs one load, and two stores and a fence for each wake. While
//! threads sleep in waits with known wakers, a thread looks at what they show, twice a second.
//!
//! ```
//! use std::sync::Barrier;
//! use taskgroup::sync::Mutex;
//! use taskgroup::{TaskGroup, deadlock};
//!
//! # fn main() -> anyhow::Result<()> {
//! let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
//! TaskGroup::scope(|g| {
//!     g.spawn(|| {
//!         let _a = a.lock()?;
//!         both.wait();
//!         Ok(drop(b.lock()?)) // waits for the other task
//!     });
//!     g.spawn(|| {
//!         let _b = b.lock()?;
//!         both.wait();
//!         Ok(drop(a.lock()?)) // waits for the first
//!     });
//!
//!     let found = loop {
//!         if let Some(found) = deadlock::check().pop() {
//!             break found;
//!         }
//!     };
//!     assert_eq!(found.threads().len(), 2);
//!     assert_eq!(found.threads()[0].what(), "Mutex::lock");
//!     g.cancel(); // ends it: no task can hang where a cancel can reach it
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```

mod act;
mod check;
mod confirm;
mod control;
mod describe;
mod draw;
mod graph;
mod policy;
mod report;
mod stuck;
mod suspected;
mod watch;

pub use act::{DeadlockHook, on_found};
pub use check::check;
pub use control::{SuspectedWatch, set_policy, watch_suspected};
pub use policy::DeadlockPolicy;
pub use report::{Certainty, Deadlock, DeadlockedThread};
pub(crate) use watch::expect_wait;
