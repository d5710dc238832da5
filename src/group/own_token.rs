//! The token of one task, made when something asks for it.

use std::sync::Arc;

use crate::cancel::context::LazyNode;
use crate::cancel::{Cancelled, Node, OwnedBy};
use crate::facade::Mutex;

/// The token of a task that can be cancelled by itself: a child of the node that its siblings run under, made at the first
/// blocking point of the task or the first cancel, whichever comes first.
pub(super) struct OwnToken {
    base: Arc<Node>,
    node: Mutex<Option<Arc<Node>>>,
}

impl OwnToken {
    pub(super) fn new(base: Arc<Node>) -> Self {
        OwnToken { base, node: Mutex::new(None) }
    }

    /// The cancel of the task, or of what it is in.
    pub(super) fn cancelled(&self) -> Option<Cancelled> {
        let node = self.node.lock().clone();
        node.unwrap_or_else(|| self.base.clone()).cancelled()
    }

    /// Whose cancel `cancelled` is, seen from the task; its own and its group's are both of the node.
    pub(super) fn owner_of(&self, cancelled: &Cancelled) -> OwnedBy {
        let node = self.node.lock().clone();
        node.unwrap_or_else(|| self.base.clone()).owner_of(cancelled)
    }
}

impl LazyNode for OwnToken {
    fn node(&self) -> Arc<Node> {
        self.node.lock().get_or_insert_with(|| Node::child_of([&self.base])).clone()
    }

    fn base(&self) -> &Arc<Node> {
        &self.base
    }
}
