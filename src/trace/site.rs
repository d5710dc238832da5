//! A place in the source, as spans, events and reports name it.

use std::fmt;
use std::panic::Location;

/// Displays a place as `file:line`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site(pub(crate) &'static Location<'static>);

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}
