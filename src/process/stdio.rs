//! The ends of a child's pipes that this process holds.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;
use std::sync::Arc;

use crate::cancel::context;
use crate::facade::{Mutex, Once};
use crate::io::descriptor::{Descriptor, owns_descriptor, reads_descriptor};

/// Reads what a child writes to its standard output.
///
/// Like [`std::process::ChildStdout`], but its reads are blocking points, like the reads of
/// [`io::PipeReader`](crate::io::PipeReader): a cancel wakes them, and in a cancelled scope a pipe
/// without writers is the cancel and not the end of the stream.
///
/// The stream ends when the child has ended and all processes that have inherited the pipe from it.
///
/// ```
/// use std::io::{BufRead, BufReader};
/// use taskgroup::process::{Command, Stdio};
///
/// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
/// let stdout = BufReader::new(child.stdout.take().unwrap());
/// assert_eq!(stdout.lines().next().transpose()?.as_deref(), Some("hello"));
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ChildStdout {
    descriptor: Descriptor,
}

/// Reads what a child writes to its standard error, like [`ChildStdout`].
///
/// ```
/// use std::io::Read;
/// use taskgroup::process::{Command, Stdio};
///
/// let mut child = Command::new("sh").args(["-c", "echo no >&2"]).stderr(Stdio::piped()).spawn()?;
/// let mut text = String::new();
/// child.stderr.take().unwrap().read_to_string(&mut text)?;
/// assert_eq!(text, "no\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ChildStderr {
    descriptor: Descriptor,
}

owns_descriptor!(ChildStdout);
owns_descriptor!(ChildStderr);
reads_descriptor!(ChildStdout);
reads_descriptor!(ChildStderr);

impl ChildStdout {
    pub(super) fn into_descriptor(self) -> Descriptor {
        self.descriptor
    }
}

impl ChildStderr {
    pub(super) fn into_descriptor(self) -> Descriptor {
        self.descriptor
    }
}

/// Writes to the standard input of a child.
///
/// Like [`std::process::ChildStdin`], but its writes are blocking points, like the writes of
/// [`io::PipeWriter`](crate::io::PipeWriter), which says what a cancel in the middle of a
/// `write_all` does.
///
/// [`Child::wait`](super::Child::wait) closes it if it is still in the [`Child`](super::Child). It
/// takes `&self`, as the wait does, so the handle stays there: a write then fails with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe).
///
/// ```
/// use std::io::Write;
/// use taskgroup::process::{Command, Stdio};
///
/// let mut command = Command::new("cat");
/// let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let mut stdin = child.stdin.take().unwrap();
/// stdin.write_all(b"hello")?;
/// drop(stdin); // the end of the input
/// assert_eq!(child.wait_with_output()?.stdout, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
//
// The descriptor is closed when `open` is empty and no call uses it. A call holds a reference of
// its own, so no call uses a number that may be another file's by then.
pub struct ChildStdin {
    open: Mutex<Option<Arc<Descriptor>>>,
    /// The descriptor, once the caller has borrowed it: a borrowed descriptor must stay open.
    lent: Once<Arc<Descriptor>>,
}

impl ChildStdin {
    /// Closes the pipe, unless its descriptor was lent. A write that is under way ends first.
    pub(super) fn close(&self) {
        // A borrowed descriptor must not become another file's number.
        if self.lent.get().is_none() {
            // Dropped outside the lock, and by the last call that writes if one is under way.
            let closed = self.open.lock().take();
            drop(closed);
        }
    }

    fn descriptor(&self) -> Option<Arc<Descriptor>> {
        // A reference, since a write may block, and the lock must not.
        self.open.lock().clone()
    }

    /// Returns the pipe for a call.
    fn pipe(&self) -> io::Result<Arc<Descriptor>> {
        if let Some(open) = self.descriptor() {
            return Ok(open);
        }

        // In a cancelled scope every call fails with the cancel.
        context::check()?;
        let closed = "the wait for the child has closed its standard input";
        Err(io::Error::new(io::ErrorKind::BrokenPipe, closed))
    }
}

impl Write for &ChildStdin {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.pipe()?.write(buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pipe()?.write_vectored(bufs)
    }

    #[track_caller]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.pipe()?.write_all(buf)
    }

    #[track_caller]
    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
        self.pipe()?.write_fmt(args)
    }

    /// Does nothing: a descriptor has no buffer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for ChildStdin {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    #[track_caller]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        (&*self).write_all(buf)
    }

    #[track_caller]
    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
        (&*self).write_fmt(args)
    }

    /// Does nothing: a descriptor has no buffer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// # Panics
///
/// If a wait for the child has closed the pipe. After this call a wait does not close it: take the
/// handle out of the `Child`, and drop it.
impl AsFd for ChildStdin {
    #[track_caller]
    fn as_fd(&self) -> BorrowedFd<'_> {
        if let Some(lent) = self.lent.get() {
            return lent.as_fd();
        }

        let open = self.descriptor();
        let open = open.expect("the wait for the child has not closed its standard input");

        // Another thread may have lent it meanwhile, which is the same.
        self.lent.get_or_init(|| open).as_fd()
    }
}

/// # Panics
///
/// Like [`as_fd`](AsFd::as_fd).
impl AsRawFd for ChildStdin {
    #[track_caller]
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl From<OwnedFd> for ChildStdin {
    fn from(fd: OwnedFd) -> Self {
        ChildStdin {
            open: Mutex::new(Some(Arc::new(Descriptor::new(fd)))),
            lent: Once::new(),
        }
    }
}

/// # Panics
///
/// If a wait for the child has closed the pipe.
impl From<ChildStdin> for OwnedFd {
    #[track_caller]
    fn from(stdin: ChildStdin) -> Self {
        let ChildStdin { open, lent } = stdin;

        // Both hold the same descriptor, if it was lent. `or` drops one of the references.
        let (open, lent) = (open.into_inner(), lent.into_inner());
        let open = open.or(lent);

        // No call has a reference: it would borrow the handle.
        let only = open.and_then(Arc::into_inner);
        only.expect("the wait for the child has not closed its standard input")
            .into()
    }
}

/// # Panics
///
/// If a wait for the child has closed the pipe.
impl IntoRawFd for ChildStdin {
    #[track_caller]
    fn into_raw_fd(self) -> RawFd {
        OwnedFd::from(self).into_raw_fd()
    }
}

/// # Panics
///
/// If a wait for the child has closed the pipe.
impl From<ChildStdin> for Stdio {
    #[track_caller]
    fn from(stdin: ChildStdin) -> Self {
        OwnedFd::from(stdin).into()
    }
}

impl fmt::Debug for ChildStdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.descriptor();
        let fd = open.map(|open| open.as_fd().as_raw_fd());
        f.debug_struct("ChildStdin").field("fd", &fd).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A wait and a call that lends the descriptor may come at the same time: the wait finds it not
    /// lent, and takes it out of `open` when it is.
    #[test]
    fn a_descriptor_that_was_lent_as_a_wait_closed_it_stays_open() {
        let (near, far) = UnixStream::pair().expect("there are descriptors left");
        let stdin = ChildStdin::from(OwnedFd::from(near));
        let lent = stdin.as_raw_fd();
        drop(stdin.open.lock().take());

        assert_eq!(stdin.as_raw_fd(), lent);
        let broken = (&stdin).write(b"x").expect_err("it is closed for writes");
        assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(OwnedFd::from(stdin).as_raw_fd(), lent);
        drop(far);
    }
}
