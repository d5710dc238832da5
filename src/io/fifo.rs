//! Named pipes.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::access::Way;
use super::descriptor::{Descriptor, has_descriptor, reads_descriptor, writes_descriptor};
use crate::cancel::{Cancelled, context};
use crate::readiness::{Interest, Pauses, Watched, poll};
use crate::waiting::WaitKind;

/// Opens a FIFO (a named pipe), and blocks until another process or thread has opened its other
/// end.
///
/// Like std's [`OpenOptions::open`] on a FIFO, but a cancel ends the wait. With `read(true)` it
/// waits for a writer, with `write(true)` for a reader, with both for neither. The custom flags of
/// `options` are not used.
///
/// The wait looks for the other end after pauses of 1 to 50 ms; data ends it at once. On systems
/// other than Linux a writer ends it when it writes or closes, not when it opens.
///
/// # Cancellation
///
/// A blocking point: it fails immediately in a cancelled scope, and wakes when the scope is
/// cancelled. The FIFO is closed then. A writer that waited for a reader has seen it come and go.
///
/// # Errors
///
/// The errors of the system, [`InvalidInput`](io::ErrorKind::InvalidInput) if the file is not a
/// FIFO, and a [`Cancelled`] in an error of the kind [`Other`](io::ErrorKind::Other).
///
/// ```
/// use std::fs::OpenOptions;
/// use std::time::Duration;
/// use taskgroup::{io, timeout};
///
/// # fn main() -> io::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("taskgroup-fifo-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let path = folder.join("orders");
/// # assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
/// // No process writes to it.
/// let reads = OpenOptions::new().read(true).clone();
/// let opened = timeout(Duration::from_millis(5), || io::open_fifo(&path, &reads))?;
/// assert!(opened.is_none());
/// # std::fs::remove_dir_all(folder)
/// # }
/// ```
#[track_caller]
pub fn open_fifo<P: AsRef<Path>>(path: P, options: &OpenOptions) -> io::Result<Fifo> {
    context::check()?;

    let path = path.as_ref();

    // Before the open, which may have effects on other files. It is looked at again afterwards,
    // since the path may lead elsewhere by then.
    check_type(path, &std::fs::metadata(path)?)?;

    let mut options = options.clone();

    // Invariant 2: the description is new.
    options.custom_flags(OFlags::NONBLOCK.bits() as i32);

    let mut pauses = Pauses::long(WaitKind::Fifo);
    let file = loop {
        match options.open(path) {
            // It was opened to be written to, and has no reader.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => {
                pauses.pause()?;
            }
            opened => break opened?,
        }
    };

    check_type(path, &file.metadata()?)?;

    let fd = OwnedFd::from(file);

    // The mode of the description tells what `options` does not. A nonblocking open to read never
    // waits for a writer, so the wait comes after it.
    if rustix::fs::fcntl_getfl(&fd)? & OFlags::ACCMODE == OFlags::RDONLY {
        wait_for_writer(fd.as_fd())?;
    }

    Ok(Fifo {
        descriptor: Descriptor::with_way(fd, Way::Nonblocking),
        handles: Arc::default(),
    })
}

