//! How a cancel runs down the tree: marks, each under the lock of its node.
//!
//! Marking wakes no thread and runs no user code (invariant 3 of [`node`](super::node)). The steps
//! that have to follow are collected in a [`Delivery`].

#[cfg(all(test, not(loom)))]
mod interleavings;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::cause::Cancelled;
use super::grace::Grace;
use super::node::{CANCELLED, MarkedAhead, Node, NodeState, SPARES};
#[cfg(feature = "crossbeam")]
use super::watchers::ClosedSender;
use crate::facade::{MutexGuard, Ordering};
use crate::waiting::{Marked, Slot};

/// On which way a cancel comes to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route {
    /// By a failure, which cancels only if no cancel came before it, and ends no grace.
    Failure,
    /// By a cancel of the node itself, or its deadline.
    Own,
    /// From a parent.
    Parent,
}

/// A hook that has not run, with the mark of its slot.
pub(super) struct MarkedHook {
    /// The node that the slot is attached to.
    pub(super) node: Arc<Node>,
    pub(super) slot: Arc<Slot>,
    pub(super) marked: Marked,
}

/// The nodes that a cancel has marked, and the threads and hooks that it has still to wake and run.
#[must_use = "a cancel that is not delivered wakes no thread"]
#[derive(Default)]
pub(crate) struct Delivery {
    pub(super) nodes: Vec<Arc<Node>>,
    /// The threads that block in the scopes of these nodes.
    pub(super) wakes: Vec<(Arc<Slot>, Marked)>,
    pub(super) hooks: Vec<MarkedHook>,
    /// The threads that wait for the cancel of a node, which need not be in its scope.
    pub(super) waiting: Vec<Arc<Slot>>,
    /// The regions that go on until the end of a grace.
    pub(super) regions: Vec<Arc<Node>>,
    /// The nodes that have nothing to deliver. A failure spreads under the lock of its group's
    /// failure log, and any of these may have lost its other references meanwhile. So they are
    /// dropped when no lock is held, like all nodes that are listed here.
    unchanged: Vec<Arc<Node>>,
    #[cfg(feature = "crossbeam")]
    pub(super) closing: Vec<ClosedSender>,
    /// The nodes that are still to be marked, each with the cancel of its parent and the grace.
    below: VecDeque<(Arc<Node>, Cancelled, Grace)>,
}

impl Node {
    /// Cancels the node because of a failure, if it is not cancelled yet: marks it and all below.
    /// The caller delivers, once it holds no lock.
    pub(crate) fn trip(self: &Arc<Self>, cancelled: Cancelled) -> Option<Delivery> {
        self.spread(cancelled, Grace::Over, Route::Failure)
    }

    /// Ends the grace of the cancel that the node has seen, or cancels it now.
    pub(super) fn trip_deadline(self: &Arc<Self>, cancelled: Cancelled) -> Option<Delivery> {
        self.spread(cancelled, Grace::Over, Route::Own)
    }

    /// Hands a region the cancel that has spared it.
    pub(super) fn end_grace(self: &Arc<Self>) -> Option<Delivery> {
        let cancelled = self
            .parents()
            .find_map(|outer| outer.inner.lock().cancelled.clone())?;
        self.spread(cancelled, Grace::Over, Route::Parent)
    }

    /// Marks the node ahead if a cancel is on its way to it, with the nodes on that way. Returns
    /// true if the node is cancelled then.
    ///
    /// For a thread that looks at the node, where the limit that has passed above was another
    /// thread's to act on. It neither waits for that thread nor delivers anything: callbacks would
    /// run in the middle of its task, and out of their order (invariant 6).
    pub(super) fn mark_ahead(self: &Arc<Self>) -> bool {
        self.is_below_a_cancel() && self.mark_way_ahead(|_| true)
    }

    /// Like [`mark_ahead`](Self::mark_ahead), for a cancel that came before `instant` or at it.
    pub(super) fn mark_ahead_of(self: &Arc<Self>, instant: Instant) {
        if self.is_below_a_cancel() {
            self.mark_way_ahead(|cancelled| cancelled.since() <= instant);
        }
    }

    /// Does the work of [`mark_ahead`](Self::mark_ahead), for a cancel that `counts`.
    #[cold]
    pub(super) fn mark_way_ahead(self: &Arc<Self>, counts: impl Fn(&Cancelled) -> bool) -> bool {
        let Some((mut cancelled, mut grace, way)) = self.way_below_a_cancel(counts) else {
            return false;
        };

        // From above, so that a node that is cancelled has cancelled nodes on its way.
        for node in way {
            (cancelled, grace) = node.mark_alone_ahead(cancelled, grace);
        }
        true
    }

