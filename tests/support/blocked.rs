//! Threads that are blocked in a call of `net`, and how a cancel ends it.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

use std::io;
use std::sync::mpsc;
use std::thread;

use taskgroup::{CancelToken, Cancelled};

/// A thread, as the system shows it.
#[derive(Debug)]
pub(crate) struct Seen(#[cfg(target_os = "linux")] std::path::PathBuf);

impl Seen {
    /// Returns this thread.
    pub(crate) fn here() -> Self {
        #[cfg(target_os = "linux")]
        {
            let link = std::fs::read_link("/proc/thread-self").expect("there is a /proc");
            Seen(std::path::Path::new("/proc").join(link).join("stat"))
        }
        #[cfg(not(target_os = "linux"))]
        Seen()
    }

    /// Lets other threads run until the thread is asleep. Where the system does not say it, waits
    /// for a while: the call is then cancelled at its entry, if the thread is slow.
    pub(crate) fn until_asleep(&self) {
        #[cfg(target_os = "linux")]
        super::support::until(|| {
            let stat = std::fs::read_to_string(&self.0).expect("the thread exists");
            let (_, after_name) = stat.rsplit_once(") ").expect("it has a name");
            after_name.starts_with('S')
        });
        #[cfg(not(target_os = "linux"))]
        thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Runs `call` under a token of its own, cancels it once it is blocked, and returns its result.
pub(crate) fn cancelled_while_blocked<T: Send>(call: impl FnOnce() -> T + Send) -> T {
    let token = CancelToken::new();
    thread::scope(|threads| {
        let blocked = when_blocked(threads, || token.run(call));
        token.cancel();
        blocked.join().expect("the call does not panic")
    })
}

/// Starts `call` on a thread, and returns when it is blocked.
pub(crate) fn when_blocked<'scope, T: Send + 'scope>(
    threads: &'scope thread::Scope<'scope, '_>,
    call: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    let (sender, seen) = mpsc::channel();
    let thread = threads.spawn(move || {
        sender.send(Seen::here()).expect("the test waits");
        drop(sender);
        call()
    });
    seen.recv().expect("the thread has begun").until_asleep();
    thread
}

/// Fails unless `result` is the error of a cancelled call, and returns the cancel.
#[track_caller]
pub(crate) fn the_cancel<T: std::fmt::Debug>(result: io::Result<T>) -> Cancelled {
    let error = result.expect_err("the call is cancelled");
    assert_eq!(error.kind(), io::ErrorKind::Other, "{error}");
    match Cancelled::find(&error) {
        Some(cancelled) => cancelled.clone(),
        None => panic!("no cancel: {error}"),
    }
}

/// Runs `call` in a scope that is cancelled already.
pub(crate) fn in_a_cancelled_scope<T>(call: impl FnOnce() -> T) -> T {
    let token = CancelToken::new();
    token.cancel();
    token.run(call)
}
