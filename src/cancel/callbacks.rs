//! The callbacks of one node, as a list under the lock of the node.
//!
//! # Invariants
//!
//! All of them hold whenever the lock of the node is free.
//!
//! 1. The callbacks that wait form a list in the order of their registration. Each links to its two
//!    neighbours by their places in a slab. So the last callback, and the callback of any guard,
//!    are taken out in constant time.
//! 2. A place is used again after its callback has been taken out. So a guard names its callback by
//!    the place and by a number that is never used twice.
//! 3. A callback is in the list, or it is the running callback, or it is gone. It moves from the
//!    list to `running` in one critical section: until it has ended, the drop of its guard finds it
//!    in one of the two.
//!
//! A callback, and what it captured, is run and dropped only while the lock is free.

use std::panic::Location;
use std::sync::Arc;

use slab::Slab;

use crate::panics::drop_contained;
use crate::waiting::Slot;

/// A callback, with the call that registered it.
pub(super) struct Callback {
    pub(super) call: Box<dyn FnOnce() + Send>,
    pub(super) location: &'static Location<'static>,
}

/// The callbacks of one node.
#[derive(Default)]
pub(super) struct Callbacks {
    next: u64,
    listed: Slab<ListedCallback>,
    /// The place of the callback registered last.
    last: Option<usize>,
    running: Option<Running>,
    /// The threads that wait for the running callback to end.
    deregistering: Vec<Arc<Slot>>,
}

struct ListedCallback {
    id: u64,
    callback: Callback,
    /// The places of its neighbours in the list.
    before: Option<usize>,
    after: Option<usize>,
}

struct Running {
    id: u64,
    /// The slot of the thread that runs it.
    by: Arc<Slot>,
}

/// Where a guard finds its callback (invariant 2).
#[derive(Clone, Copy)]
pub(super) struct Registration {
    pub(super) id: u64,
    place: usize,
}

impl Registration {
    /// The registration of a callback that was never in the list.
    pub(super) const NONE: Self = Registration { id: 0, place: 0 };
}

impl Callbacks {
    pub(super) fn any(&self) -> bool {
        !self.listed.is_empty()
    }

    /// Adds a callback at the end of the list.
    pub(super) fn push(&mut self, callback: Callback) -> Registration {
        // Invariant 2: the number tells it from a later callback at the same place.
        let id = self.next;
        self.next += 1;

        let place = self.listed.insert(ListedCallback {
            id,
            callback,
            before: self.last,
            after: None,
        });
        if let Some(before) = self.last.replace(place) {
            self.listed[before].after = Some(place);
        }

        Registration { id, place }
    }

    /// Takes out the callback registered last.
    fn pop(&mut self) -> Option<(u64, Callback)> {
        let last = self.take_out(self.last?);
        Some((last.id, last.callback))
    }

    /// Takes out the callback registered last, with its number. The thread of `by` is about to run
    /// it.
    pub(super) fn begin_last(&mut self, by: impl FnOnce() -> Arc<Slot>) -> Option<(u64, Callback)> {
        let (id, callback) = self.pop()?;
        // Invariant 3: the caller holds the lock across both.
        self.running = Some(Running { id, by: by() });
        Some((id, callback))
    }

    /// Ends the callback that runs. Returns the threads that wait for that, for the caller to wake.
    #[must_use]
    pub(super) fn end(&mut self) -> Vec<Arc<Slot>> {
        // fault: callback-counts-as-running-for-ever
        self.running = None;
        std::mem::take(&mut self.deregistering)
    }

    /// Takes out the callback of a guard, if it is in the list.
    pub(super) fn take(&mut self, registration: Registration) -> Option<Callback> {
        // Invariant 2: a later callback may have the place.
        let is_there = self
            .listed
            .get(registration.place)
            .is_some_and(|listed| listed.id == registration.id);
        is_there.then(|| self.take_out(registration.place).callback)
    }

    /// Takes out the callback at `place` and joins its neighbours (invariant 1).
    fn take_out(&mut self, place: usize) -> ListedCallback {
        let taken = self.listed.remove(place);

        if let Some(before) = taken.before {
            self.listed[before].after = taken.after;
        }

        match taken.after {
            Some(after) => self.listed[after].before = taken.before,
            None => self.last = taken.before,
        }

        taken
    }

    /// Returns the slot of the thread that runs the callback with this number, if it runs.
    pub(super) fn runner_of(&self, id: u64) -> Option<&Arc<Slot>> {
        self.running
            .as_ref()
            .filter(|running| running.id == id)
            .map(|running| &running.by)
    }

    /// Has the thread of `slot` woken when the running callback ends.
    pub(super) fn await_end(&mut self, slot: Arc<Slot>) {
        self.deregistering.push(slot);
    }
}

/// Drops the callbacks of a token that is freed uncancelled, on whatever thread frees it. Each is
/// dropped by itself, since a destructor of a captured value may panic.
impl Drop for Callbacks {
    fn drop(&mut self) {
        while let Some((_, callback)) = self.pop() {
            drop_contained("cancel callback", callback);
        }
    }
}
