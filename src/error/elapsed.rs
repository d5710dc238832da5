//! How long something ran, as far as its clock tells.

use std::time::Duration;

/// A duration that was measured precisely, or by a clock with large steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Elapsed {
    Measured(Duration),
    /// Less than one step of the clock.
    Under(Duration),
}

impl Elapsed {
    /// Returns a time that was measured by a clock with steps of `step`.
    pub(crate) fn in_steps(elapsed: Duration, step: Duration) -> Self {
        if elapsed < step {
            Elapsed::Under(step)
        } else {
            Elapsed::Measured(elapsed)
        }
    }

    /// Returns how much has passed at least.
    pub(crate) fn at_least(self) -> Duration {
        match self {
            Elapsed::Measured(elapsed) => elapsed,
            Elapsed::Under(_) => Duration::ZERO,
        }
    }
}

impl From<Duration> for Elapsed {
    fn from(elapsed: Duration) -> Self {
        Elapsed::Measured(elapsed)
    }
}
