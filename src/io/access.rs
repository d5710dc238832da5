//! How a descriptor is read and written so that no call blocks.

use std::io::{self, IoSlice, IoSliceMut, IsTerminal};
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

use crate::cancel::{Cancelled, context};
use crate::facade::Once;
use crate::readiness::{Interest, Patience, retry};
use crate::waiting::WaitKind;

/// The flags of a send to a socket. A peer that has gone must not end a process that has SIGPIPE at
/// its default. Where there is no flag for that, it is an option of the socket, which std sets.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;

/// The most bytes of one write to a pipe that says that it has room. More would block until a
/// reader has made room for the rest.
pub(super) const PIPE_BUF: usize = rustix::pipe::PIPE_BUF;

/// The most bytes of one write to a terminal. On Linux, a terminal that says that it has
/// room has 256.
const TERMINAL_WRITE: usize = 128;

/// A write of so many bytes to a stream socket that says that it has room never blocks, however
/// small the buffer of the socket is. The system makes one packet of them.
const SOCKET_WRITE: usize = 256;

/// The most bytes between two looks for a cancel, where the system cannot say that a call would
/// block.
pub(super) const CHUNK: usize = 1 << 20;

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
        write: Piece,
    },
    /// Not at all: the system says of such a file that it is always ready.
    Unpolled,
}

/// For a pipe that can be read and written in no other way.
const POLLED_PIPE: Way = Way::Polled {
    write: Piece::UpTo(PIPE_BUF),
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
                write: Piece::of(fd, file_type),
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
            Way::Polled { write } => {
                check_ready(fd, Interest::Write)?;
                // Ready means room for a piece. A longer write would block in the middle.
                write_piece(write, fd, bufs)?
            }
            Way::Unpolled => write_piece(Piece::UpTo(CHUNK), fd, bufs)?,
        };
        Ok(written)
    }
}

/// Returns none if `bufs` have room for no more than `most` bytes, or else that much of the first.
pub(super) fn first_room<'b>(bufs: &'b mut [IoSliceMut<'_>], most: usize) -> Option<&'b mut [u8]> {
    let room: usize = bufs.iter().map(|buf| buf.len()).sum();
    if room <= most {
        return None;
    }

    // A read into an empty buffer would look like the end.
    let first = bufs.iter_mut().find(|buf| !buf.is_empty())?;
    let length = first.len().min(most);
    Some(&mut first[..length])
}

/// Writes the buffers, or if they are more than a piece, a piece of the first.
fn write_piece(piece: Piece, fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
    match piece.first(fd, bufs) {
        None => rustix::io::writev(fd, bufs),
        Some(first) => rustix::io::write(fd, first),
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

/// How much one call may write to a descriptor that says that it can be written to, so that the
/// call is sure not to block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    UpTo(usize),
    /// A stream socket has room for a part of its buffer, which the user may have made small.
    OfSocket,
    /// A terminal turns some bytes into several. Linux looks for room again before each of these,
    /// so they are written alone.
    OfTerminal,
}

impl Piece {
    pub(super) fn of(fd: BorrowedFd<'_>, file_type: FileType) -> Self {
        match file_type {
            FileType::CharacterDevice if fd.is_terminal() => Piece::OfTerminal,
            // A write to another device, or to a socket that keeps messages apart, is one message.
            FileType::CharacterDevice => Piece::UpTo(usize::MAX),
            FileType::Socket if !is_stream(fd) => Piece::UpTo(usize::MAX),
            FileType::Socket => Piece::OfSocket,
            _ => Piece::UpTo(PIPE_BUF),
        }
    }

    /// Returns the beginning of `buf` that may be written to `fd`.
    pub(super) fn begin<'b>(self, fd: BorrowedFd<'_>, buf: &'b [u8]) -> &'b [u8] {
        let length = match self {
            Piece::UpTo(most) => most,
            Piece::OfSocket => most_for_a_socket(fd, buf.len()),
            Piece::OfTerminal => {
                let is_plain = |byte: &u8| !matches!(byte, b'\n' | b'\r' | b'\t' | 8);
                // At least one byte, so that a write always moves on.
                let plain = buf
                    .iter()
                    .take(TERMINAL_WRITE)
                    .take_while(|byte| is_plain(byte));
                plain.count().max(1)
            }
        };
        &buf[..length.min(buf.len())]
    }

    /// Returns none if all of `bufs` may be written to `fd` at once, or else the beginning that may
    /// be.
    pub(super) fn first<'b>(self, fd: BorrowedFd<'_>, bufs: &'b [IoSlice<'_>]) -> Option<&'b [u8]> {
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();

        match self {
            Piece::UpTo(most) if length <= most => None,
            Piece::OfSocket if length <= most_for_a_socket(fd, length) => None,
            _ => {
                // An empty one would make the write return 0, which means that it cannot go on.
                let first = bufs.iter().find(|buf| !buf.is_empty());
                Some(first.map_or(&[], |first| self.begin(fd, first)))
            }
        }
    }
}

/// Returns how many of `length` bytes may be written to a stream socket that says that it has room.
///
/// Linux says so when a third of the buffer is free. A byte of small packets takes up to five bytes
/// of it, with what the system keeps for each packet.
fn most_for_a_socket(socket: BorrowedFd<'_>, length: usize) -> usize {
    use rustix::net::sockopt::socket_send_buffer_size;

    if length <= SOCKET_WRITE {
        return length;
    }

    // Asked each time: the user may change it at any time.
    let buffer = socket_send_buffer_size(socket).unwrap_or(0);
    (buffer / 16).clamp(SOCKET_WRITE, PIPE_BUF)
}

fn is_stream(socket: BorrowedFd<'_>) -> bool {
    use rustix::net::{SocketType, sockopt::socket_type};

    socket_type(socket).is_ok_and(|socket_type| socket_type == SocketType::STREAM)
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

        let read = wait(kind, fd, Interest::Read, || {
            self.try_call(fd, |way, fd| way.read(fd, bufs))
        })?;

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