    /// Marks ahead this node of a way. Returns what comes to the nodes below it.
    fn mark_alone_ahead(
        self: &Arc<Self>,
        cancelled: Cancelled,
        grace: Grace,
    ) -> (Cancelled, Grace) {
        let mut inner = self.inner.lock();
        if let Some(first) = &inner.cancelled {
            // It was cancelled with a grace that is over, or has been marked meanwhile. What comes
            // to the nodes below is its first cancel, like in `shorten_grace`.
            return (first.clone(), grace.min(inner.grace));
        }

        self.record(&mut inner, &cancelled, grace);
        let marks = inner.slots.iter();
        let slots = marks.map(|(_, slot)| (slot.clone(), slot.mark())).collect();
        let node = self.clone();
        inner.ahead = Some(Box::new(MarkedAhead { node, slots }));
        (cancelled, grace)
    }

    /// Records a cancel, and sets the flag of the node.
    fn record(&self, inner: &mut NodeState, cancelled: &Cancelled, grace: Grace) {
        inner.cancelled = Some(cancelled.clone());
        inner.grace = grace;

        // Invariant 4: until the delivery of this cancel has ended.
        inner.deliveries += 1;

        let spares = if grace == Grace::Over { 0 } else { SPARES };

        // Release pairs with the acquire in `Node::is_cancelled`: what led to the cancel happens
        // before whatever sees the flag.
        self.state.fetch_or(CANCELLED | spares, Ordering::Release);
    }

    /// Shortens the grace of a cancelled node, or leaves it as long as it is.
    fn set_grace(&self, inner: &mut NodeState, grace: Grace) {
        inner.grace = grace;
        if grace == Grace::Over {
            // Relaxed: a thread that sees the node as settled does nothing.
            self.state.fetch_and(!SPARES, Ordering::Relaxed);
        }
    }

    /// Marks the node and all below it. Returns none if that changed nothing.
    pub(super) fn spread(
        self: &Arc<Self>,
        cancelled: Cancelled,
        grace: Grace,
        route: Route,
    ) -> Option<Delivery> {
        let mut delivery = Delivery::default();
        if !delivery.mark(self.clone(), cancelled, grace, route) {
            return None;
        }

        // The children are marked with no lock held but the lock of each.
        //
        // fault: children-are-marked-under-the-lock
        while let Some((child, cancelled, grace)) = delivery.below.pop_front() {
            // fault: children-are-not-marked
            delivery.mark(child, cancelled, grace, Route::Parent);
        }

        Some(delivery)
    }
}

impl Delivery {
    /// Hands a cancel to one node. Returns true if it changed anything.
    pub(super) fn mark(
        &mut self,
        node: Arc<Node>,
        cancelled: Cancelled,
        grace: Grace,
        route: Route,
    ) -> bool {
        let mut inner = node.inner.lock();

        if let Some(first) = inner.cancelled.clone() {
            // Invariant 6: this thread does the rest. Any cancel from above may, since the next one
            // finds nothing left to do but to shorten the grace.
            //
            // fault: marks-ahead-are-left
            if let Some(ahead) = inner.ahead.take_if(|_| route == Route::Parent) {
                let shortest = grace.min(inner.grace);
                node.set_grace(&mut inner, shortest);

                // fault: rest-is-done-with-another-grace
                self.go_on(&mut inner, &first, shortest);
                drop(inner);
                for (slot, marked) in ahead.slots {
                    self.keep(&node, slot, marked);
                }
                self.nodes.push(node);
                return true;
            }

            // Invariant 5: a grace only shrinks.
            //
            // fault: grace-grows
            if route == Route::Failure || grace >= inner.grace {
                drop(inner);
                self.set_aside(node);
                return false;
            }

            self.shorten_grace(&node, &mut inner, &first, grace);
            drop(inner);
            // The caller may hold a lock, and this may be the last reference.
            self.set_aside(node);
            return true;
        }

        if let Some(end) = node
            .grace_end()
            .filter(|_| route == Route::Parent && grace != Grace::Over)
        {
            let Grace::Until(until) = grace else {
                drop(inner);
                self.set_aside(node);
                return false;
            };

            // Invariant 5: the end of a region only comes nearer.
            end.set_earlier(until, cancelled.location());
            drop(inner);

            // Also where the end is not new: the thread that set it may not have told the region
            // yet.
            self.regions.push(node);
            return true;
        }

        self.mark_whole(&node, inner, &cancelled, grace);
        self.nodes.push(node);
        true
    }

