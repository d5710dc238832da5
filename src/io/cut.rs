//! The state of a stream after a cancel has cut a message.

use std::borrow::Cow;
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
    /// Fails if the stream was cut: with the cancel, in a scope that is cancelled, like every call.
    #[inline]
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.get() {
            None => Ok(()),
            Some(cancelled) => {
                context::check()?;
                let broken = BrokenStream(cancelled.clone());
                Err(io::Error::new(io::ErrorKind::BrokenPipe, broken))
            }
        }
    }
}

/// A `write_all` that is under way. Its loop is in the method itself, so that the place that is
/// recorded for a wait is the caller's.
#[derive(Debug)]
pub(super) struct Progress<'b> {
    rest: &'b [u8],
    is_begun: bool,
}

impl<'b> Progress<'b> {
    pub(super) fn new(buf: &'b [u8]) -> Self {
        Progress {
            rest: buf,
            is_begun: false,
        }
    }

    /// Returns the bytes that are still to be written.
    pub(super) fn rest(&self) -> Option<&'b [u8]> {
        (!self.rest.is_empty()).then_some(self.rest)
    }

    /// Takes the outcome of a write of the rest. A cancel after the first byte cuts the stream.
    pub(super) fn advance(&mut self, written: io::Result<usize>, cut: &Cut) -> io::Result<()> {
        match written {
            // As in std: a loop would go on for ever.
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => {
                self.rest = &self.rest[length..];
                self.is_begun = true;
                Ok(())
            }
            Err(error) => {
                if let Some(cancelled) = error.cancelled().filter(|_| self.is_begun) {
                    // A second cut changes nothing: the first has broken the stream.
                    let _ = cut.0.set(cancelled.clone());
                }
                Err(error)
            }
        }
    }
}

/// Formats a text before it is written, so that a short one is written in one piece.
pub(super) fn formatted<'a>(args: fmt::Arguments<'a>) -> io::Result<Cow<'a, str>> {
    if let Some(text) = args.as_str() {
        return Ok(text.into());
    }

    // Not `to_string`, which panics where a formatting trait returns an error.
    let mut text = String::new();
    match fmt::write(&mut text, args) {
        Ok(()) => Ok(text.into()),
        Err(_) => Err(io::Error::other("a formatting trait returned an error")),
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
