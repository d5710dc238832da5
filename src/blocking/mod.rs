//! Blocking points, and scopes that are not groups: timeouts, shields, regions with hooks.

mod abandon;
mod abandoned;
mod cancel_fuse;
mod cancellable_iter;
mod hook;
mod pause;
mod shield;
mod timeout;
mod winding_down;

#[cfg(all(feature = "net", unix, not(loom)))]
pub(crate) use abandon::abandon_as;
pub use abandon::{abandon, abandon_named};
#[cfg(not(loom))]
pub(crate) use abandoned::try_abandoned;
pub use abandoned::{Abandoned, abandoned};
pub(crate) use cancel_fuse::CancelFuse;
pub use cancellable_iter::{CancellableExt, CancellableIter};
pub use hook::{with_cancel_hook, with_cancel_hook_repeating};
pub use pause::{
    checkpoint, current_token, is_cancelled, park, park_timeout, remaining, sleep, sleep_until,
    yield_now,
};
pub use shield::{shield, shield_for};
pub use timeout::{deadline, timeout};
pub use winding_down::winding_down;
