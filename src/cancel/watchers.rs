//! The callbacks and threads that are told of the cancel of a node, and the threads that wait until
//! that has been done.

use std::sync::Arc;

use slab::Slab;

use super::callbacks::Callbacks;
use crate::waiting::Slot;

/// The sender of [`CancelToken::closed`]: its drop disconnects the receiver.
///
/// [`CancelToken::closed`]: super::token::CancelToken::closed
#[cfg(feature = "crossbeam")]
pub(super) type ClosedSender = crossbeam_channel::Sender<std::convert::Infallible>;

/// The watchers of one node, under its lock. Few nodes have any.
#[derive(Default)]
pub(super) struct Watchers {
    /// The threads that wait for the cancel.
    pub(super) waiting: Slab<Arc<Slot>>,
    pub(super) callbacks: Callbacks,
    /// Dropped at the cancel, before the callbacks run.
    #[cfg(feature = "crossbeam")]
    pub(super) closing: Option<ClosedSender>,
    /// The thread that delivers a cancel to the callbacks.
    pub(super) delivering: Option<Arc<Slot>>,
    /// The threads that wait until every cancel has been delivered.
    pub(super) quiescence: Vec<Arc<Slot>>,
}

impl Watchers {
    /// Whether anything happens at a cancel that no blocked thread of the scope handles.
    pub(super) fn need_the_timer(&self) -> bool {
        #[cfg(feature = "crossbeam")]
        let closes = self.closing.is_some();
        #[cfg(not(feature = "crossbeam"))]
        let closes = false;
        closes || self.callbacks.any()
    }
}
