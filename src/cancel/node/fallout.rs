//! What follows from a cancel: marks under the locks, and then wakes, hooks and callbacks outside of them.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::{Grace, Inner, Node, Route, CANCELLED, SPARES};
use crate::cancel::{context, Cancelled};
use crate::facade::{holds, Guard, Ordering};
use crate::waiting::{Marked, Slot};

/// What a cancel has marked and has still to wake and to run.
#[must_use]
#[derive(Default)]
pub(crate) struct Fallout {
    pub(super) nodes: Vec<Arc<Node>>,
    wakes: Vec<(usize, Arc<Slot>, Marked)>,
    /// Those that wait for a node, which need not be in its scope.
    waiting: Vec<Arc<Slot>>,
    /// Those that have been given until the end of a grace.
    regions: Vec<Arc<Node>>,
    /// Those that the cancel has not changed. A failure spreads under the lock of its group's ledger, and any of these may have
    /// lost its other references meanwhile: they are dropped when no lock is held, as all that is listed here.
    unchanged: Vec<Arc<Node>>,
    /// The senders of receivers that disconnect.
    #[cfg(feature = "crossbeam")]
    closing: Vec<crate::cancel::closed::Closing>,
    /// Those that are still to be marked, with the cancel of their parent.
    pub(super) below: VecDeque<(Arc<Node>, Cancelled)>,
}

impl Fallout {
    /// Hands a cancel to one node; true if it changed anything.
    pub(super) fn mark(&mut self, node: Arc<Node>, cancelled: Cancelled, grace: Grace, route: Route) -> bool {
        let mut inner = node.inner.lock();
        if let Some(first) = inner.cancelled.clone() {
            let shortens = grace < inner.grace || !holds(Guard::GraceOnlyShrinks);
            if route == Route::Failure || !shortens {
                drop(inner);
                self.unchanged.push(node);
                return false;
            }
            inner.grace = grace;
            if grace == Grace::Over {
                // Relaxed: whoever sees the node as settled does nothing.
                node.state.fetch_and(!SPARES, Ordering::Relaxed);
            }
            if holds(Guard::CancelEndsGrace) {
                self.go_below(&inner, &first);
            }
            return true;
        }
        if let Some(end) = node.grace_end().filter(|_| route == Route::Parent && grace != Grace::Over) {
            let Grace::Until(until) = grace else {
                drop(inner);
                self.unchanged.push(node);
                return false;
            };
            end.set_earlier(until, cancelled.location());
            drop(inner);
            // Also where the end is not new: whoever set it may not have come to tell of it yet.
            self.regions.push(node);
            return true;
        }
        inner.cancelled = Some(cancelled.clone());
        inner.grace = grace;
        inner.deliveries += 1;
        let spares = if grace == Grace::Over { 0 } else { SPARES };
        // Release: what led to the cancel happens before whatever sees the flag.
        node.state.fetch_or(CANCELLED | spares, Ordering::Release);
        self.go_below(&inner, &cancelled);
        self.waiting.extend(inner.waiting().cloned());
        #[cfg(feature = "crossbeam")]
        self.closing.extend(inner.take_closing());
        let index = self.nodes.len();
        if holds(Guard::MarkUnderLock) {
            self.wakes.extend(inner.slots.iter().map(|(_, slot)| (index, slot.clone(), slot.mark())));
            drop(inner);
        } else {
            let slots: Vec<_> = inner.slots.iter().map(|(_, slot)| slot.clone()).collect();
            drop(inner);
            self.wakes.extend(slots.into_iter().map(|slot| (index, slot.clone(), slot.mark())));
        }
        self.nodes.push(node);
        true
    }

    /// Has the children of a node marked. One that comes later is handed the cancel by `adopt`.
    fn go_below(&mut self, inner: &Inner, cancelled: &Cancelled) {
        let children = inner.children.iter().filter_map(|(_, child)| child.upgrade());
        self.below.extend(children.map(|child| (child, cancelled.clone())));
    }

    /// Wakes, tells, and runs the callbacks, on this thread, which holds no lock of this crate.
    pub(crate) fn deliver(self) {
        if holds(Guard::TokenWaitersFirst) {
            self.waiting.iter().for_each(|slot| slot.unpark());
        }
        let fire = |(index, slot, marked): &(usize, Arc<Slot>, Marked)| {
            slot.fire(marked, |payload| self.nodes[*index].hook_panicked(payload));
        };
        for wake @ (_, slot, marked) in &self.wakes {
            if !holds(Guard::WakesBeforeHooks) {
                fire(wake);
            }
            slot.wake(marked); // guard: wake-what-was-marked
        }
        for region in &self.regions {
            if holds(Guard::GraceWakes) {
                region.set_timed();
            }
        }
        #[cfg(feature = "crossbeam")]
        drop(self.closing);
        // From here on code of the user's runs, which may take its time.
        if holds(Guard::WakesBeforeHooks) {
            self.wakes.iter().for_each(fire); // guard: fire-what-was-marked
        }
        for node in &self.nodes {
            if let Some(observer) = node.observer.as_ref().and_then(Weak::upgrade) {
                observer.cancelled(); // guard: tell-the-observer
            }
        }
        // No scope waits for a callback that is not its own: most have none, and those above come after those below.
        let mut with_callbacks = Vec::new();
        for node in self.nodes.iter().rev() {
            let mut inner = node.inner.lock();
            if inner.has_callbacks() {
                inner.watchers().delivering = Some(context::slot());
                with_callbacks.push(node);
            } else if holds(Guard::QuietNodesFirst) {
                Inner::delivered(inner);
            } else {
                with_callbacks.push(node);
            }
        }
        for node in with_callbacks {
            while node.run_next_callback() {}
            node.tell_the_group(); // guard: tell-the-group
            Inner::delivered(node.inner.lock());
        }
        if !holds(Guard::TokenWaitersFirst) {
            self.waiting.iter().for_each(|slot| slot.unpark());
        }
    }
}
