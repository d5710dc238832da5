//! Those that are told of the cancel of a node, and those that wait until that has been done.

use std::panic::Location;
use std::sync::Arc;

use slab::Slab;

use super::{Inner, Node};
use crate::cancel::callback::Callbacks;
#[cfg(feature = "crossbeam")]
use crate::cancel::closed::Closing;
use crate::cancel::context;
use crate::facade::MutexGuard;
use crate::waiting::{Point, Slot};

/// Those that are to be told of the cancel of a node, or of the end of that.
#[derive(Default)]
pub(in crate::cancel) struct Watchers {
    /// The threads that wait for the cancel.
    waiting: Slab<Arc<Slot>>,
    pub(in crate::cancel) callbacks: Callbacks,
    /// What is dropped, for a receiver to disconnect, before the callbacks run.
    #[cfg(feature = "crossbeam")]
    pub(in crate::cancel) closing: Option<Closing>,
    /// The thread that delivers a cancel to the callbacks.
    pub(super) delivering: Option<Arc<Slot>>,
    /// The threads that wait until every cancel has been delivered.
    quiescence: Vec<Arc<Slot>>,
}

impl Inner {
    pub(in crate::cancel) fn watchers(&mut self) -> &mut Watchers {
        self.watchers.get_or_insert_default()
    }

    /// The threads that wait for the cancel of the node.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.watchers
            .iter()
            .flat_map(|watchers| &watchers.waiting)
            .map(|(_, slot)| slot)
    }

    pub(super) fn has_callbacks(&self) -> bool {
        self.watchers
            .as_ref()
            .is_some_and(|watchers| watchers.callbacks.any())
    }

    /// Whether anything happens at a cancel that no blocked thread of the scope sees to: a deadline
    /// needs the timer then.
    pub(super) fn fires(&self) -> bool {
        #[cfg(feature = "crossbeam")]
        let closes = self
            .watchers
            .as_ref()
            .is_some_and(|watchers| watchers.closing.is_some());
        #[cfg(not(feature = "crossbeam"))]
        let closes = false;
        closes || self.has_callbacks() || self.slots.iter().any(|(_, slot)| slot.is_hooked())
    }

    #[cfg(feature = "crossbeam")]
    pub(super) fn take_closing(&mut self) -> Option<Closing> {
        self.watchers.as_mut()?.closing.take()
    }

    /// Takes a cancel whose callbacks have run off the deliveries.
    pub(super) fn delivered(mut inner: MutexGuard<'_, Inner>) {
        inner.deliveries -= 1;
        let Some(watchers) = &mut inner.watchers else {
            return;
        };
        watchers.delivering = None;
        let waiting = std::mem::take(&mut watchers.quiescence);
        drop(inner);
        waiting.iter().for_each(|slot| slot.unpark());
    }
}

/// Keeps a thread among those that are woken when the node is cancelled, or when its next limit may
/// have changed.
pub(in crate::cancel) struct Waiting<'a> {
    node: &'a Node,
    key: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let slot = self
            .node
            .inner
            .lock()
            .watchers()
            .waiting
            .try_remove(self.key);
        drop(slot);
    }
}

impl Node {
    /// Adds a thread to those that are woken; none if the node is cancelled.
    pub(in crate::cancel) fn add_waiting(&self, slot: Arc<Slot>) -> Option<Waiting<'_>> {
        let mut inner = self.inner.lock();
        if inner.cancelled.is_some() {
            return None;
        }
        Some(Waiting {
            node: self,
            key: inner.watchers().waiting.insert(slot),
        })
    }

    /// Makes what the callbacks of a task's node did come before the end of its group. That looks
    /// for the node under this lock: it finds the node, and waits for it, or comes after this.
    pub(super) fn tell_the_group(&self) {
        if let Some(group) = self.parents().next().filter(|_| self.is_of_task()) {
            drop(group.inner.lock());
        }
    }

    /// Waits until every cancel that marked this node, or that of a task of its group, has been
    /// delivered; not for one that this thread is delivering.
    pub(crate) fn quiesce(&self, location: &'static Location<'static>) {
        let slot = context::slot();
        let is_quiet = |inner: &Inner| {
            let delivering = inner
                .watchers
                .as_ref()
                .and_then(|watchers| watchers.delivering.as_ref());
            inner.deliveries == 0
                || delivering.is_some_and(|delivering| delivering.is_of_thread_of(&slot))
        };
        let mut inner = self.inner.lock();
        // fault: scope-ends-before-deliveries
        if !is_quiet(&inner) {
            inner.watchers().quiescence.push(slot.clone());
            drop(inner);
            context::wait_uncancellable_at(
                location,
                Point::ScopeEnd,
                || None,
                || is_quiet(&self.inner.lock()),
            );
            inner = self.inner.lock();
        }
        // A cancel that has come to this node has marked those below before it is delivered. All
        // are kept until the lock is released: a child whose last reference goes under it would
        // wait for it, to leave the list.
        //
        // fault: children-are-dropped-under-the-lock
        let children: Vec<_> = inner
            .children
            .iter()
            .filter_map(|(_, child)| child.upgrade())
            .collect();
        drop(inner);
        let tasks = children.iter().filter(|child| child.is_of_task());
        // fault: callbacks-of-tasks-outlive-the-scope
        tasks.for_each(|task| task.quiesce(location));
    }
}
