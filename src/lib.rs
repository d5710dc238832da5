//! Task groups for OS threads: structured concurrency for code that blocks.
//!
//! Threads keep every existing library, but what they lack is an end: when one dies the others go
//! on, their errors do not come together, and a token to cancel them is a thing that somebody must
//! not forget to check. Here, tasks belong to a scope. It returns when all of them have ended; the
//! first failure cancels the others *where they block*, because blocking itself checks; and every
//! error and panic is in one report.
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
//! The repository has a tutorial, `docs/tutorial.md`, which comes here from `std::thread::scope` in
//! eleven steps, and eleven programs in `examples`. This page is for looking things up:
//!
//! 1. [Which spawn](#which-spawn)
//! 2. [Errors](#errors)
//! 3. [Cancellation](#cancellation), and [what is cancellable](#what-is-cancellable)
//! 4. [Time](#time)
//! 5. [Limits](#limits)
//! 6. [Structure](#structure)
//! 7. [Code that is not ours](#code-that-is-not-ours)
//! 8. [Threads](#threads)
//! 9. [Features](#features)
//! 10. [Beside std, rayon, crossbeam and tokio](#beside-std-rayon-crossbeam-and-tokio)
//! 11. [Model-checking your own code](#model-checking-your-own-code)
//!
//! # Which spawn
//!
//! | the task | use |
//! |---|---|
//! | does a part of the work; without it there is no result | [`spawn`](TaskGroup::spawn): its failure is the group's |
//! | may fail, and the others go on | [`spawn_isolated`](TaskGroup::spawn_isolated): its failure is its result |
//! | serves the others for as long as they run | [`spawn_daemon`](TaskGroup::spawn_daemon): it is cancelled when they are done |
//! | is to be up before the next line runs | [`start`](TaskGroup::start): waits until it says that it is ready |
//! | is to begin now or not at all | [`try_spawn`](TaskGroup::try_spawn): gives the closure back |
//! | has a name, a thread of its own, or a larger stack | [`task`](TaskGroup::task), and then any of these |
//! | is one of many that do the same to each item | [`TaskGroup::map`], [`map_unordered`](TaskGroup::map_unordered) |
//! | is the only thing there is to do | [`map`], [`join`] or [`race`]: the group and its tasks in one call |
//!
//! A spawn never blocks and never fails: in a cancelled group the closure is dropped unrun.
//! [`TaskHandle::join`] gives the result of one task, [`TaskGroup::as_completed`] gives handles in
//! the order in which their tasks end. A handle that is dropped cancels nothing, since the scope
//! waits in any case.
//!
//! # Errors
//!
//! Tasks and body return a `Result`. Its error is [`anyhow::Error`], or with
//! [`Builder::error_type`] any [`TaskError`]: a type that can hold a [`Cancelled`]. The scope
//! returns the value of the body, or a [`GroupError`] with every [`Failure`]: errors and panics, of
//! tasks, body and hooks, with the task, its place and its time. That a task was cancelled by its
//! own group is no failure, and is not reported.
//!
//! ```
//! use taskgroup::TaskGroup;
//!
//! let error = TaskGroup::scope(|g| {
//!     g.task().name("left").spawn(|| Ok("x".parse::<u32>()?));
//!     g.task().name("right").spawn(|| Ok(taskgroup::park()?)); // for ever, if nobody failed
//!     Ok(())
//! })
//! .unwrap_err();
//! assert_eq!(error.failures().len(), 1);
//! assert!(format!("{error:#}").contains("task `left`"));
//! ```
//!
//! [`Builder::on_failure`] lets the others go on, [`Builder::on_panic`] makes a panic go on in the
//! caller, and [`install_panic_hook`] adds the place of a panic to its [`PanicPayload`], and the
//! name of a named task to what is printed. What the compiler says to the usual mistakes, and what
//! to do then, is in `docs/compile-errors.md`.
//!
//! # Cancellation
//!
//! Every thread that runs a task, a body, [`timeout`] or [`CancelToken::run`] is in a scope, and
//! every blocking point of this crate looks at it. In a cancelled scope each of them fails, at its
//! entry and each time, and has no effect; one that is blocked wakes. What was produced or granted
//! before that is never lost. Its error is [`Cancelled`], which `?` hands on, and which knows the
//! [cause](CancelCause) and the place of the cancel. Outside of any scope they behave as the
//! standard library's do.
//!
//! | to | use |
//! |---|---|
//! | cancel | [`TaskGroup::cancel`], [`TaskHandle::cancel`], [`CancelToken`] |
//! | look from code that computes | [`checkpoint`], [`is_cancelled`], [`CancellableExt::cancellable`] |
//! | clean up in peace | [`TaskGroup::on_release`], [`shield_for`], [`shield`] |
//! | let some finish what they have begun | [`TaskGroup::cancel_gracefully`], [`winding_down`] |
//! | cancel a group from outside of it | [`Builder::parent`], [`current_token`] |
//!
//! A group absorbs the cancel that it asked for itself: `g.cancel()` and a body that returns `Ok`
//! is `Ok`.
//!
//! # What is cancellable
//!
//! | blocks in | wakes on cancel |
//! |---|---|
//! | [`sleep`], [`sleep_until`], [`park`], [`park_timeout`] | yes, at once |
//! | [`TaskHandle::join`], [`wait`](TaskHandle::wait), [`wait_timeout`](TaskHandle::wait_timeout); [`CancelToken::wait`] | yes, at once |
//! | the steps of [`TaskGroup::map`], [`map_unordered`](TaskGroup::map_unordered), [`as_completed`](TaskGroup::as_completed) | yes, at once; what has ended is kept, and given where the scope is not cancelled, in a [`shield`] for example |
//! | [`TaskGroup::start`] | yes: it cancels the task that it starts, and returns when that has ended |
//! | all of [`sync`]: [`Mutex`](sync::Mutex), [`RwLock`](sync::RwLock), [`Condvar`](sync::Condvar), [`Semaphore`](sync::Semaphore), [`Barrier`](sync::Barrier), [`Event`](sync::Event), [`Latch`](sync::Latch), [`WaitGroup`](sync::WaitGroup), [`OnceCell`](sync::OnceCell), [`Promise`](sync::Promise) | yes, at once; what was granted is kept |
//! | all of [`channel`]: `send`, `recv`, `iter`, [`select!`](channel::select!) | yes, at once; no message is lost |
//! | [`abandon`] | yes: the thread that runs the code is left behind, and [`abandoned`] lists it |
//! | a scope inside of a task | yes: its tasks are cancelled, and it returns when they have ended |
//! | code that computes | where it calls [`checkpoint`] or [`yield_now`] |
//! | code that is not ours and can be woken | by the hook of [`with_cancel_hook`] or [`with_cancel_hook_repeating`], or a callback of [`CancelToken::on_cancel`] |
//! | anything else: reads of files, name look-ups, foreign functions | no: the scope waits for it |
//!
//! # Time
//!
//! A deadline is a time at which a scope is cancelled: [`Builder::timeout`] and
//! [`Builder::deadline`] for a group, [`CancelToken::cancel_at`] for a token, [`timeout`] and
//! [`deadline`] for any piece of code. What is inside inherits the earliest, and [`remaining`] says
//! how much is left, for the clients and drivers that want a number. A [`timeout`] that has passed
//! is `None` and not an error.
//!
//! ```
//! use std::time::Duration;
//!
//! let slow = || {
//!     taskgroup::sleep(Duration::from_secs(60))?;
//!     anyhow::Ok("an answer")
//! };
//! assert_eq!(taskgroup::timeout(Duration::from_millis(1), slow)?, None);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! # Limits
//!
//! [`Builder::limit`] bounds how many tasks of a group run at once; the others queue, in the order
//! of their spawns. A task that waits for tasks of its own group gives its permit to a queued task,
//! so that nested use does not deadlock. [`TaskGroup::map`] pulls its input no further ahead than
//! the limit, so that an endless input needs no endless memory. For a limit that several groups
//! share, there is [`sync::Semaphore`]; for one on what is queued, [`channel::bounded`].
//!
//! # Structure
//!
//! Groups nest: one that is opened inside of a task is cancelled with it, and its failure is an
//! error like any other, whose report is drawn below that of the task. Tasks may spawn into every
//! group that they can see, their own included. What a task borrows must have been made before the
//! group; so must the tokens, channels and locks that tasks share, unless each gets its own clone.
//! What clean-up needs the tasks to be gone goes into [`TaskGroup::on_release`].
//!
//! ```
//! use taskgroup::TaskGroup;
//!
//! let lengths = TaskGroup::scope(|outer| {
//!     let inner = outer.spawn(|| {
//!         // Ends before this task does, and is cancelled with it.
//!         let words = TaskGroup::scope(|g| Ok(g.map(["a", "list"], |word| Ok(word.len())).collect::<Result<Vec<_>, _>>()?))?;
//!         Ok(words.iter().sum::<usize>())
//!     });
//!     Ok(inner.join()?)
//! })?;
//! assert_eq!(lengths, 5);
//! # Ok::<(), taskgroup::GroupError>(())
//! ```
//!
//! # Code that is not ours
//!
//! A read from a socket or the wait for a child process knows nothing of scopes. Where something
//! can wake it, such as a shutdown of the socket, the message that ends a `recv` or a kill, that
//! something is the hook of [`with_cancel_hook`]. Where nothing can, [`abandon`] runs it on a
//! thread that may be left behind. And where it returns soon, nothing need be done: the scope
//! waits.
//!
//! ```
//! use std::io::Read;
//! use std::net::{Shutdown, TcpListener, TcpStream};
//! use taskgroup::TaskGroup;
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?; // no answer will come
//! let closer = client.try_clone()?;
//! TaskGroup::scope(|g| {
//!     g.spawn(|| {
//!         let mut answer = Vec::new();
//!         let read = taskgroup::with_cancel_hook(|| _ = closer.shutdown(Shutdown::Both), || client.read_to_end(&mut answer));
//!         taskgroup::checkpoint()?; // after a shutdown the read is `Ok`, and the answer may be a part
//!         read?;
//!         Ok(())
//!     });
//!     g.cancel();
//!     Ok(())
//! })?;
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! # Threads
//!
//! A task costs about what a job of a thread pool costs, and may block for as long as it likes:
//! threads are cached, and their number grows with what blocks, not with what is queued. A task may
//! run on the thread that waits for it, so thread-locals and re-entrant locks may be shared with
//! the waiting code. [`TaskBuilder::dedicated`] asks for a thread of its own.
//!
//! - A worker keeps the signal mask, the processor affinity and, on Linux, the niceness of the
//!   thread that happened to start it, and runs the tasks of other threads with them.
//!   [`on_worker_start`] sets a hook that gives each thread what all tasks are to have.
//! - Under `cargo test` it keeps the output capture of that thread too: a `println!` of a task may
//!   stand under another test.
//! - Waits of this crate park the thread with [`std::thread::park`]. So an `unpark` of your own may
//!   be taken by a wait: look at a condition of your own around each `park`, as std asks for.
//! - After a `fork`, the child has none of the threads of the crate, but still counts on them: a
//!   scope there may hang. Let the child call `exec`, or fork before the first use of this crate.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `crossbeam`: `channel::crossbeam`, the functions that make the channels of `crossbeam-channel`
//!   cancellable.
//! - `eyre`: `eyre::Report` is a [`TaskError`].
//!
//! Events that nobody could return, such as failures that a panic hides, go to
//! [`tracing`](https://docs.rs/tracing).
//!
//! # Beside std, rayon, crossbeam and tokio
//!
//! | | [`std::thread::scope`] | `rayon::scope` | `crossbeam::thread::scope` | `tokio::task::JoinSet` | this crate |
//! |---|---|---|---|---|---|
//! | tasks borrow from the caller | yes | yes | yes | no | yes |
//! | tasks may block | yes | they keep a worker | yes | no | yes |
//! | a task is | a thread | a job | a thread | a future | a job |
//! | the first failure ends the others | no | no | no | with `abort_all` | yes, where they block |
//! | what comes back | that one panicked | the first panic | the panics | each result, to who asks | all errors and panics |
//! | at most n at once | - | threads of the pool | - | with a semaphore | `limit(n)` |
//! | deadlines | - | - | - | with `timeout` | for groups, tokens and code |
//!
//! For computing on slices take rayon: it splits and steals, and this crate does neither. For very
//! many connections that are mostly idle take tokio. This crate is for code that blocks.
//!
//! # Model-checking your own code
//!
//! Compiled with `--cfg loom`, this crate runs on the threads, locks and atomics of
//! [loom](https://docs.rs/loom), so that a model of your code may use groups, [`sync`] and
//! [`channel`], and loom tries the orders in which their steps can happen. In `Cargo.toml`:
//!
//! ```toml
//! [target.'cfg(loom)'.dependencies]
//! loom = "0.7"
//!
//! [lints.rust]
//! unexpected_cfgs = { level = "warn", check-cfg = ["cfg(loom)"] }
//!
//! [profile.dev.package.loom]
//! opt-level = 3
//! [profile.dev.package.generator]
//! opt-level = 3
//! ```
//!
//! In a test, a model makes all that it uses, for it is run once for each order:
//!
//! ```
//! # #[cfg(loom)]
//! # {
//! use loom::sync::atomic::{AtomicUsize, Ordering};
//! use taskgroup::TaskGroup;
//!
//! loom::model(|| {
//!     let count = AtomicUsize::new(0);
//!     TaskGroup::scope(|g| {
//!         for _ in 0..2 {
//!             // A `load` and a `store` instead would be found: one of the two gets lost.
//!             g.spawn(|| Ok(count.fetch_add(1, Ordering::Relaxed)));
//!         }
//!         Ok(())
//!     })
//!     .unwrap();
//!     assert_eq!(count.load(Ordering::Relaxed), 2);
//! });
//! # }
//! ```
//!
//! The flag is for every crate of the build, so let it have a directory of its own; two preemptions
//! find most of what there is to find, and none bounded is exhaustive:
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=2 cargo test --test models
//! ```
//!
//! - For what tasks share use loom's types (`loom::sync::atomic`, `loom::cell`, `loom::sync`) or
//!   those of [`sync`] and [`channel`]. loom sees nothing of std's and parking_lot's, and a cancel
//!   wakes none of loom's own.
//! - loom has five threads, the one of the model included, and each task takes one: four tasks for
//!   each run of a model, and at the next loom fails with `self.threads.len() < self.max()`. Each
//!   multiplies what there is to explore, so begin with two. No task runs on the thread that waits
//!   for it; all else that tasks can do to each other is as it is without loom.
//! - Time stands still. What waits for a time of more than zero waits until it is woken or
//!   cancelled, and a deadline never comes.
//! - A panic in a task is a finding of the model and ends it, not a failure of the group: assert as
//!   you like.
//! - The constructors of [`sync`] are not `const` then, so none of them can be in a `static`.
//! - The first panic that is printed is the finding: a `deadlock`, a `Causality violation`, or your
//!   assertion. What follows it, perhaps an abort, comes from the threads that it leaves behind.
//!
//! The crate's own models are compiled from the same sources, most of them exhaustive or to a bound
//! on preemptions that is stated with each; `cargo test` in the repository runs them.

