//! Streams of other crates as blocking points.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags};
use rustix::net::sockopt::socket_error;

use super::access::{self, Way};
use super::cut::{Cut, WriteProgress, formatted};
use super::piece::{CHUNK, Piece, first_room};
use crate::cancel::context;
use crate::readiness::{Interest, Pauses, Watched, poll};
use crate::waiting::WaitKind;

/// How often in a row a stream may say that it would block, of a descriptor that is ready, until
/// the calls pause.
const CONTRADICTIONS: u32 = 3;

/// Makes the reads and writes of any unbuffered stream over a descriptor blocking points: serial
/// ports, sockets of other crates, pipes, pseudo-terminals.
///
/// A call first waits until the system says that the descriptor is ready, and then calls the method
/// of the stream. So the stream keeps its own way to read and write, and a read that finds its data
/// costs two system calls. [`PipeReader`](super::PipeReader) and
/// [`PipeWriter`](super::PipeWriter), `from` an [`OwnedFd`](std::os::fd::OwnedFd), need one.
///
/// # Not for streams with a buffer
///
/// Bytes in a buffer are not in the descriptor. The system would say that there is nothing to read,
/// and the call would wait. So wrap the stream and put the buffer outside:
/// `BufReader::new(Cancellable::new(port)?)`. For standard input there is
/// [`io::stdin`](super::stdin).
///
/// # Descriptors
///
/// - A descriptor that blocks: if another thread or process takes the data that was announced, the
///   call of the stream blocks, and a cancel does not end it. For a FIFO or a pipe that others read
///   too, use [`PipeReader`](super::PipeReader) or [`open_fifo`](super::open_fifo). A writer writes
///   at most `PIPE_BUF` bytes to a pipe or a stream socket at a time, fewer to a socket with a send
///   buffer below 64 KiB, and 128 to a terminal, which have room then.
/// - A nonblocking descriptor: the calls still wait, and `WouldBlock` never comes out. They never
///   block outside the reach of a cancel, and writes are as long as the stream likes. A write looks
///   at the flag, which may change at any time, if it is longer than the pieces above.
/// - A regular file, a directory or a disk: the system says that these are always ready. A call
///   looks for a cancel and then reads or writes at most 1 MiB.
///
/// Time limits of the stream begin when the descriptor is ready. Use
/// [`timeout`](crate::timeout) instead.
///
/// # Cancellation
///
/// A read or write fails immediately in a cancelled scope, and wakes when the scope is cancelled.
/// Then it has read or written nothing. A `write_all` that is cut after its first byte breaks the
/// stream, as for a [`PipeWriter`](super::PipeWriter): all later writes fail with `BrokenPipe`.
/// [`flush`](Write::flush) looks for a cancel and then calls the method of the stream.
///
/// # Errors
///
/// The errors of the stream, and a [`Cancelled`](crate::Cancelled) in an error of the kind
/// [`Other`](ErrorKind::Other).
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream; // as another crate would use it
/// use taskgroup::io::Cancellable;
///
/// # fn main() -> std::io::Result<()> {
/// let (near, mut far) = UnixStream::pair()?;
/// far.write_all(b"hello")?;
/// let mut near = Cancellable::new(near)?;
/// let mut bytes = [0; 5];
/// near.read_exact(&mut bytes)?;
/// assert_eq!(&bytes, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct Cancellable<S> {
    stream: S,
    is_polled: bool,
    /// The most bytes of one call to read.
    longest_read: usize,
    /// How much one call may write to a descriptor that blocks.
    piece: Piece,
    opened_for: OpenedFor,
    cut: Cut,
}

/// The directions that a descriptor was opened for.
#[derive(Clone, Copy, Debug)]
struct OpenedFor {
    reads: bool,
    writes: bool,
}

impl OpenedFor {
    fn has(self, interest: Interest) -> bool {
        match interest {
            Interest::Read => self.reads,
            Interest::Write => self.writes,
        }
    }
}

impl<S: AsFd> Cancellable<S> {
    /// Wraps a stream.
    ///
    /// # Errors
    ///
    /// The descriptor is not open, or [`InvalidInput`](ErrorKind::InvalidInput) if the system
    /// cannot poll it.
    ///
    /// ```
    /// use taskgroup::io::Cancellable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let random = Cancellable::new(std::fs::File::open("/dev/urandom")?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(stream: S) -> io::Result<Self> {
        let fd = stream.as_fd();
        let file_type = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);

        // Some systems cannot poll some devices, and each wait would end at once.
        if access::poll_now(fd, Interest::Read)?.contains(PollFlags::NVAL) {
            let text = format!("descriptor {} cannot be polled", fd.as_raw_fd());
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }

        let is_polled = Way::of(fd)? != Way::Unpolled;
        let (longest_read, piece) = if is_polled {
            (usize::MAX, Piece::of(fd, file_type))
        } else {
            (CHUNK, Piece::UpTo(CHUNK))
        };

        let opened_for = OpenedFor {
            reads: access::is_open_for(fd, Interest::Read)?,
            writes: access::is_open_for(fd, Interest::Write)?,
        };

        Ok(Cancellable {
            stream,
            is_polled,
            longest_read,
            piece,
            opened_for,
            cut: Cut::default(),
        })
    }

    /// Calls `call` when the descriptor is ready, again and again until it need not wait.
    #[track_caller]
    fn call<T>(
        &mut self,
        kind: WaitKind,
        interest: Interest,
        mut call: impl FnMut(&mut S) -> io::Result<T>,
    ) -> io::Result<T> {
        let (mut contradictions, mut pauses) = (0, Pauses::long(kind));
        loop {
            // The wrong end of a pipe is never ready. The call says so.
            if self.is_polled && self.opened_for.has(interest) {
                let mut watched = [Watched::new(self.stream.as_fd(), interest)];
                poll(kind, &mut watched, None)?;
                // Where the system refuses to wait, the call could block.
                if !watched[0].is_ready() {
                    continue;
                }
                if watched[0].has_only_an_error() && self.is_only_a_notice()? {
                    pauses.pause()?;
                    continue;
                }
            } else {
                context::check()?;
            }

            let error = match call(&mut self.stream) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match error.kind() {
                // Through the poll again, which looks for a cancel.
                ErrorKind::Interrupted => {}
                // Another reader may have been faster. A stream that says so again and again does
                // not mean the descriptor, and must not keep a processor busy.
                ErrorKind::WouldBlock if self.is_polled => {
                    contradictions += 1;
                    if contradictions > CONTRADICTIONS {
                        pauses.pause()?;
                    }
                }
                _ => return Err(access::unless_cancelled(error)),
            }
        }
    }
}

