//! The call that looks for deadlocks now.

use std::time::Instant;

use super::confirm;
use super::report::Deadlock;

/// Returns the deadlocks that are certain at this moment, whatever the policy is.
///
/// Threads that seem to wait for each other are woken to look at their waits, so the call may take
/// some milliseconds where there are such threads, and up to two seconds on a machine that is so
/// busy that they do not get to it. Otherwise it reads what the threads show, and blocks nothing. A
/// thread that has not gone to sleep yet is not part of a deadlock: it may be found by a later
/// call.
///
/// # Cancellation
///
/// A cancel does not end the call.
///
/// ```
/// assert!(taskgroup::deadlock::check().is_empty());
/// ```
#[must_use = "it only looks, and does nothing about them"]
pub fn check() -> Vec<Deadlock> {
    confirm::search(Instant::now())
}
