//! The group of a node, as the node tells it of its cancel.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::facade::Payload;

/// A group, which is told of the cancel of its node and empties its queue.
pub(crate) trait Observer: Send + Sync {
    /// The node was cancelled.
    fn cancelled(self: Arc<Self>);
    /// A callback or hook of the node panicked.
    fn callback_panicked(self: Arc<Self>, payload: Payload);
    /// The node was marked. Called before any user code that its cancel runs.
    fn marked(&self);
    /// A deadline that holds in the node was set or moved.
    fn timed(&self);
    /// A callback or hook of the node kept the cancelling thread for long.
    fn kept(&self, kept: KeptCanceller);
}

/// A callback or hook that kept the cancelling thread for long.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(loom, allow(dead_code, reason = "a model has no reports of stalls"))]
pub(crate) struct KeptCanceller {
    /// The call that registered it.
    pub(crate) location: &'static Location<'static>,
    /// How long it ran.
    pub(crate) ran: Duration,
}
