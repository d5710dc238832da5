//! Deadlines for a piece of code.

use std::panic::Location;
use std::time::{Duration, Instant};

use crate::cancel::{CancelCause, Cancelled, context};
use crate::error::TaskError;

/// Runs `f` for at most `duration`. Returns `None` if the time ran out and cut `f` short.
///
/// Look at the `Option`: a `?` alone ignores that the time ran out.
///
/// A timeout is not a cancel. The result is `None` only if this deadline ended `f` with its own
/// `Cancelled`. A value that `f` produces in spite of the deadline is returned as `Some`, and any
/// other error is returned as that error. A duration too long to express sets no deadline. The
/// deadline ends blocking points inside `f`, and groups opened there. Code that neither blocks nor
/// checks is not cut short.
///
/// # Errors
///
/// The error of `f`, including the cancel of an outer scope.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::time::Duration;
///
/// let cut = taskgroup::timeout(Duration::from_millis(1), || {
///     taskgroup::sleep(Duration::from_secs(60))?;
///     anyhow::Ok("slept")
/// })?;
/// assert_eq!(cut, None);
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn timeout<T, E: TaskError>(
    duration: Duration,
    f: impl FnOnce() -> Result<T, E>,
) -> Result<Option<T>, E> {
    match Instant::now().checked_add(duration) {
        Some(instant) => deadline(instant, f),
        None => f().map(Some),
    }
}

/// Runs `f` until `instant` at the latest. See [`timeout`].
///
/// # Errors
///
/// Like [`timeout`].
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::time::{Duration, Instant};
///
/// let whole = taskgroup::deadline(Instant::now() + Duration::from_secs(60), || anyhow::Ok(1))?;
/// assert_eq!(whole, Some(1));
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn deadline<T, E: TaskError>(
    instant: Instant,
    f: impl FnOnce() -> Result<T, E>,
) -> Result<Option<T>, E> {
    let limit = context::enter_limit(instant, Location::caller());
    let result = f();
    let own = limit.leave();

    // The token can also be cancelled by hand, from inside. That is not a timeout.
    let is_ours = |cancelled: &Cancelled| {
        Some(cancelled.origin()) == own && matches!(cancelled.cause(), CancelCause::Deadline { .. })
    };

    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.cancelled().is_some_and(is_ours) => Ok(None),
        Err(error) => Err(error),
    }
}
