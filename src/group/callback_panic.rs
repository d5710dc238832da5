//! The panic of a callback or hook of a group, until the group has ended.

use super::stopwatch::{Stopwatch, Timing};
use crate::facade::Payload;
use crate::panics::PanicPayload;

/// A panic of code that runs because the group was cancelled.
pub(crate) struct CallbackPanic {
    pub(crate) panic: PanicPayload,
    /// By the coarse clock.
    pub(crate) when: Stopwatch,
}

impl CallbackPanic {
    /// Records a panic that has just been caught on this thread.
    pub(crate) fn now(payload: Payload) -> Self {
        CallbackPanic {
            panic: PanicPayload::new(payload),
            when: Stopwatch::start(Timing::Coarse),
        }
    }
}