// The pages outside of the sources, so that their blocks are run too.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/tutorial.md")]
    mod tutorial {}
    #[doc = include_str!("../docs/compile-errors.md")]
    mod compile_errors {}
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
mod panics;
mod waiting;
mod workers;

pub mod channel;
pub mod sync;

pub use blocking::{
    Abandoned, Cancellable, CancellableExt, abandon, abandon_named, abandoned, checkpoint,
    current_token, deadline, is_cancelled, park, park_timeout, remaining, shield, shield_for,
    sleep, sleep_until, timeout, winding_down, with_cancel_hook, with_cancel_hook_repeating,
    yield_now,
};
pub use cancel::{
    CancelCause, CancelGuard, CancelToken, Cancelled, DropGuard, TaskId, TaskInfo, TokenId,
};
#[doc(hidden)]
pub use error::probe as __probe;
pub use error::{
    Failure, FailureKind, GroupError, SpawnError, SpawnErrorKind, StartError, TaskError,
    install_panic_hook,
};
pub use group::{
    AsCompleted, Builder, GroupStats, Map, MapUnordered, OnFailure, OnPanic, Ready, TaskBuilder,
    TaskGroup, TaskHandle, TaskStatus, TaskWith, join, map, race,
};
pub use panics::PanicPayload;
pub use workers::{WorkerHookError, on_worker_start};
