//! The end of an iteration over the messages of a channel.

use super::RecvError;
use crate::blocking::CancelFuse;

/// Decides, after each receive of an iteration, what the iterator yields and when it ends.
///
/// Iterators over the channels of this crate and of crossbeam use it alike.
#[derive(Debug, Default)]
pub(super) struct IterProgress {
    fuse: CancelFuse,
    /// The error of a stream that was cut short has been yielded.
    has_failed: bool,
}

impl IterProgress {
    /// Returns whether the iteration ends without another receive.
    #[inline]
    pub(super) fn ends(&mut self) -> bool {
        self.has_failed || self.fuse.ends()
    }

    /// Returns the next item, once a receive has `received` this.
    #[inline]
    pub(super) fn after<T>(
        &mut self,
        received: Result<T, RecvError>,
    ) -> Option<Result<T, RecvError>> {
        let step = match received {
            Ok(message) => Ok(Some(message)),
            Err(RecvError::Cancelled(cancelled)) => Err(cancelled),
            Err(RecvError::Disconnected(end)) if end.ended_well() => Ok(None),
            Err(cut_short) => {
                // Yielded once: a loop that drops errors would not end otherwise.
                self.has_failed = true;
                return Some(Err(cut_short));
            }
        };

        Some(self.fuse.after(step)?.map_err(RecvError::Cancelled))
    }
}
