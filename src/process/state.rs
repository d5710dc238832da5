//! The state of one child, shared by its handle, the threads that wait for it and the reaper.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::ending::Ending;
use super::identity::{Gone, Identity};
use super::look::LookPauses;
use crate::cancel::context;
use crate::facade::{Mutex, MutexGuard};
use crate::readiness::{Interest, Watched};

/// A child process. See the invariants in [`super`].
pub(super) struct Process {
    identity: Identity,
    ending: Ending,
    state: Mutex<ChildState>,
}

#[derive(Debug)]
struct ChildState {
    stage: Stage,
    stop: Stop,
    /// The cancel of a thread that waits for the child was the first to ask it to end.
    is_cut: bool,
}

impl ChildState {
    fn new(stage: Stage) -> Self {
        ChildState {
            stage,
            stop: Stop::No,
            is_cut: false,
        }
    }
}

/// How far the system is with the child.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It runs, or has ended and can be reaped.
    Unreaped,
    /// It was reaped, with this status.
    Reaped(ExitStatus),
    /// Another part of the program, or the system itself, has reaped it.
    Gone,
}

/// How far this crate is with ending the child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    /// It was not asked to end.
    No,
    /// It has got its signal, and is killed at the instant.
    Asked { kill_at: Option<Instant> },
    /// It has been sent SIGKILL.
    Killed,
}

/// Why a child is asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    /// A handle was dropped, or a call asks for it.
    Request,
    /// The scope of a thread that waits for it was cancelled.
    Cancel,
}

/// The answer to a request that a child end.
#[derive(Debug)]
pub(super) enum Asked {
    /// It had ended by itself.
    HadEnded(ExitStatus),
    /// It ends because it was asked to, if it has not yet.
    Ends,
}

impl Process {
    pub(super) fn new(pid: Pid, ending: Ending) -> Self {
        let (identity, there) = Identity::of(pid);
        Process {
            identity,
            ending,
            state: Mutex::new(ChildState::new(match there {
                Ok(()) => Stage::Unreaped,
                Err(Gone) => Stage::Gone,
            })),
        }
    }

    /// Returns the state of a child without a descriptor to poll.
    #[cfg(test)]
    pub(super) fn unwatched(pid: Pid, ending: Ending) -> Self {
        Process {
            identity: Identity::unwatched(pid),
            ending,
            state: Mutex::new(ChildState::new(Stage::Unreaped)),
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.identity.pid()
    }

    /// Returns what becomes ready when the child ends, if there is a descriptor for it.
    pub(super) fn watched(&self) -> Option<Watched<'_>> {
        let watch = self.identity.watch()?;
        Some(Watched::new(watch, Interest::Read))
    }

    /// Whether the child has ended. Reaps nothing.
    ///
    /// # Errors
    ///
    /// ECHILD, if another part of the program has reaped the child.
    pub(super) fn has_ended(&self) -> io::Result<bool> {
        let mut state = self.state.lock();
        self.peek(&mut state)
    }

