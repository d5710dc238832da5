//! The state of a slot for waits for descriptors. The comments cite the invariants of
//! [`polling`](super::polling).

use super::spins::Spins;
use crate::facade::{Once, Waker};

/// The state of a slot for waits for descriptors.
pub(super) struct PollState {
    /// Made when the owner first waits for a descriptor in a scope.
    waker: Once<Waker>,
    /// How many spins had no success lately. For the owner.
    spins: Spins,
}

impl PollState {
    pub(super) fn new() -> Self {
        PollState {
            waker: Once::new(),
            spins: Spins::new(),
        }
    }

    /// Calls `spin`, which returns whether it paid, if the next wait is to spin. For the owner.
    pub(super) fn try_spin(&self, spin: impl FnOnce() -> bool) -> bool {
        self.spins.try_spin(spin)
    }

    /// Wakes the owner from a wait for a descriptor. If there is no waker, the owner looks by
    /// itself (invariant 4).
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            // fault: polling-thread-is-not-woken
            waker.wake();
        }
    }

    /// Returns the waker of the slot, which the first call makes. Returns none if the process has
    /// no descriptor left. For the owner.
    pub(super) fn waker(&self) -> Option<&Waker> {
        if let Some(waker) = self.waker.get() {
            // In a child of `fork` the waker is the parent's too.
            waker.renew().ok()?;
            return Some(waker);
        }

        // Only the owner makes it, so no other value can be there.
        let _ = self.waker.set(Waker::new().ok()?);
        self.waker.get()
    }
}
