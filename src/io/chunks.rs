//! Reads to the end and copies, which look for a cancel between their steps.

use std::io::{self, ErrorKind, Read, Write};

use super::access::at_the_end;
use crate::cancel::context;

/// The most bytes of one step.
const STEP: usize = 64 << 10;

/// Copies all bytes of a reader, until its end, into a writer. Returns their number.
///
/// Like std's [`copy`](std::io::copy), but it looks for a cancel before each step of at most 64
/// KiB. So the copy of a large file ends with its scope, although reads of files are not blocking
/// points.
///
/// # Cancellation
///
/// A blocking point: it fails immediately in a cancelled scope, and between its steps. If the
/// reader or the writer is one of this crate, a cancel wakes their calls too. A step that was read
/// and not written is lost: a cancel of the *write* loses up to 64 KiB. A writer of this crate that
/// was cut in the middle of a step is broken. So after a cancel, give up both ends, or copy by
/// hand.
///
/// In a cancelled scope the end of the reader is the cancel, so that a copy that was cut does not
/// look complete.
///
/// # Errors
///
/// The errors of the reader and the writer. After `Interrupted` the call is made again. A
/// [`Cancelled`](crate::Cancelled) comes in an error of the kind [`Other`](ErrorKind::Other).
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let mut copied = Vec::new();
/// let length = taskgroup::io::copy(&mut "all of it".as_bytes(), &mut copied)?;
/// assert_eq!((length, copied.as_slice()), (9, b"all of it".as_slice()));
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn copy<R: Read + ?Sized, W: Write + ?Sized>(from: &mut R, to: &mut W) -> io::Result<u64> {
    let mut step = vec![0; STEP];
    let mut copied = 0;
    loop {
        let length = read_step(from, &mut step)?;
        if length == 0 {
            return Ok(copied);
        }

        // Whole, or an error: then the rest of the step is lost, as the docs say.
        to.write_all(&step[..length])?;
        copied += length as u64;
    }
}

/// Reads until the end, and appends the bytes to `buf`. Returns their number.
///
/// Like [`Read::read_to_end`], but it looks for a cancel before each step of at most 64 KiB, so
/// that reads of large files end with their scope. For a reader of this crate, both functions end
/// with the scope.
///
/// # Cancellation
///
/// A blocking point: it fails immediately in a cancelled scope, and between its steps. The bytes
/// that were read by then are in `buf`.
///
/// # Errors
///
/// The errors of the reader. After `Interrupted` the call is made again. A
/// [`Cancelled`](crate::Cancelled) comes in an error of the kind [`Other`](ErrorKind::Other).
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let mut bytes = Vec::new();
/// let mut file = std::fs::File::open("/dev/null")?;
/// assert_eq!(taskgroup::io::read_to_end(&mut file, &mut bytes)?, 0);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn read_to_end<R: Read + ?Sized>(reader: &mut R, buf: &mut Vec<u8>) -> io::Result<usize> {
    // Not into `buf` itself: its room would have to be zeroed before each step.
    let mut step = vec![0; STEP];
    let before = buf.len();

    loop {
        let length = read_step(reader, &mut step)?;
        if length == 0 {
            return Ok(buf.len() - before);
        }

        // Before the next step, which may fail: these bytes are the caller's.
        buf.extend_from_slice(&step[..length]);
    }
}

/// Reads until the end, and returns the text.
///
/// Like std's [`read_to_string`](std::io::read_to_string), but it looks for a cancel before each
/// step of at most 64 KiB, so that reads of large files end with their scope.
///
/// # Cancellation
///
/// A blocking point: it fails immediately in a cancelled scope, and between its steps. The bytes
/// that were read by then are lost. [`read_to_end`] keeps them.
///
/// # Errors
///
/// The errors of [`read_to_end`], and [`InvalidData`](ErrorKind::InvalidData) if the bytes are not
/// UTF-8.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// assert_eq!(taskgroup::io::read_to_string("text".as_bytes())?, "text");
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn read_to_string<R: Read>(mut reader: R) -> io::Result<String> {
    let mut bytes = Vec::new();
    read_to_end(&mut reader, &mut bytes)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Reads once, in a scope that is not cancelled.
fn read_step<R: Read + ?Sized>(reader: &mut R, step: &mut [u8]) -> io::Result<usize> {
    loop {
        // Before each attempt: a reader that is always interrupted must not hold the scope.
        context::check()?;

        match reader.read(step) {
            Ok(0) => {
                // The reader may be at its end because of the cancel.
                at_the_end()?;
                return Ok(0);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
