//! Whether a task that is being started belongs to the call of `start` or to the group.
//!
//! | phase | meaning | left by |
//! |---|---|---|
//! | `Open` | `start` waits; the task has not sent | `send`, the end of the task, a cancel of `start` |
//! | `Sent` | the value is there; the task is one of the group like any other | - |
//! | `Withdrawn` | `start` was cancelled and waits for the end of the task; a value that is sent is kept for it | the end of the task |
//! | `Closed` | the task has ended; a value that is sent is dropped | - |
//!
//! A failure in the phases `Open` and `Withdrawn` belongs to the caller of `start`, and closes the
//! handshake. If a failure and a `send` from another thread come together, one of them is first,
//! and the phase says which.

use std::sync::{Arc, OnceLock};

use crate::facade::{Mutex, MutexGuard};
use crate::group::state::completions::Completions;
use crate::lanes::StartMark;

/// The event that the task has sent its value.
pub(crate) const SENT: usize = 0;
/// The event that the task has ended.
pub(crate) const ENDED: usize = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HandshakePhase {
    Open,
    Sent,
    Withdrawn,
    Closed,
}

/// The phase of a task that is being started. It has nothing of the value, so it may outlive the
/// scope.
#[derive(Debug)]
pub(crate) struct Handshake {
    phase: Mutex<HandshakePhase>,
    /// The events that `start` waits for: [`SENT`] and [`ENDED`].
    pub(crate) events: Arc<Completions>,
    /// Shows on the lane of its thread that the task is being started.
    mark: OnceLock<StartMark>,
}

impl Handshake {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Handshake {
            phase: Mutex::new(HandshakePhase::Open),
            events: Completions::new(),
            mark: OnceLock::new(),
        })
    }

    /// Notes that the task has begun, and the mark by which it is shown. The closure of the task
    /// has not run yet, so nothing has been sent.
    pub(super) fn begin(&self, mark: StartMark) {
        let first = self.mark.set(mark);
        debug_assert!(first.is_ok(), "a task begins once");
    }

    /// Notes that the task has sent: it is shown as one of the group like any other.
    pub(crate) fn shows_ready(&self) {
        if let Some(mark) = self.mark.get() {
            mark.clear();
        }
    }

    /// Notes that only the end of the task lets the call of `start` go on.
    pub(crate) fn shows_no_ready(&self) {
        if let Some(mark) = self.mark.get() {
            mark.lose_ready();
        }
    }

    /// Locks the phase, for a `send`.
    pub(crate) fn phase(&self) -> MutexGuard<'_, HandshakePhase> {
        self.phase.lock()
    }

    /// Closes the handshake. Returns false if the task has sent while `start` waited for that, and
    /// so is one of the group.
    pub(crate) fn close(&self) -> bool {
        let mut phase = self.phase.lock();
        if *phase == HandshakePhase::Sent {
            return false;
        }

        // A value that is sent from now on is dropped.
        //
        // fault: failure-leaves-the-handshake-open
        *phase = HandshakePhase::Closed;
        true
    }

    /// Keeps the task from becoming one of the group. Returns false if it is one already.
    pub(crate) fn withdraw(&self) -> bool {
        let mut phase = self.phase.lock();
        // The call of `start` waits for the end of the task from now on.
        if *phase == HandshakePhase::Open {
            *phase = HandshakePhase::Withdrawn;
        }
        let is_sent = *phase == HandshakePhase::Sent;
        drop(phase);

        if !is_sent {
            self.shows_no_ready();
        }
        !is_sent
    }
}
