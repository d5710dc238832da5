//! How one side of a channel was closed.

use super::Disconnected;
use crate::cancel::actor::Actor;
use crate::cancel::current;
use crate::error::SideEnd;

/// The end of a side that explains its close: the first that was dropped by a task that did not end
/// well, else the last.
#[derive(Default)]
pub(super) struct Closing {
    by: Option<Actor>,
    ended: SideEnd,
    /// The error of the other side, made when it is first needed.
    told: Option<Disconnected>,
}

impl Closing {
    /// Notes that this thread drops an end of the side, which has `left` ends after that. Called
    /// under the lock of the channel.
    #[inline]
    pub(super) fn note(&mut self, left: usize) {
        // The first end that was dropped because a task did not end well explains the close.
        if self.ended == SideEnd::Ill {
            return;
        }

        if current::is_ill() {
            self.ended = SideEnd::Ill;
        }
        if self.ended == SideEnd::Ill || left == 0 {
            self.by = current::actor();
        }
    }

    /// Returns the error of the other side, once all ends of this side are gone.
    pub(super) fn disconnected(&mut self) -> Disconnected {
        let Closing { by, ended, told } = self;
        told.get_or_insert_with(|| Disconnected::new(by.take(), *ended))
            .clone()
    }
}
