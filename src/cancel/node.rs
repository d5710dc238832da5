//! The token tree: what a token is inside, and how a cancel runs down from it.
//!
//! # Invariants
//!
//! 1. A node is cancelled once. The flag, the cause and the marks of the slots attached to it
//!    change in one critical section of its lock, so whoever holds the lock sees a node that is
//!    wholly cancelled or not at all.
//! 2. A child is listed by each of its parents from before it is handed out until it is dropped, or
//!    until nothing more can come from that parent. It is listed and takes over a parent's cancel
//!    in one critical section of that parent, so no cancel misses it.
//! 3. Only marks happen under a lock. Wakes, hooks, observers and callbacks run when no lock of
//!    this crate is held, on the thread that cancels, after the whole subtree has been marked.
//!    Where there are several hooks, workers run them too, and the thread that cancels waits for
//!    those (see `hooks`).
//! 4. A cancel counts as a delivery of each node it marked until the callbacks of that node have
//!    run; the end of a scope waits for the deliveries of its node and of those of its tasks. A
//!    node that has no callbacks is delivered before any callback runs, and one that has some
//!    before those above it.
//! 5. The grace of a node that is cancelled, and the end of a region, only ever come nearer. So
//!    cancels that reach a node over different ways, or in another order than they began, come to
//!    the same.
//!
//! # Lock order
//!
//! A node's lock is held together with no other lock of this crate, except that a group's ledger
//! may be held outside it. Parents and children are never locked together.
//!
//! A cancel is not atomic across the tree: for a moment a parent is cancelled and its child is not
//! yet.

mod above;
mod fallout;
mod hooks;
mod watchers;

use std::collections::HashSet;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64 as PlainU64, AtomicUsize as PlainUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Instant;

use slab::Slab;

use super::deadline::{Deadline, NEVER, Shield};
use super::{CancelCause, Cancelled, TokenId, timer};
use crate::facade::{AtomicU32, Mutex, Ordering, Payload, Track, assert_unlocked, preset};
use crate::panics::log;
use crate::waiting::Slot;
pub(crate) use above::OwnedBy;
pub(crate) use fallout::Fallout;
use watchers::Watchers;

const CANCELLED: u32 = 1;
const TIMED: u32 = 1 << 1;
const SPARES: u32 = 1 << 2;

/// How long a cancel spares the regions that wind down below the node that it has reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Grace {
    /// Not at all, or no longer.
    #[default]
    Over,
    /// Until then at the latest.
    Until(Instant),
    /// Until another cancel comes.
    Endless,
}

/// How a cancel comes to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route {
    /// By a failure, which is a cancel only if it is the first, and ends no grace.
    Failure,
    /// By a cancel of the node itself, or its deadline.
    Own,
    /// From a parent.
    Parent,
}

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
/// What happened before a cancel happens before every return of `is_cancelled() == true`, of a
/// cause, and of a wait that the cancel ended.
pub(crate) struct Node {
    id: TokenId,
    /// `CANCELLED`; `SPARES` as long as a grace may be shortened; `TIMED` if the node or one above
    /// it has, or once had, a deadline.
    state: AtomicU32,
    kind: Kind,
    parents: Box<[Parent]>,
    pub(super) deadline: Deadline,
    /// The instant that the timer has the node entered for, under the lock of that; `NEVER` where
    /// it has not.
    pub(super) armed: PlainU64,
    observer: Option<Weak<dyn Observer>>,
    #[cfg(feature = "crossbeam")]
    pub(super) closed: super::closed::Closed,
    pub(super) inner: Mutex<Inner>,
    _leaks: Track,
}

/// What a node is there for, besides to be cancelled. A box holds what few nodes have: a scope
/// makes a node each time.
enum Kind {
    Plain,
    /// It belongs to a task, or to the daemons, of the group whose node is its parent.
    OfTask,
    /// A region that winds down, with the end of the grace of the cancel around it.
    WindingDown(Box<Deadline>),
    /// It hides the cancel of an outer node for a time.
    Shielded(Box<Shield>),
}

struct Parent {
    node: Arc<Node>,
    /// Where the parent lists the child; `usize::MAX` where it does not.
    key: PlainUsize,
}

