//! Iterators over lines that end after a cancel.

use std::fmt;
use std::io::{self, BufRead, ErrorKind};
use std::mem;

use crate::blocking::CancelFuse;

/// Returns an iterator over the lines of a reader, without their ends.
///
/// Like [`BufRead::lines`], but after a cancel it yields one error and then the end. The iterator
/// of std would yield the error again and again, so that a loop that only logs errors would not
/// stop. And a line that a cancel cut is not lost: the iterator goes on with it where the scope is
/// not cancelled.
///
/// ```
/// use std::io::{BufReader, Write};
/// use taskgroup::{CancelToken, io};
///
/// # fn main() -> io::Result<()> {
/// let (reader, mut writer) = io::pipe()?;
/// let mut lines = io::lines(BufReader::new(reader));
/// writer.write_all(b"one\ntwo\n")?;
/// assert_eq!(lines.next().transpose()?.as_deref(), Some("one"));
///
/// let token = CancelToken::new();
/// token.cancel();
/// assert_eq!(token.run(|| lines.by_ref().filter(|line| line.is_err()).count()), 1);
/// # Ok(())
/// # }
/// ```
pub fn lines<B: BufRead>(reader: B) -> Lines<B> {
    Lines {
        reader,
        partial: Vec::new(),
        fuse: CancelFuse::default(),
    }
}

/// Yields the lines of a reader. [`lines`] and [`Stdin::lines`](super::Stdin::lines) make it.
///
/// # Cancellation
///
/// [`next`](Iterator::next) is a blocking point if the reads of the reader are. In a cancelled
/// scope it yields the cancel, as an error, and then the end.
///
/// # Errors
///
/// The errors of the reader, and [`InvalidData`](ErrorKind::InvalidData) for a line that is not
/// UTF-8. The next line comes after it.
///
/// ```
/// let mut lines = taskgroup::io::lines("a\r\nb".as_bytes());
/// assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("a"));
/// assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("b"));
/// assert!(lines.next().is_none());
/// ```
#[must_use = "iterators are lazy: nothing is read until `next` is called"]
pub struct Lines<B> {
    reader: B,
    /// The beginning of a line that is not complete yet.
    partial: Vec<u8>,
    fuse: CancelFuse,
}

impl<B: BufRead> Lines<B> {
    #[track_caller]
    fn next_line(&mut self) -> io::Result<Option<String>> {
        // Bytes stay in `partial` after an error.
        self.reader.read_until(b'\n', &mut self.partial)?;

        let mut line = mem::take(&mut self.partial);
        if line.is_empty() {
            return Ok(None);
        }

        // The last line of an input may have no end.
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }

        let line = String::from_utf8(line);
        line.map(Some).map_err(|_| not_utf8())
    }
}

impl<B: BufRead> Iterator for Lines<B> {
    type Item = io::Result<String>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.fuse.ends() {
            return None;
        }

        let step = self.next_line();
        self.fuse.after(step)
    }
}

impl<B: fmt::Debug> fmt::Debug for Lines<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("reader", &self.reader)
            .field("partial", &self.partial.len())
            .finish_non_exhaustive()
    }
}

/// The error of std for text that is not UTF-8.
pub(super) fn not_utf8() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "stream did not contain valid UTF-8")
}
