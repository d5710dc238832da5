//! The way up from a node.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::Node;
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
    /// This node and all above it that it is not shielded from, the nearest first, and each of them once: what can be reached
    /// by many ways is looked at once all the same.
    pub(in crate::cancel) fn and_above(self: &Arc<Self>) -> Above<'_> {
        Above { nodes: VecDeque::from([self]), last: None, seen: None }
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
