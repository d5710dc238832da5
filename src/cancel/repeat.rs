//! Hooks that are run again until what they are to stop has stopped.

use std::sync::atomic::{AtomicU64 as PlainU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::node::Node;
use super::timer;
use crate::waiting::{Fired, Slot};

/// The least and, unless it begins with a longer one, the longest pause.
const LEAST: Duration = Duration::from_millis(1);
const MOST: Duration = Duration::from_secs(1);

/// Runs the hook of one region again, after pauses that double.
///
/// The slot is the region's own and not used for another, so that a run that comes late finds no
/// hook.
pub(crate) struct Repeat {
    slot: Arc<Slot>,
    /// Whose cancel the hook is for.
    node: Weak<Node>,
    pause: PlainU64,
}

impl Repeat {
    pub(super) fn new(slot: Arc<Slot>, node: &Arc<Node>, pause: Duration) -> Arc<Self> {
        Arc::new(Repeat {
            slot,
            node: Arc::downgrade(node),
            pause: PlainU64::new(nanos(pause.max(LEAST))),
        })
    }

    /// Has the hook run again after the next pause.
    pub(super) fn arm(self: &Arc<Self>) {
        if let Some(at) = self.next() {
            timer::arm_repeat(at, self);
        }
    }

    /// When the next run is due.
    fn next(&self) -> Option<Instant> {
        let pause = Duration::from_nanos(self.pause.load(Relaxed));
        // Only one run is armed at a time, so nobody else writes it.
        self.pause
            .store(nanos(pause.saturating_mul(2).min(MOST.max(pause))), Relaxed);
        Instant::now().checked_add(pause)
    }

    /// Runs the hook again; when it is to run once more, unless it panics. A panic is that of a
    /// callback.
    pub(super) fn fire(&self) -> Option<Instant> {
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
        self.next()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
