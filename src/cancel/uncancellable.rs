//! Waits that no cancel ends.

use std::panic::Location;
use std::time::Instant;

use super::frames::slot;
use crate::waiting::{OnCancel, WaitFor, Woken};
use crate::workers::Refusal;

/// How a wait ended that was not cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The condition holds.
    Ready,
    /// The limit of the wait has passed.
    TimedOut,
}

/// Blocks until `ready`, or until the instant that `until` returns. No cancel ends the wait.
#[track_caller]
pub(crate) fn wait_uncancellable(
    what: impl Into<WaitFor>,
    until: impl FnMut() -> Option<Instant>,
    ready: impl FnMut() -> bool,
) -> Outcome {
    wait_uncancellable_at(Location::caller(), what, until, ready)
}

/// Like [`wait_uncancellable`], for a wait that is part of a call at `location`.
pub(crate) fn wait_uncancellable_at(
    location: &'static Location<'static>,
    what: impl Into<WaitFor>,
    mut until: impl FnMut() -> Option<Instant>,
    mut ready: impl FnMut() -> bool,
) -> Outcome {
    let what = what.into();

    loop {
        let mut refused = None;
        match slot().wait(
            what,
            location,
            OnCancel::Wait,
            &mut until,
            &mut ready,
            &mut refused,
        ) {
            Woken::Ready => return Outcome::Ready,
            Woken::Marked | Woken::TimedOut => return Outcome::TimedOut,
            // To fail a task runs user code, so it comes after the wait has been withdrawn.
            Woken::Refused => refused.into_iter().for_each(Refusal::fail),
        }
    }
}

/// Runs `f`, which blocks in a crossbeam channel, and says so. `on_cancel` says what `f` does when
/// the scope is cancelled.
#[cfg(feature = "crossbeam")]
#[track_caller]
pub(crate) fn blocked<T>(
    what: impl Into<WaitFor>,
    on_cancel: OnCancel,
    f: impl FnOnce() -> T,
) -> T {
    slot().blocked(what.into(), Location::caller(), on_cancel, f)
}
