//! Hooks that run again until the code that they are to stop has returned.

use std::sync::atomic::{AtomicU64 as PlainU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::deadline::NEVER;
use super::id::TokenId;
use super::node::Node;
use super::timer::{self, Alarm};
use crate::waiting::{Fired, Slot};

/// The shortest pause.
const LEAST: Duration = Duration::from_millis(1);
/// The longest pause, unless the first is longer.
const MOST: Duration = Duration::from_secs(1);

/// Runs the hook of one region again, after pauses that double.
///
/// The slot is the region's own and no other region uses it, so that a run that comes late finds no
/// hook.
pub(super) struct Repeat {
    slot: Arc<Slot>,
    /// The node of the region: its cancel runs the hook.
    node: Weak<Node>,
    pause: PlainU64,
    /// The number of its entry in the timer, and the instant of that.
    number: u64,
    armed: PlainU64,
}

impl Repeat {
    pub(super) fn new(slot: Arc<Slot>, node: &Arc<Node>, pause: Duration) -> Arc<Self> {
        Arc::new(Repeat {
            slot,
            node: Arc::downgrade(node),
            pause: PlainU64::new(nanos(pause.max(LEAST))),
            number: TokenId::next().0,
            armed: PlainU64::new(NEVER),
        })
    }

    /// Has the hook run again after the next pause.
    pub(super) fn arm(self: &Arc<Self>) {
        if let Some(at) = self.next() {
            timer::arm(self, at);
        }
    }

    /// Returns when the next run is due, and doubles the pause.
    fn next(&self) -> Option<Instant> {
        let pause = Duration::from_nanos(self.pause.load(Relaxed));
        // Only one run is armed at a time, so no other thread writes it.
        self.pause
            .store(nanos(pause.saturating_mul(2).min(MOST.max(pause))), Relaxed);
        Instant::now().checked_add(pause)
    }
}

impl Alarm for Repeat {
    fn number(&self) -> u64 {
        self.number
    }

    fn armed(&self) -> &PlainU64 {
        &self.armed
    }

    /// Runs the hook again. Returns when it is to run once more, unless it panics or its region has
    /// ended.
    fn ring(self: Arc<Self>) -> Option<Instant> {
        // `FIRING` orders this run with the first, and with the end of the region.
        let mut panicked = false;
        let fired = self.slot.fire_again(|payload| {
            panicked = true;
            if let Some(node) = self.node.upgrade() {
                node.hook_panicked(payload);
            }
        });
        if fired == Fired::Never || panicked {
            return None;
        }

        // Also if another thread was running it: the code has not stopped yet.
        self.next()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
