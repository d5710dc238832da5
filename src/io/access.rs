//! How a descriptor is read and written so that no call blocks.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
#[cfg(target_os = "linux")]
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};
#[cfg(target_os = "linux")]
use rustix::fs::Mode;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags};

use super::piece::{CHUNK, PIPE_BUF, Piece, first_room};
use crate::cancel::{Cancelled, context};
use crate::facade::Once;
use crate::readiness::{Interest, Patience, retry, unless_shut};
use crate::waiting::WaitKind;

/// The flags of a send to a socket. A peer that has gone must not end a process that has SIGPIPE at
/// its default. Where there is no flag for that, it is an option of the socket, which std sets.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;

/// The most buffers that a call takes.
const MAX_BUFS: usize = 1024;

/// How a call on a descriptor is kept from blocking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// By a flag for this call alone, `RWF_NOWAIT`. For pipes, on Linux.
    #[cfg(target_os = "linux")]
    NoWait,
    /// By a flag for this call alone, `MSG_DONTWAIT`. For sockets.
    Socket,
    /// By `O_NONBLOCK` of a description that this crate alone has.
    Nonblocking,
    /// It is polled first. Another reader that takes what the poll saw can make the call block, so
    /// this is for devices, and for pipes of systems that know no flag.
    Polled {
        /// How much one write may write.
        piece: Piece,
    },
    /// Not at all: the system says of such a file that it is always ready.
    Unpolled,
}

/// For a pipe that can be read and written in no other way.
const POLLED_PIPE: Way = Way::Polled {
    piece: Piece::UpTo(PIPE_BUF),
};

impl Way {
    /// Chooses the way for a descriptor.
    pub(super) fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let stat = rustix::fs::fstat(fd)?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        Ok(match file_type {
            #[cfg(target_os = "linux")]
            FileType::Fifo => Way::NoWait,
            FileType::Socket => Way::Socket,
            FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::BlockDevice => Way::Unpolled,
            _ => Way::Polled {
                piece: Piece::of(fd, file_type),
            },
        })
    }

    fn read(self, fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = match self {
            #[cfg(target_os = "linux")]
            Way::NoWait => {
                // The offset -1 means: from where the descriptor is, like `readv`.
                rustix::io::preadv2(fd, bufs, u64::MAX, rustix::io::ReadWriteFlags::NOWAIT)?
            }
            Way::Socket => {
                // No room for descriptors that a peer may send along: the system closes them.
                let mut nothing = RecvAncillaryBuffer::default();
                rustix::net::recvmsg(fd, bufs, &mut nothing, RecvFlags::DONTWAIT)?.bytes
            }
            Way::Nonblocking => rustix::io::readv(fd, bufs)?,
            Way::Polled { .. } => {
                check_ready(fd, Interest::Read)?;
                rustix::io::readv(fd, bufs)?
            }
            // In pieces, since a disk cannot be asked whether a read would take long.
            Way::Unpolled => match first_room(bufs, CHUNK) {
                None => rustix::io::readv(fd, bufs)?,
                Some(first) => rustix::io::read(fd, first)?,
            },
        };
        Ok(read)
    }

    fn write(self, fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = match self {
            #[cfg(target_os = "linux")]
            Way::NoWait => {
                rustix::io::pwritev2(fd, bufs, u64::MAX, rustix::io::ReadWriteFlags::NOWAIT)?
            }
            Way::Socket => {
                rustix::net::sendmsg(fd, bufs, &mut SendAncillaryBuffer::default(), SEND)?
            }
            Way::Nonblocking => rustix::io::writev(fd, bufs)?,
            Way::Polled { piece } => {
                check_ready(fd, Interest::Write)?;
                // Ready means room for a piece. A longer write would block in the middle.
                piece.write(fd, bufs)?
            }
            Way::Unpolled => Piece::UpTo(CHUNK).write(fd, bufs)?,
        };
        Ok(written)
    }
}

/// Fails with `WouldBlock` unless the descriptor is ready now. One with an error, or at its end, is
/// ready: the call that follows returns the error or the end.
pub(super) fn check_ready(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
    if !poll_now(fd, interest)?.is_empty() {
        return Ok(());
    }

    // The wrong end of a pipe is never ready. The call that follows says so.
    if is_open_for(fd, interest)? {
        Err(Errno::AGAIN.into())
    } else {
        Ok(())
    }
}

