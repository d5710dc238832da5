//! The frames of scopes that have no node yet.
//!
//! A time limit, and a region that winds down, have no node until something asks for it: a token, a
//! scope or a hook inside, or a check that finds the limit passed or the scope around cancelled.
//! Until then only this thread knows of them, and the slot stays attached to the node below them. A
//! cancel above still ends a wait, and the check after the wait makes the nodes, which have the
//! same effect as if they had been made earlier (invariant 5 of the node). So a time limit that
//! does not pass takes neither a lock nor memory.

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use super::super::bare::Bare;
use super::super::id::TokenId;
use super::super::node::Node;
use super::{Frame, Frames, InsideScope, Standing, enter, with};

impl Frame {
    pub(super) fn bare(&self) -> Option<Bare> {
        match self {
            Frame::Bare(bare) => Some(*bare),
            _ => None,
        }
    }
}

/// Returns the bare scopes on top, the innermost first.
fn bare_on_top(frames: &[Frame]) -> impl Iterator<Item = Bare> {
    frames.iter().rev().map_while(Frame::bare)
}

impl Frames {
    /// Whether the innermost scope has no node.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.frames.borrow().last(), Some(Frame::Bare(_)))
    }

    /// Gives each of the bare scopes on top a node, from the outermost on.
    ///
    /// A limit that has passed cancels its node when that is looked at. So no user code runs here.
    #[cold]
    pub(super) fn make_nodes(&self) {
        let Some(mut node) = self.made_node() else {
            return;
        };

        let mut frames = self.frames.borrow_mut();
        let made = frames.iter().rposition(|frame| frame.bare().is_none());
        for frame in &mut frames[made.map_or(0, |made| made + 1)..] {
            if let Frame::Bare(bare) = frame {
                node = bare.make_node(&node);
                *frame = Frame::Node(node.clone());
            }
        }

        // The slot is attached to the node below, if to any.
        self.standing.set(Standing::Stale);
    }

    /// Returns the earliest of the limits without a node.
    pub(super) fn earliest_limit(&self) -> Option<Instant> {
        let frames = self.frames.borrow();
        bare_on_top(&frames).filter_map(Bare::limit).min()
    }

    /// Whether a region that winds down has no node, and has therefore not been asked what it
    /// spares.
    fn winds_down(&self) -> bool {
        let frames = self.frames.borrow();
        bare_on_top(&frames).any(|bare| matches!(bare, Bare::WindingDown))
    }

    /// Returns the node that knows whether the innermost scope is cancelled, or none if it is
    /// certain not to be.
    pub(in crate::cancel) fn node_to_check(&self) -> Option<Arc<Node>> {
        if !self.attach() {
            return None;
        }

        // A limit around this one may have passed before it: the nodes know the order.
        let limit = self.earliest_limit();
        if limit.is_some_and(|instant| instant <= Instant::now()) {
            return self.node();
        }

        if self.slot().is_clear() {
            return None;
        }

        // fault: bare-region-spares-nothing
        let asks_regions = self.winds_down();
        if asks_regions {
            self.node()
        } else {
            self.made_node()
        }
    }

    /// Returns the earliest deadline that bounds the innermost scope.
    fn deadline(&self) -> Option<Instant> {
        let mut node = self.made_node()?;

        // The end of the grace of a cancel bounds a region that winds down.
        if node.is_flagged() && self.winds_down() {
            node = self.node()?;
        }
        earlier(self.earliest_limit(), node.effective_deadline())
    }

    /// Returns when a thread that waits in the innermost scope has to look at it again.
    pub(in crate::cancel) fn next_limit(&self) -> Option<Instant> {
        // The word of the slot shows whether a node has a limit.
        let of_nodes = if self.slot().is_timed() {
            self.made_node().and_then(|node| node.next_limit())
        } else {
            None
        };
        earlier(self.earliest_limit(), of_nodes)
    }

    /// Enters a scope without a node. Returns false, and does not, outside any scope.
    #[inline]
    fn push_bare(&self, bare: Bare) -> bool {
        let standing = match (self.standing.get(), bare) {
            (Standing::Outside, _) => return false,
            (Standing::Attached, Bare::Limit(..)) => Standing::Limited,
            (standing, _) => standing,
        };

        self.standing.set(standing);
        self.frames.borrow_mut().push(Frame::Bare(bare));
        true
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}

/// While it lives, this thread runs code with a time limit.
#[must_use = "the limit is left at once if this is not kept"]
pub(crate) struct InsideLimit(InsideScope);

impl InsideLimit {
    /// Leaves the limit. Returns the token of its node, if it has made one.
    pub(crate) fn leave(self) -> Option<TokenId> {
        // Everything that was entered inside has been left, so it is the innermost one.
        with(|frames| match frames.frames.borrow().last() {
            Some(Frame::Node(node)) => Some(node.id()),
            _ => None,
        })
    }
}

/// Enters a time limit, which the call at `location` has set.
pub(crate) fn enter_limit(deadline: Instant, location: &'static Location<'static>) -> InsideLimit {
    InsideLimit(
        enter_bare(Bare::Limit(deadline, location)).unwrap_or_else(|| {
            // Outside any scope there is no node that the slot could be attached to.
            let node = Node::root();
            node.set_deadline(deadline, location);
            enter(node)
        }),
    )
}

/// Enters a region that winds down. Returns none outside any scope, where no cancel could reach it.
pub(crate) fn enter_winding_down() -> Option<InsideScope> {
    enter_bare(Bare::WindingDown)
}

#[inline]
fn enter_bare(bare: Bare) -> Option<InsideScope> {
    // Made only if the scope was entered: its drop leaves the innermost scope.
    with(|frames| frames.push_bare(bare)).then(|| InsideScope(PhantomData))
}

/// Returns the earliest deadline that bounds the innermost scope.
pub(crate) fn current_deadline() -> Option<Instant> {
    with(Frames::deadline)
}
