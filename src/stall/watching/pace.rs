//! How often the watcher looks.

use std::time::Duration;

/// The longest and the shortest time between two looks.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// How often a scope is looked at while its delay lasts, so that a process that was stopped
/// meanwhile is noticed (invariant 3).
pub(super) fn pause(after: Duration) -> Duration {
    (after / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}
