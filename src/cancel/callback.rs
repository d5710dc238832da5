//! Callbacks of a token: run once, last registered first, by the thread that cancels.
//!
//! # Invariants
//!
//! All of them hold whenever the lock of the node is free.
//!
//! 1. The callbacks that wait form a list in the order of their registration, linked in both
//!    directions by their places in a slab. So the last one, and the one of any guard, are taken
//!    out in constant time.
//! 2. A place is used again after its callback has been taken out. A guard therefore names its
//!    callback by the place and by a number that is never used twice.
//! 3. A callback is in the list, or it is the one that runs, or it is gone. It moves from the list
//!    to `running` in one critical section: the drop of a guard finds it in one of the two until it
//!    has ended.
//!
//! A callback, and what it captured, is run and dropped only when the lock is free.

use std::fmt;
use std::sync::Arc;

use slab::Slab;

use super::context;
use super::node::Node;
use super::timer;
use crate::facade::{PlainMutex, catch};
use crate::panics::drop_contained;
use crate::waiting::{Point, Slot};

type Callback = Box<dyn FnOnce() + Send>;

/// The callbacks of one node, under its lock.
#[derive(Default)]
pub(super) struct Callbacks {
    next: u64,
    waiting: Slab<Waiting>,
    /// The place of the callback registered last.
    last: Option<usize>,
    running: Option<Running>,
    /// The threads that wait for the running callback to end.
    deregistering: Vec<Arc<Slot>>,
}

struct Waiting {
    id: u64,
    callback: Callback,
    /// The places of its neighbours in the list.
    before: Option<usize>,
    after: Option<usize>,
}

struct Running {
    id: u64,
    /// The thread that runs it.
    by: Arc<Slot>,
}

impl Callbacks {
    pub(super) fn any(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn push(&mut self, callback: Callback) -> Registration {
        let id = self.next;
        self.next += 1;
        let place = self.waiting.insert(Waiting {
            id,
            callback,
            before: self.last,
            after: None,
        });
        if let Some(before) = self.last.replace(place) {
            self.waiting[before].after = Some(place);
        }
        Registration { id, place }
    }

    /// Takes out the callback registered last.
    fn pop(&mut self) -> Option<(u64, Callback)> {
        let waiting = self.take_out(self.last?);
        Some((waiting.id, waiting.callback))
    }

    /// Takes out the callback of a guard, if it waits.
    fn take(&mut self, registration: Registration) -> Option<Callback> {
        let is_there = self
            .waiting
            .get(registration.place)
            .is_some_and(|waiting| waiting.id == registration.id);
        is_there.then(|| self.take_out(registration.place).callback)
    }

    /// Takes out the callback at `place` and joins its neighbours (invariant 1).
    fn take_out(&mut self, place: usize) -> Waiting {
        let taken = self.waiting.remove(place);
        if let Some(before) = taken.before {
            self.waiting[before].after = taken.after;
        }
        match taken.after {
            Some(after) => self.waiting[after].before = taken.before,
            None => self.last = taken.before,
        }
        taken
    }

    fn is_running(&self, id: u64) -> Option<&Arc<Slot>> {
        self.running
            .as_ref()
            .filter(|running| running.id == id)
            .map(|running| &running.by)
    }
}

/// The callbacks of a token that is freed uncancelled, on whatever thread that is. Each is dropped
/// by itself: a destructor of what it captured may panic.
impl Drop for Callbacks {
    fn drop(&mut self) {
        while let Some((_, callback)) = self.pop() {
            drop_contained("cancel callback", callback);
        }
    }
}

/// Where a guard finds its callback (invariant 2).
#[derive(Clone, Copy)]
struct Registration {
    id: u64,
    place: usize,
}

/// Who waits in a deregistration for whom, so that two that wait for each other are seen. It is
/// looked at only where a deregistration has to wait.
static DEREGISTRATIONS: PlainMutex<Vec<(Arc<Slot>, Arc<Slot>)>> = PlainMutex::new(Vec::new());

/// Keeps a callback registered: dropping it takes the callback back.
///
/// A callback that has not begun never runs then; for one that is running the drop waits, except
/// inside the callback itself, and where the callback in its turn waits for the one that this
/// thread is running. [`forget`](Self::forget) leaves the callback registered for the life of the
/// token.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// static STOPPED: AtomicBool = AtomicBool::new(false);
///
/// let token = taskgroup::CancelToken::new();
/// let guard = token.on_cancel(|| STOPPED.store(true, Ordering::Relaxed));
/// drop(guard);
/// token.cancel();
/// assert!(!STOPPED.load(Ordering::Relaxed));
/// ```
#[must_use = "dropping the guard takes the callback back"]
pub struct CancelGuard {
    node: Option<Arc<Node>>,
    registration: Registration,
}

impl CancelGuard {
    /// Leaves the callback registered as long as the token lives.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// token.on_cancel(|| println!("stopping")).forget();
    /// token.cancel();
    /// ```
    pub fn forget(mut self) {
        self.node = None;
    }
}

impl Node {
    /// Registers `f`, or runs it here if the node is cancelled already.
    pub(super) fn on_cancel(self: &Arc<Self>, f: Callback) -> CancelGuard {
        self.is_cancelled();
        let mut inner = self.inner.lock();
        let cancelled = inner.cancelled.is_some();
        // fault: callback-is-registered-after-the-look
        if cancelled {
            drop(inner);
            if let Err(payload) = catch(|| context::outside(f)) {
                self.callback_panicked(payload);
            }
            return CancelGuard {
                node: None,
                registration: Registration { id: 0, place: 0 },
            };
        }
        let registration = inner.watchers().callbacks.push(f);
        drop(inner);
        if self.is_timed() {
            timer::arm(self);
        }
        CancelGuard {
            node: Some(self.clone()),
            registration,
        }
    }

