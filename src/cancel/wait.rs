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
        let slot = self.slot();
        let on_cancel = if self.attach() {
            OnCancel::Return
        } else {
            OnCancel::Wait
        };

        // Asked again after each wake: a deadline may have been set or moved meanwhile.
        let until = || {
            if on_cancel == OnCancel::Wait || !slot.is_timed() {
                return limit;
            }

            [limit, self.node().and_then(|node| node.next_limit())]
                .into_iter()
                .flatten()
                .min()
        };

        let mut refused = None;
        let woken = slot.wait(what, location, on_cancel, until, ready, &mut refused);
        if let Some(refusal) = refused {
            refusal.fail();
        }

        woken
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

    loop {
        check_at(location)?;

        // The frames are asked for each time: the code of a task that had to fail may have been in
        // scopes of its own.
        match frames::with(|frames| frames.wait(what, location, limit, &mut ready)) {
            Woken::Ready => return Ok(Outcome::Ready),
            Woken::Marked | Woken::Refused => {}
            Woken::TimedOut => {
                // The instant may have been a deadline of the scope, which the check acts on.
                check_at(location)?;

                if limit.is_some_and(|limit| limit <= facade::now()) {
                    return Ok(Outcome::TimedOut);
                }
            }
        }
    }
}
