//! Shields: for clean-up that an outer cancel must not cut short.

use std::time::{Duration, Instant};

use crate::cancel::{Node, context};
use crate::lanes::{self, FrameKind};

/// Runs `f` outside any scope: no cancel and no deadline reaches its blocking points.
///
/// For clean-up that must block. Groups and timeouts opened inside work, and belong to no scope
/// outside. Prefer [`shield_for`], which ends.
///
/// ```
/// use std::time::Duration;
///
/// let token = taskgroup::CancelToken::new();
/// token.cancel();
/// token.run(|| {
///     assert!(taskgroup::checkpoint().is_err());
///     assert!(taskgroup::shield(|| taskgroup::sleep(Duration::from_millis(1))).is_ok());
/// });
/// ```
#[track_caller]
pub fn shield<T>(f: impl FnOnce() -> T) -> T {
    let _shown = lanes::push_here(FrameKind::Shield, 0);
    context::outside(f)
}

/// Runs `f` with outer cancels and deadlines hidden for `duration`. After that they are visible
/// again, and end a blocking call in `f`.
///
/// ```
/// use std::time::Duration;
///
/// let token = taskgroup::CancelToken::new();
/// token.cancel();
/// token.run(|| {
///     assert!(taskgroup::shield_for(Duration::from_secs(60), taskgroup::checkpoint).is_ok());
///     let stuck = || taskgroup::sleep(Duration::from_secs(60));
///     assert!(taskgroup::shield_for(Duration::from_millis(1), stuck).is_err());
/// });
/// ```
#[track_caller]
pub fn shield_for<T>(duration: Duration, f: impl FnOnce() -> T) -> T {
    let _shown = lanes::push_here(FrameKind::Shield, 0);
    match (context::current(), Instant::now().checked_add(duration)) {
        (Some(outer), Some(until)) => context::within(Node::shielded(outer, until), f),
        _ => context::outside(f),
    }
}
