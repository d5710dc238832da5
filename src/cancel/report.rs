//! Where the panic of a callback or a hook goes.

use std::sync::{Arc, Weak};

use super::node::{Node, Observer};
use crate::facade::Payload;
use crate::panics::{PanicPayload, log};

impl Node {
    /// Hands the panic of a hook to the group that its region is in, or to the log. The region has
    /// not ended, so neither has the group.
    pub(super) fn hook_panicked(self: &Arc<Self>, payload: Payload) {
        let mut around = self.and_ancestors();
        self.report_panic(around.find_map(|node| node.observer.as_ref()), payload);
    }

    /// Hands the panic of a callback to the group, if this is the node of a group, of one of its
    /// tasks or of its daemons; to the log otherwise. The group waits for the callbacks of all
    /// these nodes, and of no others.
    pub(super) fn callback_panicked(self: &Arc<Self>, payload: Payload) {
        let mut node = self;
        while let Some(group) = node.group() {
            node = group;
        }
        self.report_panic(node.observer.as_ref(), payload);
    }

    fn report_panic(&self, observer: Option<&Weak<dyn Observer>>, payload: Payload) {
        match observer.and_then(Weak::upgrade) {
            Some(observer) => observer.callback_panicked(payload),
            None => {
                let panic = PanicPayload::new(payload);
                log(|| {
                    tracing::error!(
                        token = self.id().0,
                        panic = panic.message(),
                        "a cancel callback panicked"
                    )
                });
            }
        }
    }
}
