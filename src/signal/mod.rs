//! Tokens that Ctrl-C and the signals of termination cancel. Needs the feature `signal`, which is
//! on by default; on Unix only.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! # fn main() -> anyhow::Result<()> {
//! let stop = taskgroup::signal::termination()?;
//! let served = stop.run(|| loop {
//!     taskgroup::sleep(Duration::from_secs(1))?; // wakes at the first signal
//! });
//! # let served: anyhow::Result<()> = served;
//! if let Some(cancelled) = stop.cancelled() {
//!     eprintln!("stopped by {}", cancelled.cause()); // stopped by SIGTERM
//! }
//! # served
//! # }
//! ```
//!
//! # A graceful end
//!
//! A signal cancels its token at once, without a grace. So a server that lets requests end does not
//! take the token as a [`parent`](crate::Builder::parent). Its body waits for the token, and then
//! cancels the group [gracefully](crate::TaskGroup::cancel_gracefully), which spares code inside
//! [`winding_down`](crate::winding_down):
//!
//! ```no_run
//! use std::time::Duration;
//! use taskgroup::{TaskGroup, channel, winding_down};
//!
//! # fn main() -> anyhow::Result<()> {
//! let stop = taskgroup::signal::termination()?;
//! let (_requests, queue) = channel::unbounded::<Duration>();
//! TaskGroup::scope(|g| {
//!     g.spawn(|| {
//!         for request in &queue {
//!             let request = request?; // the wait for a request ends at once
//!             winding_down(|| taskgroup::sleep(request))?; // a request that has begun is finished
//!         }
//!         Ok(())
//!     });
//!     stop.wait()?; // also ends if a task fails
//!     g.cancel_gracefully_because(Duration::from_secs(10), "a signal");
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a signal does
//!
//! | the signal | and it |
//! |---|---|
//! | is the first, and a token is registered for it | cancels all tokens that are registered for it |
//! | comes after a signal that has cancelled a token | ends the process at once, of that signal, even in the middle of clean-up. As process 1 of a container, for which the system has no default action, the process exits with the code 128 plus the number of the signal |
//! | comes when no token is registered for it | does what it did before the first call of this module: by default, it ends the process |
//! | was ignored when the process began | stays ignored: SIGHUP under `nohup`, SIGINT of a job that a shell runs in the background. SIGTERM is the exception, and is always taken |
//!
//! The second signal need not be of the kind of the first: after a SIGTERM that has cancelled a
//! token of [`termination`](termination()), a SIGINT ends the process.
//!
//! A token is there until the last of its clones, of its children and of the scopes under it has
//! gone. So keep the token, or run the program under it, for as long as signals are to be handled.
//!
//! # Other handlers
//!
//! All parts of a program may call these functions, and every token is cancelled. Handlers that
//! were set before, by the crate `signal-hook` or by hand, are called first, also for the second
//! signal, which then ends the process. Set them before the first call of this module: it does not
//! know of handlers that are registered with `signal-hook` later. They are not called for a signal
//! that ends the process, and without a token it ends in spite of them. A handler that is set by
//! hand later replaces this module's.
//!
//! Children of this process get the signals of a terminal too, since they are in the same process
//! group. A child that is also stopped by this process, and handles signals in this way itself,
//! gets two of them and ends at once. A child that is to clean up is started in a group of its own.
//! Children begin with the default actions, but inherit which signals are ignored.

// # State
//
// | state | meaning | changed by |
// |---|---|---|
// | `Signal::ends` | the next such signal ends the process | the handlers of all signals, which set it; under the lock of the registry, when the first token comes or the last one goes |
// | `Signal::received` | such a signal has come while it had a token | the handler, which sets it for good; a child of `fork` clears it |
// | the registry | the tokens, and the actions that are registered | under its lock |
//
// # Invariants
//
// 1. While a signal has no token, it acts as before. If that was the default,
//    `ends` is set, and the registered actions stay: without them the signal would be ignored,
//    since `signal-hook` never takes its handler out. Otherwise no actions are registered.
// 2. A handler first ends the process if `ends` is set, and then sets `ends`, before it wakes the
//    thread. So no cancel can be seen before the next signal ends the process, whatever the
//    program, its callbacks or the thread are doing. Only two signals that run their handlers at
//    the same time count as one, like two that the system has not delivered yet.
// 3. A cancel happens on the thread of this module, which all signals of the process share. The
//    handlers only set flags and write to a pipe, since a cancel takes locks. The thread goes by
//    the flags: a byte in the pipe may come from a fork of this process that has not called `exec`
//    yet.
// 4. A token leaves the registry as its node is dropped. The node keeps its place in the registry.
// 5. A child of `fork` has the actions and none of the tokens. So before `fork` returns it clears
//    `received`, and sets `ends` where the actions stand in for the default action. It takes other
//    actions back when it first uses this module. Until its first token for a signal, the actions
//    wake the thread of the parent, which finds nothing. A child that does not know its actions
//    leaves them: a handler of the program is still called, and the second signal ends the child.
//
// # Lock order
//
// The lock of the registry is taken with no other lock of this crate held. The locks of
// `signal-hook` are taken inside it. No user code runs under it, and no node is dropped.

mod before;
mod disposition;
#[cfg(target_os = "linux")]
mod linux;
mod listeners;
#[cfg(any(test, not(target_os = "linux")))]
mod shell;
#[allow(clippy::module_inception, reason = "the kinds of signals")]
mod signal;

use std::io;
use std::panic::Location;

use signal::Signal;

use crate::cancel::CancelToken;

/// Returns a token that the first SIGINT cancels, which a terminal sends at Ctrl-C.
///
/// The cause of the cancel is [`CancelCause::Signal`](crate::CancelCause::Signal), and reads
/// "SIGINT". The next signal ends the process as if it was not handled. After the last clone of the
/// token was dropped, the signal acts as before. If the process was started with SIGINT ignored, no
/// signal cancels the token. See [the module](self) for the details.
///
/// Each call returns a new token. After the first SIGINT has cancelled a token, it is cancelled
/// already.
///
/// The first call starts a thread, which cancels the tokens of all signals and runs their
/// callbacks.
///
/// # Errors
///
/// If the system refuses the thread, a pipe or the handler.
///
/// ```
/// use std::time::Duration;
///
/// # fn main() -> anyhow::Result<()> {
/// let stop = taskgroup::signal::ctrl_c()?;
/// stop.run(|| taskgroup::sleep(Duration::from_millis(1)))?;
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn ctrl_c() -> io::Result<CancelToken> {
    listeners::listen(&[Signal::Interrupt], Location::caller())
}

/// Returns a token that the first SIGINT, SIGTERM or SIGHUP cancels.
///
/// These signals ask a program to end: Ctrl-C, `kill`, a service manager or a container that stops,
/// a terminal that is closed. The cause of the cancel is
/// [`CancelCause::Signal`](crate::CancelCause::Signal) and names the signal, for example "SIGTERM".
/// All else is like with [`ctrl_c`].
///
/// # Errors
///
/// Like [`ctrl_c`].
///
/// ```
/// use taskgroup::TaskGroup;
///
/// # fn main() -> anyhow::Result<()> {
/// let stop = taskgroup::signal::termination()?;
/// let answer = TaskGroup::builder().parent(&stop).scope(|g| Ok(g.spawn(|| Ok(42)).join()?))?;
/// assert_eq!(answer, 42);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn termination() -> io::Result<CancelToken> {
    listeners::listen(&Signal::ALL, Location::caller())
}
