//! Child processes that a cancel ends: [`std::process`], with waits that are blocking points.
//!
//! [`Command`] starts programs, with std's names and defaults. A cancel of the scope around
//! [`Command::status`], [`Command::output`] or [`Child::wait`] ends the child: it gets a signal, is
//! killed if it still runs when its grace is over, and is reaped before the call returns. A
//! [`Child`] that is dropped unwaited is ended in the same way by a thread of the crate. So a child
//! ends with the code that waits for it, and none is left as a zombie.
//!
//! ```
//! use taskgroup::process::Command;
//! use taskgroup::TaskGroup;
//!
//! let error = TaskGroup::scope(|g| {
//!     g.spawn(|| Ok(Command::new("sleep").arg("60").status()?)); // ended by the failure below
//!     g.spawn(|| {
//!         let status = Command::new("sh").args(["-c", "exit 3"]).status()?;
//!         anyhow::ensure!(status.success(), "the program failed: {status}");
//!         Ok(())
//!     });
//!     Ok(())
//! })
//! .unwrap_err();
//! assert_eq!(error.failures().len(), 1);
//! ```
//!
//! # Compared with std
//!
//! | | [`std::process`] | this module |
//! |---|---|---|
//! | a wait in a cancelled scope | goes on | ends the child |
//! | wait in one thread, kill in another | both need `&mut` | [`wait`](Child::wait), [`kill`](Child::kill) and [`stop`](Child::stop) take `&self` |
//! | a handle that is dropped | the child runs on, and stays a zombie | the child is ended and reaped; [`detach`](Child::detach) lets it run on |
//! | processes that the child leaves behind | live on, and hold up `output` | [`own_group`](Command::own_group), [`pipe_delay`](Command::pipe_delay) |
//!
//! # What the program must leave alone
//!
//! A program that ignores SIGCHLD, or calls `waitpid` for any child (`-1`), takes the status of
//! children away from this module. Waits then end with `ECHILD` when the child has ended; they
//! never hang. Processes that a child leaves behind in its group cannot be ended then.
//
// # The states of a child, and which threads handle it
//
// The system: Unreaped (it runs, or is a zombie) -> Reaped(status) or Gone (another part of the
// program was quicker). This crate: No -> Asked (has its signal, is killed at an instant) ->
// Killed. Both are in `state::State`, under the lock of the child.
//
// A child is looked after by the threads that wait in its handle. The first that finds it ended
// reaps it; the others find its status. A thread of a cancelled scope asks it to end, and
// stays until it has. When the handle is dropped, the reaper thread takes it over (`reaper`).
//
// # Invariants
//
// 1. No pid and no group is signalled after its number may have been given to another process. The
//    system gives a number away only after the reap. All signals and the reap happen under the lock
//    of the child, and a signal is sent only in the stage Unreaped. Where the system has pidfds,
//    signal and reap name the child by its pidfd, which is right even if another part of the
//    program reaps the child at that moment. For a group, and without pidfds, the child is looked
//    for with WNOWAIT directly before the signal.
// 2. The end of a child wakes all threads that wait for it, even if one reaps it first. They poll
//    its pidfd, which stays readable, and which lives as long as `Process`: each waiting thread
//    holds the handle, and the reaper an `Arc`. Where there is no pidfd, no thread sleeps for
//    longer than `LookPauses::LONGEST`.
// 3. A group that is to end is sent SIGKILL after its leader has ended and before the leader is
//    reaped: until then, the zombie holds the number of the group. So the reap itself does it, and
//    any thread may do the reap.
// 4. No call that a cancel ends returns before the child has ended, unless it may not be signalled.
//
// # The order of the locks
//
// The lock of a child and the lock of the reaper's list are never held together. No system call
// under either blocks. No user code runs under them.

#[cfg(not(target_os = "linux"))]
mod by_pid;
mod child;
mod command;
mod ending;
mod identity;
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd"
))]
mod kqueue;
mod look;
mod output;
mod partial;
#[cfg(target_os = "linux")]
mod pidfd;
mod reaper;
mod state;
mod stdio;
mod stopping;
mod streams;

pub use child::Child;
pub use command::Command;
pub use partial::Partial;
pub use std::process::{
    CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination, abort, exit, id,
};
pub use stdio::{ChildStderr, ChildStdin, ChildStdout};
