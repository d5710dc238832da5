//! Pauses between attempts where the system cannot say when the next one is due.

use std::time::{Duration, Instant};

use crate::cancel::{Cancelled, context};
use crate::waiting::WaitKind;

/// Pauses that a cancel ends. They double, from 1 ms up to 50 ms.
#[derive(Debug)]
pub(super) struct BackOff {
    next: Duration,
}

impl BackOff {
    const FIRST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(50);

    pub(super) fn new() -> Self {
        BackOff { next: Self::FIRST }
    }

    /// Blocks for the next pause.
    #[track_caller]
    pub(super) fn pause(&mut self, kind: WaitKind) -> Result<(), Cancelled> {
        let end = self.end_of_next();
        context::wait(kind, Some(end), || false).map(drop)
    }

    /// Returns when a pause ends that begins now.
    pub(super) fn end_of_next(&mut self) -> Instant {
        let end = Instant::now() + self.next;
        // Bounded, since the caller may notice the event a whole pause late.
        self.next = (self.next * 2).min(Self::LONGEST);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut pauses = BackOff::new();
        for expected in [1, 2, 4, 8, 16, 32, 50, 50] {
            assert_eq!(pauses.next, Duration::from_millis(expected));
            assert!(pauses.end_of_next() > Instant::now());
        }
    }
}
