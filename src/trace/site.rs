//! A place in the source, as spans and events name it.

use std::fmt;
use std::panic::Location;

/// Displays a place as `file:line`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site(pub(super) &'static Location<'static>);

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}
