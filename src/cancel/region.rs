//! Regions of code that is not ours, with a hook that makes it stop.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::node::{Attachment, Node};
use super::repeat::Repeat;
use super::{context, timer};
use crate::waiting::Slot;

/// A region with a hook. Its slot is its own, so that what runs in it does with the slot of the
/// thread, scopes entered in it included, does not matter to the hook.
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
        // What a hook can do must not depend on the thread that runs it.
        let hook = || context::outside(hook);
        self.slot.with_hook(location, &hook, || {
            if self.node.is_timed() {
                timer::arm(&self.node);
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

/// Runs `f` with `hook` published to whoever cancels the current scope.
pub(crate) fn with_hook<T>(
    location: &'static Location<'static>,
    hook: &(dyn Fn() + Send + Sync),
    f: impl FnOnce() -> T,
) -> T {
    struct Spare(Arc<Slot>);
    impl Drop for Spare {
        fn drop(&mut self) {
            context::keep_spare_slot(self.0.clone());
        }
    }

    let Some(node) = context::current_own() else {
        return f();
    };
    let slot = context::take_spare_slot();
    // Detached before it is there for the next region.
    let _kept = Spare(slot.clone());
    let region = Region::enter(node, slot);
    region.run(location, hook, f)
}

/// As [`with_hook`], running `hook` again until `f` has returned, for the first time after `pause`.
pub(crate) fn with_repeating_hook<T>(
    location: &'static Location<'static>,
    pause: Duration,
    hook: &(dyn Fn() + Send + Sync),
    f: impl FnOnce() -> T,
) -> T {
    let Some(node) = context::current_own() else {
        return f();
    };
    let region = Region::enter(node.clone(), Slot::new());
    let repeat = Repeat::new(region.slot.clone(), &node, pause);
    let armed = AtomicBool::new(false);
    let first_and_again = || {
        hook();
        // The runs that follow are armed by those that come before.
        if !armed.swap(true, Relaxed) {
            repeat.arm();
        }
    };
    region.run(location, &first_and_again, f)
}
