//! Code that goes on for a while in a scope that was cancelled gracefully.

use crate::cancel::{Node, context};

/// Runs `f`, which a graceful cancel spares until its grace ends: for what has been begun and
/// should be finished, and for clean-up that blocks.
///
/// How long that is, the one who cancels says: see
/// [`TaskGroup::cancel_gracefully`](crate::TaskGroup::cancel_gracefully) and
/// [`CancelToken::cancel_gracefully`](crate::CancelToken::cancel_gracefully). It makes no
/// difference whether the cancel comes before `f` or in it. Groups and timeouts opened inside go on
/// with it. Where no graceful cancel comes, this is no different from calling `f`: any other
/// cancel, the deadline of an outer scope included, ends `f` at once. Clean-up that must not be cut
/// short by those is for [`shield_for`](crate::shield_for).
///
/// Once the grace has begun, [`remaining`](crate::remaining) says how much of it is left.
///
/// # Cancellation
///
/// Not a blocking point itself. Those inside of `f` fail when the grace has ended, with the cancel
/// that it was the grace of.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use std::time::Duration;
/// use taskgroup::{winding_down, TaskGroup};
///
/// TaskGroup::scope(|g| {
///     g.cancel_gracefully(Duration::from_secs(60));
///     assert!(taskgroup::sleep(Duration::from_millis(1)).is_err());
///     winding_down(|| taskgroup::sleep(Duration::from_millis(1)))?;
///     Ok(())
/// })
/// # }
/// ```
pub fn winding_down<T>(f: impl FnOnce() -> T) -> T {
    match context::current() {
        Some(outer) => context::within(Node::winding_down(&outer), f),
        None => f(),
    }
}
