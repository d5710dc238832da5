//! Sockets whose reading side is shut, for calls that must not block.

use std::io;
use std::mem;
use std::os::fd::BorrowedFd;

#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::event::{PollFd, PollFlags, Timespec};

/// Whether the reading side of `fd` is shut.
///
/// The system reports such a socket as ready, and a blocking receipt of a datagram returns nothing,
/// a blocking accept of a Unix listener an error. Without blocking, both say that they would block.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[cold]
fn is_shut(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    // A time of zero: it returns at once.
    let polled = rustix::event::poll(&mut fds, Some(&Timespec::default()));
    polled.is_ok() && fds[0].revents().contains(PollFlags::RDHUP)
}

/// Here the calls say so themselves.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_shut(_fd: BorrowedFd<'_>) -> bool {
    false
}

/// Makes a call that never blocks tell of a socket that is [shut](is_shut): it then returns what
/// `at_the_end` does. Only a call that has waited asks, so `WouldBlock` comes first.
pub(crate) fn unless_shut<T>(
    fd: BorrowedFd<'_>,
    mut call: impl FnMut() -> io::Result<T>,
    at_the_end: impl Fn() -> io::Result<T>,
) -> impl FnMut() -> io::Result<T> {
    let would_block = |done: &io::Result<T>| {
        let error = done.as_ref().err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    let mut has_waited = false;
    move || {
        let done = call();
        if !would_block(&done) || !mem::replace(&mut has_waited, true) || !is_shut(fd) {
            return done;
        }

        // The last item may have come before the end, and after the call. Nothing comes after the
        // end.
        match call() {
            done if would_block(&done) => at_the_end(),
            done => done,
        }
    }
}