impl<S: AsFd> Cancellable<S> {
    /// Whether an error that the system tells of is not an error of the next call, which could
    /// block then: a notice in the error queue of a socket.
    ///
    /// # Errors
    ///
    /// The error of the socket. The next call would have returned it.
    fn is_only_a_notice(&self) -> io::Result<bool> {
        // Also takes the error, which the system keeps once.
        match socket_error(self.stream.as_fd()) {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) => Err(access::unless_cancelled(error.into())),
            // It is not a socket, and the call returns the error: a pipe has lost its reader.
            Err(_) => Ok(false),
        }
    }
}

impl<S> Cancellable<S> {
    /// Returns the stream.
    ///
    /// ```
    /// use taskgroup::io::Cancellable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let null = Cancellable::new(std::fs::File::open("/dev/null")?)?;
    /// assert!(!null.get_ref().metadata()?.is_file());
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the stream, for settings such as the speed of a line. Its own reads and writes do
    /// not end with the scope.
    ///
    /// ```
    /// use taskgroup::io::Cancellable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut null = Cancellable::new(std::fs::File::open("/dev/null")?)?;
    /// null.get_mut().sync_all().ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Returns the stream. Its reads and writes no longer end with the scope.
    ///
    /// ```
    /// use taskgroup::io::Cancellable;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let null = Cancellable::new(std::fs::File::open("/dev/null")?)?.into_inner();
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsFd + Read> Cancellable<S> {
    #[track_caller]
    fn read_with(&mut self, read: impl FnMut(&mut S) -> io::Result<usize>) -> io::Result<usize> {
        let length = self.call(WaitKind::DescriptorRead, Interest::Read, read)?;

        // Invariant 3: an end is nothing that was taken.
        if length == 0 {
            access::at_the_end()?;
        }

        Ok(length)
    }
}

impl<S: AsFd + Read> Read for Cancellable<S> {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = buf.len().min(self.longest_read);
        let buf = &mut buf[..length];
        self.read_with(|stream| stream.read(buf))
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if let Some(first) = first_room(bufs, self.longest_read) {
            // A short read is allowed.
            return self.read_with(|stream| stream.read(first));
        }

        self.read_with(|stream| stream.read_vectored(bufs))
    }
}

impl<S: AsFd + Write> Cancellable<S> {
    /// Whether a write may be longer than a piece. A nonblocking stream returns by itself when it
    /// has no room, so its calls need no bound.
    fn is_unbounded(&self) -> io::Result<bool> {
        // Asked at each write that is longer: the flag is the user's, and other processes that have
        // the description may change it as well.
        let is_nonblocking = || rustix::fs::fcntl_getfl(self.stream.as_fd());
        Ok(self.is_polled && is_nonblocking()?.contains(OFlags::NONBLOCK))
    }

    #[track_caller]
    fn write_with(&mut self, write: impl FnMut(&mut S) -> io::Result<usize>) -> io::Result<usize> {
        self.call(WaitKind::DescriptorWrite, Interest::Write, write)
    }
}

impl<S: AsFd + Write> Write for Cancellable<S> {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.cut.check()?;

        // Ready means room for a piece. A longer write would block in the middle.
        let piece = self.piece.begin(self.stream.as_fd(), buf);
        let buf = if piece.len() < buf.len() && self.is_unbounded()? {
            buf
        } else {
            piece
        };
        self.write_with(|stream| stream.write(buf))
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.cut.check()?;

        match self.piece.first(self.stream.as_fd(), bufs) {
            Some(first) if !self.is_unbounded()? => self.write_with(|stream| stream.write(first)),
            _ => self.write_with(|stream| stream.write_vectored(bufs)),
        }
    }

    #[track_caller]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        context::check()?;

        let mut progress = WriteProgress::new(buf);
        while let Some(rest) = progress.rest() {
            let written = self.write(rest);
            progress.advance(written, &self.cut)?;
        }
        Ok(())
    }

    #[track_caller]
    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
        self.write_all(formatted(args)?.as_bytes())
    }

    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        loop {
            // The descriptor is not polled: only the stream knows what a flush does.
            context::check()?;

            match self.stream.flush() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

impl<S: AsFd> AsFd for Cancellable<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl<S: AsFd> AsRawFd for Cancellable<S> {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_fd().as_raw_fd()
    }
}

impl<S: fmt::Debug> fmt::Debug for Cancellable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancellable").field(&self.stream).finish()
    }
}
