//! Pauses between attempts where the system cannot say when the next one is due.

use std::panic::Location;
use std::time::{Duration, Instant};

use crate::cancel::{Cancelled, context};
use crate::waiting::WaitKind;

const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(10);

/// Pauses that a cancel ends. They double, from 1 ms up to 10 ms.
#[derive(Debug)]
pub(super) struct Pauses {
    kind: WaitKind,
    location: &'static Location<'static>,
    next: Duration,
}

impl Pauses {
    /// For the blocking point that is called at the place of the caller.
    #[track_caller]
    pub(super) fn new(kind: WaitKind) -> Self {
        Pauses {
            kind,
            location: Location::caller(),
            next: FIRST,
        }
    }

    /// Blocks for the next pause.
    pub(super) fn pause(&mut self) -> Result<(), Cancelled> {
        let until = Instant::now() + self.next;
        // Bounded, since the call may notice the room a whole pause late.
        self.next = (self.next * 2).min(LONGEST);

        context::wait_at(self.location, self.kind, Some(until), || false).map(drop)
    }
}