    /// Runs the callback registered last; false if there is none.
    pub(super) fn run_next_callback(self: &Arc<Self>) -> bool {
        let mut inner = self.inner.lock();
        let Some((id, f)) = inner.watchers().callbacks.pop() else {
            return false;
        };
        inner.watchers().callbacks.running = Some(Running {
            id,
            by: context::slot(),
        });
        drop(inner);
        // What a callback can do must not depend on the scope of the cancelling thread, which is
        // cancelled more often than not.
        //
        // fault: callback-runs-under-the-lock
        let panic = catch(|| context::outside(f)).err();
        let mut inner = self.inner.lock();
        let callbacks = &mut inner.watchers().callbacks;
        callbacks.running = None;
        let deregistering = std::mem::take(&mut callbacks.deregistering);
        drop(inner);
        deregistering.iter().for_each(|slot| slot.unpark());
        if let Some(payload) = panic {
            self.callback_panicked(payload);
        }
        true
    }

    fn deregister(&self, registration: Registration) {
        let mut inner = self.inner.lock();
        let callbacks = &mut inner.watchers().callbacks;
        if let Some(callback) = callbacks.take(registration) {
            drop(inner);
            drop(callback);
            return;
        }
        let id = registration.id;
        let slot = context::slot();
        let Some(by) = callbacks
            .is_running(id)
            .filter(|by| !by.is_of_thread_of(&slot))
            .cloned()
        else {
            return;
        };
        // fault: guard-does-not-wait
        callbacks.deregistering.push(slot.clone());
        drop(inner);
        let Some(_wait) = MutualWait::begin(slot, by) else {
            return;
        };
        context::wait_uncancellable(
            Point::Deregister,
            || None,
            || {
                self.inner
                    .lock()
                    .watchers()
                    .callbacks
                    .is_running(id)
                    .is_none()
            },
        );
    }
}

/// An edge of the graph of deregistrations that wait.
struct MutualWait(Arc<Slot>);

impl MutualWait {
    /// None if `by` waits, over any number of others, for `slot`: then nobody would ever go on.
    fn begin(slot: Arc<Slot>, by: Arc<Slot>) -> Option<Self> {
        let mut edges = DEREGISTRATIONS.lock();
        let mut end = by.clone();
        while let Some((_, next)) = edges.iter().find(|(from, _)| from.is_of_thread_of(&end)) {
            end = next.clone();
        }
        // fault: callbacks-wait-for-each-other
        if end.is_of_thread_of(&slot) {
            return None;
        }
        edges.push((slot.clone(), by));
        Some(MutualWait(slot))
    }
}

impl Drop for MutualWait {
    fn drop(&mut self) {
        let mut edges = DEREGISTRATIONS.lock();
        edges.retain(|(from, _)| !Arc::ptr_eq(from, &self.0));
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.deregister(self.registration);
        }
    }
}

impl fmt::Debug for CancelGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelGuard")
            .field("id", &self.registration.id)
            .field("registered", &self.node.is_some())
            .finish()
    }
}
