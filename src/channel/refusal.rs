//! Why a message was not sent or received, as the channel knows it.

use super::Disconnected;
use crate::cancel::{Cancelled, context};

/// Why a message was not sent or received.
pub(super) enum Refusal {
    /// Full, or empty.
    NotNow,
    Disconnected(Disconnected),
    Cancelled(Cancelled),
}

impl Refusal {
    /// As the caller of the channel is told: in a cancelled scope, that the other side has gone is
    /// the cancel. The lock is not held.
    pub(super) fn or_cancelled(self) -> Refusal {
        match self {
            Refusal::Disconnected(disconnected) => match context::check_ancestors() {
                Ok(()) => Refusal::Disconnected(disconnected),
                Err(cancelled) => Refusal::Cancelled(cancelled),
            },
            Refusal::NotNow | Refusal::Cancelled(_) => self,
        }
    }
}
