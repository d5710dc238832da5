//! The grace of a cancel.

use std::time::Instant;

/// How long a cancel spares the regions that wind down below the node that it has reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Grace {
    /// Not at all, or no longer.
    #[default]
    Over,
    /// Until then at the latest.
    Until(Instant),
    /// Until another cancel comes.
    Endless,
}
