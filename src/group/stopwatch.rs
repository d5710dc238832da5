//! The time that a task has run.

use std::time::{Duration, Instant};

use crate::error::Elapsed;

/// Measures a running time, precisely or cheaply.
///
/// A read of the precise clock takes longer than all the rest of a task that runs in place. Such a
/// task is timed by the coarse clock of the system, if there is one: it moves every few
/// milliseconds, and a read costs a quarter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stopwatch {
    Precise(Instant),
    Coarse(Duration),
}

/// The clock to time a task by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timing {
    Precise,
    /// By the coarse clock, if the system has one.
    Coarse,
}

impl Stopwatch {
    #[inline]
    pub(crate) fn start(timing: Timing) -> Self {
        match timing {
            Timing::Precise => Self::start_precise(),
            Timing::Coarse => Self::start_coarse(),
        }
    }

    fn start_precise() -> Self {
        Stopwatch::Precise(Instant::now())
    }

    #[inline]
    pub(crate) fn start_coarse() -> Self {
        coarse::now().map_or_else(Self::start_precise, Stopwatch::Coarse)
    }

    /// Returns how much later than `earlier` it was started, by the clock of both.
    pub(crate) fn since(self, earlier: Stopwatch) -> Duration {
        match (self, earlier) {
            (Stopwatch::Precise(later), Stopwatch::Precise(earlier)) => {
                later.saturating_duration_since(earlier)
            }
            (Stopwatch::Coarse(later), Stopwatch::Coarse(earlier)) => later.saturating_sub(earlier),
            // Two clocks do not compare. No caller mixes them.
            _ => Duration::ZERO,
        }
    }

    pub(crate) fn elapsed(self) -> Elapsed {
        match self {
            Stopwatch::Precise(start) => start.elapsed().into(),
            Stopwatch::Coarse(start) => {
                // In steps, so that a report does not claim a precision that the clock lacks.
                let elapsed = coarse::now().map_or(Duration::ZERO, |now| now.saturating_sub(start));
                Elapsed::in_steps(elapsed, coarse::step())
            }
        }
    }
}

/// Returns the time of the coarse clock, in milliseconds. `None` if the system has none.
#[inline]
pub(super) fn coarse_millis() -> Option<u64> {
    let now = coarse::now()?;
    Some(now.as_secs() * 1000 + u64::from(now.subsec_millis()))
}

#[cfg(target_os = "linux")]
mod coarse {
    use std::time::Duration;

    use nix::time::ClockId;

    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC_COARSE;

    #[inline]
    pub(crate) fn now() -> Option<Duration> {
        CLOCK.now().ok().map(Duration::from)
    }

    pub(crate) fn step() -> Duration {
        CLOCK.res().map_or(Duration::ZERO, Duration::from)
    }
}

#[cfg(not(target_os = "linux"))]
mod coarse {
    use std::time::Duration;

    pub(crate) fn now() -> Option<Duration> {
        None
    }

    pub(crate) fn step() -> Duration {
        Duration::ZERO
    }
}
