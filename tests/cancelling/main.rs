//! Cancels: tokens, hooks, deadlines, shields, and every call that one ends.

mod cancel_points;
mod graceful;
mod hook;
mod own_token;
mod shield;
#[path = "../support/mod.rs"]
mod support;
mod time;
mod token;
