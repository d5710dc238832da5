//! Task groups for OS threads: structured concurrency for code that blocks.
//!
//! Threads have no owner: if one fails, the others keep running, their errors are never collected,
//! and cancellation works only if every loop polls a flag. Here, tasks belong to a scope:
//!
//! - The scope returns when all its tasks have ended.
//! - The first failure cancels the other tasks *where they block*, because every blocking call of
//!   this crate checks for the cancel.
//! - Every error and panic comes back in one report.
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
//! To install it, run `cargo add taskgroup`. To learn it, read the [tutorial], which starts from
//! `std::thread::scope` and takes eleven steps, or run the [example programs]. This page is
//! for looking things up:
//!
//! 1. [Which spawn](#which-spawn)
//! 2. [Errors](#errors)
//! 3. [Cancellation](#cancellation), and [the calls that wake on
//!    cancel](#calls-that-wake-on-cancel)
//! 4. [Time](#time)
//! 5. [Limits](#limits)
//! 6. [Structure](#structure)
//! 7. [Foreign code](#foreign-code)
//! 8. [Threads](#threads)
//! 9. [What runs, and what hangs](#what-runs-and-what-hangs)
//! 10. [Features](#features)
//! 11. [Beside std, rayon, crossbeam and tokio](#beside-std-rayon-crossbeam-and-tokio)
//! 12. [Model-checking your own code](#model-checking-your-own-code)
//!
//! More pages: [compile errors][cures], [seeing inside], [design], [verification][checks],
//! [performance], [platforms], [change log].
//!
//! # Which spawn
//!
//! | the task | use |
//! |---|---|
//! | does a part of the work that the result needs | [`spawn`](TaskGroup::spawn): its failure is the group's failure |
//! | may fail while the others go on | [`spawn_isolated`](TaskGroup::spawn_isolated): its failure is its result |
//! | serves the others for as long as they run | [`spawn_daemon`](TaskGroup::spawn_daemon): it is cancelled when they are done |
//! | must be up before the next line runs | [`start`](TaskGroup::start): waits until the task says that it is ready |
//! | must begin now or not at all | [`try_spawn`](TaskGroup::try_spawn): gives the closure back |
//! | has a name, a thread of its own, or a larger stack | [`task`](TaskGroup::task), and then any of these |
//! | is one of many that do the same to each item | [`TaskGroup::map`], [`map_unordered`](TaskGroup::map_unordered) |
//! | is the only work of its group | [`map`], [`join`] or [`race`]: the group and its tasks in one call |
//!
//! A spawn never blocks and never fails. In a cancelled group the closure is dropped unrun.
//! [`TaskHandle::join`] returns the result of one task. [`TaskGroup::as_completed`] yields handles
//! in the order in which their tasks end. Dropping a handle cancels nothing, since the scope waits
//! for the task in any case.
//!
//! # Errors
//!
//! Tasks and body return a `Result`. Its error is [`anyhow::Error`], or with
//! [`Builder::error_type`] any [`TaskError`]: a type that can hold a [`Cancelled`]. The scope
//! returns the value of the body, or a [`GroupError`] with every [`Failure`]: errors and panics of
//! tasks, body and hooks, each with its task, place and time. A task that was cancelled by its own
//! group has not failed, and is not reported.
//!
//! ```
//! use std::time::Duration;
//! use taskgroup::TaskGroup;
//!
//! let error = TaskGroup::scope(|g| {
//!     g.task().name("left").spawn(|| Ok("x".parse::<u32>()?));
//!     // For ever, if no task fails.
//!     g.task().name("right").spawn(|| Ok(taskgroup::sleep(Duration::MAX)?));
//!     Ok(())
//! })
//! .unwrap_err();
//! assert_eq!(error.failures().len(), 1);
//! assert!(format!("{error:#}").contains("task `left`"));
//! ```
//!
//! [`Builder::on_failure`] keeps the other tasks running after a failure. [`Builder::on_panic`]
//! makes a panic go on in the caller. In a program that is compiled with `panic = "abort"`, a panic
//! ends the process, so only errors are reported. [`install_panic_hook`] adds the place of a panic
//! to its [`PanicPayload`], and the name of a named task to the printed message. For the messages
//! of the compiler to the usual mistakes, and their cures, see [compile errors][cures].
//!
//! # Cancellation
//!
//! Every thread that runs a task, a body, [`timeout`] or [`CancelToken::run`] is in a scope, and
//! every blocking point of this crate checks that scope. In a cancelled scope, every call fails
//! immediately, each time, without side effects; calls that are already blocked wake up. A value
//! that was produced or granted before is never lost. The error is [`Cancelled`], which `?` passes
//! on. It knows the [cause](CancelCause) and the place of the cancel. Outside of any scope,
//! blocking points behave like their counterparts in the standard library.
//!
//! | to | use |
//! |---|---|
//! | cancel | [`TaskGroup::cancel`], [`TaskHandle::cancel`], [`CancelToken`] |
//! | check in code that computes | [`checkpoint`], [`is_cancelled`], [`CancellableExt::cancellable`] |
//! | clean up undisturbed | [`TaskGroup::on_release`], [`shield_for`], [`shield`] |
//! | let tasks finish work that they have begun | [`TaskGroup::cancel_gracefully`], [`winding_down`] |
//! | cancel a group from outside of it | [`Builder::parent`], [`current_token`] |
//! | cancel at Ctrl-C or SIGTERM | `signal::ctrl_c`, `signal::termination` |
//! | cancel by a request of a server on tokio that is dropped | `tokio_bridge` |
//!
//! A group absorbs its own cancel: after `g.cancel()`, a body that returns `Ok` makes the scope
//! return `Ok`.
//!
//! # Calls that wake on cancel
//!
//! | code that blocks in | wakes on cancel |
//! |---|---|
//! | [`sleep`], [`sleep_until`], [`park`], [`park_timeout`] | yes, at once |
//! | [`TaskHandle::join`], [`wait`](TaskHandle::wait), [`wait_timeout`](TaskHandle::wait_timeout); [`CancelToken::wait`] | yes, at once |
//! | the steps of [`TaskGroup::map`], [`map_unordered`](TaskGroup::map_unordered), [`as_completed`](TaskGroup::as_completed) | yes, at once; results that are ready are kept, and given where the scope is not cancelled, for example in a [`shield`] |
//! | [`TaskGroup::start`] | yes: it cancels the task that it starts, and returns when that task has ended |
//! | all of [`sync`]: [`Mutex`](sync::Mutex), [`RwLock`](sync::RwLock), [`Condvar`](sync::Condvar), [`Semaphore`](sync::Semaphore), [`RateLimiter`](sync::RateLimiter), [`Barrier`](sync::Barrier), [`Event`](sync::Event), [`Latch`](sync::Latch), [`WaitGroup`](sync::WaitGroup), [`OnceCell`](sync::OnceCell), [`Promise`](sync::Promise) | yes, at once; a lock or permit that was granted is kept |
//! | all of [`channel`]: `send`, `recv`, `iter`, [`select!`](channel::select!) | yes, at once; no message is lost |
//! | [`retry`](fn@retry) | yes: its pauses at once, and no attempt follows |
//! | all of `net`: `accept`, `connect`, reads, writes, `recv`, `send` | yes, at once; a read or a receipt loses nothing, a write that is cut in the middle breaks its stream |
//! | `net::lookup`, and the look-up of a name in other calls of `net` | yes: the thread that asks is left behind |
//! | all of `io`: reads of `stdin` and of pipes, writes to pipes, `Cancellable`, `open_fifo`, `lock_file` | yes, at once; no byte is lost. A `write_all` of more than `PIPE_BUF` bytes that is cut in the middle breaks its stream |
//! | `io::copy`, `io::read_to_end`, `io::read_to_string`, of files too | yes, between steps of 64 KiB; a read or write of this crate inside at once |
//! | [`abandon`] | yes: the thread that runs the code is left behind, and [`abandoned`] lists it |
//! | [`process`]: [`Command::status`](process::Command::status), [`output`](process::Command::output), [`Child::wait`](process::Child::wait), [`wait_with_output`](process::Child::wait_with_output) | yes: the child gets a signal, is killed after its grace, and is reaped before the call returns |
//! | reads and writes of the pipes of a child | yes, at once |
//! | a scope inside a task | yes: its tasks are cancelled, and it returns when they have ended |
//! | code that computes | where it calls [`checkpoint`] or [`yield_now`] |
//! | foreign code that can be interrupted | by the hook of [`with_cancel_hook`] or [`with_cancel_hook_repeating`], or a callback of [`CancelToken::on_cancel`] |
//! | anything else: single reads of files, calls of [`std::net`], foreign functions | no: the scope waits for it |
//!
//! # Time
//!
//! A deadline is a time at which a scope is cancelled: [`Builder::timeout`] and
//! [`Builder::deadline`] for a group, [`CancelToken::cancel_at`] for a token, [`timeout`] and
//! [`deadline`] for any piece of code. Code inside inherits the earliest deadline. [`remaining`]
//! says how much time is left, for clients and drivers that take a time limit. A [`timeout`] that
//! has passed is `None` and not an error.
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
//! [`retry`](fn@retry) calls code again after an error that may pass. The bound of the pauses
//! between doubles each time. It gives up before a pause that would last until the deadline.
//!
//! # Limits
//!
//! [`Builder::limit`] bounds how many tasks of a group run at once. The other tasks queue, in the
//! order of their spawns. A task that waits for tasks of its own group gives its permit to a queued
//! task, so nested use does not deadlock. In other waits it keeps its permit: the stages of a
//! pipeline, which wait for each other's messages, need a limit that lets all of them run at once.
//! [`TaskGroup::map`] pulls its input no further ahead than the limit, so an endless input needs no
//! endless memory. For a limit that several groups share, use [`sync::Semaphore`]; for a limit on
//! queued messages, use [`channel::bounded`]. For a limit on how often something is done, use
//! [`sync::RateLimiter`].
//!
//! # Structure
//!
//! Groups nest. A group that is opened inside a task is cancelled with the task. Its failure is an
//! error like any other, and its report is drawn below the one of the task. Tasks may spawn into
//! every group that they can see, their own included. A task may borrow only values that were made
//! before the group. The same holds for the tokens, channels and locks that tasks share, unless
//! each task gets its own clone. Clean-up that must run after all tasks have ended goes into
//! [`TaskGroup::on_release`].
//!
//! ```
//! use taskgroup::TaskGroup;
//!
//! let lengths = TaskGroup::scope(|outer| {
//!     let inner = outer.spawn(|| {
//!         // Ends before this task does, and is cancelled with it.
//!         let words: Vec<_> = TaskGroup::scope(|g| {
//!             let lengths = g.map(["a", "list"], |word| Ok(word.len()));
//!             Ok(lengths.collect::<Result<_, _>>()?)
//!         })?;
//!         Ok(words.iter().sum::<usize>())
//!     });
//!     Ok(inner.join()?)
//! })?;
//! assert_eq!(lengths, 5);
//! # Ok::<(), taskgroup::GroupError>(())
//! ```
//!
//! A value that all code of a request should see, such as its id, need not be passed on from call
//! to call: a [`ScopedValue`] is bound for a piece of code, and for the tasks of all groups that
//! are opened in it.
//!
//! # Foreign code
//!
//! A call of another library, or of std, knows nothing of scopes. If it is a call of `std::net`,
//! use the type of the same name in `net`. Otherwise there are three ways:
//!
//! - If something can wake the call, such as a shutdown of the socket, a message that ends a `recv`
//!   or a kill, do that in the hook of [`with_cancel_hook`].
//! - If nothing can, [`abandon`] runs the call on a thread that may be left behind.
//! - If the call returns soon, do nothing: the scope waits.
//!
//! [Other people's libraries] shows these ways for ureq, rusqlite, postgres, tiny_http and others,
//! with the trap of each.
//!
//! In the other direction, a server on tokio calls code that blocks with
//! `tokio_bridge::spawn_blocking`, which cancels that code when the future is dropped because the
//! client has gone.
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
//!         let read = taskgroup::with_cancel_hook(
//!             || _ = closer.shutdown(Shutdown::Both),
//!             || client.read_to_end(&mut answer),
//!         );
//!         taskgroup::checkpoint()?; // after a shutdown the read is `Ok`, the answer incomplete
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
//! A task costs about as much as a job of a thread pool, and may block for as long as it likes.
//! Threads are cached; their number grows with the tasks that block, not with the tasks that are
//! queued. An idle thread ends after ten seconds. If the system has no thread for a task, that is a
//! failure of the task, [`FailureKind::Spawn`]. A task may run on the thread that waits for it, so
//! it may share thread-locals and re-entrant locks with the waiting code.
//! [`TaskBuilder::dedicated`] asks for a thread of its own.
//!
//! - A worker keeps the signal mask, the processor affinity and, on Linux, the niceness of the
//!   thread that happened to start it, and runs the tasks of other threads with them.
//!   [`on_worker_start`] sets a hook that gives each worker the settings that all tasks need.
//! - Under `cargo test` a worker keeps the output capture of that thread too: a `println!` of a
//!   task may appear in the output of another test.
//! - Waits of this crate park the thread with [`std::thread::park`]. So a wait may consume an
//!   `unpark` of your own: check a condition of your own around each `park`, as std asks for.
//! - After a `fork`, the child can use this crate on the thread that forked: it begins without
//!   workers, outside of any scope. It cannot leave the scopes and the calls of
//!   [`with_cancel_hook`], or end the tasks, that it was forked in, since their other threads are
//!   not there: end it by `_exit`. Tokens, groups, channels and locks that were made before are
//!   copies, in which another thread may have been: do not wait for them, cancel them or drop them,
//!   unless no other thread used them. Do not touch what a task borrows from another thread. The
//!   process must have used the crate before, or not use it for the first time during the `fork`.
//!   Locks of others may stay locked in the child: those of `tracing`, of the standard streams, of
//!   signal-hook, if another thread set a handler at that moment, and one of std's, if another
//!   thread started or ended: then no thread can start in the child. One of some 3 000 children met
//!   that beside six busy threads. This is tested on Linux with glibc. A process made by `_Fork`,
//!   or by the system call itself, is not supported.
//!
//! # What runs, and what hangs
//!
//! | question | use |
//! |---|---|
//! | what does each task wait for, and which task holds the lock | [`snapshot`](fn@snapshot) |
//! | why does a cancelled scope not end | [`on_stall`], or the report on standard error; [`Builder::stall_after`] sets the delay |
//! | do threads wait for each other | the module [`deadlock`] |
//! | what does every thread do, where nothing else works | `dump_on_signal` |
//! | how many tasks ran, failed and were cancelled, and how soon they ended | [`TaskGroup::stats`], [`stats`](fn@stats) |
//! | where did the time go | spans and events of [`tracing`](https://docs.rs/tracing): with a subscriber, groups and tasks have spans, below the span that is current at their spawn |
//!
//! Events that no call can return, such as failures that a panic hides, go to `tracing` too. The
//! page [Seeing inside] has examples of all of these.
//!
//! # Features
//!
//! On by default, on Unix only:
//!
//! - `process`: child processes that a cancel ends. Includes `io`.
//! - `net`: the types of [`std::net`] and Unix sockets, with calls that wake on a cancel.
//! - `io`: the module `io`, with pipes, standard input, FIFOs, locks on files, copies, and any
//!   other descriptor that the system can poll.
//! - `signal`: tokens that Ctrl-C and SIGTERM cancel.
//!
//! Not on by default:
//!
//! - `crossbeam`: `channel::crossbeam`, functions that make the channels of `crossbeam-channel`
//!   cancellable.
//! - `eyre`: `eyre::Report` is a [`TaskError`].
//! - `serde`: [`Snapshot`] can be serialised, in a form with a version.
//! - `tokio`: `tokio_bridge`, which cancels the blocking work of a future that is dropped, and
//!   links tokens of this crate with a `CancellationToken`.
//!
//! # Beside std, rayon, crossbeam and tokio
//!
//! | | [`std::thread::scope`] | `rayon::scope` | `crossbeam::thread::scope` | `tokio::task::JoinSet` | this crate |
//! |---|---|---|---|---|---|
//! | tasks borrow from the caller | yes | yes | yes | no | yes |
//! | tasks may block | yes | they keep a worker | yes | no | yes |
//! | a task is | a thread | a job | a thread | a future | a job |
//! | the first failure ends the others | no | no | no | with `abort_all` | yes, where they block |
//! | the caller gets | that a thread panicked | the first panic | the panics | each result, if it asks | all errors and panics |
//! | at most n at once | - | threads of the pool | - | with a semaphore | `limit(n)` |
//! | deadlines | - | - | - | with `timeout` | for groups, tokens and code |
//!
//! Use rayon to compute on slices: it splits and steals work, and this crate does neither. Use
//! tokio for very many connections that are mostly idle. Use this crate for code that blocks.
//!
//! # Model-checking your own code
//!
//! Compiled with `--cfg loom`, this crate runs on the threads, locks and atomics of
//! [loom](https://docs.rs/loom). A model of your code may then use groups, [`sync`] and
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
//! A model runs once for each order, so it makes all values that it uses:
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
//!             // With a `load` and a `store` instead, loom would find the lost increment.
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
//! The flag applies to every crate of the build, so give that build a target directory of its own.
//! Two preemptions find most faults; without a bound the search is exhaustive:
//!
//! ```sh
//! export RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom
//! LOOM_MAX_PREEMPTIONS=2 cargo test --test models
//! ```
//!
//! - For data that tasks share, use loom's types (`loom::sync::atomic`, `loom::cell`, `loom::sync`)
//!   or types of [`sync`] and [`channel`]. loom sees nothing of std's and parking_lot's types, and
//!   a cancel wakes none of loom's own waits.
//! - loom has five threads, with the thread of the model, and each task takes one. So a run of a
//!   model has at most four tasks; at the next one loom fails with `self.threads.len() <
//!   self.max()`. Each task multiplies the orders to explore, so begin with two. No task runs on
//!   the thread that waits for it; otherwise tasks can do to each other the same as without loom.
//! - Time stands still. A wait with a time limit above zero lasts until it is woken or cancelled,
//!   and a deadline never comes.
//! - A panic in a task is a finding of the model and ends it. It is not a failure of the group, so
//!   tasks may assert.
//! - The constructors of [`sync`] are not `const` there, so a `static` cannot hold these types.
//! - The first panic that is printed is the finding: a `deadlock`, a `Causality violation`, or your
//!   assertion. Later ones, perhaps an abort, come from the threads that it leaves behind.
//!
//! The crate's own models are compiled from the same sources. Most are exhaustive; the others state
//! their bound on preemptions. `cargo test` in the repository runs them.
//!
#![doc = concat!("[tutorial]: ", env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/tutorial.md")]
#![doc = concat!("[example programs]: ", env!("CARGO_PKG_REPOSITORY"), "/tree/main/examples")]
#![doc = concat!("[cures]: ", env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/compile-errors.md")]
#![doc = concat!("[Other people's libraries]: ", env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/interop.md")]
#![doc = concat!("[design]: ", env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/design.md")]
#![doc = concat!("[checks]: ", env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/verification.md")]
#![doc = concat!("[performance]: ", env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/performance.md")]
#![doc = concat!("[platforms]: ", env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/platforms.md")]
#![doc = concat!("[Seeing inside]: ", env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/seeing.md")]
#![doc = concat!("[change log]: ", env!("CARGO_PKG_REPOSITORY"), "/blob/main/CHANGELOG.md")]
#![cfg_attr(docsrs, feature(doc_cfg), doc(auto_cfg(hide(loom))))]

