//! The context of a thread, as other folders see it: the scopes it is in, checks and waits.

pub(crate) use super::check::{check, check_ancestors, check_at, is_cancelled};
pub(crate) use super::frames::bare_frames::{current_deadline, enter_limit, enter_winding_down};
pub(crate) use super::frames::{
    InsideInPlace, InsideScope, LazyTask, OwnNode, current, current_own, enter, enter_in_place,
    enter_lazy, enter_task, identity, made_own, outside, slot, within,
};
pub(crate) use super::locks::{lock_released, lock_taken};
#[cfg(any(unix, loom))]
#[allow(
    unused_imports,
    reason = "nothing waits for a descriptor without the features of I/O"
)]
pub(crate) use super::poll::{Cancels, call_when_ready, poll};
#[cfg(feature = "crossbeam")]
pub(crate) use super::uncancellable::blocked;
pub(crate) use super::uncancellable::{Outcome, wait_uncancellable, wait_uncancellable_at};
pub(crate) use super::wait::{wait, wait_at};
