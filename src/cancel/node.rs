//! The token tree: what a token is inside, and how a cancel runs down from it.
//!
//! # Invariants
//!
//! 1. A node is cancelled once. The flag, the cause and the marks of the slots attached to it change in one critical
//!    section of its lock, so whoever holds the lock sees a node that is wholly cancelled or not at all.
//! 2. A child is listed by each of its parents from before it is handed out until it is dropped. It is listed and takes
//!    over a parent's cancel in one critical section of that parent, so no cancel misses it.
//! 3. Only marks happen under a lock. Wakes, hooks, observers and callbacks run when no lock of this crate is held, on the
//!    thread that cancels, after the whole subtree has been marked.
//! 4. A cancel counts as a delivery of each node it marked until the callbacks of that node have run; the end of a scope
//!    waits for the deliveries of its node.
//!
//! # Lock order
//!
//! A node's lock is held together with no other lock of this crate, except that a group's ledger may be held outside it.
//! Parents and children are never locked together.
//!
//! A cancel is not atomic across the tree: for a moment a parent is cancelled and its child is not yet.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64 as PlainU64, AtomicUsize as PlainUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use slab::Slab;

use super::callback::Callbacks;
use super::deadline::{Deadline, Shield};
use super::{timer, CancelCause, Cancelled, TokenId};
use crate::facade::{holds, AtomicU32, Guard, Mutex, Ordering, Payload, Track};
use crate::waiting::{Marked, Slot};

const CANCELLED: u32 = 1;
const TIMED: u32 = 1 << 1;

/// Who is told of a cancel besides those that wait: a group, which empties its queue.
pub(crate) trait Observer: Send + Sync {
    /// The node was cancelled.
    fn cancelled(self: Arc<Self>);
    /// A callback or hook of the node panicked.
    fn callback_panicked(self: Arc<Self>, payload: Payload);
}

/// What a token is: a place in the tree that can be cancelled.
///
/// # Memory ordering
///
/// What happened before a cancel happens before every return of `is_cancelled() == true`, of a cause, and of a wait that
/// the cancel ended.
pub(crate) struct Node {
    id: TokenId,
    /// `CANCELLED`, and `TIMED` if the node or one above it has, or once had, a deadline.
    state: AtomicU32,
    parents: Box<[Parent]>,
    pub(super) deadline: Deadline,
    pub(super) shield: Option<Shield>,
    observer: OnceLock<Weak<dyn Observer>>,
    pub(super) inner: Mutex<Inner>,
    _leaks: Track,
}

struct Parent {
    node: Arc<Node>,
    /// Where the parent lists the child; `usize::MAX` where it does not.
    key: PlainUsize,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) cancelled: Option<Cancelled>,
    children: Slab<Weak<Node>>,
    slots: Slab<Arc<Slot>>,
    pub(super) callbacks: Callbacks,
    /// Cancels that are still to be delivered, and who waits for that.
    deliveries: usize,
    delivering: Option<Arc<Slot>>,
    quiescence: Vec<Arc<Slot>>,
}

/// A slot's place in the list of the node it is attached to.
#[derive(Debug)]
pub(crate) struct Attachment {
    node: Arc<Node>,
    key: usize,
}

/// Whose cancel a `Cancelled` is, seen from a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OwnedBy {
    /// The node itself.
    Node,
    /// A node above it.
    Ancestor,
    /// Somebody else.
    Foreign,
}

impl Node {
    /// A node with no parent.
    pub(crate) fn root() -> Arc<Self> {
        Arc::new(Self::new(Box::default(), None, 0))
    }

