//! The descriptor that standard input is read from.

use std::io::{self, IoSliceMut, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, Stat, fstat};
use rustix::io::Errno;

use super::access::{Access, Way, is_a_lack};
use crate::cancel::context;
use crate::waiting::WaitKind;

/// How the descriptor 0 is read. Decided again whenever it has become another file.
#[derive(Debug)]
pub(super) struct StdinSource {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// The device and the number of the file.
    file: (u64, u64),
    access: Access,
    /// The terminal, in a description of its own: one of the shell's would have to be read with a
    /// call that blocks if another process takes the line first, or its flags changed.
    own: Option<OwnedFd>,
    /// There was no descriptor left to open the terminal anew, so the next read tries it again.
    is_for_now: bool,
}

impl StdinSource {
    pub(super) const fn new() -> Self {
        StdinSource { open: None }
    }

    /// Reads. A closed descriptor is at its end, as in std.
    #[track_caller]
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        context::check()?;

        let stdin = rustix::stdio::stdin();

        // Asked each time: the program may have put another file in the place of the first.
        let stat = match fstat(stdin) {
            Err(Errno::BADF) => {
                // Its own description goes with it: the other end of a pipe must not wait.
                self.open = None;
                return Ok(0);
            }
            stat => stat?,
        };

        let file = identity(&stat);
        let open = match self.open.take() {
            Some(open) if open.file == file && !open.is_for_now => self.open.insert(open),
            _ => self.open.insert(Open::new(stdin, &stat)?),
        };

        let fd = open.own.as_ref().map_or(stdin, |own| own.as_fd());
        match open
            .access
            .read(WaitKind::Stdin, fd, &mut [IoSliceMut::new(buf)])
        {
            // It was closed meanwhile, or is open to be written to only. std calls both an end.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BADF) => Ok(0),
            done => done,
        }
    }
}

impl Open {
    fn new(stdin: BorrowedFd<'_>, stat: &Stat) -> io::Result<Self> {
        let own = open_anew(stdin, stat);
        let is_for_now = own.as_ref().is_err_and(|error| is_a_lack(*error));
        let own = own.ok();
        let way = match own {
            // Invariant 2: the description is this module's own.
            Some(_) => Way::Nonblocking,
            None => Way::of(stdin)?,
        };
        Ok(Open {
            file: identity(stat),
            access: Access::new(way),
            own,
            is_for_now,
        })
    }
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the types differ from system to system"
)]
fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// Opens the terminal that is standard input once more, nonblocking. Fails if it is no terminal, or
/// if the system does not let it be opened: then it is polled before each read.
fn open_anew(stdin: BorrowedFd<'_>, stat: &Stat) -> Result<OwnedFd, Errno> {
    if !stdin.is_terminal() || is_multiplexer(stat) {
        return Err(Errno::NOTTY);
    }

    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = open_terminal(stdin, flags)?;

    // The path may lead to another device, for example in a container.
    let is_same = fstat(&fd).is_ok_and(|own| own.st_rdev == stat.st_rdev) && fd.is_terminal();
    if !is_same {
        return Err(Errno::STALE);
    }

    // Away from the numbers of standard streams that the program has closed and may open again.
    rustix::io::fcntl_dupfd_cloexec(&fd, 3)
}

#[cfg(target_os = "linux")]
fn open_terminal(_: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open("/proc/self/fd/0", flags, Mode::empty())
}

#[cfg(not(target_os = "linux"))]
fn open_terminal(stdin: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = rustix::termios::ttyname(stdin, Vec::new())?;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Whether to open the file would make a new pseudo-terminal instead: `/dev/ptmx`.
#[cfg(target_os = "linux")]
fn is_multiplexer(stat: &Stat) -> bool {
    (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    ) == (5, 2)
}

#[cfg(not(target_os = "linux"))]
fn is_multiplexer(_: &Stat) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// Another thread may put another file in the place of standard input meanwhile.
    #[test]
    fn a_terminal_that_is_another_by_the_time_it_is_opened_is_not_read() {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&user).expect("the terminal is ours");
        unlockpt(&user).expect("the terminal is ours");
        let path = ptsname(&user, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(path, flags, Mode::empty()).expect("it can be opened");

        // The file that is opened again is the input of this test.
        let stat = fstat(&terminal).expect("it is open");
        assert!(open_anew(terminal.as_fd(), &stat).is_err());
    }
}
