//! Suspected deadlocks: processes in which no thread is left to wake another, and processes in
//! which one is.
//!
//! Each case is a process of its own, with its main thread inside of a scope: in a process of the
//! usual test harness there is always a thread that does not belong to this crate. So this binary
//! has its own `main`, which starts itself once for each case.

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod found;
#[cfg(target_os = "linux")]
mod runner;
#[cfg(target_os = "linux")]
mod silent;

#[cfg(target_os = "linux")]
fn main() {
    runner::main();
}

/// Elsewhere the system does not tell what other threads do, and nothing is suspected.
#[cfg(not(target_os = "linux"))]
fn main() {}
