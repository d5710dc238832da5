//! Stands in for waits for descriptors where the crate has none.

/// The state of a slot for waits for descriptors: none.
pub(super) struct PollState;

impl PollState {
    pub(super) fn new() -> Self {
        PollState
    }

    /// Not called: no wait publishes that it polls.
    pub(super) fn wake(&self) {}
}
