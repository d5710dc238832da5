//! Waits for a descriptor of the operating system.
//!
//! A thread that waits for a descriptor is in the kernel, where an unpark does not reach it. It
//! waits for a second descriptor too: its *waker*, which a mark makes readable. The bit `POLLING`
//! takes the place of `PARKED`.
//!
//! # Invariants
//!
//! 1. The waker is made before `POLLING` is published, and is kept for as long as the slot. So a
//!    mark that sees `POLLING` finds it, or finds that there could be none.
//! 2. A wake is sticky: the waker stays readable until the owner drains it. So a wake between the
//!    publish and the wait in the kernel is not lost.
//! 3. The owner looks at the word *after* it has drained the waker. A wake that comes late, for a
//!    wait before this, may be drained together with the wake of a mark: the mark is in the word
//!    then, since a mark writes the word before it wakes. An owner that finds the mark first need
//!    not drain: the waker then ends a later poll without cause, and is drained there.
//! 4. If the process has no descriptor left for a waker, the owner looks at the word every
//!    [`WITHOUT_WAKER`], and tries to make a waker again at its next wait.

use std::panic::Location;
use std::time::{Duration, Instant};

use super::super::shown_wait::ShownWait;
use super::super::{OnCancel, WaitFor};
use super::{POLLING, Slot, Woken, give_place_away, time_left};
use crate::facade::{self, Ordering, Waker};
use crate::workers::Refusal;

/// How often a thread without a waker looks for a cancel.
const WITHOUT_WAKER: Duration = Duration::from_millis(10);

/// How one wait in the kernel ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code, reason = "only the features of I/O wait for descriptors")]
pub(crate) enum Polled {
    /// A descriptor that the caller waits for is ready.
    Ready,
    /// The waker is readable, and no other descriptor is ready.
    Woken,
    /// Neither is: the time was over, or a signal came.
    Neither,
}

impl Slot {
    /// Calls `done` for a few microseconds, if the last waits of this thread for descriptors tell
    /// that this may be enough. Returns whether `done` has returned true.
    pub(crate) fn spin_before_poll(&self, done: impl FnMut() -> bool) -> bool {
        self.0.poll.try_spin(|| facade::spin(done))
    }

    /// Blocks the owner in `poll` until a descriptor is ready, until the slot is marked if
    /// `on_cancel` says so, or until the instant that `until` returns.
    ///
    /// `poll` gets the waker to wait for beside its descriptors, if there is one, and the longest
    /// time to wait. Like in [`wait`](Slot::wait), no user code runs between the publish and the
    /// end.
    pub(crate) fn wait_polling(
        &self,
        what: WaitFor,
        location: &'static Location<'static>,
        on_cancel: OnCancel,
        mut until: impl FnMut() -> Option<Instant>,
        mut poll: impl FnMut(Option<&Waker>, Option<Duration>) -> Polled,
        refused: &mut Option<Refusal>,
    ) -> Woken {
        let shown = ShownWait::begin(what, location, on_cancel);
        let returns = on_cancel == OnCancel::Return;

        // Invariant 1: the waker is made before the publish. A wait that no mark ends needs none.
        let waker = if returns { self.0.poll.waker() } else { None };

        // fault: early-mark-is-missed-in-a-poll
        let mut marked = self.publish(POLLING) && returns;

        let mut blocked = None;
        let woken = loop {
            if marked {
                break Woken::Marked;
            }

            let Some(mut limit) = time_left(until()) else {
                break Woken::TimedOut;
            };
            if returns && waker.is_none() {
                // Invariant 4: without a waker, the thread looks for a mark every `WITHOUT_WAKER`.
                limit = Some(limit.map_or(WITHOUT_WAKER, |limit| limit.min(WITHOUT_WAKER)));
            }

            // The thread gives its place among the workers away only once it is sure to block.
            if blocked.is_none() {
                blocked = give_place_away(&shown, refused);
                if blocked.is_none() {
                    break Woken::Refused;
                }
            }

            let polled = poll(waker, limit);
            if polled == Polled::Ready {
                break Woken::Ready;
            }
            marked = self.look_and_drain(polled, waker) && returns;
        };

        // Relaxed: a cancelling thread reads only the waker, which never changes.
        self.0.word.fetch_and(!POLLING, Ordering::Relaxed);
        woken
    }

    /// Returns whether the slot is marked. If it is not, drains the waker, if that is readable.
    fn look_and_drain(&self, polled: Polled, waker: Option<&Waker>) -> bool {
        // Invariant 3: a marked owner need not drain, which saves the system call.
        if self.is_marked() {
            return true;
        }

        // Invariant 2: until here the waker stays readable.
        if let (Polled::Woken, Some(waker)) = (polled, waker) {
            waker.drain();
        }

        // Invariant 3: another look after the drain.
        // fault: word-is-not-read-after-the-drain
        self.is_marked()
    }
}
