//! Where the panic of a callback or a hook goes, and that one kept the cancelling thread for long.

use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::node::Node;
use super::observer::{KeptCanceller, Observer};
use crate::facade::{Payload, error_event, warn_event};
use crate::panics::{PanicPayload, log};

/// How long callbacks and hooks may keep the cancelling thread without being named.
const LONG: Duration = Duration::from_millis(10);

/// The group that a callback or hook belongs to.
pub(super) struct GroupAround {
    /// The number of its token.
    pub(super) number: u64,
    observer: Weak<dyn Observer>,
}

/// Runs a callback or a hook, and names it to its group and to the log if that took long.
pub(super) fn timed(
    group: Option<&GroupAround>,
    location: &'static Location<'static>,
    f: impl FnOnce(),
) {
    let begun = Instant::now();
    f();
    let ran = begun.elapsed();
    if ran < LONG {
        return;
    }

    // The event comes in any case: a group may end before it is due for a report.
    log(|| {
        warn_event!(
            %location,
            ?ran,
            "a callback or hook of a cancel kept the cancelling thread"
        )
    });

    // A weak reference: a canceller keeps no group alive whose scope has returned.
    if let Some(observer) = group.and_then(|group| group.observer.upgrade()) {
        observer.kept(KeptCanceller { location, ran });
    }
}

impl Node {
    /// Returns the group that the region of a hook is in, which ends after the region.
    pub(super) fn group_around(self: &Arc<Self>) -> Option<GroupAround> {
        self.and_ancestors().find_map(|node| node.as_group())
    }

    /// Returns the group that waits for the callbacks of this node.
    pub(super) fn group_that_waits(self: &Arc<Self>) -> Option<GroupAround> {
        self.group_of_callbacks().as_group()
    }

    fn as_group(&self) -> Option<GroupAround> {
        self.observer.clone().map(|observer| GroupAround {
            number: self.id().0,
            observer,
        })
    }

    /// Returns the node of the group, if this is the node of one of its tasks or of its daemons.
    /// The group waits for the callbacks of all these nodes, and of no others.
    fn group_of_callbacks(self: &Arc<Self>) -> &Arc<Node> {
        // Two steps for a daemon: its node is below the one node of all daemons of the group.
        let mut node = self;
        while let Some(group) = node.group() {
            node = group;
        }
        node
    }

    /// Hands the panic of a hook to the group that its region is in, or to the log. The region has
    /// not ended, so neither has the group.
    pub(super) fn hook_panicked(self: &Arc<Self>, payload: Payload) {
        let mut around = self.and_ancestors();
        self.report_panic(around.find_map(|node| node.observer.as_ref()), payload);
    }

    /// Hands the panic of a callback to the group, if this is the node of a group, of one of its
    /// tasks or of its daemons; to the log otherwise.
    pub(super) fn callback_panicked(self: &Arc<Self>, payload: Payload) {
        self.report_panic(self.group_of_callbacks().observer.as_ref(), payload);
    }

    fn report_panic(&self, observer: Option<&Weak<dyn Observer>>, payload: Payload) {
        match observer.and_then(Weak::upgrade) {
            Some(observer) => observer.callback_panicked(payload),
            // No group is left that could return the panic to its caller.
            None => {
                let panic = PanicPayload::new(payload);
                log(|| {
                    error_event!(
                        token = self.id().0,
                        panic = panic.message(),
                        "a cancel callback panicked"
                    )
                });
            }
        }
    }
}
