//! How long a task has run.

use std::time::{Duration, Instant};

use crate::error::Elapsed;

/// Measures how long something ran, precisely or cheaply.
///
/// Reading the clock takes longer than all the rest of a task that is run in place. Those are timed by the coarse clock of
/// the system where there is one: it moves every few milliseconds, and costs a quarter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stopwatch {
    Precise(Instant),
    #[cfg(target_os = "linux")]
    Coarse(rustix::time::Timespec),
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Stopwatch::Precise(Instant::now())
    }

    #[inline]
    pub(super) fn start_coarse() -> Self {
        #[cfg(target_os = "linux")]
        return Stopwatch::Coarse(coarse_now());
        #[cfg(not(target_os = "linux"))]
        Self::start()
    }

    pub(super) fn elapsed(self) -> Elapsed {
        match self {
            Stopwatch::Precise(start) => start.elapsed().into(),
            #[cfg(target_os = "linux")]
            Stopwatch::Coarse(start) => {
                let now = coarse_now();
                let at = |time: rustix::time::Timespec| {
                    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
                };
                let step = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
                Elapsed::in_steps(at(now).saturating_sub(at(start)), at(step))
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[inline]
fn coarse_now() -> rustix::time::Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse)
}
