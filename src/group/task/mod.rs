//! One task, from its spawn to its end, and its handle.

pub(super) mod closure;
mod common;
mod end;
pub(super) mod failed_item;
pub(super) mod handle;
pub(super) mod handshake;
pub(super) mod isolation;
mod joinable;
mod outcome;
pub(super) mod record;
mod run;
pub(super) mod spec;
mod traced;
mod watch_list;

pub use handle::TaskHandle;
