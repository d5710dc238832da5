//! The error of an operation on a channel, before it becomes the error type of the operation.

use super::Disconnected;
use crate::cancel::{Cancelled, context};

/// Why a message was not sent or received.
pub(super) enum OpError {
    /// The channel is full, or empty.
    NotNow,
    Disconnected(Disconnected),
    Cancelled(Cancelled),
}

impl OpError {
    /// Returns the error as the caller gets it: in a cancelled scope, the cancel takes the place of
    /// a disconnect. The lock of the channel must not be held.
    pub(super) fn or_cancelled(self) -> OpError {
        match self {
            OpError::Disconnected(disconnected) => match context::check_ancestors() {
                Ok(()) => OpError::Disconnected(disconnected),
                Err(cancelled) => OpError::Cancelled(cancelled),
            },
            OpError::NotNow | OpError::Cancelled(_) => self,
        }
    }
}
