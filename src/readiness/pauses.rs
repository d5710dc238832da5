//! Pauses between attempts where the system cannot say when the next one is due.

use std::panic::Location;
use std::time::{Duration, Instant};

use crate::cancel::{Cancelled, context};
use crate::waiting::WaitKind;

/// Pauses that a cancel ends. They double, from 1 ms up to a bound, since the call may notice its
/// event a whole pause late.
#[derive(Debug)]
pub(crate) struct Pauses {
    kind: WaitKind,
    location: &'static Location<'static>,
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// Returns pauses of up to 10 ms, for the blocking point that is called at the place of the
    /// caller: for sockets, where other processes are about to make room.
    #[track_caller]
    pub(crate) fn short(kind: WaitKind) -> Self {
        Pauses::up_to(Duration::from_millis(10), kind)
    }

    /// Returns pauses of up to 50 ms, for the blocking point that is called at the place of the
    /// caller: for files, where the other process may take its time.
    #[track_caller]
    pub(crate) fn long(kind: WaitKind) -> Self {
        Pauses::up_to(Duration::from_millis(50), kind)
    }

    #[track_caller]
    fn up_to(longest: Duration, kind: WaitKind) -> Self {
        Pauses {
            kind,
            location: Location::caller(),
            next: Duration::from_millis(1),
            longest,
        }
    }

    /// Blocks for the next pause.
    pub(crate) fn pause(&mut self) -> Result<(), Cancelled> {
        let end = self.end_of_next();

        // Nothing but the clock or a cancel ends a pause: no other thread knows of it.
        context::wait_at(self.location, self.kind, Some(end), || false).map(drop)
    }

    /// Returns when a pause ends that begins now.
    pub(crate) fn end_of_next(&mut self) -> Instant {
        // From now on, so that a slow attempt does not shorten the pause after it.
        Instant::now() + self.length_of_next()
    }

    /// Returns the length of a pause that begins now.
    pub(crate) fn length_of_next(&mut self) -> Duration {
        let length = self.next;
        self.next = (length * 2).min(self.longest);
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let doubles_up_to = |mut pauses: Pauses, expected: &[u64]| {
            for expected in expected {
                assert_eq!(pauses.next, Duration::from_millis(*expected));
                assert!(pauses.end_of_next() > Instant::now());
            }
        };
        doubles_up_to(Pauses::long(WaitKind::Fifo), &[1, 2, 4, 8, 16, 32, 50, 50]);
        doubles_up_to(Pauses::short(WaitKind::Connect), &[1, 2, 4, 8, 10, 10]);
    }
}
