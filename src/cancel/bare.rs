//! A scope before it has a node: see the frames of a thread, which keep it.

use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use super::node::Node;

/// A scope without a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bare {
    /// A time limit, and the call that set it.
    Limit(Instant, &'static Location<'static>),
    /// A region that winds down.
    WindingDown,
}

impl Bare {
    /// Returns the instant at which the scope is cancelled, if it is a time limit.
    pub(super) fn limit(self) -> Option<Instant> {
        match self {
            Bare::Limit(instant, _) => Some(instant),
            Bare::WindingDown => None,
        }
    }

    /// Makes the node of the scope, below `outer`.
    pub(super) fn make_node(self, outer: &Arc<Node>) -> Arc<Node> {
        match self {
            Bare::Limit(instant, location) => Node::with_deadline(outer, instant, location),
            Bare::WindingDown => Node::winding_down(outer),
        }
    }
}