/// Whether the descriptor was opened to be read, or to be written to.
pub(super) fn is_open_for(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<bool> {
    let mode = rustix::fs::fcntl_getfl(fd)? & OFlags::ACCMODE;
    let other = match interest {
        Interest::Read => OFlags::WRONLY,
        Interest::Write => OFlags::RDONLY,
    };
    Ok(mode != other)
}

/// Returns the state of the descriptor.
pub(super) fn poll_now(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<PollFlags> {
    let flags = match interest {
        Interest::Read => PollFlags::IN,
        Interest::Write => PollFlags::OUT,
    };
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];

    // A time of zero: it returns at once.
    rustix::event::poll(&mut fds, Some(&Timespec::default()))?;
    Ok(fds[0].revents())
}

/// How a descriptor is read and written, and the answers of the system so far.
#[derive(Debug)]
pub(super) struct Access {
    way: Way,
    /// Set once the system has refused the flag of [`Way::NoWait`] for this descriptor, as Linux
    /// does for a FIFO.
    instead: Once<Instead>,
}

/// The way that replaces [`Way::NoWait`].
#[derive(Clone, Debug)]
enum Instead {
    /// The file was opened once more, nonblocking. Another reader or writer may be quicker between
    /// the wait and the call, and a call on the first description would block then.
    #[cfg(target_os = "linux")]
    Own(Arc<OwnedFd>),
    /// It could not be opened: this process may not.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "only Linux has the flag")
    )]
    Polled,
}

impl Access {
    pub(super) fn new(way: Way) -> Self {
        Access {
            way,
            instead: Once::new(),
        }
    }

    /// Returns the access by another descriptor of the same description.
    pub(super) fn of_clone(&self) -> Self {
        let clone = Access::new(self.way);
        if let Some(instead) = self.instead.get() {
            // Only this thread has the clone.
            let _ = clone.instead.set(instead.clone());
        }
        clone
    }

    /// Returns how calls are made now, and on which descriptor.
    fn now<'a>(&'a self, fd: BorrowedFd<'a>) -> (Way, BorrowedFd<'a>) {
        match self.instead.get() {
            None => (self.way, fd),
            #[cfg(target_os = "linux")]
            Some(Instead::Own(own)) => (Way::Nonblocking, own.as_fd()),
            Some(Instead::Polled) => (POLLED_PIPE, fd),
        }
    }

    /// Reads, and blocks until there is something to read, the end, or a cancel.
    #[track_caller]
    pub(super) fn read(
        &self,
        kind: WaitKind,
        fd: BorrowedFd<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        // The system refuses more, and a short read is allowed.
        let length = bufs.len().min(MAX_BUFS);
        let bufs = &mut bufs[..length];

        let try_read = || self.try_call(fd, |way, fd| way.read(fd, bufs));
        let read = match self.way {
            Way::Socket => {
                let try_read = unless_shut(fd, try_read, || Ok(0));
                wait(kind, fd, Interest::Read, try_read)?
            }
            _ => wait(kind, fd, Interest::Read, try_read)?,
        };

        // Invariant 3: an end is nothing that was taken.
        if read == 0 {
            at_the_end()?;
        }
        Ok(read)
    }

    /// Reads what there is. Fails with `WouldBlock` if that is nothing yet.
    #[cfg(feature = "process")]
    pub(super) fn try_read(&self, fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
        self.try_call(fd, |way, fd| way.read(fd, &mut [IoSliceMut::new(buf)]))
    }

    /// Writes, and blocks until something was written, or a cancel.
    #[track_caller]
    pub(super) fn write(
        &self,
        kind: WaitKind,
        fd: BorrowedFd<'_>,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(MAX_BUFS)];
        wait(kind, fd, Interest::Write, || {
            self.try_call(fd, |way, fd| way.write(fd, bufs))
        })
    }

    /// Calls `call`, once more if the system refuses the first way.
    #[inline]
    fn try_call(
        &self,
        fd: BorrowedFd<'_>,
        mut call: impl FnMut(Way, BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let (way, used) = self.now(fd);
        match call(way, used) {
            // Nothing was read or written, so the call may be made again.
            Err(error) if is_refusal(&error) => match self.refuse(way, fd) {
                Refused::ForGood => {
                    let (way, used) = self.now(fd);
                    call(way, used)
                }
                Refused::ForNow => call(POLLED_PIPE, fd),
                Refused::Not => Err(error),
            },
            done => done,
        }
    }

    /// Leaves `way`, if the system does not know it.
    #[cold]
    fn refuse(&self, way: Way, fd: BorrowedFd<'_>) -> Refused {
        #[cfg(target_os = "linux")]
        if way == Way::NoWait {
            let instead = match open_anew(fd) {
                Ok(own) => Instead::Own(Arc::new(own)),
                Err(error) if is_a_lack(error) => return Refused::ForNow,
                Err(_) => Instead::Polled,
            };
            // Another thread may have been refused too. One of the two is used.
            let _ = self.instead.set(instead);
            return Refused::ForGood;
        }

        let _ = (way, fd);
        Refused::Not
    }
}

