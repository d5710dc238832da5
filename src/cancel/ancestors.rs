//! The way up from a node.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::cause::Cancelled;
use super::grace::Grace;
use super::id::TokenId;
use super::node::Node;

/// Which node a `Cancelled` belongs to, seen from another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OwnedBy {
    /// The node itself.
    Node,
    /// A node above it.
    Ancestor,
    /// Any other node.
    Foreign,
}

/// How a cancel can come from a node above down to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Passage {
    Open,
    /// It leads out of a region that winds down.
    Spared,
}

impl Passage {
    /// Returns the way to the parents of `node`, to which this way leads.
    fn above(self, node: &Node) -> Passage {
        if node.grace_end().is_some() {
            Passage::Spared
        } else {
            self
        }
    }
}

impl Node {
    /// Returns this node and all nodes above it that it is not shielded from, the nearest first. A
    /// node that can be reached on several ways is returned once.
    pub(super) fn and_ancestors(self: &Arc<Self>) -> Ancestors<'_> {
        Ancestors {
            next: Some(self),
            others: VecDeque::new(),
            last: None,
            seen: None,
        }
    }

    /// Whether a cancel has been recorded in this node, or may be on its way to it from above:
    /// [`way_below_a_cancel`](Self::way_below_a_cancel) knows for certain.
    pub(super) fn is_below_a_cancel(self: &Arc<Self>) -> bool {
        let mut nodes = self.and_ancestors();
        let mut passage = Passage::Open;
        while let Some(node) = nodes.next() {
            if node.is_settled() || passage == Passage::Open && node.is_flagged() {
                return true;
            }

            // A region closes the way, so a check in a spared region finds nothing. After a fork
            // `passage` stays as it is: another branch may be open.
            if !nodes.have_forked() {
                passage = passage.above(node);
            }
        }
        false
    }

    /// Returns the cancel that `counts` of this node, or of the nearest node above from which it
    /// comes here, with its grace. Also returns the nodes from there down to this one, the upper
    /// ones first; none if it is this node's own.
    pub(super) fn way_below_a_cancel(
        self: &Arc<Self>,
        counts: impl Fn(&Cancelled) -> bool,
    ) -> Option<(Cancelled, Grace, Vec<&Arc<Node>>)> {
        // Each node with the place of the node below, by which it was reached.
        let mut reached = vec![(self, Passage::Open, None)];
        let mut seen = HashSet::from([(self.id(), Passage::Open)]);
        let mut at = 0;
        while let Some(&(node, passage, below)) = reached.get(at) {
            let cancel = node.cancel_through(passage);
            if let Some((cancelled, grace)) = cancel.filter(|(cancelled, _)| counts(cancelled)) {
                let mut way = Vec::new();
                let mut next = below;
                while let Some(place) = next {
                    let (node, _, below) = reached[place];
                    way.push(node);
                    next = below;
                }
                return Some((cancelled, grace, way));
            }

            let passage = passage.above(node);
            let parents = node
                .parents()
                .filter(|parent| seen.insert((parent.id(), passage)));
            reached.extend(parents.map(|parent| (parent, passage, Some(at))));
            at += 1;
        }
        None
    }

    /// Returns the cancel of this node, with its grace, if it goes on through `passage`.
    ///
    /// The clock does not matter. Where a grace has passed, the cancel may have come to the region
    /// already, and only the region's own look ends it (`end_grace`). If the region were marked
    /// ahead, no cancel might come to do the rest.
    fn cancel_through(&self, passage: Passage) -> Option<(Cancelled, Grace)> {
        if !self.is_flagged() {
            return None;
        }

        let inner = self.inner.lock();
        let grace = inner.grace;
        let cancelled = inner.cancelled.clone()?;
        (passage == Passage::Open || grace == Grace::Over).then_some((cancelled, grace))
    }

    /// Whether this is `other`, or a node below `other` that is not shielded from it. A cancel of
    /// `other` comes here anyway then.
    pub(super) fn is_at_or_below(self: &Arc<Self>, other: &Arc<Node>) -> bool {
        self.and_ancestors().any(|node| Arc::ptr_eq(node, other))
    }

    /// Returns which node cancelled, by the identity of the cancel and never by its type or text.
    pub(crate) fn owner_of(self: &Arc<Self>, cancelled: &Cancelled) -> OwnedBy {
        if cancelled.origin() == self.id() {
            return OwnedBy::Node;
        }

        // A node behind a shield cannot have cancelled this one.
        if self
            .and_ancestors()
            .any(|node| node.id() == cancelled.origin())
        {
            OwnedBy::Ancestor
        } else {
            OwnedBy::Foreign
        }
    }

    /// Whether `cancelled` is a cancel of a task of the group with the token `group`: of the task
    /// alone, of the group, or of a scope around the group. The code of the task runs in the scope
    /// of this node.
    pub(super) fn is_cancel_of_task(
        self: &Arc<Self>,
        group: TokenId,
        cancelled: &Cancelled,
    ) -> bool {
        // A shield in between ends the way up: what comes from inside of it is not the task's.
        self.and_ancestors().any(|node| {
            if node.id() == group {
                node.owner_of(cancelled) != OwnedBy::Foreign
            } else {
                node.id() == cancelled.origin() && node.is_of_task_in(group)
            }
        })
    }

    /// Whether this is the node of a task, or of the daemons, of the group with the token `group`.
    fn is_of_task_in(&self, group: TokenId) -> bool {
        // Between the node of a daemon and the group is the node of all daemons.
        self.group()
            .is_some_and(|above| above.id() == group || above.is_of_task_in(group))
    }
}

