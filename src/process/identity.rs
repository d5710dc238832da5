//! A child as the system knows it: what may be asked of its pid, and signalled to it.
//!
//! All of this runs under the lock of the child (see the invariants in [`super`]).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use rustix::process::{kill_process, kill_process_group};

#[cfg(not(target_os = "linux"))]
use super::by_pid as system;
#[cfg(target_os = "linux")]
use super::pidfd as system;

/// The pid of a child, and a descriptor that becomes readable when the child ends.
///
/// The descriptor lives as long as this value, so it is never closed under a thread that polls it,
/// and it stays readable: a thread that comes late sees the end as well.
#[derive(Debug)]
pub(super) struct Identity {
    pid: Pid,
    /// None if the system has no such descriptor, or none is left. Waits then look at the child
    /// from time to time.
    watch: Option<OwnedFd>,
}

/// The child is not there: another part of the program has reaped it, or the program ignores
/// SIGCHLD and the child has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl Gone {
    /// Returns the error of `waitpid` for a child that is not there.
    pub(super) fn error() -> io::Error {
        Errno::CHILD.into()
    }
}

impl Identity {
    /// Returns the identity of a child that has just been started, and whether it is gone already.
    pub(super) fn of(pid: Pid) -> (Self, Result<(), Gone>) {
        let mut identity = Identity {
            pid,
            watch: system::open(pid),
        };

        // A descriptor that the system cannot wait for is none to rely on.
        let mut seen = identity.peek();
        if identity.watch.is_some() && seen == Err(Errno::INVAL) {
            identity.watch = None;
            seen = identity.peek();
        }

        // The system itself reaps children where the program ignores SIGCHLD.
        let there = match seen {
            Err(Errno::CHILD) => Err(Gone),
            _ => Ok(()),
        };

        (identity, there)
    }

    /// Returns the identity of a child without a descriptor to poll.
    #[cfg(test)]
    pub(super) fn unwatched(pid: Pid) -> Self {
        Identity { pid, watch: None }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns the descriptor that becomes readable when the child ends.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    fn wait_id(&self) -> WaitId<'_> {
        system::wait_id(self.pid, self.watch())
    }

    /// Whether the child has ended. It stays as it is: its pid is not free before it is reaped.
    fn peek(&self) -> Result<bool, Errno> {
        // NOWAIT leaves the zombie, which holds the pid.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            match waitid(self.wait_id(), options) {
                // POSIX allows it, although the call does not block.
                Err(Errno::INTR) => {}
                seen => return seen.map(|status| status.is_some()),
            }
        }
    }

    /// Whether the child has ended and can be reaped.
    pub(super) fn has_ended(&self) -> Result<bool, Gone> {
        match self.peek() {
            Ok(has_ended) => Ok(has_ended),
            // The call has no other error: the options and the descriptor have been tried.
            Err(_) => Err(Gone),
        }
    }

    /// Reaps the child if it has ended. From then on its pid may be another's.
    pub(super) fn reap(&self) -> Result<Option<ExitStatus>, Gone> {
        loop {
            match system::reap(self.wait_id(), self.pid) {
                Ok(status) => return Ok(status),
                Err(Errno::INTR) => {}
                // The descriptor was tried before, so it is ECHILD.
                Err(_) => return Err(Gone),
            }
        }
    }

    /// Sends a signal to the child, which has not been reaped.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match system::signal(self.watch(), signal) {
            Some(sent) => Ok(sent?),
            // Invariant 1: the caller holds the lock, and has looked at the child under it.
            None => Ok(kill_process(self.pid, signal)?),
        }
    }

    /// Sends a signal to the process group that the child leads. The child has not been reaped, so
    /// the number of the group is its own.
    pub(super) fn signal_group(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process_group(self.pid, signal)?)
    }
}
