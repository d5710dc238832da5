//! The attempts of a retry that a cancel ended.

use std::fmt;

use super::text::one_line;

/// The attempts of a [`retry`](fn@crate::retry) that a cancel ended, and the last of their errors.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::{Backoff, CancelToken, Cancelled};
///
/// let token = CancelToken::new();
/// let error = token.run(|| {
///     taskgroup::retry(Backoff::exponential(Duration::from_secs(60)), |_| {
///         token.cancel(); // as another thread could, at any time
///         Err::<(), _>(std::io::Error::other("the server is busy"))
///     })
/// });
/// let error = error.unwrap_err();
/// let retried = Cancelled::find(&error).and_then(Cancelled::retried);
/// assert_eq!(retried.map(|retried| retried.attempts()), Some(1));
/// assert_eq!(retried.map(|retried| retried.last_error()), Some("the server is busy"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retried {
    attempts: u32,
    last_error: String,
}

impl Retried {
    pub(crate) fn new(attempts: u32, last_error: String) -> Self {
        Retried {
            attempts,
            last_error,
        }
    }

    /// Returns how many attempts had failed before the cancel, at least 1. An attempt that the
    /// cancel itself ended does not count.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use taskgroup::{Backoff, CancelToken, Cancelled};
    /// # let token = CancelToken::new();
    /// # let error = token.run(|| {
    /// #     taskgroup::retry(Backoff::exponential(Duration::from_secs(60)), |_| {
    /// #         token.cancel();
    /// #         Err::<(), _>(std::io::Error::other("the server is busy"))
    /// #     })
    /// # });
    /// # let error = error.unwrap_err();
    /// let retried = Cancelled::find(&error).and_then(Cancelled::retried);
    /// assert_eq!(retried.map(|retried| retried.attempts()), Some(1));
    /// ```
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the text of the error of the last attempt that had failed, with its sources, on one
    /// line.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use taskgroup::{Backoff, CancelToken, Cancelled};
    /// # let token = CancelToken::new();
    /// # let error = token.run(|| {
    /// #     taskgroup::retry(Backoff::exponential(Duration::from_secs(60)), |_| {
    /// #         token.cancel();
    /// #         Err::<(), _>(std::io::Error::other("the server is busy"))
    /// #     })
    /// # });
    /// # let error = error.unwrap_err();
    /// let retried = Cancelled::find(&error).and_then(Cancelled::retried);
    /// assert_eq!(retried.map(|retried| retried.last_error()), Some("the server is busy"));
    /// ```
    pub fn last_error(&self) -> &str {
        &self.last_error
    }
}

impl fmt::Display for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = one_line(&self.last_error);
        match self.attempts {
            1 => write!(f, "after 1 failed attempt: {error}"),
            attempts => write!(f, "after {attempts} failed attempts, the last: {error}"),
        }
    }
}