fn check_type(path: &Path, metadata: &Metadata) -> io::Result<()> {
    if metadata.file_type().is_fifo() {
        return Ok(());
    }

    let text = format!("`{}` is not a FIFO", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Blocks until a process has opened the FIFO to write to it, even if it has closed it again.
#[track_caller]
fn wait_for_writer(fifo: BorrowedFd<'_>) -> Result<(), Cancelled> {
    let mut pauses = Pauses::long(WaitKind::Fifo);
    loop {
        // The poll wakes for data, and for a writer that has gone. A writer that only opens the
        // FIFO wakes no poll, so it is looked for after each pause.
        let mut watched = [Watched::new(fifo, Interest::Read)];
        let pause_end = pauses.end_of_next();
        if has_writer(fifo) {
            return Ok(());
        }
        poll(WaitKind::Fifo, &mut watched, Some(pause_end))?;
        if watched[0].is_ready() {
            return Ok(());
        }
    }
}

/// Whether a process has the FIFO open to write to it, or has written to it.
#[cfg(target_os = "linux")]
fn has_writer(fifo: BorrowedFd<'_>) -> bool {
    use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, tee};

    // Copies a byte and takes none. Without a byte it says whether one can come. If there is no
    // descriptor left for the copy, only a byte ends the wait.
    let Ok((_reader, copy)) = pipe_with(PipeFlags::CLOEXEC) else {
        return false;
    };

    match tee(fifo, &copy, 1, SpliceFlags::NONBLOCK) {
        Ok(length) => length > 0,
        Err(error) => error == Errno::AGAIN,
    }
}

/// Other systems do not say.
#[cfg(not(target_os = "linux"))]
fn has_writer(_: BorrowedFd<'_>) -> bool {
    false
}

/// An open FIFO. [`open_fifo`] makes it.
///
/// Its reads and writes are like the reads of a [`PipeReader`](super::PipeReader) and the writes of
/// a [`PipeWriter`](super::PipeWriter), cancellation included: a read takes nothing when it is
/// cancelled, a write of at most `PIPE_BUF` bytes is whole or nothing, and a `write_all` that is
/// cut breaks this handle and its clones.
///
/// When the last writer has gone, a read returns `Ok(0)`. If another writer comes, reads go on.
///
/// The descriptor is nonblocking. [`into_file`](Self::into_file) makes it blocking again.
///
/// ```
/// use std::fs::OpenOptions;
/// use std::io::{Read, Write};
/// use taskgroup::{TaskGroup, io};
///
/// # fn main() -> anyhow::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("taskgroup-fifos-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let path = folder.join("orders");
/// # assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
/// let text = TaskGroup::scope(|g| {
///     g.spawn(|| {
///         let mut orders = io::open_fifo(&path, OpenOptions::new().write(true))?;
///         Ok(orders.write_all(b"three of them")?)
///     });
///     let mut text = String::new();
///     io::open_fifo(&path, OpenOptions::new().read(true))?.read_to_string(&mut text)?;
///     Ok(text)
/// })?;
/// assert_eq!(text, "three of them");
/// # Ok(std::fs::remove_dir_all(folder)?)
/// # }
/// ```
pub struct Fifo {
    descriptor: Descriptor,
    /// Counts the clones, which all need the description nonblocking.
    handles: Arc<()>,
}

impl Fifo {
    /// Returns another handle of the same end of the FIFO.
    ///
    /// # Errors
    ///
    /// The process or the system has no descriptor left.
    ///
    /// ```
    /// use taskgroup::io::Fifo;
    ///
    /// fn for_two_tasks(fifo: Fifo) -> std::io::Result<[Fifo; 2]> {
    ///     Ok([fifo.try_clone()?, fifo])
    /// }
    /// ```
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Fifo {
            descriptor: self.descriptor.try_clone()?,
            handles: self.handles.clone(),
        })
    }

    /// Returns the file, for other code or for a child process. Its reads and writes block, and do
    /// not end with the scope. While clones of this handle exist, it stays nonblocking, and
    /// returns `WouldBlock`.
    ///
    /// # Errors
    ///
    /// The system does not let the descriptor be made blocking.
    ///
    /// ```
    /// use taskgroup::io::Fifo;
    ///
    /// fn for_a_child(fifo: Fifo) -> std::io::Result<std::process::Stdio> {
    ///     Ok(fifo.into_file()?.into())
    /// }
    /// ```
    pub fn into_file(self) -> io::Result<File> {
        let fd = OwnedFd::from(self.descriptor);
        // Of several handles that are given back at once, exactly one is the last.
        if Arc::into_inner(self.handles).is_none() {
            return Ok(fd.into());
        }

        // Invariant 2: the description is this module's own.
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags - OFlags::NONBLOCK)?;
        Ok(fd.into())
    }
}

has_descriptor!(Fifo);
reads_descriptor!(Fifo);
reads_descriptor!(&Fifo);
writes_descriptor!(Fifo);
writes_descriptor!(&Fifo);
