//! The call that looks for deadlocks now.

use std::time::Instant;

use super::confirm;
use super::report::Deadlock;

/// Returns the deadlocks that are certain at this moment, whatever the policy is.
///
/// If some threads seem to wait for each other, they are woken to look at their waits. This takes
/// some milliseconds, and up to two seconds on a machine that is too busy to run them. Otherwise
/// the call only reads what the threads show, and blocks nothing. A thread that has not gone to
/// sleep yet is not part of a deadlock: a later call may find it.
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