/// The way up from a node: see [`Node::and_ancestors`].
pub(super) struct Ancestors<'a> {
    /// The node to return next. Apart from the others: most nodes have one parent, and the way up
    /// from them allocates nothing. A task that is cancelled walks it before it returns.
    next: Option<&'a Arc<Node>>,
    /// The nodes to return after `next`.
    others: VecDeque<&'a Arc<Node>>,
    /// The node returned last. Its parents are asked for by the next step, since the caller may
    /// change them: it lifts shields.
    last: Option<&'a Arc<Node>>,
    /// The nodes that have been returned, once the way has forked.
    seen: Option<HashSet<TokenId>>,
}

impl<'a> Ancestors<'a> {
    fn push(&mut self, node: &'a Arc<Node>) {
        if self.next.is_none() && self.others.is_empty() {
            self.next = Some(node);
        } else {
            self.others.push_back(node);
            // Two ways can lead to one node only after a fork.
            self.seen.get_or_insert_default();
        }
    }

    /// Whether the way has forked: a node returned from now on need not be above every node before
    /// it.
    fn have_forked(&self) -> bool {
        self.seen.is_some()
    }

    fn pop(&mut self) -> Option<&'a Arc<Node>> {
        self.next.take().or_else(|| self.others.pop_front())
    }
}

impl<'a> Iterator for Ancestors<'a> {
    type Item = &'a Arc<Node>;

    fn next(&mut self) -> Option<&'a Arc<Node>> {
        if let Some(last) = self.last.take() {
            last.parents().for_each(|parent| self.push(parent));
        }

        while let Some(node) = self.pop() {
            let is_new = |seen: &mut HashSet<_>| seen.insert(node.id());
            if self.seen.as_mut().is_none_or(is_new) {
                self.last = Some(node);
                return self.last;
            }
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_comes_first_and_a_node_on_several_ways_comes_once() {
        let top = Node::root();
        let [left, right] = [(); 2].map(|()| Node::child_of([&top]));
        let below_right = Node::child_of([&right]);
        let fork = Node::child_of([&left, &below_right, &top]);
        let bottom = Node::child_of([&fork]);

        let way: Vec<_> = bottom.and_ancestors().map(|node| node.id()).collect();
        let expected = [&bottom, &fork, &left, &below_right, &top, &right];
        assert_eq!(way, expected.map(|node| node.id()));

        // One parent is also an ancestor of the other.
        let again = Node::child_of([&top, &left]);
        let way: Vec<_> = again.and_ancestors().map(|node| node.id()).collect();
        assert_eq!(way, [&again, &top, &left].map(|node| node.id()));
    }
}
