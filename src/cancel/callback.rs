//! Callbacks of a token: each runs once, the last registered first, on the cancelling thread.
//!
//! The list that they are kept in, with its invariants, is in [`callbacks`](super::callbacks).

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::callbacks::{Callback, Registration};
use super::frames;
use super::node::Node;
use super::uncancellable::wait_uncancellable_at;
use crate::facade::{PlainMutex, catch, per_process};
use crate::lanes::{Held, Object};
use crate::scoped::unbound;
use crate::waiting::{Slot, WaitKind};

per_process! {
    /// The threads that wait in the drop of a guard, each with the thread that it waits for. They
    /// are looked at only where such a drop has to wait.
    static DEREGISTRATIONS: PlainMutex<Vec<(Arc<Slot>, Arc<Slot>)>> = PlainMutex::new(Vec::new());
}

/// Keeps a callback registered. Dropping the guard takes the callback back.
///
/// A callback that has not begun never runs then. If the callback is running, the drop waits until
/// it has ended, with two exceptions: inside the callback itself, and where the callback in turn
/// waits for the callback that this thread is running. [`forget`](Self::forget) leaves the callback
/// registered for the life of the token.
///
/// Not to be confused with [`CancelOnDrop`](crate::CancelOnDrop), which *cancels* when it is
/// dropped.
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
pub struct CallbackGuard {
    /// None once the callback has run, or was left registered.
    node: Option<Arc<Node>>,
    registration: Registration,
    /// The call that registered the callback. A wait in the drop is shown with it: a drop does not
    /// know its own place.
    location: &'static Location<'static>,
}

impl CallbackGuard {
    /// Leaves the callback registered for as long as the token lives.
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
    /// Registers `callback`, or runs it here if the node is cancelled already. The caller has
    /// looked at the deadlines of the node.
    pub(super) fn register(self: &Arc<Self>, callback: Callback) -> CallbackGuard {
        let location = callback.location;

        // The look and the registration are one critical section: a cancel that comes later finds
        // the callback.
        let mut inner = self.inner.lock();
        let cancelled = inner.cancelled.is_some();

        // fault: callback-is-registered-after-the-look
        if cancelled {
            drop(inner);
            if let Err(payload) = catch(|| unbound(|| frames::outside(callback.call))) {
                self.callback_panicked(payload);
            }

            return CallbackGuard {
                node: None,
                registration: Registration::NONE,
                location,
            };
        }

        let registration = inner.watchers().callbacks.push(callback);
        drop(inner);

        // No thread need wait under a deadline of this node.
        if self.is_timed() {
            self.arm();
        }
        CallbackGuard {
            node: Some(self.clone()),
            registration,
            location,
        }
    }

    /// Runs the callback registered last. Returns false if there is none.
    pub(super) fn run_next_callback(self: &Arc<Self>) -> bool {
        let mut inner = self.inner.lock();
        let Some((id, callback)) = inner.watchers().callbacks.begin_last(frames::slot) else {
            return false;
        };
        drop(inner);

        // The drop of its guard waits for this thread.
        let held = Held::begin_at(self.object_of(id), callback.location);

        // Outside any scope: the scope of the cancelling thread is often cancelled too, and then
        // every blocking call of the callback would fail.
        //
        // fault: callback-runs-under-the-lock
        let panic = catch(|| unbound(|| frames::outside(callback.call))).err();
        drop(held);

        let deregistering = self.inner.lock().watchers().callbacks.end();
        deregistering.iter().for_each(|slot| slot.unpark());

        if let Some(payload) = panic {
            self.callback_panicked(payload);
        }
        true
    }

    /// Returns what lanes show for a callback of this node: a number that is not an address of a
    /// lock, since it is odd. Another callback of the node has another number.
    fn object_of(&self, callback: u64) -> usize {
        let node = self.id().0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        node.wrapping_add(2 * callback) as usize | 1
    }

    /// Takes a callback out of the list, or waits until it has ended. `location` is the call that
    /// registered it.
    fn deregister(&self, registration: Registration, location: &'static Location<'static>) {
        let mut inner = self.inner.lock();
        let callbacks = &mut inner.watchers().callbacks;
        if let Some(callback) = callbacks.take(registration) {
            drop(inner);
            drop(callback);
            return;
        }

        // Not in the list, so it runs or is gone. Inside the callback itself nothing is waited for.
        let id = registration.id;
        let slot = frames::slot();

        // fault: callback-waits-for-itself
        let Some(by) = callbacks
            .runner_of(id)
            .filter(|by| !by.is_of_thread_of(&slot))
            .cloned()
        else {
            return;
        };

        // fault: guard-does-not-wait
        callbacks.await_end(slot.clone());
        drop(inner);

        let Some(_wait) = MutualWait::begin(slot, by) else {
            return;
        };
        let has_ended = || {
            let mut inner = self.inner.lock();
            inner.watchers().callbacks.runner_of(id).is_none()
        };
        let what = WaitKind::Deregister.on(Object::At(self.object_of(id)));
        wait_uncancellable_at(location, what, || None, has_ended);
    }
}

/// An edge of the graph of threads that wait in the drop of a guard.
struct MutualWait(Arc<Slot>);

impl MutualWait {
    /// Adds the edge from `slot` to `by`. Returns none if `by` waits, over any number of others,
    /// for `slot`: with this edge none of them could go on.
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
        // fault: edge-of-a-wait-stays
        edges.retain(|(from, _)| !Arc::ptr_eq(from, &self.0));
    }
}

impl Drop for CallbackGuard {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.deregister(self.registration, self.location);
        }
    }
}

impl fmt::Debug for CallbackGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackGuard")
            .field("id", &self.registration.id)
            .field("registered", &self.node.is_some())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;

    use super::Node;

    #[test]
    fn each_callback_of_each_node_has_an_odd_number_of_its_own() {
        let nodes = [(); 8].map(|()| Node::root());
        let numbers: HashSet<usize> = nodes
            .iter()
            .flat_map(|node| (0..8).map(|callback| node.object_of(callback)))
            .collect();
        assert_eq!(numbers.len(), 64);
        assert!(numbers.iter().all(|number| number % 2 == 1));
    }
}