// The doctests of the pages outside of the sources. docs/interop.md is compiled in
// examples/interop, with the crates that it shows.
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
    #[doc = include_str!("../docs/platforms.md")]
    mod platforms {}
    #[doc = include_str!("../docs/seeing.md")]
    mod seeing {}
}

#[cfg(doctest)]
mod compile_fail;

mod blocking;
mod cancel;
#[cfg(all(unix, not(loom), feature = "signal"))]
mod dump;
mod error;
mod facade;
mod group;
mod lanes;
mod panics;
#[cfg(all(
    unix,
    not(loom),
    any(feature = "net", feature = "io", feature = "process")
))]
#[allow(dead_code, reason = "each feature uses some of it")]
mod readiness;
mod retry;
mod scoped;
#[cfg(not(loom))]
mod snapshot;
mod stall;
mod trace;
mod waiting;
mod workers;

pub mod channel;
#[cfg(not(loom))]
pub mod deadlock;
/// In a model, loom finds deadlocks.
#[cfg(loom)]
mod deadlock {
    pub(crate) fn expect_wait() {}
}
// The compiler shows these lines to a program that names such a module where it is left out.
#[cfg(unix)] // Not for Windows: the page docs/platforms.md says what there is instead.
#[cfg(all(not(loom), feature = "io"))]
#[cfg_attr(docsrs, doc(cfg(all(unix, feature = "io"))))]
pub mod io;
#[cfg(unix)] // Not for Windows: the page docs/platforms.md says what there is instead.
#[cfg(all(not(loom), feature = "net"))]
#[cfg_attr(docsrs, doc(cfg(all(unix, feature = "net"))))]
pub mod net;
#[cfg(unix)] // Not for Windows: the page docs/platforms.md says what there is instead.
#[cfg(all(not(any(loom, target_os = "openbsd")), feature = "process"))]
#[cfg_attr(docsrs, doc(cfg(all(unix, feature = "process"))))]
pub mod process;
#[cfg(unix)] // Not for Windows: the page docs/platforms.md says what there is instead.
#[cfg(all(not(loom), feature = "signal"))]
#[cfg_attr(docsrs, doc(cfg(all(unix, feature = "signal"))))]
pub mod signal;
pub mod sync;
#[cfg(all(not(loom), feature = "tokio"))]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod tokio_bridge;

