//! The token tree: the state of a token, and its place among its parents and children.
//!
//! # Invariants
//!
//! 1. A node is cancelled once. The flag, the cause and the marks of the slots attached to it
//!    change in one critical section of its lock. So a thread that holds the lock sees a node that
//!    is wholly cancelled or not at all.
//! 2. A child is listed by each of its parents from before it is handed out until it is dropped, or
//!    until nothing more can come from that parent. It is listed and takes over a parent's cancel
//!    in one critical section of that parent, so no cancel misses it.
//! 3. Only marks happen under a lock. Wakes, hooks, observers and callbacks run when no lock of
//!    this crate is held, on the cancelling thread, after the whole subtree has been marked. If a
//!    cancel has several hooks, workers run hooks too, and the cancelling thread waits for those
//!    (see `hooks`).
//! 4. A cancel counts as a delivery of each node it marked until the callbacks of that node have
//!    run. The end of a scope waits for the deliveries of its node and of the nodes of its tasks. A
//!    node without callbacks is delivered before any callback runs, and a node with callbacks
//!    before the nodes above it.
//! 5. The grace of a node that is cancelled, and the end of a region, only ever come nearer. So
//!    cancels that reach a node on different ways, or in another order than they began, have the
//!    same effect.
//! 6. A node may be marked ahead by a thread that looks at a node: it is wholly cancelled then, as
//!    are the nodes on the way down to it. The first cancel that comes to the node from above later
//!    takes what was marked and does the rest in its own order, as if it had marked the node
//!    itself, with the shorter one of its grace and the node's. It comes for certain: no region on
//!    the way is spared, a thread that stops at a cancelled node leaves it to the one that
//!    cancelled it, and no user code runs on a thread in the middle of its marks. Until then the
//!    node keeps itself alive.
//!
//! # Lock order
//!
//! A node's lock is held together with no other lock of this crate, with three exceptions: the
//! failure log of a group, the lock of a task's own node while that is made, and the lock of the
//! winner of a race may be held outside it. Parents and children are never locked together.
//!
//! A cancel is not atomic across the tree: for a moment a parent is cancelled and its child is not
//! yet. Where a deadline holds, or a partner has gone, a thread that looks at the child marks it
//! ahead (`mark_ahead`, `check_ancestors`).

