//! Pipes that wake on a cancel.

use std::io;
use std::os::fd::OwnedFd;

use super::descriptor::{Descriptor, owns_descriptor, reads_descriptor, writes_descriptor};

/// Creates a pipe: bytes that are written to one end are read from the other.
///
/// Like std's [`pipe`](std::io::pipe), but a cancel wakes its reads and writes, and it needs no
/// newer compiler than the rest of this crate. Both ends are closed in child processes, unless they
/// are given to one as its [`Stdio`](std::process::Stdio).
///
/// Between tasks of one process a [channel](crate::channel) is faster, and carries values. A pipe
/// is for child processes, and for code that wants a descriptor.
///
/// # Errors
///
/// The process or the system has no descriptor left.
///
/// ```
/// use std::io::{Read, Write};
/// use taskgroup::{TaskGroup, io};
///
/// let text = TaskGroup::scope(|g| {
///     let (mut reader, mut writer) = io::pipe()?;
///     g.spawn(move || Ok(writer.write_all(b"hello")?));
///
///     let mut text = String::new();
///     reader.read_to_string(&mut text)?; // to the end: until the writer is dropped
///     Ok(text)
/// })?;
/// assert_eq!(text, "hello");
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = make_pipe()?;
    Ok((reader.into(), writer.into()))
}

/// Creates a pipe that is closed in children.
#[cfg(not(target_vendor = "apple"))]
fn make_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Creates a pipe that is closed in children. The system has no call that does both, so a
/// child that another thread starts meanwhile may inherit them.
#[cfg(target_vendor = "apple")]
fn make_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe()?;
    for end in [&reader, &writer] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok((reader, writer))
}

/// The end of a pipe that is read. [`pipe`] makes it, or `from` an [`OwnedFd`] of any kind.
///
/// Like std's [`PipeReader`](std::io::PipeReader), but its reads are blocking points of this crate.
///
/// On Linux, the first read of a descriptor of a FIFO opens the FIFO once more, for this handle
/// alone: without that, a read would block if another process takes the bytes first. The second
/// descriptor is closed with the handle.
///
/// # Cancellation
///
/// A read fails immediately in a cancelled scope, and wakes when the scope is cancelled. It has
/// read nothing then: the bytes stay in the pipe. `read_exact` and `read_to_end` consist of several
/// reads: what these have read is in the buffer of the caller.
///
/// In a cancelled scope a pipe without writers is the cancel, and not the end of the stream. So a
/// stream that was cut does not look complete.
///
/// # Errors
///
/// The errors of std, and a [`Cancelled`](crate::Cancelled) in an error of the kind
/// [`Other`](io::ErrorKind::Other). Never `WouldBlock`: a read of a descriptor that the user made
/// nonblocking waits too.
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
///
/// # fn main() -> std::io::Result<()> {
/// let (reader, mut writer) = taskgroup::io::pipe()?;
/// writer.write_all(b"first\nsecond\n")?;
/// drop(writer);
///
/// let mut lines = BufReader::new(reader).lines();
/// assert_eq!(lines.next().transpose()?.as_deref(), Some("first"));
/// # Ok(())
/// # }
/// ```
pub struct PipeReader {
    descriptor: Descriptor,
}

/// The end of a pipe that is written to. [`pipe`] makes it, or `from` an [`OwnedFd`] of any kind.
///
/// Like std's [`PipeWriter`](std::io::PipeWriter), but its writes are blocking points of this
/// crate. A `write` may write less than a `write` of std would.
///
/// On Linux, the first write to a descriptor of a FIFO opens the FIFO once more, like the first
/// read of a [`PipeReader`].
///
/// # Cancellation
///
/// A write fails immediately in a cancelled scope, and wakes when the scope is cancelled.
///
/// - `write` has written nothing then. A `write` of at most `PIPE_BUF` bytes, which are 4096 on
///   Linux and 512 on macOS, is written in one piece or not at all.
/// - `write_all` of at most `PIPE_BUF` bytes has written nothing either. A longer one may be cut
///   after its first byte. Then the reader has a part of a message, so the pipe is *broken*: every
///   later write to this writer and its clones fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe)
///   and a text that names the cancel. To finish a message in spite of a cancel, write it in a
///   [`shield_for`](crate::shield_for).
/// - `write!` formats the text first, and then writes it like `write_all`.
///
/// # Errors
///
/// The errors of std, including `BrokenPipe` once all readers are gone, and a
/// [`Cancelled`](crate::Cancelled) in an error of the kind [`Other`](io::ErrorKind::Other).
///
/// ```
/// use std::io::Write;
///
/// # fn main() -> std::io::Result<()> {
/// let (reader, mut writer) = taskgroup::io::pipe()?;
/// writeln!(writer, "a line")?;
/// drop(reader);
/// assert_eq!(writer.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
/// # Ok(())
/// # }
/// ```
pub struct PipeWriter {
    descriptor: Descriptor,
}

macro_rules! end_of_a_pipe {
    ($type:ident) => {
        impl $type {
            /// Returns another handle of the same end of the pipe.
            ///
            /// # Errors
            ///
            /// The process or the system has no descriptor left.
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> {
            /// let (reader, writer) = taskgroup::io::pipe()?;
            /// let (_another_reader, _another_writer) = (reader.try_clone()?, writer.try_clone()?);
            /// # Ok(())
            /// # }
            /// ```
            pub fn try_clone(&self) -> io::Result<Self> {
                Ok($type {
                    descriptor: self.descriptor.try_clone()?,
                })
            }
        }

        owns_descriptor!($type);
    };
}

end_of_a_pipe!(PipeReader);
reads_descriptor!(PipeReader);
reads_descriptor!(&PipeReader);

end_of_a_pipe!(PipeWriter);
writes_descriptor!(PipeWriter);
writes_descriptor!(&PipeWriter);