    /// A node that is cancelled with any of `parents`.
    pub(crate) fn child_of<'a>(parents: impl IntoIterator<Item = &'a Arc<Node>>) -> Arc<Self> {
        let parents: Box<[Parent]> =
            parents.into_iter().map(|node| Parent { node: node.clone(), key: PlainUsize::new(usize::MAX) }).collect();
        let timed = parents.iter().fold(0, |bits, parent| bits | parent.node.state.load(Ordering::Relaxed) & TIMED);
        let node = Arc::new(Self::new(parents, None, timed));
        for parent in &node.parents {
            if let Some(key) = parent.node.adopt(&node) {
                parent.key.store(key, Relaxed);
            }
        }
        node
    }

    /// A child of the current scope, or a root outside of any.
    pub(crate) fn child_of_current() -> Arc<Self> {
        match super::context::current() {
            Some(parent) => Self::child_of([&parent]),
            None => Self::root(),
        }
    }

    /// A node that hides the cancel of `outer` until `until`.
    pub(crate) fn shielded(outer: Arc<Node>, until: Instant) -> Arc<Self> {
        Arc::new(Self::new(Box::default(), Some(Shield::new(outer, until)), TIMED))
    }

    fn new(parents: Box<[Parent]>, shield: Option<Shield>, state: u32) -> Self {
        static NEXT: PlainU64 = PlainU64::new(1);
        Node {
            id: TokenId(NEXT.fetch_add(1, Relaxed)),
            state: AtomicU32::new(state),
            parents,
            deadline: Deadline::none(),
            shield,
            observer: OnceLock::new(),
            inner: Mutex::new(Inner::default()),
            _leaks: Track::new(),
        }
    }

    /// Lists `child`, or hands it the cancel it comes too late for.
    pub(super) fn adopt(self: &Arc<Self>, child: &Arc<Node>) -> Option<usize> {
        let mut inner = self.inner.lock();
        let cancelled = inner.cancelled.clone();
        if !holds(Guard::AdoptUnderLock) {
            drop(inner);
            inner = self.inner.lock();
        }
        match cancelled {
            None => {
                let key = inner.children.insert(Arc::downgrade(child));
                // Whoever sets a deadline from now on finds the child listed; one set before shows in the state.
                if self.is_timed() {
                    // guard: hand-the-deadline-down
                    child.state.fetch_or(TIMED, Ordering::Relaxed);
                }
                Some(key)
            }
            Some(cancelled) => {
                drop(inner);
                if let Some(fallout) = child.trip(cancelled) {
                    // guard: cancel-the-late-child
                    fallout.deliver();
                }
                None
            }
        }
    }

    /// Tells `observer` of the cancel. Before the node is handed out.
    pub(crate) fn observe(&self, observer: Weak<dyn Observer>) {
        let _ = self.observer.set(observer);
    }

    pub(crate) fn id(&self) -> TokenId {
        self.id
    }

    /// Whether the node is cancelled, as one load where no deadline holds.
    #[inline]
    pub(crate) fn is_cancelled(self: &Arc<Self>) -> bool {
        // Acquire pairs with the release in `trip`.
        match self.state.load(Ordering::Acquire) {
            0 => false,
            state if state & CANCELLED != 0 => true,
            _ => self.expire() && self.is_flagged(),
        }
    }

    /// Whether the node is cancelled, without a look at the clock.
    #[inline]
    pub(crate) fn is_flagged(&self) -> bool {
        // Relaxed: whoever acts on more than the flag takes the lock of the node, or holds one that the cancel takes later.
        self.state.load(Ordering::Relaxed) & CANCELLED != 0
    }

    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.state.load(Ordering::Relaxed) & TIMED != 0
    }

    /// The cancel that cancelled the node.
    pub(crate) fn cancelled(self: &Arc<Self>) -> Option<Cancelled> {
        if !self.is_cancelled() {
            return None;
        }
        self.inner.lock().cancelled.clone()
    }

    /// `Err` with the cancel that cancelled the node.
    pub(crate) fn check(self: &Arc<Self>) -> Result<(), Cancelled> {
        match self.cancelled() {
            None => Ok(()),
            Some(cancelled) => Err(cancelled),
        }
    }

    /// Cancels the node with a cause of its own, if it is not cancelled yet.
    pub(crate) fn cancel(self: &Arc<Self>, cause: CancelCause, location: &'static Location<'static>) -> bool {
        // A deadline that has passed unseen came first.
        if self.is_cancelled() {
            return false;
        }
        match self.trip(Cancelled::new(cause, location, self.id)) {
            None => false,
            Some(fallout) => {
                fallout.deliver();
                true
            }
        }
    }

    /// Marks the node and all below it; what follows from that is the caller's to deliver, when it holds no lock.
    pub(crate) fn trip(self: &Arc<Self>, cancelled: Cancelled) -> Option<Fallout> {
        let mut fallout = Fallout { nodes: Vec::new(), wakes: Vec::new(), cancelled };
        fallout.mark(self.clone());
        if fallout.nodes.is_empty() {
            return None;
        }
        let mut next = 0;
        while let Some(node) = fallout.nodes.get(next) {
            // The list of children is final: a child that comes now is handed the cancel by `adopt`.
            let children: Vec<_> = node.inner.lock().children.iter().filter_map(|(_, child)| child.upgrade()).collect();
            let node = (!holds(Guard::ChildrenOutsideLock)).then(|| node.clone());
            let _held = node.as_ref().map(|node| node.inner.lock());
            for child in children {
                // guard: mark-children
                fallout.mark(child);
            }
            next += 1;
        }
        Some(fallout)
    }

    /// Says that a deadline holds in the node and all below, so that checks read the clock and waits look at it again.
    pub(super) fn set_timed(self: &Arc<Self>) {
        let mut nodes = vec![self.clone()];
        while let Some(node) = nodes.pop() {
            let mut unpark = Vec::new();
            let inner = node.inner.lock();
            // Relaxed: the deadline orders what came before it, and who waits is told by its slot.
            node.state.fetch_or(TIMED, Ordering::Relaxed);
            unpark.extend(inner.slots.iter().filter(|(_, slot)| slot.mark_timed()).map(|(_, slot)| slot.clone()));
            nodes.extend(inner.children.iter().filter_map(|(_, child)| child.upgrade()));
            let fires = inner.callbacks.any() || inner.slots.iter().any(|(_, slot)| slot.is_hooked());
            drop(inner);
            unpark.iter().for_each(|slot| slot.unpark());
            if fires {
                timer::arm(&node);
            }
        }
    }

    /// Attaches the slot of this thread: it is marked from now on when the node is cancelled.
    pub(crate) fn attach(self: Arc<Self>, slot: &Arc<Slot>) -> Attachment {
        let mut inner = self.inner.lock();
        slot.attach(inner.cancelled.is_some(), self.is_timed());
        let key = inner.slots.insert(slot.clone());
        drop(inner);
        Attachment { node: self, key }
    }

    /// The nodes right above this one.
    pub(super) fn parents(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.parents.iter().map(|parent| &parent.node).chain(self.shield.iter().filter_map(Shield::lifted))
    }

    /// Whose cancel `cancelled` is: a question of identity, never of its type or text.
    pub(crate) fn owner_of(self: &Arc<Self>, cancelled: &Cancelled) -> OwnedBy {
        if cancelled.origin() == self.id {
            return OwnedBy::Node;
        }
        let mut above: Vec<&Arc<Node>> = self.parents().collect();
        while let Some(node) = above.pop() {
            if node.id == cancelled.origin() {
                return OwnedBy::Ancestor;
            }
            above.extend(node.parents());
        }
        OwnedBy::Foreign
    }

    /// Hands the panic of a callback or hook to the group whose node this is, or to the log.
    pub(super) fn callback_panicked(&self, payload: Payload) {
        match self.observer.get().and_then(Weak::upgrade) {
            Some(observer) => observer.callback_panicked(payload),
            None => {
                let panic = crate::error::PanicPayload::new(payload);
                tracing::error!(token = self.id.0, panic = panic.message(), "a cancel callback panicked");
            }
        }
    }

    /// Waits until every cancel that marked this node has been delivered; not for one that this thread is delivering.
    #[track_caller]
    pub(crate) fn quiesce(&self) {
        let slot = super::context::slot();
        let is_quiet = |inner: &Inner| {
            inner.deliveries == 0 || inner.delivering.as_ref().is_some_and(|delivering| Arc::ptr_eq(delivering, &slot))
        };
        let mut inner = self.inner.lock();
        if is_quiet(&inner) || !holds(Guard::EndAwaitsDeliveries) {
            return;
        }
        inner.quiescence.push(slot.clone());
        drop(inner);
        super::context::wait_uncancellable(crate::waiting::Point::ScopeEnd, || None, || is_quiet(&self.inner.lock()));
    }
}

