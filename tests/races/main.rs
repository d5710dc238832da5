//! Calls that wait in the kernel, each against a cancel that comes at the same time as its event.
//! A wake that is lost hangs a test. One that is left over from an earlier race must end no call.
//!
//! `TASKGROUP_RACES` says how many races a test runs. Each runs on one core too, with `taskset`.
#![cfg(all(target_os = "linux", feature = "io", feature = "net"))]

mod descriptors;
mod meeting;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
mod waker;

use std::path::{Path, PathBuf};

/// A path in the folder of temporary files, which is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("taskgroup-races-{name}-{}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