pub use blocking::{
    Abandoned, CancellableExt, CancellableIter, abandon, abandon_named, abandoned, checkpoint,
    current_token, deadline, is_cancelled, park, park_timeout, remaining, shield, shield_for,
    sleep, sleep_until, timeout, winding_down, with_cancel_hook, with_cancel_hook_repeating,
    yield_now,
};
pub use cancel::{
    CallbackGuard, CancelCause, CancelOnDrop, CancelToken, Cancelled, Retried, TaskId, TaskInfo,
    TaskLatency, TokenId, WorstLatencies,
};
#[doc(hidden)]
pub use cancel::{CallbackGuard as CancelGuard, CancelOnDrop as DropGuard};
#[cfg(all(unix, not(loom), feature = "signal"))]
#[cfg_attr(docsrs, doc(cfg(all(unix, feature = "signal"))))]
pub use dump::dump_on_signal;
#[doc(hidden)]
pub use error::probe as __probe;
pub use error::{
    Failure, FailureKind, GroupError, SpawnError, SpawnErrorKind, StartError, TaskError,
    install_panic_hook,
};
pub use group::{
    AsCompleted, Builder, GroupStats, LatencyHistogram, Map, MapUnordered, OnFailure, OnPanic,
    ProcessStats, Ready, TaskBuilder, TaskGroup, TaskHandle, TaskStatus, TaskWith, join, map, race,
    stats,
};
pub use panics::PanicPayload;
pub use retry::{Attempt, Backoff, Jitter, retry};
pub use scoped::ScopedValue;
#[cfg(not(loom))]
pub use snapshot::{
    GroupSnapshot, Holder, Inside, LimitSnapshot, ObjectId, RegionKind, Snapshot, TaskKind,
    TaskSnapshot, TaskState, Wait, WorkerSnapshot, snapshot,
};
pub use stall::StallPolicy;
#[cfg(not(loom))]
pub use stall::{Laggard, StallHook, StallReport, on_stall};
pub use workers::{WorkerHookError, on_worker_start};