    /// Reaps the child if it has ended, and returns its status.
    ///
    /// # Errors
    ///
    /// ECHILD, if another part of the program has reaped the child.
    pub(super) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let mut state = self.state.lock();
        self.reap(&mut state)
    }

    /// Sends the child, or its group, SIGKILL, unless it has been reaped.
    pub(super) fn kill(&self) -> io::Result<()> {
        let mut state = self.state.lock();

        // A child that is gone no longer has a pid: invariant 1. A child that has ended may have
        // left others of its group.
        if self.peek(&mut state).is_err() {
            return Ok(());
        }
        match state.stage {
            Stage::Unreaped => self.kill_now(&mut state),
            Stage::Reaped(_) | Stage::Gone => Ok(()),
        }
    }

    /// Kills the child now, if it was asked to end.
    pub(super) fn kill_if_asked(&self) {
        let mut state = self.state.lock();
        let is_there = self.peek(&mut state).is_ok_and(|ended| !ended);

        if is_there && state.stop != Stop::No {
            // A child that may not be signalled ends by itself.
            let _ = self.kill_now(&mut state);
        }
    }

    /// Sends the signal that asks the child to end, unless it was sent before.
    ///
    /// # Errors
    ///
    /// ECHILD, if another part of the program has reaped the child. `PermissionDenied`, if this
    /// process may not signal it.
    pub(super) fn ask_to_end(&self) -> io::Result<Asked> {
        self.ask(By::Request)
    }

    fn ask(&self, by: By) -> io::Result<Asked> {
        let mut state = self.state.lock();
        let is_first = state.stop == Stop::No;

        // A child that had ended by itself gets no signal, and its status is not a consequence of
        // one.
        if is_first && self.peek(&mut state)? {
            // Invariant 3: the reap ends the rest of the group, if the child counts as stopped.
            state.stop = Stop::Killed;
            let reaped = self.reap(&mut state);
            // It was not: the next thread that asks is told so too.
            state.stop = Stop::No;
            return match reaped? {
                Some(status) => Ok(Asked::HadEnded(status)),
                None => unreachable!("a child that has ended can be reaped under its lock"),
            };
        }

        if is_first {
            self.signal(self.ending.signal)?;
            // The grace begins once the signal is sent. A grace that no instant can express never
            // ends.
            state.stop = Stop::Asked {
                kill_at: Instant::now().checked_add(self.ending.grace),
            };
            state.is_cut = by == By::Cancel;
            // A stopped child sees no other signal before this one.
            self.signal(Signal::CONT)?;
        }
        Ok(Asked::Ends)
    }

    /// Kills the child if its grace is over. Returns when it will be.
    ///
    /// # Errors
    ///
    /// `PermissionDenied`, if this process may not signal it.
    pub(super) fn enforce(&self) -> io::Result<Option<Instant>> {
        let mut state = self.state.lock();
        match state.stop {
            Stop::Asked {
                kill_at: Some(kill_at),
            } if kill_at <= Instant::now() => {
                // Invariant 1: a child that is gone or has ended is not signalled.
                if !self.peek(&mut state).unwrap_or(true) {
                    self.kill_now(&mut state)?;
                }
                Ok(None)
            }
            Stop::Asked { kill_at } => Ok(kill_at),
            Stop::No | Stop::Killed => Ok(None),
        }
    }

    /// Blocks until the child that was asked to end has ended, and reaps it.
    ///
    /// # Errors
    ///
    /// The errors of [`try_wait`](Self::try_wait) and [`enforce`](Self::enforce).
    #[track_caller]
    fn see_it_end(&self) -> io::Result<ExitStatus> {
        let mut look = LookPauses::at(self.pid());
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }

            // Several threads may have asked. Each of them starts the grace.
            let limit = self.enforce()?;
            look.pause_uncancellable(self.watched(), Vec::new(), limit);
        }
    }

    /// Ends the child and reaps it, even in a cancelled scope.
    ///
    /// # Errors
    ///
    /// The errors of [`ask_to_end`](Self::ask_to_end).
    #[track_caller]
    pub(super) fn stop(&self) -> io::Result<ExitStatus> {
        match self.ask_to_end()? {
            Asked::HadEnded(status) => Ok(status),
            Asked::Ends => self.see_it_end(),
        }
    }

    /// Blocks until the child has ended, and reaps it. A cancel of the scope ends the child.
    ///
    /// # Errors
    ///
    /// The cancel, or ECHILD.
    #[track_caller]
    pub(super) fn wait(&self) -> io::Result<ExitStatus> {
        // The cancel came first, so it is the result, whatever the child has done.
        if let Err(cancelled) = context::check() {
            self.stop_for_cancel();
            return Err(cancelled.into());
        }

        let mut look = LookPauses::at(self.pid());
        loop {
            if let Some(status) = self.try_wait()? {
                return self.unless_cut(status);
            }

            if let Err(cancelled) = look.pause(self.watched(), Vec::new(), None) {
                return match self.stop_for_cancel() {
                    // The end came first.
                    Some(status) => Ok(status),
                    None => Err(cancelled.into()),
                };
            }
        }
    }

    /// Returns the status of the child, unless a cancel of this scope has ended it: another thread
    /// that waits may have been quicker to see the cancel.
    fn unless_cut(&self, status: ExitStatus) -> io::Result<ExitStatus> {
        let is_cut = self.state.lock().is_cut;
        if is_cut {
            // The cancel may still be on its way to this scope.
            context::check_ancestors()?;
        }
        Ok(status)
    }

    /// Ends and reaps the child. Returns its status if it had ended by itself.
    ///
    /// A child that cannot be signalled, or is gone, is left as it is: the caller returns the
    /// cancel in any case.
    #[track_caller]
    fn stop_for_cancel(&self) -> Option<ExitStatus> {
        match self.ask(By::Cancel) {
            Ok(Asked::HadEnded(status)) => Some(status),
            Ok(Asked::Ends) => {
                // Invariant 4: the child has ended before the call returns its cancel.
                let _ = self.see_it_end();
                None
            }
            Err(_) => None,
        }
    }

    /// Returns whether the child has ended, and notes that it is gone.
    fn peek(&self, state: &mut MutexGuard<'_, ChildState>) -> io::Result<bool> {
        match state.stage {
            Stage::Reaped(_) => Ok(true),
            Stage::Gone => Err(Gone::error()),
            Stage::Unreaped => self.identity.has_ended().map_err(|Gone| {
                // For good: the number may be another process's from here on.
                state.stage = Stage::Gone;
                Gone::error()
            }),
        }
    }

    /// Reaps the child if it has ended, and the rest of its group with it if it was to end.
    fn reap(&self, state: &mut MutexGuard<'_, ChildState>) -> io::Result<Option<ExitStatus>> {
        // Invariant 3: the rest of a group that is to end goes while its leader holds the number.
        let ends_group = self.ending.group && state.stop != Stop::No;
        if ends_group && matches!(state.stage, Stage::Unreaped) {
            if !self.peek(state)? {
                return Ok(None);
            }

            // It fails if no other member is left.
            let _ = self.identity.signal_group(Signal::KILL);
        }

        match state.stage {
            Stage::Reaped(status) => Ok(Some(status)),
            Stage::Gone => Err(Gone::error()),
            Stage::Unreaped => match self.identity.reap() {
                Ok(status) => {
                    if let Some(status) = status {
                        // Under the lock of the reap, so no thread signals in between.
                        state.stage = Stage::Reaped(status);
                    }
                    Ok(status)
                }
                Err(Gone) => {
                    state.stage = Stage::Gone;
                    Err(Gone::error())
                }
            },
        }
    }

    fn kill_now(&self, state: &mut MutexGuard<'_, ChildState>) -> io::Result<()> {
        self.signal(Signal::KILL)?;
        // Not before: after an error the next look tries again.
        state.stop = Stop::Killed;
        Ok(())
    }

    /// Signals the child, or its group. Under the lock, and not after the reap: invariant 1.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let sent = if self.ending.group {
            self.identity.signal_group(signal)
        } else {
            self.identity.signal(signal)
        };

        match sent {
            // It has ended meanwhile, and will be reaped.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => Ok(()),
            sent => sent,
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Process")
            .field("pid", &self.pid().as_raw_nonzero())
            .field("stage", &state.stage)
            .field("stop", &state.stop)
            .finish_non_exhaustive()
    }
}

/// Children without a descriptor for their end, as on systems that have none.
#[cfg(test)]
mod tests;