use std::fmt;
use std::panic::RefUnwindSafe;
use std::sync::atomic::{AtomicU64 as PlainU64, AtomicUsize as PlainUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Instant;

use slab::Slab;

use super::cause::Cancelled;
use super::deadline::{Deadline, NEVER};
use super::grace::Grace;
use super::id::TokenId;
use super::observer::Observer;
use super::timer;
use super::watchers::Watchers;
use crate::facade::{AtomicU32, AtomicUsize, Mutex, Ordering, Track, assert_unlocked, preset};
use crate::waiting::{Marked, Marks, Slot};

/// The node is cancelled.
pub(super) const CANCELLED: u32 = 1;
/// The node or a node above it has, or once had, a deadline.
pub(super) const TIMED: u32 = 1 << 1;
/// The node was cancelled with a grace, which a later cancel may shorten.
pub(super) const SPARES: u32 = 1 << 2;

/// The key of a child that its parent does not list.
pub(super) const UNLISTED: usize = usize::MAX;

/// The state of a token: a place in the tree that can be cancelled.
///
/// # Memory ordering
///
/// What happened before a cancel happens before every return of `is_cancelled() == true`, of a
/// cause, and of a wait that the cancel ended.
pub(crate) struct Node {
    id: TokenId,
    /// `CANCELLED`, `TIMED` and `SPARES`.
    pub(super) state: AtomicU32,
    kind: Kind,
    parents: Box<[Parent]>,
    pub(super) deadline: Deadline,
    /// The instant of the node's entry in the timer, under the lock of the timer; `NEVER` without
    /// an entry.
    pub(super) armed: PlainU64,
    pub(super) observer: Option<Weak<dyn Observer>>,
    /// The receiver of `CancelToken::closed`: made by the first call, and freed with the node.
    #[cfg(feature = "crossbeam")]
    pub(super) closed: std::sync::OnceLock<crossbeam_channel::Receiver<std::convert::Infallible>>,
    pub(super) inner: Mutex<NodeState>,
    _leaks: Track,
}

// A panic cannot leave a node in a wrong state: no user code runs under its lock (invariant 3).
impl RefUnwindSafe for Node {}

/// The role of a node, besides being cancelled. A box holds the data that few nodes have, since
/// every scope makes a node.
pub(super) enum Kind {
    Plain,
    /// It belongs to a task, or to the daemons, of a group. Its parent is the group's node.
    OfTask,
    /// A region that winds down, with the end of the grace of the cancel around it.
    WindingDown(Box<Deadline>),
    /// It hides the cancel of an outer node for a time.
    Shielded(Box<Shield>),
    /// A root that keeps a value, which is dropped with the node: with the last token, scope or
    /// node below that refers to it.
    #[cfg(all(unix, not(loom), feature = "signal"))]
    Keeps(#[allow(dead_code, reason = "kept for its drop")] Box<Kept>),
}

/// A value that a node keeps. Its drop may take locks: a node is dropped when none is held.
#[cfg(all(unix, not(loom), feature = "signal"))]
pub(crate) type Kept = Box<dyn std::any::Any + Send + Sync>;

/// A link from a child to its parent.
pub(super) struct Parent {
    node: Arc<Node>,
    /// Where the parent lists the child, or `UNLISTED`.
    key: PlainUsize,
}

impl Parent {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Parent {
            node,
            key: PlainUsize::new(UNLISTED),
        }
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Remembers where the parent lists the child.
    pub(super) fn set_key(&self, key: usize) {
        self.key.store(key, Relaxed);
    }
}

/// Hides the cancel of an outer node until an instant. Then the shield is lifted: its node becomes
/// a child of the outer node.
#[derive(Debug)]
pub(super) struct Shield {
    outer: Arc<Node>,
    until: Instant,
    /// `HIDING`, or `LIFTING` once the time is up, until a thread has lifted the shield. Then it is
    /// the place in the list of the outer node, or `UNLISTED`.
    key: AtomicUsize,
}

const HIDING: usize = UNLISTED - 1;
const LIFTING: usize = UNLISTED - 2;

impl Shield {
    pub(super) fn new(outer: Arc<Node>, until: Instant) -> Self {
        Shield {
            outer,
            until,
            key: AtomicUsize::new(HIDING),
        }
    }

    /// Returns the outer node, if the shield has been lifted.
    pub(super) fn lifted(&self) -> Option<&Arc<Node>> {
        (self.key.load(Ordering::Relaxed) != HIDING).then_some(&self.outer)
    }

    /// Returns when the shield is to be lifted, if it still hides the outer node.
    pub(super) fn hides_until(&self) -> Option<Instant> {
        self.lifted().is_none().then_some(self.until)
    }

    /// Begins to lift the shield. Returns the outer node if this call did; its child is not listed
    /// yet.
    pub(super) fn lift(&self) -> Option<&Arc<Node>> {
        self.key
            .compare_exchange(HIDING, LIFTING, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
            .then_some(&self.outer)
    }

    /// Remembers where the outer node lists the child. The shield has been lifted.
    pub(super) fn set_key(&self, key: usize) {
        // Relaxed: read by the drop of the node only, which comes after all that its users did.
        self.key.store(key, Ordering::Relaxed);
    }

    fn into_parent(self) -> Parent {
        // While it hides its outer node, or was lifted without an entry, no list has it.
        let key = self.key.load(Ordering::Relaxed);
        let key = if key >= LIFTING { UNLISTED } else { key };
        Parent {
            node: self.outer,
            key: key.into(),
        }
    }
}

/// The part of a node under its lock.
pub(super) struct NodeState {
    pub(super) cancelled: Option<Cancelled>,
    /// The grace that the node was cancelled with; without meaning before that.
    pub(super) grace: Grace,
    pub(super) children: Slab<Weak<Node>>,
    pub(super) slots: Slab<Arc<Slot>>,
    /// The number of cancels that are still to be delivered (invariant 4).
    pub(super) deliveries: usize,
    /// Set by a thread that looked at the node and marked it ahead.
    pub(super) ahead: Option<Box<MarkedAhead>>,
    pub(super) watchers: Option<Box<Watchers>>,
}

impl NodeState {
    const fn new() -> Self {
        NodeState {
            cancelled: None,
            grace: Grace::Over,
            children: Slab::new(),
            slots: Slab::new(),
            deliveries: 0,
            ahead: None,
            watchers: None,
        }
    }

    pub(super) fn watchers(&mut self) -> &mut Watchers {
        self.watchers.get_or_insert_default()
    }

    /// Returns the threads that wait for the cancel of the node.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.watchers
            .iter()
            .flat_map(|watchers| &watchers.waiting)
            .map(|(_, slot)| slot)
    }

    /// Returns the children that have not been dropped. The caller drops them without the lock: the
    /// last reference to a child takes it, to leave the list.
    pub(super) fn children(&self) -> impl Iterator<Item = Arc<Node>> {
        self.children
            .iter()
            .filter_map(|(_, child)| child.upgrade())
    }

    pub(super) fn has_callbacks(&self) -> bool {
        self.watchers
            .as_ref()
            .is_some_and(|watchers| watchers.callbacks.any())
    }

    /// Whether anything happens at a cancel that no blocked thread of the scope handles. A deadline
    /// needs the timer then.
    pub(super) fn needs_the_timer(&self) -> bool {
        let watchers = self.watchers.as_ref();
        watchers.is_some_and(|watchers| watchers.need_the_timer())
            || self.slots.iter().any(|(_, slot)| slot.is_hooked())
    }
}

/// What remains of a node that was marked ahead (invariant 6).
pub(super) struct MarkedAhead {
    /// The node, which has callbacks to run though all its users may have gone. The thread that
    /// takes this breaks the cycle.
    #[allow(dead_code, reason = "it keeps the node alive")]
    pub(super) node: Arc<Node>,
    /// Its slots: still to be woken, or to have their hooks run.
    pub(super) slots: Vec<(Arc<Slot>, Marked)>,
}

/// A slot's place in the list of the node it is attached to.
#[derive(Debug)]
pub(crate) struct Attachment {
    node: Arc<Node>,
    key: usize,
}

impl Node {
    /// Returns a node that no parent lists yet.
    pub(super) fn new(
        parents: Box<[Parent]>,
        kind: Kind,
        observer: Option<Weak<dyn Observer>>,
        state: u32,
    ) -> Self {
        Node {
            id: TokenId::next(),
            state: AtomicU32::new(state),
            kind,
            parents,
            deadline: Deadline::none(),
            armed: PlainU64::new(NEVER),
            observer,
            #[cfg(feature = "crossbeam")]
            closed: Default::default(),
            inner: preset!(Mutex::new(NodeState::new())),
            _leaks: Track::new(),
        }
    }

    pub(crate) fn id(&self) -> TokenId {
        self.id
    }

    /// Whether the node is cancelled, without a look at the clock.
    #[inline]
    pub(crate) fn is_flagged(&self) -> bool {
        // Relaxed: a thread that acts on more than the flag takes the lock of the node, or holds a
        // lock that the cancel takes later.
        self.state.load(Ordering::Relaxed) & CANCELLED != 0
    }

    /// Whether the node is cancelled and no further cancel changes anything about it.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (CANCELLED | SPARES) == CANCELLED
    }

    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.state.load(Ordering::Relaxed) & TIMED != 0
    }

    /// Returns the cancel that cancelled the node, without a look at the clock.
    pub(crate) fn recorded(&self) -> Option<Cancelled> {
        self.inner.lock().cancelled.clone()
    }

    /// Like [`recorded`](Self::recorded), without a wait: none if another thread holds the lock.
    #[cfg(not(loom))]
    pub(crate) fn try_recorded(&self) -> Option<Option<Cancelled>> {
        Some(self.inner.try_lock()?.cancelled.clone())
    }

    /// Returns the grace that the node was cancelled with, without a wait: none if another thread
    /// holds the lock.
    #[cfg(not(loom))]
    pub(crate) fn try_grace(&self) -> Option<Grace> {
        Some(self.inner.try_lock()?.grace)
    }

    /// Attaches a slot: from now on it is marked when the node is cancelled.
    pub(crate) fn attach(self: Arc<Self>, slot: &Arc<Slot>) -> Attachment {
        let mut inner = self.inner.lock();

        // Invariant 1: a slot that comes after the cancel is marked in the same critical section.
        let mut marks = Marks::NONE;
        if inner.cancelled.is_some() {
            marks |= Marks::CANCELLED;
        }
        if self.is_timed() {
            marks |= Marks::TIMED;
        }
        slot.attach(marks);
        let key = inner.slots.insert(slot.clone());
        drop(inner);

        Attachment { node: self, key }
    }

    /// Whether there is a node above this one, other than one that a shield hides.
    #[inline]
    pub(crate) fn has_parents(&self) -> bool {
        !self.parents.is_empty()
    }

    pub(super) fn links(&self) -> &[Parent] {
        &self.parents
    }

    /// Returns the nodes right above this one.
    pub(super) fn parents(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.parents
            .iter()
            .map(|parent| &parent.node)
            .chain(self.shield().and_then(Shield::lifted))
    }

    pub(super) fn shield(&self) -> Option<&Shield> {
        match &self.kind {
            Kind::Shielded(shield) => Some(shield),
            _ => None,
        }
    }

    /// Returns the end of the grace of the cancel around the node, if the node is a region that
    /// winds down.
    pub(super) fn grace_end(&self) -> Option<&Deadline> {
        match &self.kind {
            Kind::WindingDown(end) => Some(end),
            _ => None,
        }
    }

    /// Returns the group's node, if this is the node of a task or of the daemons of a group.
    pub(super) fn group(&self) -> Option<&Arc<Node>> {
        match self.kind {
            Kind::OfTask => self.parents().next(),
            _ => None,
        }
    }
}

