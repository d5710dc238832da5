//! What follows from a cancel: marks under the locks, and then wakes, hooks and callbacks outside
//! of them.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::{Arc, Weak};

use super::hooks::{self, Hook};
use super::{CANCELLED, Grace, Inner, Node, Route, SPARES};
use crate::cancel::{Cancelled, context};
use crate::facade::Ordering;
use crate::waiting::{Marked, Slot};

/// What a cancel has marked and has still to wake and to run.
#[must_use]
#[derive(Default)]
pub(crate) struct Fallout {
    pub(super) nodes: Vec<Arc<Node>>,
    wakes: Vec<(Arc<Slot>, Marked)>,
    hooks: Vec<Hook>,
    /// Those that wait for a node, which need not be in its scope.
    waiting: Vec<Arc<Slot>>,
    /// Those that have been given until the end of a grace.
    regions: Vec<Arc<Node>>,
    /// Those that the cancel has not changed. A failure spreads under the lock of its group's
    /// ledger, and any of these may have lost its other references meanwhile: they are dropped when
    /// no lock is held, as all that is listed here.
    unchanged: Vec<Arc<Node>>,
    /// The senders of receivers that disconnect.
    #[cfg(feature = "crossbeam")]
    closing: Vec<crate::cancel::closed::Closing>,
    /// Those that are still to be marked, with the cancel of their parent.
    pub(super) below: VecDeque<(Arc<Node>, Cancelled)>,
}

impl Fallout {
    /// Keeps a node that the cancel has not changed, to be dropped outside of all locks.
    fn set_aside(&mut self, node: Arc<Node>) {
        self.unchanged.push(node);
    }

    /// Hands a cancel to one node; true if it changed anything.
    pub(super) fn mark(
        &mut self,
        node: Arc<Node>,
        cancelled: Cancelled,
        grace: Grace,
        route: Route,
    ) -> bool {
        let mut inner = node.inner.lock();
        if let Some(first) = inner.cancelled.clone() {
            // fault: grace-grows
            if route == Route::Failure || grace >= inner.grace {
                drop(inner);
                self.set_aside(node);
                return false;
            }
            inner.grace = grace;
            if grace == Grace::Over {
                // Relaxed: whoever sees the node as settled does nothing.
                node.state.fetch_and(!SPARES, Ordering::Relaxed);
            }
            // fault: end-of-grace-stays-above
            self.go_below(&inner, &first);
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
        // fault: slots-are-marked-outside-the-lock
        inner
            .slots
            .iter()
            .for_each(|(_, slot)| self.keep(&node, slot.clone(), slot.mark()));
        drop(inner);
        self.nodes.push(node);
        true
    }

    /// Has the children of a node marked. One that comes later is handed the cancel by `adopt`.
    fn go_below(&mut self, inner: &Inner, cancelled: &Cancelled) {
        let children = inner
            .children
            .iter()
            .filter_map(|(_, child)| child.upgrade());
        self.below
            .extend(children.map(|child| (child, cancelled.clone())));
    }

    /// Keeps a slot that was marked, to be woken or to have its hook run.
    fn keep(&mut self, node: &Arc<Node>, slot: Arc<Slot>, marked: Marked) {
        // A slot with a hook is that of a region, in which nothing waits.
        if marked.has_hook() {
            self.hooks.push(Hook {
                node: node.clone(),
                slot,
                marked,
            });
        } else {
            self.wakes.push((slot, marked));
        }
    }

    /// Runs the hooks of the slots that were marked; returns when all have ended.
    fn run_hooks(&mut self) {
        let mut hooks = std::mem::take(&mut self.hooks);
        if hooks.len() < 2 {
            // The plain case costs no queue and no other thread.
            //
            // fault: hook-is-not-run
            return hooks.pop().into_iter().for_each(Hook::run);
        }
        let location = self.nodes[0]
            .recorded()
            .map_or(Location::caller(), |cancelled| cancelled.location());
        // fault: hooks-are-not-run
        hooks::run_all(hooks, location);
    }

    /// Wakes, tells, and runs the callbacks, on this thread, which holds no lock of this crate.
    pub(crate) fn deliver(mut self) {
        // fault: callbacks-run-before-waiters-wake
        self.waiting.iter().for_each(|slot| slot.unpark());
        // fault: hooks-run-before-sleepers-wake
        for (slot, marked) in &self.wakes {
            slot.wake(marked);
        }
        for region in &self.regions {
            // fault: grace-wakes-nothing
            region.set_timed();
        }
        #[cfg(feature = "crossbeam")]
        drop(std::mem::take(&mut self.closing));
        // From here on code of the user's runs, which may take its time.
        self.run_hooks();
        for node in &self.nodes {
            if let Some(observer) = node.observer.as_ref().and_then(Weak::upgrade) {
                // fault: observer-is-not-told
                observer.cancelled();
            }
        }
        // No scope waits for a callback that is not its own: most have none, and those above come
        // after those below.
        let mut with_callbacks = Vec::new();
        for node in self.nodes.iter().rev() {
            let mut inner = node.inner.lock();
            if inner.has_callbacks() {
                inner.watchers().delivering = Some(context::slot());
                with_callbacks.push(node);
            } else {
                // fault: callbacks-run-before-quiet-nodes
                Inner::delivered(inner);
            }
        }
        for node in with_callbacks {
            while node.run_next_callback() {}
            // fault: group-is-not-told
            node.tell_the_group();
            Inner::delivered(node.inner.lock());
        }
    }
}
