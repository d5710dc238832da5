//! Helpers of the tests: one test at a time, with a watchdog.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use taskgroup::TaskGroup;
use taskgroup_top::server::{Offered, Server};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Holds the other tests back, since a picture shows the whole process. Ends the process if the
/// test hangs.
pub(crate) struct Alone {
    _alive: Sender<()>,
    _others: MutexGuard<'static, ()>,
}

pub(crate) fn alone() -> Alone {
    static TEST: Mutex<()> = Mutex::new(());
    let others = TEST.lock().unwrap_or_else(PoisonError::into_inner);
    let (alive, ended) = channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(2 * PATIENCE) == Err(RecvTimeoutError::Timeout) {
            eprintln!("a test hangs");
            std::process::abort();
        }
    });

    Alone {
        _alive: alive,
        _others: others,
    }
}

/// Runs `test` while this process serves at a socket.
pub(crate) fn served<T>(test: impl FnOnce(&Path, &Offered) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let server = Server::bind(&path).unwrap();
    let offered = Offered::default();
    let mut value = None;
    TaskGroup::builder()
        .name("served")
        .scope(|g| {
            g.task()
                .name("server")
                .spawn_daemon(|| server.serve(&offered));
            value = Some(test(&path, &offered));
            Ok(())
        })
        .unwrap();
    drop(server);
    assert!(!path.exists(), "the socket is left");
    value.unwrap()
}

/// A folder for a socket, which may be told to others.
pub(crate) fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    (folder, path)
}

#[track_caller]
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "the condition does not hold");
        std::thread::yield_now();
    }
}
