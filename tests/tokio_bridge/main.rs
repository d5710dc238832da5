//! Cancels that cross between this crate and tokio.
#![cfg(feature = "tokio")]

#[cfg(target_os = "linux")]
#[path = "../support/blocked.rs"]
mod blocked;

#[cfg(target_os = "linux")]
#[path = "../support/descriptors.rs"]
mod descriptors;
mod links;
#[cfg(target_os = "linux")]
#[path = "../support/program.rs"]
mod program;
mod spawn_blocking;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use support::alone;
use support::{Gate, blocked, is_child, until, watch};
use taskgroup::CancelToken;
use taskgroup::sync::Event;
use taskgroup::tokio_bridge::{Link, SpawnBlocking, spawn_blocking, token_from};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// A runtime of one thread, the caller's, and one thread for blocking work.
fn one_thread() -> Runtime {
    let mut builder = runtime::Builder::new_current_thread();
    builder.max_blocking_threads(1).build().unwrap()
}

/// Blocking work that has begun, with an end that nothing looks at.
async fn begun_without_end() -> SpawnBlocking<()> {
    let (begin, begun) = oneshot::channel();
    let work = spawn_blocking(move || {
        begin.send(()).unwrap();
        blocked();
    });
    begun.await.unwrap();
    work
}

/// The cancel of many blocked threads takes milliseconds, which a runtime must not wait for.
#[test]
fn a_thousand_blocked_threads_do_not_hold_the_runtime_up() {
    let _watch = watch();
    // A busy machine may hold any of them up, but not each.
    let is_short = |_| held_by_a_cancel_of(1_000) < Duration::from_millis(1);
    assert!((0..20).any(is_short));
}

/// Returns how long a runtime is held by the cancel of so many blocked threads.
fn held_by_a_cancel_of(blocked: usize) -> Duration {
    let (theirs, all) = (CancellationToken::new(), Event::new());
    let (ours, _link) = token_from(&theirs);
    let ready = AtomicUsize::new(0);
    // The thread that delivers the cancel does not end before the runtime has gone on.
    let go_on = Arc::new(Gate::default());
    let gate = go_on.clone();
    ours.on_cancel(move || gate.wait()).forget();
    thread::scope(|threads| {
        for _ in 0..blocked {
            let spawned = thread::Builder::new()
                .stack_size(64 << 10)
                .spawn_scoped(threads, || {
                    ours.run(|| {
                        ready.fetch_add(1, SeqCst);
                        assert!(all.wait().is_err());
                    });
                });
            spawned.expect("so many threads are allowed");
        }
        until(|| ready.load(SeqCst) == blocked);
        let held = one_thread().block_on(async {
            let started = Instant::now();
            theirs.cancel();
            let held = started.elapsed();
            go_on.open();
            held
        });
        println!("held for {held:?}");
        held
    })
}

/// Returns how many threads this process has.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Cancels a token of tokio, and waits for the cancel of ours.
#[cfg(target_os = "linux")]
fn cancel_across() {
    let theirs = CancellationToken::new();
    let (ours, _link) = token_from(&theirs);
    theirs.cancel();
    ours.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_cancel_takes_one_thread_which_is_there_for_the_next() {
    const TEST: &str = "a_cancel_takes_one_thread_which_is_there_for_the_next";
    alone(TEST, || {
        let _watch = watch();
        let before = threads();
        cancel_across();
        assert_eq!(threads(), before + 1);

        // It has nothing to do once it is asleep.
        let of_threads = || std::fs::read_dir("/proc/self/task").unwrap();
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
        let deliverer = of_threads()
            .map(|thread| thread.unwrap().path())
            .find(|thread| read(thread.join("comm")).trim_end() == "taskgroup-cance")
            .expect("a thread has delivered the cancel");
        until(|| read(deliverer.join("stat")).contains(") S "));
        cancel_across();
        assert_eq!(threads(), before + 1);
    });
}

#[test]
fn without_threads_the_thread_that_cancels_delivers_the_cancel() {
    const TEST: &str = "without_threads_the_thread_that_cancels_delivers_the_cancel";
    if !is_child() {
        let output = support::run_in_child_without_threads(TEST);
        return assert!(output.status.success(), "{output:?}");
    }
    for _ in 0..2 {
        let theirs = CancellationToken::new();
        let (ours, _link) = token_from(&theirs);
        theirs.cancel();
        assert!(ours.is_cancelled());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_drop_of_a_future_that_has_its_result_sends_no_thread() {
    const TEST: &str = "the_drop_of_a_future_that_has_its_result_sends_no_thread";
    alone(TEST, || {
        let _watch = watch();
        one_thread().block_on(async {
            for is_awaited in [true, false] {
                let mut work = spawn_blocking(|| 3);
                until(|| format!("{work:?}").contains("finished: true"));
                if is_awaited {
                    assert_eq!((&mut work).await.unwrap(), 3);
                }
                let before = threads();
                drop(work);
                assert_eq!(threads(), before);
            }
        });
    });
}

#[test]
fn many_cancels_at_once_are_all_delivered() {
    let _watch = watch();
    let theirs = CancellationToken::new();
    let held = Arc::new(Gate::default());
    let linked: Vec<(CancelToken, Link)> = (0..50).map(|_| token_from(&theirs)).collect();
    for (ours, _) in &linked {
        // Each blocks its thread, so each needs one of its own.
        let held = held.clone();
        ours.on_cancel(move || held.wait()).forget();
    }
    theirs.cancel();
    for (ours, _) in &linked {
        ours.wait().unwrap();
    }
    held.open();
}

#[test]
fn debug_says_how_far_it_is() {
    let _watch = watch();
    let (_token, link) = token_from(&CancellationToken::new());
    assert_eq!(format!("{link:?}"), "Link(\"from tokio\")");
    one_thread().block_on(async {
        let work = begun_without_end().await;
        let shown = format!("{work:?}");
        assert_eq!(shown, "SpawnBlocking { begun: true, finished: false, .. }");
    });
}
