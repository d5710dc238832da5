//! The error of a write to a stream that a cancel has cut in the middle of a message.

use std::error::Error;
use std::fmt;
use std::io;

use crate::cancel::Cancelled;

/// The reason why a stream takes no more writes.
//
// The cancel is not its source: a later write fails because of the cut, and its own scope may not
// be cancelled at all.
#[derive(Debug)]
struct BrokenStream(Cancelled);

/// Returns the error of a write to a stream that `cancelled` has cut.
#[cold]
pub(crate) fn broken_stream(cancelled: &Cancelled) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, BrokenStream(cancelled.clone()))
}

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
