//! Waits for the cancel of a token, which need not be the token of the current scope.

use std::sync::Arc;
use std::time::Instant;

use super::cause::Cancelled;
use super::frames;
use super::node::Node;
use super::uncancellable::Outcome;
use super::wait::wait;
use crate::waiting::{Slot, WaitKind};

/// Lists a thread, so that it is woken when the node is cancelled, or when its next limit may have
/// changed.
struct TokenWaiter<'a> {
    node: &'a Node,
    key: usize,
}

impl<'a> TokenWaiter<'a> {
    /// Returns none if the node is cancelled.
    fn enter(node: &'a Node, slot: Arc<Slot>) -> Option<Self> {
        let mut inner = node.inner.lock();
        if inner.cancelled.is_some() {
            return None;
        }

        let key = inner.watchers().waiting.insert(slot);
        Some(TokenWaiter { node, key })
    }
}

impl Drop for TokenWaiter<'_> {
    fn drop(&mut self) {
        // The slot is dropped after the lock.
        let mut inner = self.node.inner.lock();
        let slot = inner.watchers().waiting.try_remove(self.key);
        drop(inner);
        drop(slot);
    }
}

impl Node {
    /// Blocks until the node is cancelled, or until `until`. Returns true if it is cancelled.
    #[track_caller]
    pub(super) fn wait_until(self: &Arc<Self>, until: Option<Instant>) -> Result<bool, Cancelled> {
        if self.is_cancelled() {
            return Ok(true);
        }

        // From here on a cancel of the token unparks this thread.
        let Some(_waiting) = TokenWaiter::enter(self, frames::slot()) else {
            return Ok(true);
        };

        loop {
            // The waiting thread acts on the limits of the token. A limit that is moved is a wake.
            let next = self.next_limit();
            let limit = [until, next].into_iter().flatten().min();
            let ready = || self.is_flagged() || self.next_limit() != next;

            match wait(WaitKind::Token, limit, ready) {
                // The scope may be the token's own, or one below it. Or a deadline is above both,
                // and another thread hands the cancel down and has come to the scope only.
                Err(cancelled) => {
                    // fault: wait-for-a-token-believes-its-flag
                    return if self.is_cancelled() {
                        Ok(true)
                    } else {
                        Err(cancelled)
                    };
                }
                Ok(_) if self.is_cancelled() => return Ok(true),
                Ok(Outcome::TimedOut) if until.is_some_and(|until| until <= Instant::now()) => {
                    return Ok(false);
                }
                Ok(_) => {}
            }
        }
    }
}
