//! Regions that go on for a while in a scope that was cancelled gracefully.

use crate::cancel::context;
use crate::lanes::{self, FrameKind};

/// Runs `f`, which a graceful cancel spares until its grace ends. For work that has begun and
/// should be finished, and for clean-up that blocks.
///
/// The cancel says how long the grace is: see
/// [`TaskGroup::cancel_gracefully`](crate::TaskGroup::cancel_gracefully) and
/// [`CancelToken::cancel_gracefully`](crate::CancelToken::cancel_gracefully). It makes no
/// difference whether the cancel comes before `f` or while `f` runs. Groups and timeouts opened
/// inside go on with `f`. Without a graceful cancel this is the same as a call of `f`: any other
/// cancel, including the deadline of an outer scope, ends `f` immediately. If such a cancel must
/// not cut the clean-up short, use [`shield_for`](crate::shield_for).
///
/// Once the grace has begun, [`remaining`](crate::remaining) returns how much of it is left.
///
/// # Cancellation
///
/// Not a blocking point itself. The blocking points inside `f` fail when the grace has ended, with
/// the graceful cancel.
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
#[track_caller]
pub fn winding_down<T>(f: impl FnOnce() -> T) -> T {
    let Some(_inside) = context::enter_winding_down() else {
        return f();
    };
    let _shown = lanes::push_here(FrameKind::WindingDown, 0);
    f()
}
