//! How long a task has run.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use nix::{sys::time::TimeSpec, time::ClockId};

use crate::error::Elapsed;

/// Measures how long something ran, precisely or cheaply.
///
/// Reading the clock takes longer than all the rest of a task that is run in place. Those are timed by the coarse clock of
/// the system where there is one: it moves every few milliseconds, and costs a quarter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stopwatch {
    Precise(Instant),
    #[cfg(target_os = "linux")]
    Coarse(TimeSpec),
}

#[cfg(target_os = "linux")]
const COARSE: ClockId = ClockId::CLOCK_MONOTONIC_COARSE;

impl Stopwatch {
    pub(super) fn start() -> Self {
        Stopwatch::Precise(Instant::now())
    }

    #[inline]
    pub(super) fn start_coarse() -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(now) = COARSE.now() {
            return Stopwatch::Coarse(now);
        }
        Self::start()
    }

    pub(super) fn elapsed(self) -> Elapsed {
        match self {
            Stopwatch::Precise(start) => start.elapsed().into(),
            #[cfg(target_os = "linux")]
            Stopwatch::Coarse(start) => {
                let now = COARSE.now().unwrap_or(start);
                let step = COARSE.res().map_or(Duration::ZERO, Duration::from);
                Elapsed::in_steps(Duration::from(now).saturating_sub(start.into()), step)
            }
        }
    }
}
