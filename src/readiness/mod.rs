//! Waits until a descriptor of the operating system is ready: the one place where threads of this
//! crate block in the kernel for the outside world.
//!
//! A call is tried first and waits only if it would block. So a call that finds its data costs one
//! system call, like std's. The calls themselves must never block: between the wait and the call,
//! another thread or process may take what the wait has seen.
//!
//! Nothing here changes a flag of a descriptor. A description may be shared with other processes.

mod pauses;
mod shut;
#[cfg(test)]
mod tests;

use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::cancel::Cancelled;
use crate::cancel::context::{self, Cancels, Outcome};
use crate::facade::Waker;
use crate::lanes::Object;
use crate::waiting::{Polled, WaitFor, WaitKind};
pub(crate) use pauses::Pauses;
#[cfg(any(feature = "io", feature = "net"))]
pub(crate) use shut::unless_shut;

/// How long a thread sleeps after a failed poll.
const AFTER_A_FAILED_POLL: Duration = Duration::from_millis(10);

/// The readiness that a call waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    /// A read, a receipt or an accept can be tried.
    Read,
    /// A write, a send or a connect can be tried.
    Write,
}

impl Interest {
    fn flags(self) -> PollFlags {
        match self {
            Interest::Read => PollFlags::IN,
            Interest::Write => PollFlags::OUT,
        }
    }
}

/// How long a call may wait for its descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    /// Not at all: the user has asked for a nonblocking descriptor.
    None,
    /// Until then.
    Until(Instant),
    /// As long as it takes.
    Forever,
}

/// Calls `call` until it returns something other than `WouldBlock`. Between the calls, blocks until
/// `fd` is ready.
///
/// `call` must not block. It is called again after `Interrupted`. `patience` is asked once, before
/// the first wait.
///
/// # Errors
///
/// The error of `call`, which is `WouldBlock` if the patience is at its end; or a [`Cancelled`] in
/// an error of the kind `Other`, if the current scope was cancelled, before or meanwhile.
#[inline]
#[track_caller]
pub(crate) fn retry<T>(
    kind: WaitKind,
    fd: BorrowedFd<'_>,
    interest: Interest,
    patience: impl FnOnce() -> io::Result<Patience>,
    mut call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let try_call = || loop {
        return match call() {
            // Not back to the poll: the data may be there, and the call never blocks.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ControlFlow::Continue(()),
            done => ControlFlow::Break(done),
        };
    };

    let limit = || match patience()? {
        // An error and not a limit in the past, with which the call would be tried once more.
        Patience::None => Err(would_block()),
        Patience::Until(limit) => Ok(Some(limit)),
        Patience::Forever => Ok(None),
    };

    // Set by a poll that reports something other than `interest`, such as an entry in the error
    // queue of a socket, which the call does not take. Each further poll would return at once.
    let mut is_told_of_other = false;
    let mut pauses = None;
    let poll = |waker: Option<&Waker>, limit: Option<Duration>| {
        if mem::take(&mut is_told_of_other) {
            let pauses = pauses.get_or_insert_with(|| Pauses::short(kind));
            return pause_once(waker, pauses.length_of_next(), limit);
        }

        let (polled, seen) = poll_one(fd, interest, waker, limit);
        is_told_of_other = !seen.is_empty() && !seen.intersects(interest.flags());
        polled
    };

    // std reports a limit that has passed as a call that would block.
    let what = kind.on(descriptor(fd));
    context::call_when_ready(what, limit, would_block, try_call, poll)
}

/// Waits in the kernel for one descriptor, once. Also returns the events that the system reports.
fn poll_one(
    fd: BorrowedFd<'_>,
    interest: Interest,
    waker: Option<&Waker>,
    limit: Option<Duration>,
) -> (Polled, PollFlags) {
    // On the stack, since each wait of a socket comes through here.
    let fd = PollFd::from_borrowed_fd(fd, interest.flags());
    match waker {
        None => {
            let mut fds = [fd];
            let polled = poll_once(&mut fds, Last::Watched, limit);
            (polled, fds[0].revents())
        }
        Some(waker) => {
            let mut fds = [fd, PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN)];
            let polled = poll_once(&mut fds, Last::Waker, limit);
            (polled, fds[0].revents())
        }
    }
}

/// Waits in the kernel for `pause` or a wake, and then lets the call be tried again.
fn pause_once(waker: Option<&Waker>, pause: Duration, limit: Option<Duration>) -> Polled {
    let limit = Some(limit.map_or(pause, |limit| limit.min(pause)));
    let polled = match waker {
        None => poll_once(&mut [], Last::Watched, limit),
        Some(waker) => {
            let waker = PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN);
            poll_once(&mut [waker], Last::Waker, limit)
        }
    };

    match polled {
        Polled::Woken => Polled::Woken,
        Polled::Ready | Polled::Neither => Polled::Ready,
    }
}

