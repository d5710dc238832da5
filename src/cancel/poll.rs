//! Waits for descriptors, which a cancel of the current scope ends.
//!
//! The wait in the kernel is a closure of the caller, so that a model can put its own in the place.

#![allow(
    dead_code,
    reason = "nothing waits for a descriptor without the features of I/O"
)]

use std::ops::ControlFlow;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::cause::Cancelled;
use super::check::{check, check_at};
use super::frames::{self, Frames};
use super::uncancellable::Outcome;
use super::wait::wait_with;
use crate::facade::Waker;
use crate::waiting::{OnCancel, Polled, WaitFor, Woken};

impl Frames {
    /// Blocks in `poll` until a descriptor is ready, until `limit`, or until there is cause to look
    /// for a cancel.
    fn wait_polling(
        &self,
        what: WaitFor,
        location: &'static Location<'static>,
        cancels: Cancels,
        limit: Option<Instant>,
        poll: impl FnMut(Option<&Waker>, Option<Duration>) -> Polled,
    ) -> Woken {
        let on_cancel = match cancels {
            Cancels::EndIt => self.on_cancel(),
            Cancels::AreIgnored => OnCancel::Wait,
        };

        // Asked again after each wake: a deadline may have been set or moved meanwhile.
        let until = || self.end_of_wait(on_cancel, limit);

        let mut refused = None;
        let slot = self.slot();
        let woken = slot.wait_polling(what, location, on_cancel, until, poll, &mut refused);
        if let Some(refusal) = refused {
            refusal.fail();
        }

        woken
    }
}

/// The effect of a cancel on a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cancels {
    /// It ends the wait.
    EndIt,
    /// The wait goes on.
    AreIgnored,
}

/// Blocks in `poll` until a descriptor is ready, or until `limit`.
///
/// # Errors
///
/// The current scope was cancelled, before or meanwhile.
#[track_caller]
pub(crate) fn poll(
    what: impl Into<WaitFor>,
    cancels: Cancels,
    limit: Option<Instant>,
    mut poll: impl FnMut(Option<&Waker>, Option<Duration>) -> Polled,
) -> Result<Outcome, Cancelled> {
    let location = Location::caller();
    let what = what.into().limited(limit.is_some());
    let check = || match cancels {
        Cancels::EndIt => check_at(location),
        Cancels::AreIgnored => Ok(()),
    };

    wait_with(limit, check, |frames| {
        frames.wait_polling(what, location, cancels, limit, &mut poll)
    })
}

/// Calls `call` until it does not ask to wait, and blocks in `poll` between the calls.
///
/// `call` never blocks. `limit` is asked once, before the first wait, so a call that need not wait
/// pays nothing for it. A call that has taken something from the kernel ends the loop: a cancel
/// that comes at the same time loses nothing.
///
/// # Errors
///
/// The error of `call`, or that of `late` once `limit` has passed; or the current scope was
/// cancelled, before or meanwhile. In a cancelled scope `call` is not called.
#[inline]
#[track_caller]
pub(crate) fn call_when_ready<T, E: From<Cancelled>>(
    what: impl Into<WaitFor>,
    limit: impl FnOnce() -> Result<Option<Instant>, E>,
    late: impl FnOnce() -> E,
    mut call: impl FnMut() -> ControlFlow<Result<T, E>>,
    poll: impl FnMut(Option<&Waker>, Option<Duration>) -> Polled,
) -> Result<T, E> {
    check()?;
    match call() {
        ControlFlow::Break(done) => done,
        ControlFlow::Continue(()) => wait_and_call(what, limit, late, call, poll),
    }
}

/// The rest of [`call_when_ready`], for a call that has asked to wait. Apart from it: a call that
/// need not wait must not pay for what this one keeps.
#[cold]
#[track_caller]
fn wait_and_call<T, E: From<Cancelled>>(
    what: impl Into<WaitFor>,
    limit: impl FnOnce() -> Result<Option<Instant>, E>,
    late: impl FnOnce() -> E,
    mut call: impl FnMut() -> ControlFlow<Result<T, E>>,
    mut poll: impl FnMut(Option<&Waker>, Option<Duration>) -> Polled,
) -> Result<T, E> {
    let limit = limit()?;
    let what = what.into();
    let mut done = None;
    let spun = || {
        done = match call() {
            ControlFlow::Break(value) => Some(value),
            ControlFlow::Continue(()) => None,
        };
        done.is_some()
    };

    // Where the other side answers at once, the thread need not sleep.
    frames::with(|frames| frames.slot().spin_before_poll(spun));
    if let Some(done) = done {
        return done;
    }

    loop {
        let waited = self::poll(what, Cancels::EndIt, limit, &mut poll)?;

        // Also at the limit: what came in the last moment is there.
        match (call(), waited) {
            (ControlFlow::Break(done), _) => return done,
            (ControlFlow::Continue(()), Outcome::TimedOut) => return Err(late()),
            // Another thread was quicker, or the descriptor only seemed to be ready.
            (ControlFlow::Continue(()), Outcome::Ready) => {}
        }
    }
}
