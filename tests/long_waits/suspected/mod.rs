//! Suspected deadlocks: processes in which no thread is left to wake another, and processes in
//! which one is.
//!
//! The main thread of each is inside of a scope. In a process of a test harness there is always a
//! thread that does not belong to this crate.

mod cases;
mod found;
mod runner;
mod silent;

pub(crate) use runner::{run_case, trials};
