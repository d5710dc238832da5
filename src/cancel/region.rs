//! Regions of foreign code, with a hook that makes the code stop.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::frames;
use super::node::{Attachment, Node};
use super::repeat::Repeat;
use super::report::timed;
use crate::lanes::{self, FrameKind, ShownFrame};
use crate::scoped::unbound;
use crate::waiting::Slot;

/// A region with a hook.
///
/// Its slot is its own. The thread's slot moves with the scopes that the foreign code may enter;
/// the hook must not move with it.
struct Region {
    node: Arc<Node>,
    slot: Arc<Slot>,
    attachment: Option<Attachment>,
}

impl Region {
    fn enter(node: Arc<Node>, slot: Arc<Slot>) -> Self {
        // A deadline that has passed unseen is seen now.
        node.is_cancelled();
        Region {
            attachment: Some(node.clone().attach(&slot)),
            node,
            slot,
        }
    }

    fn run<T>(
        &self,
        location: &'static Location<'static>,
        hook: &(dyn Fn() + Send + Sync),
        f: impl FnOnce() -> T,
    ) -> T {
        // What a hook can do does not depend on the thread that runs it.
        let hook = || {
            let group = self.node.group_around();
            let _shown = lanes::push(ShownFrame {
                kind: FrameKind::Callback,
                id: self.node.id().0,
                group: group.as_ref().map_or(0, |group| group.number),
                location,
            });
            timed(group.as_ref(), location, || {
                unbound(|| frames::outside(hook))
            });
        };

        // The alarm only after the hook is in place, since it runs the hook. Foreign code looks at
        // no clock, so an alarm has to notice the deadline.
        self.slot.with_hook(location, &hook, || {
            if self.node.is_timed() {
                self.node.arm();
            }
            f()
        })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Some(attachment) = self.attachment.take() {
            attachment.detach();
        }
    }
}

/// Runs `f` with `hook` published to every thread that cancels the current scope.
pub(crate) fn with_hook<T>(
    location: &'static Location<'static>,
    hook: &(dyn Fn() + Send + Sync),
    f: impl FnOnce() -> T,
) -> T {
    struct Spare(Arc<Slot>);
    impl Drop for Spare {
        fn drop(&mut self) {
            frames::keep_spare_slot(self.0.clone());
        }
    }

    let Some(node) = frames::current_own() else {
        return f();
    };

    let slot = frames::take_spare_slot();

    // Dropped after the region: the slot is detached before the next region can take it.
    let _kept = Spare(slot.clone());

    let region = Region::enter(node, slot);
    region.run(location, hook, f)
}

/// Like [`with_hook`], running `hook` again until `f` has returned, for the first time after
/// `pause`.
pub(crate) fn with_repeating_hook<T>(
    location: &'static Location<'static>,
    pause: Duration,
    hook: &(dyn Fn() + Send + Sync),
    f: impl FnOnce() -> T,
) -> T {
    let Some(node) = frames::current_own() else {
        return f();
    };
    let region = Region::enter(node.clone(), Slot::new());
    let repeat = Repeat::new(region.slot.clone(), &node, pause);

    let armed = AtomicBool::new(false);
    let first_and_again = || {
        hook();
        // Each later run is armed by the run before it.
        if !armed.swap(true, Relaxed) {
            repeat.arm();
        }
    };
    region.run(location, &first_and_again, f)
}
