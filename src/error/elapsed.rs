//! How long something has run, as far as is known.

use std::time::Duration;

/// A time that was measured, precisely or by a clock with large steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Elapsed {
    Measured(Duration),
    /// Less than one step of the clock.
    Under(Duration),
}

impl Elapsed {
    /// By a clock that moves by `step`.
    pub(crate) fn in_steps(elapsed: Duration, step: Duration) -> Self {
        if elapsed < step {
            Elapsed::Under(step)
        } else {
            Elapsed::Measured(elapsed)
        }
    }

    /// What has passed at least.
    pub(super) fn at_least(self) -> Duration {
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