impl Attachment {
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Ends it: the node can no longer mark the slot.
    pub(crate) fn detach(self) {
        let slot = self.node.inner.lock().slots.remove(self.key);
        drop(slot);
    }
}

/// What a cancel has marked and has still to wake and to run.
#[must_use]
pub(crate) struct Fallout {
    nodes: Vec<Arc<Node>>,
    wakes: Vec<(usize, Arc<Slot>, Marked)>,
    cancelled: Cancelled,
}

impl Fallout {
    fn mark(&mut self, node: Arc<Node>) {
        let mut inner = node.inner.lock();
        if inner.cancelled.is_some() {
            return;
        }
        inner.cancelled = Some(self.cancelled.clone());
        inner.deliveries += 1;
        // Release: what led to the cancel happens before whatever sees the flag.
        node.state.fetch_or(CANCELLED, Ordering::Release);
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
    }

    /// Wakes, tells, and runs the callbacks, on this thread, which holds no lock of this crate.
    pub(crate) fn deliver(self) {
        for (index, slot, marked) in &self.wakes {
            let fired = slot.wake(marked); // guard: wake-what-was-marked => None
            if let Some(payload) = fired {
                self.nodes[*index].callback_panicked(payload);
            }
        }
        for node in &self.nodes {
            if let Some(observer) = node.observer.get().and_then(Weak::upgrade) {
                observer.cancelled(); // guard: tell-the-observer
            }
        }
        for node in &self.nodes {
            node.run_callbacks();
            let mut inner = node.inner.lock();
            inner.deliveries -= 1;
            inner.delivering = None;
            let waiting = std::mem::take(&mut inner.quiescence);
            drop(inner);
            waiting.iter().for_each(|slot| slot.unpark());
        }
    }
}

impl Node {
    fn run_callbacks(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        if inner.callbacks.any() {
            inner.delivering = Some(super::context::slot());
        }
        drop(inner);
        while self.run_next_callback() {}
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A long chain is taken apart in a loop: each node that nobody else holds gives up its parents in turn.
        let mut parents = std::mem::take(&mut self.parents).into_vec();
        parents.extend(self.shield.take().and_then(Shield::into_link).map(|(node, key)| Parent { node, key: key.into() }));
        while let Some(parent) = parents.pop() {
            let key = parent.key.into_inner();
            if key != usize::MAX {
                let child = parent.node.inner.lock().children.try_remove(key);
                drop(child);
            }
            if let Some(mut node) = Arc::into_inner(parent.node) {
                parents.extend(std::mem::take(&mut node.parents).into_vec());
                parents
                    .extend(node.shield.take().and_then(Shield::into_link).map(|(node, key)| Parent { node, key: key.into() }));
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id).field("cancelled", &self.is_flagged()).finish_non_exhaustive()
    }
}
