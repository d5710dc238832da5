//! The source of the messages of [`after`](super::after) and [`tick`](super::tick): the clock.
//!
//! No thread sends these messages. The next message is in the channel from the instant at which it
//! is due until a receive takes it. A receive that finds it not yet due waits until that instant
//! and looks again.
//!
//! # Invariants
//!
//! 1. A receive that finds a message due moves `due` on in the same critical section: each message
//!    goes to one receive.
//! 2. `due` only moves later. A thread that waits until an instant that has become too early wakes,
//!    and looks again.
//! 3. No thread stands in a queue of such a channel, and none has to be woken: each waits for the
//!    clock by itself.

use std::time::{Duration, Instant};

use super::op_error::OpError;
use crate::cancel::context;
use crate::facade::{self, Mutex};
use crate::waiting::WaitKind;

/// Makes the messages of a channel of the clock.
pub(super) struct Ticker<T> {
    /// When the next message is due, or `None` if no further one will come.
    due: Mutex<Option<Instant>>,
    /// The time between two messages, or `None` if there is only one.
    period: Option<Duration>,
    /// Makes the message of the instant at which it was due. The public functions know that a
    /// message is that `Instant`; a `Ticker<T>` does not.
    message: fn(Instant) -> T,
}

impl<T> Ticker<T> {
    pub(super) fn new(
        due: Option<Instant>,
        period: Option<Duration>,
        message: fn(Instant) -> T,
    ) -> Self {
        Ticker {
            due: Mutex::new(due),
            period,
            message,
        }
    }

    /// Returns when the next message is due.
    pub(super) fn due(&self) -> Option<Instant> {
        *self.due.lock()
    }

    /// Returns whether a message is in the channel.
    pub(super) fn is_due(&self) -> bool {
        self.due().is_some_and(|due| due <= facade::now())
    }

    /// Takes the message that is due.
    ///
    /// # Errors
    ///
    /// If none is due. The error is the instant at which the next one will be.
    pub(super) fn take(&self) -> Result<T, Option<Instant>> {
        let mut next = self.due.lock();
        let now = facade::now();

        let Some(due) = next.filter(|&due| due <= now) else {
            return Err(*next);
        };

        // Invariants 1 and 2: `due` moves on, and only later, before the lock is released.
        //
        // fault: tick-is-found-and-then-taken
        *next = self.after(due, now);
        Ok((self.message)(due))
    }

    /// Returns when the message after the one of `due` is due, which is taken `now`.
    ///
    /// Messages keep their distance to the first one, so that the latency of a receive does not add
    /// up. A receive that is a whole period late or more has missed messages. They are left out,
    /// and the next period begins now.
    fn after(&self, due: Instant, now: Instant) -> Option<Instant> {
        let period = self.period?;
        due.checked_add(period)
            .filter(|&next| next > now)
            .or_else(|| now.checked_add(period))
    }

    /// Blocks until a message is due or until the limit, and takes it.
    #[track_caller]
    pub(super) fn recv(&self, limit: Option<Instant>) -> Result<T, OpError> {
        loop {
            let due = match self.take() {
                Ok(message) => return Ok(message),
                Err(due) => due,
            };

            // Invariant 3: nothing but the clock ends the wait.
            context::wait(WaitKind::Receive, first(due, limit), || false)
                .map_err(OpError::Cancelled)?;

            // If the message came first, the next look finds it, or another receive was faster.
            if !comes_first(due, limit) {
                return Err(OpError::NotNow);
            }
        }
    }
}

/// Returns the earlier of two instants, of which `None` never comes.
pub(super) fn first(due: Option<Instant>, limit: Option<Instant>) -> Option<Instant> {
    [due, limit].into_iter().flatten().min()
}

/// Returns whether a message that is `due` then comes in time for a wait with this `limit`.
pub(super) fn comes_first(due: Option<Instant>, limit: Option<Instant>) -> bool {
    due.is_some_and(|due| limit.is_none_or(|limit| due <= limit))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    #[test]
    fn a_late_receive_does_not_move_the_ticks() {
        let due = Instant::now();
        let ticker = Ticker::new(Some(due), Some(PERIOD), |due| due);
        for late in [Duration::ZERO, PERIOD / 2, PERIOD - Duration::from_nanos(1)] {
            assert_eq!(ticker.after(due, due + late), Some(due + PERIOD));
        }
    }

    #[test]
    fn ticks_that_were_missed_are_left_out() {
        let due = Instant::now();
        let ticker = Ticker::new(Some(due), Some(PERIOD), |due| due);
        for late in [PERIOD, 5 * PERIOD / 2] {
            assert_eq!(ticker.after(due, due + late), Some(due + late + PERIOD));
        }
        let once = Ticker::new(Some(due), None, |due| due);
        assert_eq!(once.after(due, due + PERIOD), None);
    }

    #[test]
    fn the_earlier_of_due_and_limit_ends_a_wait() {
        let now = Instant::now();
        let (soon, late) = (Some(now), Some(now + PERIOD));
        for (due, limit, earlier, is_due) in [
            (None, None, None, false),
            (soon, None, soon, true),
            (None, soon, soon, false),
            (soon, late, soon, true),
            (late, soon, soon, false),
            (soon, soon, soon, true),
        ] {
            assert_eq!(
                (first(due, limit), comes_first(due, limit)),
                (earlier, is_due)
            );
        }
    }
}