pub(super) struct Inner {
    pub(super) cancelled: Option<Cancelled>,
    /// What the node was cancelled with; of no meaning where it is not.
    grace: Grace,
    children: Slab<Weak<Node>>,
    slots: Slab<Arc<Slot>>,
    /// Cancels that are still to be delivered.
    deliveries: usize,
    watchers: Option<Box<Watchers>>,
}

impl Inner {
    const fn new() -> Self {
        Inner {
            cancelled: None,
            grace: Grace::Over,
            children: Slab::new(),
            slots: Slab::new(),
            deliveries: 0,
            watchers: None,
        }
    }
}

/// A node that is written to where it stays: `Arc::new` would put it together on the stack and copy
/// it, which takes a tenth of the time of a scope without tasks.
#[inline]
fn at_its_place(node: impl FnOnce() -> Node) -> Arc<Node> {
    Arc::new_cyclic(|_| node())
}

/// A slot's place in the list of the node it is attached to.
#[derive(Debug)]
pub(crate) struct Attachment {
    node: Arc<Node>,
    key: usize,
}

impl Node {
    /// A node with no parent.
    pub(crate) fn root() -> Arc<Self> {
        Self::below([], Kind::Plain, None)
    }

    /// A node that is cancelled with any of `parents`.
    pub(crate) fn child_of<'a>(parents: impl IntoIterator<Item = &'a Arc<Node>>) -> Arc<Self> {
        Self::below(parents, Kind::Plain, None)
    }

    /// The node of a group, which is told of its cancel.
    pub(crate) fn of_group<'a>(
        parents: impl IntoIterator<Item = &'a Arc<Node>>,
        observer: Weak<dyn Observer>,
    ) -> Arc<Self> {
        Self::below(parents, Kind::Plain, Some(observer))
    }

    /// The node of a task, or of the daemons, of the group whose node is `group`.
    pub(crate) fn of_task(group: &Arc<Node>) -> Arc<Self> {
        Self::below([group], Kind::OfTask, None)
    }

    /// A node that is cancelled with `outer`, once the grace of that cancel is over.
    pub(crate) fn winding_down(outer: &Arc<Node>) -> Arc<Self> {
        Self::below([outer], Kind::WindingDown(Box::new(Deadline::none())), None)
    }

    fn below<'a>(
        parents: impl IntoIterator<Item = &'a Arc<Node>>,
        kind: Kind,
        observer: Option<Weak<dyn Observer>>,
    ) -> Arc<Self> {
        let mut list = Vec::new();
        for node in parents {
            list.push(Parent {
                node: node.clone(),
                key: PlainUsize::new(usize::MAX),
            });
        }
        if list.is_empty() {
            return at_its_place(|| Self::new(Box::default(), kind, observer, 0));
        }
        if list.len() > 1 {
            let mut seen = HashSet::new();
            list.retain(|parent| seen.insert(parent.node.id));
        }
        let parents = list.into_boxed_slice();
        let timed = parents.iter().fold(0, |bits, parent| {
            bits | parent.node.state.load(Ordering::Relaxed) & TIMED
        });
        let node = at_its_place(|| Self::new(parents, kind, observer, timed));
        for parent in &node.parents {
            if let Some(key) = parent.node.adopt(&node) {
                parent.key.store(key, Relaxed);
            }
        }
        node
    }

    /// A child of the current scope, or a root outside of any.
    pub(crate) fn child_of_current() -> Arc<Self> {
        Self::child_of(&super::context::current())
    }

    /// A node that hides the cancel of `outer` until `until`.
    pub(crate) fn shielded(outer: Arc<Node>, until: Instant) -> Arc<Self> {
        let shield = Box::new(Shield::new(outer, until));
        at_its_place(|| Self::new(Box::default(), Kind::Shielded(shield), None, TIMED))
    }

    fn new(
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
            inner: preset!(Mutex::new(Inner::new())),
            _leaks: Track::new(),
        }
    }

    /// Lists `child`, unless it comes too late for all cancels, and hands it the one that it comes
    /// too late for.
    pub(super) fn adopt(self: &Arc<Self>, child: &Arc<Node>) -> Option<usize> {
        let mut inner = self.inner.lock();
        let late = inner
            .cancelled
            .clone()
            .map(|cancelled| (cancelled, inner.grace));
        // fault: child-is-listed-after-the-look
        let listed = match &late {
            None => true,
            // A cancel that ends the grace may still come.
            //
            // fault: late-region-is-not-listed
            Some((_, grace)) => *grace != Grace::Over,
        };
        let key = listed.then(|| inner.children.insert(Arc::downgrade(child)));
        // Whoever sets a deadline from now on finds the child listed; one set before shows in the
        // state.
        //
        // fault: deadline-is-not-handed-down
        if listed && self.is_timed() {
            child.state.fetch_or(TIMED, Ordering::Relaxed);
        }
        drop(inner);
        if let Some((cancelled, grace)) = late {
            // fault: late-child-is-not-cancelled
            if let Some(fallout) = child.spread(cancelled, grace, Route::Parent) {
                fallout.deliver();
            }
        }
        key
    }

    pub(crate) fn id(&self) -> TokenId {
        self.id
    }

    /// Whether the node is cancelled, as one load where no deadline holds.
    #[inline]
    pub(crate) fn is_cancelled(self: &Arc<Self>) -> bool {
        // Acquire pairs with the release in `Fallout::mark`.
        match self.state.load(Ordering::Acquire) {
            0 => false,
            state if state & CANCELLED != 0 => true,
            _ => {
                // What has come to its time counts, also where somebody else is quicker to cancel.
                self.expire();
                // Acquire, as above.
                self.state.load(Ordering::Acquire) & CANCELLED != 0
            }
        }
    }

    /// Whether the node is cancelled, without a look at the clock.
    #[inline]
    pub(crate) fn is_flagged(&self) -> bool {
        // Relaxed: whoever acts on more than the flag takes the lock of the node, or holds one that
        // the cancel takes later.
        self.state.load(Ordering::Relaxed) & CANCELLED != 0
    }

    /// Whether the node is cancelled and no cancel changes anything about it any more.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (CANCELLED | SPARES) == CANCELLED
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

    /// As `cancelled`, without a look at the clock.
    pub(crate) fn recorded(&self) -> Option<Cancelled> {
        self.inner.lock().cancelled.clone()
    }

    /// `Err` with the cancel that cancelled the node.
    pub(crate) fn check(self: &Arc<Self>) -> Result<(), Cancelled> {
        match self.cancelled() {
            None => Ok(()),
            Some(cancelled) => Err(cancelled),
        }
    }

    /// Cancels the node with a cause of its own, if it is not cancelled yet; if it is, ends the
    /// grace of that cancel.
    pub(crate) fn cancel(
        self: &Arc<Self>,
        cause: CancelCause,
        location: &'static Location<'static>,
    ) -> bool {
        self.cancel_sparing(cause, location, Grace::Over)
    }

    /// As [`cancel`](Self::cancel), sparing what winds down for as long as `grace`.
    pub(crate) fn cancel_sparing(
        self: &Arc<Self>,
        cause: CancelCause,
        location: &'static Location<'static>,
        grace: Grace,
    ) -> bool {
        // A deadline that has passed unseen came first.
        if self.is_cancelled() && self.is_settled() {
            return false;
        }
        let Some(fallout) =
            self.spread(Cancelled::new(cause, location, self.id), grace, Route::Own)
        else {
            return false;
        };
        let is_first = fallout
            .nodes
            .first()
            .is_some_and(|first| Arc::ptr_eq(first, self));
        fallout.deliver();
        is_first
    }

    /// Cancels the node if nobody has: marks it and all below; what follows from that is the
    /// caller's to deliver, when it holds no lock.
    pub(crate) fn trip(self: &Arc<Self>, cancelled: Cancelled) -> Option<Fallout> {
        self.spread(cancelled, Grace::Over, Route::Failure)
    }

    /// Ends the grace of the cancel that the node has seen, or cancels it now.
    pub(super) fn trip_deadline(self: &Arc<Self>, cancelled: Cancelled) -> Option<Fallout> {
        self.spread(cancelled, Grace::Over, Route::Own)
    }

    /// Hands a region the cancel that has spared it.
    pub(super) fn end_grace(self: &Arc<Self>) -> Option<Fallout> {
        let cancelled = self
            .parents()
            .find_map(|outer| outer.inner.lock().cancelled.clone())?;
        self.spread(cancelled, Grace::Over, Route::Parent)
    }

    /// Marks the node and all below it; none if that changed nothing.
    fn spread(
        self: &Arc<Self>,
        cancelled: Cancelled,
        grace: Grace,
        route: Route,
    ) -> Option<Fallout> {
        let mut fallout = Fallout::default();
        if !fallout.mark(self.clone(), cancelled, grace, route) {
            return None;
        }
        // The children are marked with no lock held but that of each.
        //
        // fault: children-are-marked-under-the-lock
        while let Some((child, cancelled)) = fallout.below.pop_front() {
            // fault: children-are-not-marked
            fallout.mark(child, cancelled, grace, Route::Parent);
        }
        Some(fallout)
    }

    /// Says that a deadline holds in the node and all below, so that checks read the clock and
    /// waits look at it again.
    pub(super) fn set_timed(self: &Arc<Self>) {
        let mut nodes = vec![self.clone()];
        let mut seen = HashSet::new();
        while let Some(node) = nodes.pop() {
            // Only a node with several parents can be come to more than once.
            if node.parents.len() > 1 && !seen.insert(node.id) {
                continue;
            }
            let mut unpark = Vec::new();
            let inner = node.inner.lock();
            // Relaxed: the deadline orders what came before it, and who waits is told by its slot.
            node.state.fetch_or(TIMED, Ordering::Relaxed);
            unpark.extend(
                inner
                    .slots
                    .iter()
                    .filter(|(_, slot)| slot.mark_timed())
                    .map(|(_, slot)| slot.clone()),
            );
            unpark.extend(inner.waiting().cloned());
            nodes.extend(
                inner
                    .children
                    .iter()
                    .filter_map(|(_, child)| child.upgrade()),
            );
            let fires = inner.fires();
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

    /// When the grace of the cancel around it ends, where the node is a region that winds down.
    pub(super) fn grace_end(&self) -> Option<&Deadline> {
        match &self.kind {
            Kind::WindingDown(end) => Some(end),
            _ => None,
        }
    }

    fn is_of_task(&self) -> bool {
        matches!(self.kind, Kind::OfTask)
    }

    /// Hands the panic of a hook to the group that its region is in, or to the log. The region has
    /// not ended, so neither has the group.
    pub(super) fn hook_panicked(self: &Arc<Self>, payload: Payload) {
        self.report_panic(
            self.and_above().find_map(|node| node.observer.as_ref()),
            payload,
        );
    }

    /// Hands the panic of a callback to the group whose node this is, or whose task's or daemons',
    /// or to the log. The group waits for the callbacks of all these, and of no others.
    pub(super) fn callback_panicked(self: &Arc<Self>, payload: Payload) {
        let mut node = self;
        while let Some(group) = node.parents().next().filter(|_| node.is_of_task()) {
            node = group;
        }
        self.report_panic(node.observer.as_ref(), payload);
    }

    fn report_panic(&self, observer: Option<&Weak<dyn Observer>>, payload: Payload) {
        match observer.and_then(Weak::upgrade) {
            Some(observer) => observer.callback_panicked(payload),
            None => {
                let panic = crate::panics::PanicPayload::new(payload);
                log(|| {
                    tracing::error!(
                        token = self.id.0,
                        panic = panic.message(),
                        "a cancel callback panicked"
                    )
                });
            }
        }
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

impl Node {
    /// What the node is listed by, or was to be.
    fn take_parents(&mut self) -> Vec<Parent> {
        let mut parents = std::mem::take(&mut self.parents).into_vec();
        if let Kind::Shielded(shield) = std::mem::replace(&mut self.kind, Kind::Plain) {
            let (node, key) = shield.into_link();
            parents.push(Parent {
                node,
                key: key.into(),
            });
        }
        parents
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It takes the locks of its parents and that of the timer, and the callbacks that are left
        // are dropped with it.
        assert_unlocked();
        let armed = *self.armed.get_mut();
        if armed != NEVER {
            timer::disarm(armed, self.id);
        }
        if self.parents.is_empty() && self.shield().is_none() {
            return;
        }
        // A long chain is taken apart in a loop: each node that nobody else holds gives up its
        // parents in turn.
        let mut parents = self.take_parents();
        while let Some(parent) = parents.pop() {
            let key = parent.key.into_inner();
            if key != usize::MAX {
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
