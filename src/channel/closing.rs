//! How one side of a channel was closed.

use super::Disconnected;
use crate::cancel::actor::Actor;
use crate::cancel::current;

/// What a side remembers of the ends that were dropped: the first one whose task did not end well,
/// else the last one.
#[derive(Default)]
pub(super) struct Closing {
    by: Option<Actor>,
    is_ill: bool,
    /// Made with the first error that needs it.
    told: Option<Disconnected>,
}

impl Closing {
    /// Notes that this thread drops an end, perhaps the last one. Under the lock of the channel.
    #[inline]
    pub(super) fn note(&mut self, is_last: bool) {
        if self.is_ill {
            return;
        }
        self.is_ill = current::is_ill();
        if self.is_ill || is_last {
            self.by = current::actor();
        }
    }

    /// The error of the other side, once all ends of this one are gone.
    pub(super) fn disconnected(&mut self) -> Disconnected {
        let Closing { by, is_ill, told } = self;
        told.get_or_insert_with(|| Disconnected::new(by.take(), !*is_ill))
            .clone()
    }
}
