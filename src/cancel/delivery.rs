//! Delivers a cancel that has marked the tree: wakes, hooks, observers and callbacks.
//!
//! The order is: everything that runs no user code, then the hooks, the groups, and the callbacks.
//! So a hook or a callback that takes its time, or waits for a thread that the cancel wakes, keeps
//! no thread asleep.

use std::panic::Location;
use std::sync::Weak;

use super::mark::{Delivery, MarkedHook};
use super::node::{Node, NodeState};
use super::uncancellable::wait_uncancellable_at;
use super::{frames, hooks};
use crate::facade::MutexGuard;
use crate::lanes::Object;
use crate::waiting::WaitKind;

impl Delivery {
    /// Wakes threads, tells groups, and runs hooks and callbacks, on this thread, which holds no
    /// lock of this crate (invariant 3 of [`node`](super::node)).
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

        // Before user code, which may not return.
        for node in &self.nodes {
            if let Some(observer) = node.observer.as_ref().and_then(Weak::upgrade) {
                observer.marked();
            }
        }

        // From here on user code runs.
        self.run_hooks();
        for node in &self.nodes {
            if let Some(observer) = node.observer.as_ref().and_then(Weak::upgrade) {
                // fault: observer-is-not-told
                observer.cancelled();
            }
        }

        self.run_callbacks();
    }

    /// Runs the hooks of the slots that were marked. Returns when all have ended.
    fn run_hooks(&mut self) {
        let mut hooks = std::mem::take(&mut self.hooks);
        if hooks.len() < 2 {
            // The plain case costs no queue and no other thread.
            //
            // fault: hook-is-not-run
            return hooks.pop().into_iter().for_each(MarkedHook::run);
        }

        let location = self.nodes[0]
            .recorded()
            .map_or(Location::caller(), |cancelled| cancelled.location());

        // fault: hooks-are-not-run
        hooks::run_all(hooks, location);
    }

    /// Runs the callbacks, and ends the deliveries of the nodes.
    fn run_callbacks(&self) {
        // Invariant 4: a scope waits for no callbacks but its own. Most nodes have none, and the
        // nodes above come after the nodes below.
        let mut with_callbacks = Vec::new();
        for node in self.nodes.iter().rev() {
            let mut inner = node.inner.lock();
            if inner.has_callbacks() {
                inner.watchers().delivering = Some(frames::slot());
                with_callbacks.push(node);
            } else {
                // fault: callbacks-run-before-quiet-nodes
                end_one(inner);
            }
        }

        for node in with_callbacks {
            while node.run_next_callback() {}
            // fault: group-is-not-told
            node.tell_the_group();
            end_one(node.inner.lock());
        }
    }
}

/// Ends one delivery of a node, and wakes the threads that wait for that.
fn end_one(mut inner: MutexGuard<'_, NodeState>) {
    inner.deliveries -= 1;

    let Some(watchers) = &mut inner.watchers else {
        return;
    };

    watchers.delivering = None;
    let waiting = std::mem::take(&mut watchers.quiescence);
    drop(inner);

    waiting.iter().for_each(|slot| slot.unpark());
}

impl Node {
    /// Makes what the callbacks of a task's node did come before the end of its group. The end of
    /// the group looks for the node under this lock: it finds the node and waits for it, or comes
    /// after this.
    fn tell_the_group(&self) {
        if let Some(group) = self.group() {
            drop(group.inner.lock());
        }
    }

    /// Waits until every cancel that marked this node, or the node of a task of its group, has been
    /// delivered; not for a cancel that this thread is delivering.
    pub(crate) fn quiesce(&self, location: &'static Location<'static>) {
        let slot = frames::slot();
        let is_quiet = |inner: &NodeState| {
            let delivering = inner
                .watchers
                .as_ref()
                .and_then(|watchers| watchers.delivering.as_ref());
            inner.deliveries == 0
                || delivering.is_some_and(|delivering| delivering.is_of_thread_of(&slot))
        };

        let mut inner = self.inner.lock();

        // Invariant 4 of the node: its scope ends after the deliveries of the node.
        //
        // fault: scope-ends-before-deliveries
        if !is_quiet(&inner) {
            inner.watchers().quiescence.push(slot.clone());
            drop(inner);
            let ready = || is_quiet(&self.inner.lock());
            let what = WaitKind::ScopeEnd.on(Object::Group(self.id().0));
            wait_uncancellable_at(location, what, || None, ready);
            inner = self.inner.lock();
        }

        // A cancel that has come to this node has marked the nodes below before it is delivered.
        // All are kept until the lock is released: a child that loses its last reference under the
        // lock would wait for it, to leave the list.
        //
        // fault: children-are-dropped-under-the-lock
        let children: Vec<_> = inner.children().collect();
        drop(inner);

        let tasks = children.iter().filter(|child| child.group().is_some());

        // fault: callbacks-of-tasks-outlive-the-scope
        tasks.for_each(|task| task.quiesce(location));
    }
}
