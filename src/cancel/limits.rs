//! The instants at which something happens to a node: deadlines, ends of graces, ends of shields.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::deadline::Deadline;
use super::node::{Node, Shield, TIMED};
use super::timer;
use crate::facade::{self, Ordering};

/// Which limits are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limits {
    /// The limits that bound the code in the scope.
    Inherited,
    /// The limits at which a thread has to act.
    ToActOn,
}

impl Node {
    /// Returns the earliest deadline of this node and of all nodes above it that it is not shielded
    /// from.
    pub(crate) fn effective_deadline(self: &Arc<Self>) -> Option<Instant> {
        self.earliest(Limits::Inherited)
    }

    /// Returns when a thread has to look at this node again: at a deadline, the end of a grace or
    /// the end of a shield, whichever comes first.
    pub(crate) fn next_limit(self: &Arc<Self>) -> Option<Instant> {
        self.earliest(Limits::ToActOn)
    }

    fn earliest(self: &Arc<Self>, which: Limits) -> Option<Instant> {
        if !self.is_timed() {
            return None;
        }

        let acts = which == Limits::ToActOn;
        let limits = self.and_ancestors().flat_map(|node| {
            // A node that is cancelled for good has nothing left to do at its deadline, or at the
            // end of the grace around it. One that was cancelled with a grace of its own has.
            let deadline = node.deadline.get().filter(|_| !(acts && node.is_settled()));
            let end = node.end_of_grace().filter(|_| !(acts && node.is_settled()));
            // A shield bounds nothing: its end only lets outer cancels in.
            let shield = node.shield().filter(|_| acts).and_then(Shield::hides_until);
            [deadline, end, shield].into_iter().flatten()
        });
        limits.min()
    }

    pub(super) fn end_of_grace(&self) -> Option<Instant> {
        self.grace_end().and_then(Deadline::get)
    }

    /// Says that a deadline holds in the node and all below it: checks read the clock from now on,
    /// and threads that wait look at the deadline.
    pub(super) fn set_timed(self: &Arc<Self>) {
        let mut nodes = vec![self.clone()];
        let mut seen = HashSet::new();
        while let Some(node) = nodes.pop() {
            // Only a node with several parents can be reached more than once.
            if node.links().len() > 1 && !seen.insert(node.id()) {
                continue;
            }

            let inner = node.inner.lock();
            // Relaxed: the deadline orders what came before it, and the waiting threads are told by
            // their slots.
            node.state.fetch_or(TIMED, Ordering::Relaxed);
            let blocked = inner
                .slots
                .iter()
                .filter_map(|(_, slot)| Some((slot.clone(), slot.mark_timed()?)));
            let wakes: Vec<_> = blocked.collect();
            let waiting: Vec<_> = inner.waiting().cloned().collect();
            nodes.extend(inner.children());

            let needs_the_timer = inner.needs_the_timer();
            drop(inner);

            if let Some(observer) = node.observer.as_ref().and_then(Weak::upgrade) {
                observer.timed();
            }

            for (slot, marked) in &wakes {
                slot.wake(marked);
            }
            waiting.iter().for_each(|slot| slot.unpark());
            if needs_the_timer {
                node.arm();
            }
        }
    }

    /// Has the timer ring when the next limit of this node is reached.
    pub(super) fn arm(self: &Arc<Self>) {
        if !facade::TIME_PASSES {
            return;
        }

        if let Some(at) = self.next_limit() {
            timer::arm(self, at);
        }
    }

    /// Takes the deadline of this node away. A thread that sleeps until then, or watches the clock
    /// for it, looks again and finds none.
    pub(crate) fn clear_deadline(&self) {
        self.deadline.clear();
    }
}
