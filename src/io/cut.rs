//! The state of a stream after a cancel has cut a message.

use std::borrow::Cow;
use std::fmt;
use std::io;

use crate::cancel::{Cancelled, context};
use crate::error::{TaskError, broken_stream};
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
                Err(broken_stream(cancelled))
            }
        }
    }
}

/// A `write_all` that is under way. Its loop is in the method itself, so that the place that is
/// recorded for a wait is the caller's.
#[derive(Debug)]
pub(super) struct WriteProgress<'b> {
    rest: &'b [u8],
    is_begun: bool,
}

impl<'b> WriteProgress<'b> {
    pub(super) fn new(buf: &'b [u8]) -> Self {
        WriteProgress {
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
