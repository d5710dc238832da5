//! The eleven programs of the literature, each run as a user runs it. They wait for most of their
//! time, so they share a test binary and run side by side.

mod cancellation;
mod coffee;
mod counter;
mod find_self;
mod flags;
mod flags2;
mod heartbeat;
mod map_demo;
#[cfg(target_os = "linux")]
mod memory;
mod pools;
#[path = "../run/mod.rs"]
mod run;
mod spinner;
