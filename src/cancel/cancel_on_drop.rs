//! A token that is cancelled by a drop.

use std::fmt;
use std::panic::Location;

use super::cause::CancelCause;
use super::token::CancelToken;
use crate::trace;

/// Cancels a token when it is dropped. [`CancelToken::drop_guard`] makes it.
///
/// Not to be confused with [`CallbackGuard`](crate::CallbackGuard), which takes a callback back and
/// cancels nothing.
///
/// ```
/// let token = taskgroup::CancelToken::new();
/// drop(token.clone().drop_guard());
/// assert!(token.is_cancelled());
/// ```
#[must_use = "dropping the guard cancels the token"]
pub struct CancelOnDrop {
    token: Option<CancelToken>,
    location: &'static Location<'static>,
}

impl CancelOnDrop {
    /// Returns the token without cancelling it.
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// let token = token.drop_guard().disarm();
    /// assert!(!token.is_cancelled());
    /// ```
    pub fn disarm(mut self) -> CancelToken {
        self.token.take().unwrap_or_default()
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            trace::in_destructor(|| token.node().cancel(CancelCause::Dropped, self.location));
        }
    }
}

impl fmt::Debug for CancelOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelOnDrop").field(&self.token).finish()
    }
}

impl CancelToken {
    /// Returns a guard that cancels the token when it is dropped, with the cause
    /// [`CancelCause::Dropped`].
    ///
    /// ```
    /// let token = taskgroup::CancelToken::new();
    /// drop(token.clone().drop_guard());
    /// assert!(token.is_cancelled());
    /// ```
    #[track_caller]
    pub fn drop_guard(self) -> CancelOnDrop {
        CancelOnDrop {
            token: Some(self),
            location: Location::caller(),
        }
    }
}
