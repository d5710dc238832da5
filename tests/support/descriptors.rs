//! Helpers of the tests of I/O: calls that are cancelled inside, pipes that are full, and
//! pseudo-terminals.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

use std::fmt;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use taskgroup::Cancelled;

/// More than a pipe holds.
pub(crate) const MUCH: usize = 1 << 20;

/// Fails unless the call was cancelled.
#[track_caller]
pub(crate) fn assert_cancelled<T: fmt::Debug>(outcome: std::io::Result<T>) {
    let error = outcome.expect_err("the scope is cancelled");
    assert_eq!(error.kind(), ErrorKind::Other, "{error:?}");
    assert!(Cancelled::find(&error).is_some(), "{error:?}");
}

/// Runs `call` under a token that is cancelled once the call is blocked.
#[allow(unused_imports, reason = "each test binary uses a part of this module")]
pub(crate) use super::blocked::{
    cancelled_while_blocked as cancelled_inside, in_a_cancelled_scope,
};

/// The number of bytes that can be read.
pub(crate) fn filling(end: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(end).expect("the descriptor knows its filling")
}

/// Writes until there is no room left. Returns the number of bytes.
pub(crate) fn fill(writer: impl AsFd) -> usize {
    let flags = fcntl_getfl(&writer).expect("it is open");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("it takes the flag");
    let mut filled = 0;
    while let Ok(written) = rustix::io::write(&writer, &[0; 4096]) {
        filled += written;
    }
    fcntl_setfl(&writer, flags).expect("it takes the flag");
    filled
}

/// Opens a new pseudo-terminal without echo. Returns the program's side, which is a terminal, and
/// the side of the user.
pub(crate) fn terminal() -> (OwnedFd, OwnedFd) {
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the system has terminals");
    grantpt(&user).expect("the terminal is ours");
    unlockpt(&user).expect("the terminal is ours");
    let path = ptsname(&user, Vec::new()).expect("it has a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let program = rustix::fs::open(path, flags, Mode::empty()).expect("it can be opened");

    let mut settings = tcgetattr(&program).expect("it is a terminal");
    settings.local_modes -= LocalModes::ECHO;
    tcsetattr(&program, OptionalActions::Now, &settings).expect("it is a terminal");
    (program, user)
}