impl Attachment {
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Takes the slot off the list: the node can no longer mark it.
    pub(crate) fn detach(self) {
        // Under the lock, so that a cancel has marked the slot by now or never will.
        let slot = self.node.inner.lock().slots.remove(self.key);
        drop(slot);
    }
}

impl Node {
    /// Takes the links to the nodes that list this one, or that would.
    fn take_parents(&mut self) -> Vec<Parent> {
        let mut parents = std::mem::take(&mut self.parents).into_vec();

        // A shield that was lifted is listed by its outer node.
        if let Kind::Shielded(shield) = std::mem::replace(&mut self.kind, Kind::Plain) {
            parents.push(shield.into_parent());
        }
        parents
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The drop takes the locks of the parents and of the timer, and the callbacks that are left
        // are dropped with the node.
        assert_unlocked();

        let armed = *self.armed.get_mut();
        if armed != NEVER {
            timer::disarm(armed, self.id.0);
        }

        if self.parents.is_empty() && self.shield().is_none() {
            return;
        }

        // A loop, so that a long chain does not use up the stack: each node without other
        // references gives up its parents in turn.
        let mut parents = self.take_parents();
        while let Some(parent) = parents.pop() {
            // Invariant 2: it is listed until now.
            let key = parent.key.into_inner();
            if key != UNLISTED {
                let child = parent.node.inner.lock().children.try_remove(key);
                drop(child);
            }

            if let Some(mut node) = Arc::into_inner(parent.node) {
                parents.append(&mut node.take_parents());
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("cancelled", &self.is_flagged())
            .finish_non_exhaustive()
    }
}
