//! Sockets: what they share with the sockets of std, and what a cancel ends.
#![cfg(all(unix, feature = "net"))]

mod accept;
#[path = "../support/blocked.rs"]
mod blocked;
mod lookup;
#[cfg(target_os = "linux")]
mod many;
mod options;
mod same_script;
#[cfg(target_os = "linux")]
#[path = "../support/snapshots.rs"]
mod snapshots;
#[path = "../support/mod.rs"]
mod support;
mod tcp;
mod udp;
mod unix;