/// A descriptor, as something to wait for.
fn descriptor(fd: BorrowedFd<'_>) -> Object {
    Object::Descriptor(fd.as_raw_fd())
}

/// The error of a call that would have to wait, with the number that the system gives it.
fn would_block() -> io::Error {
    Errno::AGAIN.into()
}

/// A descriptor that a wait for several looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched<'fd> {
    fd: BorrowedFd<'fd>,
    interest: Interest,
    /// The events that the last wait found.
    seen: PollFlags,
}

impl<'fd> Watched<'fd> {
    pub(crate) fn new(fd: BorrowedFd<'fd>, interest: Interest) -> Self {
        Watched {
            fd,
            interest,
            seen: PollFlags::empty(),
        }
    }

    /// Whether the last wait found it ready. A descriptor with an error, or at its end, is ready.
    pub(crate) fn is_ready(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Whether the last wait found an error and nothing else. For a socket that need not be an
    /// error that a call returns: a notice in its error queue looks the same.
    #[cfg(feature = "io")]
    pub(crate) fn has_only_an_error(&self) -> bool {
        self.seen == PollFlags::ERR
    }
}

/// Blocks until one of `watched` is ready, and returns true, or until `limit`.
/// [`Watched::is_ready`] then tells which of them are.
///
/// # Errors
///
/// The current scope was cancelled, before or meanwhile.
#[track_caller]
pub(crate) fn poll(
    what: impl Into<WaitFor>,
    watched: &mut [Watched<'_>],
    limit: Option<Instant>,
) -> Result<bool, Cancelled> {
    poll_all(what.into(), Cancels::EndIt, watched, limit)
}

/// Like [`poll`], but no cancel ends the wait.
#[track_caller]
pub(crate) fn poll_uncancellable(
    what: impl Into<WaitFor>,
    watched: &mut [Watched<'_>],
    limit: Option<Instant>,
) -> bool {
    match poll_all(what.into(), Cancels::AreIgnored, watched, limit) {
        Ok(ready) => ready,
        Err(_) => unreachable!("no cancel ends the wait"),
    }
}

#[track_caller]
fn poll_all(
    what: WaitFor,
    cancels: Cancels,
    watched: &mut [Watched<'_>],
    limit: Option<Instant>,
) -> Result<bool, Cancelled> {
    // The first of several descriptors is shown, unless the caller knows better.
    let first = watched.first();
    let what = what.or_on(first.map_or(Object::None, |first| descriptor(first.fd)));
    let outcome = context::poll(what, cancels, limit, |waker, limit| {
        // The system call takes one slice.
        let fds = watched.iter();
        let fds = fds.map(|one| PollFd::from_borrowed_fd(one.fd, one.interest.flags()));
        let waker_fd = waker.map(|waker| PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN));
        let mut fds: Vec<_> = fds.chain(waker_fd).collect();

        let last = waker.map_or(Last::Watched, |_| Last::Waker);
        let polled = poll_once(&mut fds, last, limit);
        // The waker comes last and falls out here. After a failed poll the kernel has written no
        // state, and these descriptors had none before.
        for (one, fd) in watched.iter_mut().zip(&fds) {
            one.seen = fd.revents();
        }
        polled
    })?;
    Ok(outcome == Outcome::Ready)
}

/// The role of the last descriptor of a poll.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// One of the descriptors that the call waits for.
    Watched,
    /// The waker of the thread.
    Waker,
}

/// Waits in the kernel, once.
fn poll_once(fds: &mut [PollFd<'_>], last: Last, limit: Option<Duration>) -> Polled {
    // A time that is too long to express is not a limit.
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());

    match rustix::event::poll(fds, limit.as_ref()) {
        // A signal handler of the program may have run for a long time. The caller computes the
        // limit again.
        Ok(0) | Err(Errno::INTR) => Polled::Neither,
        Ok(ready) => {
            let is_woken =
                last == Last::Waker && fds.last().is_some_and(|waker| !waker.revents().is_empty());
            // With another descriptor ready, the call is tried first: data beats a late wake, and a
            // cancel is still seen before the next wait.
            if ready == 1 && is_woken {
                Polled::Woken
            } else {
                // A descriptor with an error counts: the call that is tried returns the error.
                Polled::Ready
            }
        }
        // The system has no memory for the wait, or the process may no longer poll descriptors: a
        // sandbox lowers that limit. It is unknown which descriptor is ready, so the call is tried
        // again after a while.
        Err(_) => {
            std::thread::sleep(AFTER_A_FAILED_POLL);
            Polled::Ready
        }
    }
}
