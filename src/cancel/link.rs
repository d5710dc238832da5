//! Making nodes, and linking them to their parents.

use std::collections::HashSet;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::deadline::Deadline;
use super::grace::Grace;
use super::mark::{Delivery, Route};
use super::node::{Kind, Node, Parent, Shield, TIMED, UNLISTED};
use super::observer::Observer;
use crate::facade::Ordering;

/// Makes a node where it stays. `Arc::new` would put it together on the stack and copy it, which
/// takes a tenth of the time of a scope without tasks.
#[inline]
fn at_its_place(node: impl FnOnce() -> Node) -> Arc<Node> {
    Arc::new_cyclic(|_| node())
}

impl Node {
    /// Returns a node without a parent.
    pub(crate) fn root() -> Arc<Self> {
        Self::below([], Kind::Plain, None)
    }

    /// Returns a node without a parent, with a value that is dropped when the node is.
    #[cfg(all(unix, not(loom), feature = "signal"))]
    pub(crate) fn root_with(kept: super::node::Kept) -> Arc<Self> {
        Self::below([], Kind::Keeps(Box::new(kept)), None)
    }

    /// Returns a node that is cancelled with any of `parents`.
    pub(crate) fn child_of<'a>(parents: impl IntoIterator<Item = &'a Arc<Node>>) -> Arc<Self> {
        Self::below(parents, Kind::Plain, None)
    }

    /// Returns the node of a group, which is told of the cancel as `observer`.
    pub(crate) fn of_group<'a>(
        parents: impl IntoIterator<Item = &'a Arc<Node>>,
        observer: Weak<dyn Observer>,
    ) -> Arc<Self> {
        Self::below(parents, Kind::Plain, Some(observer))
    }

    /// Returns the node of a task, or of the daemons, of the group with the node `group`.
    pub(crate) fn of_task(group: &Arc<Node>) -> Arc<Self> {
        Self::below([group], Kind::OfTask, None)
    }

    /// Returns a node that is cancelled with `outer`, once the grace of that cancel is over.
    pub(crate) fn winding_down(outer: &Arc<Node>) -> Arc<Self> {
        Self::below([outer], Kind::WindingDown(Box::new(Deadline::none())), None)
    }

    /// Returns a child of `outer` with a deadline. One that has passed cancels the node when it is
    /// looked at.
    pub(super) fn with_deadline(
        outer: &Arc<Node>,
        deadline: Instant,
        location: &'static Location<'static>,
    ) -> Arc<Self> {
        let node = Self::child_of([outer]);
        node.deadline.set(deadline, location);
        node.set_timed();
        node
    }

    /// Returns a node that hides the cancel of `outer` until `until`.
    pub(crate) fn shielded(outer: Arc<Node>, until: Instant) -> Arc<Self> {
        // Timed from the beginning: the end of the shield is a limit that a check has to act on.
        let shield = Box::new(Shield::new(outer, until));
        at_its_place(|| Self::new(Box::default(), Kind::Shielded(shield), None, TIMED))
    }

    fn below<'a>(
        parents: impl IntoIterator<Item = &'a Arc<Node>>,
        kind: Kind,
        observer: Option<Weak<dyn Observer>>,
    ) -> Arc<Self> {
        // Nearly always one: the room for more would be given back at once.
        let parents = parents.into_iter();
        let mut list = Vec::with_capacity(parents.size_hint().0);
        list.extend(parents.map(|node| Parent::new(node.clone())));

        if list.is_empty() {
            return at_its_place(|| Self::new(Box::default(), kind, observer, 0));
        }

        // A parent that was given twice lists the node once.
        if list.len() > 1 {
            let mut seen = HashSet::new();
            list.retain(|parent| seen.insert(parent.node().id()));
        }

        // A deadline that a parent gets after this look is handed down by `adopt`, or by
        // `set_timed`, which finds the node listed.
        let parents = list.into_boxed_slice();
        let timed = parents.iter().fold(0, |bits, parent| {
            bits | parent.node().state.load(Ordering::Relaxed) & TIMED
        });
        let node = at_its_place(|| Self::new(parents, kind, observer, timed));

        // Invariant 2: it is listed before it is handed out.
        for parent in node.links() {
            let (key, late) = parent.node().adopt(&node);
            if let Some(key) = key {
                parent.set_key(key);
            }

            if let Some(delivery) = late {
                // fault: late-delivery-does-not-end
                delivery.end_unseen();
            }
        }

        node
    }

    /// Lists `child`, unless all cancels of this node have come before it. Returns the key of the
    /// child, and the delivery of the cancel that came before it.
    fn adopt(self: &Arc<Self>, child: &Arc<Node>) -> (Option<usize>, Option<Delivery>) {
        let mut inner = self.inner.lock();
        let late = inner
            .cancelled
            .clone()
            .map(|cancelled| (cancelled, inner.grace));

        // fault: child-is-listed-after-the-look
        let listed = match &late {
            None => true,
            // Invariant 2: after a cancel with a grace, the cancel that ends the grace may still
            // come.
            //
            // fault: late-region-is-not-listed
            Some((_, grace)) => *grace != Grace::Over,
        };
        let key = listed.then(|| inner.children.insert(Arc::downgrade(child)));

        // A deadline that is set from now on finds the child listed. A deadline that was set before
        // shows in the state.
        //
        // fault: deadline-is-not-handed-down
        if listed && self.is_timed() {
            child.state.fetch_or(TIMED, Ordering::Relaxed);
        }
        drop(inner);

        // fault: late-child-is-not-cancelled
        let delivery =
            late.and_then(|(cancelled, grace)| child.spread(cancelled, grace, Route::Parent));
        (key, delivery)
    }

    /// Lifts the shield of this node, unless another thread does: the node becomes a child of the
    /// outer node. Returns the delivery of a cancel of the outer node.
    pub(super) fn lift_shield(self: &Arc<Self>, shield: &Shield) -> Option<Delivery> {
        // Where another thread lifts it, a look finds the outer node above this one already, and
        // marks ahead what comes from there.
        self.end_lifting(shield, shield.lift()?)
    }

    /// Makes this node a child of `outer`, from which its shield was lifted. Returns the delivery
    /// of a cancel of the outer node.
    pub(super) fn end_lifting(
        self: &Arc<Self>,
        shield: &Shield,
        outer: &Arc<Node>,
    ) -> Option<Delivery> {
        let (key, late) = outer.adopt(self);
        shield.set_key(key.unwrap_or(UNLISTED));

        // A thread below that looked meanwhile found the time of the shield up, and no limit yet.
        // If the outer node got one since then, its way down ended before this node was listed.
        if outer.is_timed() {
            self.set_timed();
        }
        late
    }
}
