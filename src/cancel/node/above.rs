//! The way up from a node.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::{Grace, Node};
use crate::cancel::{Cancelled, TokenId};

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
    /// This node and all above it that it is not shielded from, the nearest first, and each of them
    /// once: what can be reached by many ways is looked at once all the same.
    pub(in crate::cancel) fn and_above(self: &Arc<Self>) -> Above<'_> {
        Above {
            nodes: VecDeque::from([self]),
            last: None,
            seen: None,
        }
    }

    /// `Err` with a cancel that has reached this node, or is on its way to it: one that has been
    /// recorded in a node above, or a deadline above that has passed.
    ///
    /// A cancel comes down node by node, and wakes threads on its way. What such a thread does can
    /// be seen here before this node is marked. The cancel was recorded above before that, so that
    /// it is found. A cancel that spares the region that this node is in is not on its way here.
    pub(crate) fn check_above(self: &Arc<Self>) -> Result<(), Cancelled> {
        self.expire();
        let mut nodes = vec![(self.clone(), false)];
        // Several ways may lead to one node.
        let mut seen = HashSet::new();
        while let Some((node, is_spared)) = nodes.pop() {
            if !seen.insert((node.id, is_spared)) {
                continue;
            }
            if node.is_flagged() {
                let inner = node.inner.lock();
                let is_over = match inner.grace {
                    Grace::Over => true,
                    Grace::Until(end) => end <= Instant::now(),
                    Grace::Endless => false,
                };
                if let Some(cancelled) = inner.cancelled.clone().filter(|_| !is_spared || is_over) {
                    return Err(cancelled);
                }
            }
            let is_spared = is_spared || node.grace_end().is_some();
            nodes.extend(node.parents().map(|parent| (parent.clone(), is_spared)));
        }
        Ok(())
    }

    /// Whether this is `other`, or a node below it that is not shielded from it: a cancel of
    /// `other` comes here anyway.
    pub(in crate::cancel) fn is_at_or_below(self: &Arc<Self>, other: &Arc<Node>) -> bool {
        self.and_above().any(|node| Arc::ptr_eq(node, other))
    }

    /// Whose cancel `cancelled` is: a question of identity, never of its type or text.
    pub(crate) fn owner_of(self: &Arc<Self>, cancelled: &Cancelled) -> OwnedBy {
        if cancelled.origin() == self.id {
            return OwnedBy::Node;
        }
        if self.and_above().any(|node| node.id == cancelled.origin()) {
            OwnedBy::Ancestor
        } else {
            OwnedBy::Foreign
        }
    }
}

/// The way up from a node: see [`Node::and_above`].
pub(in crate::cancel) struct Above<'a> {
    nodes: VecDeque<&'a Arc<Node>>,
    /// Its parents are still to come: they may change while it is looked at.
    last: Option<&'a Arc<Node>>,
    /// What has been found, once the way has forked.
    seen: Option<HashSet<TokenId>>,
}

impl<'a> Iterator for Above<'a> {
    type Item = &'a Arc<Node>;

    fn next(&mut self) -> Option<&'a Arc<Node>> {
        if let Some(last) = self.last.take() {
            self.nodes.extend(last.parents());
            if self.nodes.len() > 1 {
                self.seen.get_or_insert_default();
            }
        }
        let seen = &mut self.seen;
        while let Some(node) = self.nodes.pop_front() {
            if seen.as_mut().is_none_or(|seen| seen.insert(node.id)) {
                self.last = Some(node);
                return self.last;
            }
        }
        None
    }
}