    /// Cancels a node, with the slots attached to it (invariant 1: in one critical section).
    fn mark_whole(
        &mut self,
        node: &Arc<Node>,
        mut inner: MutexGuard<'_, NodeState>,
        cancelled: &Cancelled,
        grace: Grace,
    ) {
        node.record(&mut inner, cancelled, grace);
        self.go_on(&mut inner, cancelled, grace);

        // fault: slots-are-marked-outside-the-lock
        inner
            .slots
            .iter()
            .for_each(|(_, slot)| self.keep(node, slot.clone(), slot.mark()));
    }

    /// Takes what has to follow the mark of a node, besides its slots.
    fn go_on(&mut self, inner: &mut NodeState, cancelled: &Cancelled, grace: Grace) {
        self.go_below(inner, cancelled, grace);
        self.waiting.extend(inner.waiting().cloned());

        #[cfg(feature = "crossbeam")]
        if let Some(watchers) = &mut inner.watchers {
            self.closing.extend(watchers.closing.take());
        }
    }

    /// Shortens the grace of a node that was cancelled by `first`.
    fn shorten_grace(
        &mut self,
        node: &Node,
        inner: &mut NodeState,
        first: &Cancelled,
        grace: Grace,
    ) {
        node.set_grace(inner, grace);

        // fault: end-of-grace-stays-above
        self.go_below(inner, first, grace);
    }

    /// Has the children of a node marked. A child that comes later is handed the cancel by `adopt`
    /// (invariant 2).
    fn go_below(&mut self, inner: &NodeState, cancelled: &Cancelled, grace: Grace) {
        self.below.extend(
            inner
                .children()
                .map(|child| (child, cancelled.clone(), grace)),
        );
    }

    /// Keeps a slot that was marked, to be woken or to have its hook run.
    fn keep(&mut self, node: &Arc<Node>, slot: Arc<Slot>, marked: Marked) {
        // A slot with a hook belongs to a region, in which nothing waits.
        if marked.has_hook() {
            self.hooks.push(MarkedHook {
                node: node.clone(),
                slot,
                marked,
            });
        } else {
            self.wakes.push((slot, marked));
        }
    }

    /// Takes over all that another cancel has marked.
    #[cfg(all(unix, not(loom), feature = "signal"))]
    pub(super) fn join(&mut self, other: Delivery) {
        self.nodes.extend(other.nodes);
        self.wakes.extend(other.wakes);
        self.hooks.extend(other.hooks);
        self.waiting.extend(other.waiting);
        self.regions.extend(other.regions);
        self.unchanged.extend(other.unchanged);
        #[cfg(feature = "crossbeam")]
        self.closing.extend(other.closing);
        debug_assert!(other.below.is_empty(), "a spread marks all of them");
    }

    /// Keeps a node that has nothing to deliver, to be dropped outside all locks.
    fn set_aside(&mut self, node: Arc<Node>) {
        self.unchanged.push(node);
    }

    /// Ends the delivery of a cancel to a node that is being made. No thread has been handed the
    /// node yet, so nothing waits in it, is registered with it, or is below it. Only a cancel of a
    /// parent that lists the node already may reach it.
    pub(super) fn end_unseen(self) {
        debug_assert!(self.wakes.is_empty() && self.hooks.is_empty() && self.waiting.is_empty());
        for region in &self.regions {
            region.set_timed();
        }

        // Invariant 4: the delivery is over.
        for node in &self.nodes {
            node.inner.lock().deliveries -= 1;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::Location;
    use std::sync::Arc;

    use super::{Delivery, Grace, Node, Route};
    use crate::{CancelCause, Cancelled};

    #[test]
    fn a_node_with_a_shortened_grace_lives_as_long_as_the_delivery() {
        let node = Node::root();
        let cause = CancelCause::Requested { reason: None };
        let cancelled = Cancelled::new(cause, Location::caller(), node.id());
        let first = node.spread(cancelled.clone(), Grace::Endless, Route::Own);
        first.expect("it was not cancelled").deliver();

        // Another thread has dropped its token: the reference of the cancel is the last.
        let weak = Arc::downgrade(&node);
        let mut delivery = Delivery::default();
        assert!(delivery.mark(node, cancelled, Grace::Over, Route::Parent));
        assert!(
            weak.upgrade().is_some(),
            "a failure would drop it under the lock of its log"
        );
        delivery.deliver();
        assert!(weak.upgrade().is_none());
    }
}
