//! Locks on files.

use std::fs::File;
use std::io;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::cancel::context;
use crate::readiness::Pauses;
use crate::waiting::WaitKind;

/// Locks a file for this handle alone, and blocks until no other handle has a lock on it.
///
/// Like std's [`File::lock`](std::fs::File::lock), but a cancel ends the wait, and it needs no
/// newer compiler than the rest of this crate. It uses `flock`, which is advisory: it holds up only
/// processes that lock the file too. Another handle of the same process waits too, unless it is a
/// clone of this one.
///
/// [`unlock_file`] ends the lock, and so does the close of the last clone of the handle. While the
/// lock is taken, it is tried again after pauses of 1 to 50 ms.
///
/// # Cancellation
///
/// A blocking point: it fails immediately in a cancelled scope, and wakes when the scope is
/// cancelled. The file is not locked then.
///
/// # Errors
///
/// The errors of the system, and a [`Cancelled`](crate::Cancelled) in an error of the kind
/// [`Other`](io::ErrorKind::Other).
///
/// ```
/// use std::fs::File;
/// use std::time::Duration;
/// use taskgroup::{io, timeout};
///
/// # fn main() -> io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("taskgroup-lock-{}", std::process::id()));
/// let (first, second) = (File::create(&path)?, File::create(&path)?);
/// io::lock_file(&first)?;
/// assert_eq!(timeout(Duration::from_millis(5), || io::lock_file(&second))?, None);
///
/// io::unlock_file(&first)?;
/// io::lock_file(&second)?;
/// # std::fs::remove_file(path)
/// # }
/// ```
#[track_caller]
pub fn lock_file(file: &File) -> io::Result<()> {
    context::check()?;

    let mut pauses = Pauses::long(WaitKind::FileLock);
    loop {
        // No descriptor becomes ready when a lock ends, and a `flock` that blocks cannot be woken.
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => pauses.pause()?,
            Err(Errno::INTR) => context::check()?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends the lock that [`lock_file`] has put on a file. Without a lock it does nothing.
///
/// Like std's [`File::unlock`](std::fs::File::unlock). It never blocks.
///
/// # Errors
///
/// The errors of the system.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let file = std::fs::File::open("Cargo.toml")?;
/// taskgroup::io::lock_file(&file)?;
/// taskgroup::io::unlock_file(&file)?;
/// # Ok(())
/// # }
/// ```
pub fn unlock_file(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::Unlock)?)
}
