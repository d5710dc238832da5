//! Waits that a cancel of the current scope ends.

use std::panic::Location;
use std::time::Instant;

use super::cause::Cancelled;
use super::check::check_at;
use super::frames::{self, Frames};
use super::uncancellable::Outcome;
use crate::facade;
use crate::waiting::{OnCancel, WaitFor, Woken};

impl Frames {
    /// Blocks until `ready`, until `limit`, or until there is cause to look for a cancel, which is
    /// up to the caller. Until then it touches the reference counts of neither slot nor node.
    fn wait(
        &self,
        what: WaitFor,
        location: &'static Location<'static>,
        limit: Option<Instant>,
        ready: impl FnMut() -> bool,
    ) -> Woken {
        let on_cancel = self.on_cancel();

        // Asked again after each wake: a deadline may have been set or moved meanwhile.
        let until = || self.end_of_wait(on_cancel, limit);

        let mut refused = None;
        let slot = self.slot();
        let woken = slot.wait(what, location, on_cancel, until, ready, &mut refused);
        if let Some(refusal) = refused {
            refusal.fail();
        }

        woken
    }

    /// Attaches the slot to the innermost scope, and returns what a cancel does to a wait there.
    pub(super) fn on_cancel(&self) -> OnCancel {
        if self.attach() {
            OnCancel::Return
        } else {
            OnCancel::Wait
        }
    }

    /// Returns when a wait ends at the latest: at `limit`, or if a cancel ends it, at the next
    /// deadline of the scope.
    pub(super) fn end_of_wait(
        &self,
        on_cancel: OnCancel,
        limit: Option<Instant>,
    ) -> Option<Instant> {
        match on_cancel {
            OnCancel::Wait => limit,
            OnCancel::Return => [limit, self.next_limit()].into_iter().flatten().min(),
        }
    }
}

/// Blocks until `ready`, or until `limit`.
///
/// # Errors
///
/// The current scope was cancelled, before or meanwhile, and `ready` did not hold. The caller
/// decides under the lock of the primitive whether the wait was granted in spite of it.
#[inline]
#[track_caller]
pub(crate) fn wait(
    what: impl Into<WaitFor>,
    limit: Option<Instant>,
    ready: impl FnMut() -> bool,
) -> Result<Outcome, Cancelled> {
    wait_at(Location::caller(), what, limit, ready)
}

/// Like [`wait`], for the blocking point at `location`.
#[inline]
pub(crate) fn wait_at(
    location: &'static Location<'static>,
    what: impl Into<WaitFor>,
    limit: Option<Instant>,
    mut ready: impl FnMut() -> bool,
) -> Result<Outcome, Cancelled> {
    let what = what.into().limited(limit.is_some());

    let check = || check_at(location);
    wait_with(limit, check, |frames| {
        frames.wait(what, location, limit, &mut ready)
    })
}

/// Waits with `wait`, again and again, until it says that what it waits for is ready, or until
/// `limit`. `check` is called before each wait, and after one that has timed out.
///
/// # Errors
///
/// The error of `check`.
#[inline]
pub(super) fn wait_with(
    limit: Option<Instant>,
    check: impl Fn() -> Result<(), Cancelled>,
    mut wait: impl FnMut(&Frames) -> Woken,
) -> Result<Outcome, Cancelled> {
    loop {
        check()?;

        // The frames are asked for each time: the code of a task that had to fail may have been in
        // scopes of its own.
        match frames::with(&mut wait) {
            Woken::Ready => return Ok(Outcome::Ready),
            Woken::Marked | Woken::Refused => {}
            Woken::TimedOut => {
                // The instant may have been a deadline of the scope, which the check acts on.
                check()?;

                if limit.is_some_and(|limit| limit <= facade::now()) {
                    return Ok(Outcome::TimedOut);
                }
            }
        }
    }
}
