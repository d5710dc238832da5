//! Cancels: tokens, hooks, deadlines, shields, and every call that one ends.

#[path = "../support/blocked.rs"]
mod blocked;
mod cancel_points;
mod graceful;
mod hook;
mod own_token;
mod shield;
#[path = "../support/mod.rs"]
mod support;
mod time;
mod time_limits;
mod token;
