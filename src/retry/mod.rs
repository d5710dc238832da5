//! Retries of code that may fail for a while.
//!
//! # Invariants
//!
//! 1. A cancel ends a retry: no attempt begins in a cancelled scope, and an error that holds a
//!    cancel is returned, whatever the policy says.
//! 2. A pause that would last until the deadline of the scope is not begun: the attempt after it
//!    could not run.
//! 3. There is no pause after the last attempt.
//!
//! A policy ([`Backoff`]) only computes; the loop alone reads the clock, draws and sleeps. No state
//! is shared between threads, so there are no locks.

mod attempt;
mod backoff;

pub use attempt::Attempt;
pub use backoff::{Backoff, Jitter};

use std::error::Error;
use std::io;
use std::time::Duration;

use crate::blocking;
use crate::cancel::{Cancelled, Retried};
use crate::error::{TaskError, line_of};
use crate::facade::{self, Random, debug_event};
use crate::panics::log;

/// Calls `f` until it succeeds, and pauses after each failure, for longer on average each time.
///
/// For errors that pass: a server that restarts, a lock that is taken, a connection that breaks.
/// Each call of `f` is an attempt, and is told which one it is. The [`Backoff`] says how many
/// attempts there are, how long the pauses are and which errors are worth another attempt.
///
/// A retry ends
///
/// - with the value of the first attempt that succeeds,
/// - with the error of the last attempt, or with an error that the policy does not retry,
/// - with the error of the attempt before a pause that would last until the
///   [deadline](crate::remaining) of the scope or longer: it is returned at once,
/// - with a cancel, and
/// - with a panic of `f`, which is not retried.
///
/// An error that holds a [`Cancelled`], anywhere [along its sources](Cancelled::find), is never
/// retried. So limit the time of a single attempt with [`timeout`](crate::timeout), and turn its
/// `None` into an error that can be retried. A group that has passed its own deadline returns a
/// `Cancelled`, which is not retried.
///
/// Errors that are retried are lost, except for the last one. Each goes to
/// [`tracing`](https://docs.rs/tracing) at debug level.
///
/// # Cancellation
///
/// A blocking point: in a cancelled scope it fails immediately, without an attempt. A cancel ends a
/// pause at once, and no attempt follows. The [`Cancelled`] then says how many attempts had failed
/// and names the last of their errors ([`Cancelled::retried`]). So does a `Cancelled` that `f`
/// returns, unless it is part of a larger error: that is returned as it is.
///
/// # Errors
///
/// The error of the last attempt, or the cancel of the scope.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::Backoff;
///
/// # fn main() -> anyhow::Result<()> {
/// let policy = Backoff::exponential(Duration::from_millis(1)).attempts(5);
/// let number = taskgroup::retry(policy, |attempt| {
///     anyhow::ensure!(attempt.number() > 2, "not yet");
///     Ok(attempt.number())
/// })?;
/// assert_eq!(number, 3);
/// # Ok(())
/// # }
/// ```
///
/// With a time limit for each attempt, and one for all of them:
///
/// ```
/// use std::time::Duration;
/// use anyhow::Context;
/// use taskgroup::{Backoff, retry, sleep, timeout};
///
/// # fn main() -> anyhow::Result<()> {
/// let policy = Backoff::exponential(Duration::from_millis(1)).attempts(u32::MAX);
/// let answer = timeout(Duration::from_secs(60), || {
///     retry(policy, |attempt| {
///         let ask = || {
///             // The first request gets no answer.
///             sleep(Duration::from_secs(if attempt.number() == 1 { 60 } else { 0 }))?;
///             anyhow::Ok("an answer")
///         };
///         timeout(Duration::from_millis(5), ask)?.context("no answer in time")
///     })
/// })?;
/// assert_eq!(answer, Some("an answer"));
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn retry<T, E: TaskError>(
    policy: Backoff<E>,
    mut f: impl FnMut(Attempt) -> Result<T, E>,
) -> Result<T, E> {
    // Invariant 1: a pause that ends well has made this check too.
    blocking::checkpoint()?;

    let mut attempt = Attempt::first(policy.most_attempts(), facade::now());
    let mut last: Option<Retried> = None;
    loop {
        let error = match f(attempt) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };

        // Invariant 1, before the policy is asked.
        if let Some(cancelled) = cancel_in(&error) {
            return Err(cut_short(cancelled.clone(), error, last));
        }

        // Invariant 3: the error of the last attempt is returned without a pause.
        if attempt.is_last() || !policy.retries(&error) {
            return Err(error);
        }

        let pause = policy.pause(attempt.number(), &error, |most| Random::here().up_to(most));
        let retried = Retried::new(attempt.number(), line_of(&error));

        // Invariant 2: no pause begins that the deadline would cut. In a scope that is cancelled
        // already the cancel is the error, since the sleep would fail with it.
        blocking::checkpoint().map_err(|cancelled| cancelled.of_retry(retried.clone()))?;
        if blocking::remaining().is_some_and(|left| left <= pause) {
            return Err(error);
        }

        // Only now is it certain that the caller does not get this error.
        note(&retried, pause);

        // Its destructor may take time, and must not come after the pause: it may hold what the
        // next attempt needs.
        drop(error);
        if let Err(cancelled) = blocking::sleep(pause) {
            return Err(cancelled.of_retry(retried).into());
        }

        last = Some(retried);
        attempt = attempt.next();
    }
}

/// Returns the cancel that an error holds, even if the error itself counts as a failure.
fn cancel_in<E: TaskError>(error: &E) -> Option<&Cancelled> {
    let held = || {
        [error.as_error(), error.held()]
            .into_iter()
            .flatten()
            .find_map(Cancelled::find)
    };
    error.cancelled().or_else(held)
}

/// Returns the error of a retry in which an attempt returned an `error` that holds a cancel.
fn cut_short<E: TaskError>(cancelled: Cancelled, error: E, last: Option<Retried>) -> E {
    match last {
        // A retry inside the attempt has put its own attempts into the cancel already.
        Some(last) if cancelled.retried().is_none() && is_only(&cancelled, &error) => {
            E::from(cancelled.of_retry(last))
        }
        _ => error,
    }
}

/// Returns whether nothing is lost if `error` is made again from the cancel that it holds.
fn is_only<E: TaskError>(cancelled: &Cancelled, error: &E) -> bool {
    // `anyhow::Error` may print a backtrace of its own, so its text does not tell.
    error.as_error().is_some_and(is_bare)
        || format!("{error:?}") == format!("{:?}", E::from(cancelled.clone()))
}

/// Returns whether the error is a cancel, perhaps as an `io::Error`.
fn is_bare(error: &(dyn Error + 'static)) -> bool {
    let payload = |error: &io::Error| error.get_ref().is_some_and(|payload| is_bare(payload));
    error.is::<Cancelled>() || error.downcast_ref().is_some_and(payload)
}

/// Tells of a failed attempt that the caller does not see.
fn note(retried: &Retried, pause: Duration) {
    log(|| {
        debug_event!(
            attempt = retried.attempts(),
            ?pause,
            error = retried.last_error(),
            "an attempt failed and is retried"
        )
    });
}
