//! Helpers that the models of the core share.

use std::collections::BTreeMap;
use std::mem;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cancel::context;
use crate::waiting::{Slot, WaitKind};
use crate::{Cancelled, TaskBuilder, TaskGroup, facade, workers};

/// The events that a model must come to in some execution, and whether it has. The map outlives the
/// executions on purpose.
static EVENTS: Mutex<BTreeMap<&'static str, bool>> = Mutex::new(BTreeMap::new());

fn events<T>(f: impl FnOnce(&mut BTreeMap<&'static str, bool>) -> T) -> T {
    f(&mut EVENTS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Names the events of a model. Each must happen in at least one execution, so that the model
/// cannot pass by never coming to it.
///
/// Tell the events apart by something that loom sees: of orders that differ in nothing else, loom
/// runs one.
pub(super) fn must_see<const N: usize>(names: [&'static str; N]) {
    events(|events| names.map(|name| *events.entry(name).or_default()));
}

/// Records that the event has happened.
pub(super) fn saw(name: &'static str) {
    let known = events(|events| events.get_mut(name).map(|seen| *seen = true).is_some());
    assert!(known, "a model saw an event that it did not name: {name}");
}

/// Returns an event that had to happen in the models that have run, and did not.
pub fn never_seen() -> Option<&'static str> {
    events(|events| {
        events
            .iter()
            .find(|(_, seen)| !**seen)
            .map(|(name, _)| *name)
    })
}

/// Runs `body` with a pool of `places`, and ends its workers: to loom, a worker that stays idle for
/// ever is a deadlock.
pub(super) fn with_pool(places: usize, body: impl FnOnce()) {
    facade::set_parallelism(places);
    body();
    workers::shut_down();
}

/// Returns the builder of a task with a thread of its own: most models of scopes need no pool.
pub(super) fn apart<'scope, 'env>(
    g: &'scope TaskGroup<'scope, 'env>,
) -> TaskBuilder<'scope, 'env, anyhow::Error> {
    g.task().dedicated()
}

/// Blocks until the scope is cancelled.
pub(super) fn block() -> Result<(), Cancelled> {
    crate::sleep(Duration::MAX)
}

#[track_caller]
pub(super) fn here() -> &'static Location<'static> {
    Location::caller()
}

/// The smallest primitive with a grant: closed until it is opened.
#[derive(Debug)]
pub(super) struct Gate(facade::Mutex<(bool, Vec<Arc<Slot>>)>);

impl Gate {
    pub(super) fn new() -> Gate {
        Gate(facade::Mutex::new((false, Vec::new())))
    }

    pub(super) fn open(&self) {
        let mut state = self.0.lock();
        state.0 = true;
        let waiting = mem::take(&mut state.1);
        drop(state);
        waiting.iter().for_each(|slot| slot.unpark());
    }

    #[track_caller]
    pub(super) fn wait(&self) -> Result<(), Cancelled> {
        let mut state = self.0.lock();
        if state.0 {
            return Ok(());
        }
        state.1.push(context::slot());
        drop(state);
        context::wait(WaitKind::Park, None, || self.0.lock().0).map(drop)
    }
}

/// A value that counts its drops. Loom does not see the count.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

/// Counts the dropped values of a model.
#[derive(Debug, Default)]
pub(super) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(super) fn value(&self) -> Counted {
        Counted(self.0.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A flag for the model's own bookkeeping. Loom does not see it, so it orders nothing.
#[derive(Debug, Default, Clone)]
pub(super) struct Note(Arc<AtomicUsize>);

impl Note {
    pub(super) fn set(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.times() > 0
    }

    pub(super) fn times(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn until_waiting(primitive: &impl std::fmt::Debug, count: usize) {
    while !format!("{primitive:?}").contains(&format!("waiting: {count}")) {
        loom::thread::yield_now();
    }
}
