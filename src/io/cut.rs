//! What is left of a stream when a cancel has cut a message.

use std::error::Error;
use std::fmt;
use std::io;

use crate::cancel::{Cancelled, context};
use crate::error::TaskError;
use crate::facade::Once;

/// Whether a cancel has cut a `write_all` after its first byte. The other end then has a part of a
/// message, and all later writes fail.
//
// It is set once and never taken back. All clones of a stream share it.
#[derive(Debug, Default)]
pub(super) struct Cut(Once<Cancelled>);

impl Cut {
    /// Fails if the stream was cut.
    #[inline]
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.get() {
            None => Ok(()),
            Some(cancelled) => {
                let broken = BrokenStream(cancelled.clone());
                Err(io::Error::new(io::ErrorKind::BrokenPipe, broken))
            }
        }
    }

    /// Like [`Write::write_all`](io::Write::write_all), with `write` in the place of the stream's.
    pub(super) fn write_all(
        &self,
        buf: &[u8],
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        context::check()?;

        let mut written = 0;
        while written < buf.len() {
            match write(&buf[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) => {
                    if let Some(cancelled) = error.cancelled().filter(|_| written > 0) {
                        // A second cut changes nothing: the first has broken the stream.
                        let _ = self.0.set(cancelled.clone());
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Like [`Write::write_fmt`](io::Write::write_fmt), with `write` in the place of the stream's.
    /// The text is formatted first, so that a short one is written in one piece.
    pub(super) fn write_fmt(
        &self,
        args: fmt::Arguments<'_>,
        write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        if let Some(text) = args.as_str() {
            return self.write_all(text.as_bytes(), write);
        }

        let mut text = String::new();
        if fmt::write(&mut text, args).is_err() {
            return Err(io::Error::other("a formatting trait returned an error"));
        }
        self.write_all(text.as_bytes(), write)
    }
}

/// The reason why a stream takes no more writes.
//
// The cancel is not its source: a later write fails because of the cut, and its own scope may not
// be cancelled at all.
#[derive(Debug)]
struct BrokenStream(Cancelled);

impl fmt::Display for BrokenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cancelled = &self.0;
        write!(
            f,
            "the stream is broken: a cancel cut an earlier write in the middle ({cancelled})"
        )
    }
}

impl Error for BrokenStream {}