/// What a refusal of the system means.
enum Refused {
    /// From now on calls are made in another way.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "only Linux has the flag")
    )]
    ForGood,
    /// There is no descriptor left for that way. The next call asks again.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "only Linux has the flag")
    )]
    ForNow,
    /// It was another way, so the error means something else.
    Not,
}

/// Whether a file could not be opened for want of a descriptor or of memory, which may be there
/// later.
pub(super) fn is_a_lack(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

/// Opens a pipe once more, for the same calls, in a nonblocking description.
///
/// The description is new (invariant 2). It never keeps the other end waiting for an end of the
/// stream for longer than the first: both are closed together.
#[cfg(target_os = "linux")]
fn open_anew(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // A pipe of packets has another flag, with which it cannot be opened: it is polled.
    let flags = rustix::fs::fcntl_getfl(fd)? & (OFlags::ACCMODE | OFlags::DIRECT);
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let own = rustix::fs::open(path, flags, Mode::empty())?;

    // Another file may have come into the place of standard input meanwhile.
    let (first, second) = (rustix::fs::fstat(fd)?, rustix::fs::fstat(&own)?);
    if (first.st_dev, first.st_ino) != (second.st_dev, second.st_ino) {
        return Err(Errno::STALE);
    }

    // Away from the numbers of standard streams that the program has closed and may open again.
    rustix::io::fcntl_dupfd_cloexec(&own, 3)
}

/// Whether the system may not take the flag of [`Way::NoWait`]: the file does not know it, the
/// system or its emulation does not know the flag or the call, or a filter of calls forbids it. If
/// the error means something else, the next way meets it too.
fn is_refusal(error: &io::Error) -> bool {
    let number = Errno::from_io_error(error);
    matches!(
        number,
        Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM)
    )
}

/// Calls `call`, which does not block, until it need not wait for the descriptor.
#[inline]
#[track_caller]
pub(super) fn wait<T>(
    kind: WaitKind,
    fd: BorrowedFd<'_>,
    interest: Interest,
    call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    // A descriptor that the user made nonblocking waits too: the flag may come from another
    // process.
    let patience = || Ok(Patience::Forever);
    retry(kind, fd, interest, patience, call).map_err(unless_cancelled)
}

/// Fails if a cancel has reached this scope or is on its way to it. The other end may have gone
/// because of it, and an end of a stream must not look like its natural end then.
#[cold]
pub(super) fn at_the_end() -> Result<(), Cancelled> {
    context::check_ancestors()
}

/// Returns the cancel in place of the error that the other end has gone, if that may have gone
/// because of it.
pub(super) fn unless_cancelled(error: io::Error) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};

    match error.kind() {
        BrokenPipe | ConnectionReset => at_the_end().err().map_or(error, io::Error::from),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the library of the system passes on that a call is unknown. glibc has an answer of its
    /// own for that.
    #[test]
    fn a_call_that_the_system_does_not_know_is_refused() {
        for refusal in [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::PERM] {
            assert!(is_refusal(&refusal.into()), "{refusal}");
        }
        assert!(!is_refusal(&Errno::IO.into()));
    }
}
