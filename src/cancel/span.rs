//! Times in texts.

use std::fmt;
use std::time::Duration;

/// A time in the unit that fits.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            long if long.as_secs() >= 100 => write!(f, "{} s", long.as_secs()),
            middle if middle.as_millis() >= 1000 => write!(f, "{:.1} s", middle.as_secs_f64()),
            short => write!(f, "{} ms", short.as_millis()),
        }
    }
}
