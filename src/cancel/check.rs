//! Checks: whether a node, or the scope of this thread, is cancelled; and cancels by request.

use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use super::cause::{CancelCause, Cancelled};
use super::frames::{self, Frames, current, is_clear};
use super::grace::Grace;
use super::id::TokenId;
#[cfg(all(unix, not(loom), feature = "signal"))]
use super::mark::Delivery;
use super::mark::Route;
use super::node::{CANCELLED, Node};
use crate::facade::Ordering;
use crate::lanes;

impl Node {
    /// Whether the node is cancelled: one load where no deadline holds.
    #[inline]
    pub(crate) fn is_cancelled(self: &Arc<Self>) -> bool {
        // Acquire pairs with the release in `Node::record`.
        match self.state.load(Ordering::Acquire) {
            0 => false,
            state if state & CANCELLED != 0 => true,
            _ => {
                self.expire();

                // A deadline that has passed counts, even if another thread was quicker to cancel
                // and has not come down to this node yet. A task must not begin meanwhile.
                //
                // Acquire, as above.
                //
                // fault: cancel-counts-where-it-has-come
                self.state.load(Ordering::Acquire) & CANCELLED != 0 || self.mark_ahead()
            }
        }
    }

    /// Returns the cancel that cancelled the node.
    pub(crate) fn cancelled(self: &Arc<Self>) -> Option<Cancelled> {
        if !self.is_cancelled() {
            return None;
        }
        self.recorded()
    }

    /// Returns `Err` with the cancel that cancelled the node.
    pub(crate) fn check(self: &Arc<Self>) -> Result<(), Cancelled> {
        match self.cancelled() {
            None => Ok(()),
            Some(cancelled) => Err(cancelled),
        }
    }

    /// Returns `Err` with a cancel that has reached this node, or is on its way to it: a cancel
    /// that has been recorded in a node above, or a deadline above that has passed.
    ///
    /// A cancel comes down node by node, and wakes threads on its way. What such a thread does can
    /// be seen here before this node is marked. The cancel was recorded above before that, so it is
    /// found. A cancel that spares the region that this node is in is not on its way here.
    ///
    /// If it finds one, it marks the node ahead, so that later checks say the same. A grace that
    /// has passed by the clock, but has not ended here, is reported and not marked.
    fn check_ancestors(self: &Arc<Self>) -> Result<(), Cancelled> {
        self.expire();
        if self.and_ancestors().any(|node| node.is_flagged()) && !self.mark_way_ahead(|_| true) {
            return self.cancel_after_its_grace().map_or(Ok(()), Err);
        }
        self.recorded().map_or(Ok(()), Err)
    }

    /// Returns a cancel above that has spared this node so far, and whose grace has passed by the
    /// clock. Nothing is marked: the end of the grace may have come to the region by now, and then
    /// no cancel would come to do the rest.
    fn cancel_after_its_grace(self: &Arc<Self>) -> Option<Cancelled> {
        let now = Instant::now();
        self.and_ancestors().find_map(|node| {
            let inner = node.inner.lock();
            let has_passed = matches!(inner.grace, Grace::Until(end) if end <= now);
            inner.cancelled.clone().filter(|_| has_passed)
        })
    }

    /// Cancels the node with a cause of its own, if it is not cancelled yet. If it is, ends the
    /// grace of that cancel. Returns true if this call cancelled the node.
    pub(crate) fn cancel(
        self: &Arc<Self>,
        cause: CancelCause,
        location: &'static Location<'static>,
    ) -> bool {
        self.cancel_sparing(cause, location, Grace::Over)
    }

    /// Like [`cancel`](Self::cancel), sparing regions that wind down for as long as `grace`.
    pub(crate) fn cancel_sparing(
        self: &Arc<Self>,
        cause: CancelCause,
        location: &'static Location<'static>,
        grace: Grace,
    ) -> bool {
        // A deadline that has passed unseen came first.
        if self.is_cancelled() && self.is_settled() {
            return false;
        }

        let cancelled = Cancelled::new(cause, location, self.id());
        let Some(delivery) = self.spread(cancelled, grace, Route::Own) else {
            return false;
        };

        let is_first = delivery
            .nodes
            .first()
            .is_some_and(|first| Arc::ptr_eq(first, self));

        delivery.deliver();
        is_first
    }

    /// Cancels several nodes by one event, each with the location beside it. All are marked, and
    /// all threads that block in their scopes wake, before the first hook or callback runs.
    #[cfg(all(unix, not(loom), feature = "signal"))]
    pub(crate) fn cancel_together(
        nodes: &[(Arc<Self>, &'static Location<'static>)],
        cause: &CancelCause,
    ) {
        // A deadline that has passed unseen came first. User code may run at these looks, so all
        // come before the first mark.
        nodes.iter().for_each(|(node, _)| _ = node.is_cancelled());

        let mut together = Delivery::default();
        for (node, location) in nodes {
            if node.is_settled() {
                continue;
            }

            let cancelled = Cancelled::new(cause.clone(), location, node.id());
            if let Some(delivery) = node.spread(cancelled, Grace::Over, Route::Own) {
                together.join(delivery);
            }
        }
        together.deliver();
    }
}

/// Returns `Err` if the current scope is cancelled.
#[inline]
#[track_caller]
pub(crate) fn check() -> Result<(), Cancelled> {
    check_at(Location::caller())
}

/// Like [`check`], for the blocking point at `location`.
#[inline(always)]
pub(crate) fn check_at(location: &'static Location<'static>) -> Result<(), Cancelled> {
    if is_clear() {
        Ok(())
    } else {
        check_slowly(location)
    }
}

/// Whether the current scope is cancelled.
#[inline]
#[track_caller]
pub(crate) fn is_cancelled() -> bool {
    // fault: check-believes-the-mark
    !is_clear() && check_slowly(Location::caller()).is_err()
}

#[cold]
fn check_slowly(location: &'static Location<'static>) -> Result<(), Cancelled> {
    // The mark says only that there may be a cancel. The node orders what came before it.
    let Some(node) = frames::with(Frames::node_to_check) else {
        return Ok(());
    };
    let checked = node.check();
    if let Err(cancelled) = &checked {
        note_told(location, &node, cancelled);
    }
    checked
}

/// Shows on the lane of this thread that the code there, in the scope of `node`, has been told of a
/// cancel.
fn note_told(location: &'static Location<'static>, node: &Arc<Node>, cancelled: &Cancelled) {
    let Some(lane) = lanes::mine() else {
        return;
    };
    lane.note_told(location);

    // A task also sees the cancels of groups and time limits of its own, which are not cancels of
    // the task.
    lane.note_sight(|group| {
        let latency = node
            .is_cancel_of_task(TokenId(group), cancelled)
            .then(|| cancelled.at().elapsed());
        latency.map(|latency| u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX))
    });
}

/// Returns `Err` if the current scope is cancelled, or if a cancel is on its way to it.
///
/// For a call that is to fail because another thread has gone. If that thread went because of a
/// cancel that comes to this scope too, the call was cancelled.
#[cold]
pub(crate) fn check_ancestors() -> Result<(), Cancelled> {
    // fault: own-node-alone-is-asked
    current().map_or(Ok(()), |node| node.check_ancestors())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::{Node, check};
    use crate::cancel::frames::within;

    #[test]
    fn a_scope_that_has_been_left_is_not_held() {
        let node = Node::root();
        let left = Arc::downgrade(&node);
        within(node, check).unwrap(); // the check attaches the slot
        assert!(left.upgrade().is_none());
    }
}
