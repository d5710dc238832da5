//! Cancels that cross between this crate and tokio.
#![cfg(feature = "tokio")]

#[cfg(target_os = "linux")]
#[path = "support/blocked.rs"]
mod blocked;
#[cfg(target_os = "linux")]
#[path = "support/descriptors.rs"]
mod descriptors;
#[cfg(target_os = "linux")]
#[path = "support/program.rs"]
mod program;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use support::{Bomb, Drops, Gate, LONG, blocked, until, watch};
use taskgroup::sync::Event;
use taskgroup::tokio_bridge::{Link, SpawnBlocking, spawn_blocking, token_from, token_into};
use taskgroup::{CancelCause, CancelToken, Cancelled, TaskGroup};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

/// A runtime of one thread, the caller's, and one thread for blocking work.
fn one_thread() -> Runtime {
    let mut builder = runtime::Builder::new_current_thread();
    builder.max_blocking_threads(1).build().unwrap()
}

fn two_threads() -> Runtime {
    let mut builder = runtime::Builder::new_multi_thread();
    builder.worker_threads(2).build().unwrap()
}

/// Blocking work that has begun and blocks, and its end.
async fn begun() -> (SpawnBlocking<()>, oneshot::Receiver<Cancelled>) {
    let ((begin, begun), (ended, end)) = (oneshot::channel(), oneshot::channel());
    let work = spawn_blocking(move || {
        begin.send(()).unwrap();
        ended.send(blocked()).unwrap();
    });
    begun.await.unwrap();
    (work, end)
}

/// Polls once, without a waker.
fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_result_comes_back_and_its_future_cancels_nothing() {
    let _watch = watch();
    one_thread().block_on(async {
        let (send, receive) = oneshot::channel();
        let work = spawn_blocking(move || {
            let token = taskgroup::current_token().unwrap();
            send.send(token).unwrap();
            taskgroup::checkpoint().map(|()| String::from("done"))
        });
        let token = receive.await.unwrap();
        assert_eq!(work.await.unwrap().unwrap(), "done");
        assert!(!token.is_cancelled());
    });
}

#[test]
fn a_dropped_future_cancels_the_closure() {
    let _watch = watch();
    for runtime in [one_thread(), two_threads()] {
        runtime.block_on(async {
            let (mut work, end) = begun().await;
            assert!(poll(&mut work).is_pending());
            drop(work);
            let cancelled = end.await.unwrap();
            assert!(
                matches!(cancelled.cause(), CancelCause::Dropped),
                "{cancelled}"
            );
            assert_eq!(cancelled.location().file(), file!());
        });
    }
}

#[test]
fn the_cancel_reaches_the_groups_that_the_closure_opens() {
    let _watch = watch();
    one_thread().block_on(async {
        let (send, receive) = oneshot::channel();
        let inside = Arc::new(AtomicUsize::new(0));
        let also = inside.clone();
        let work = spawn_blocking(move || {
            let outcome = TaskGroup::scope(|g| {
                for _ in 0..3 {
                    g.spawn(|| {
                        also.fetch_add(1, SeqCst);
                        Ok(taskgroup::park()?)
                    });
                }
                Ok(())
            });
            send.send(outcome.unwrap_err()).unwrap();
        });
        while inside.load(SeqCst) < 3 {
            yield_now().await;
        }
        drop(work);
        let error = receive.await.unwrap();
        assert!(matches!(
            error.cancelled().unwrap().cause(),
            CancelCause::Dropped
        ));
    });
}

#[test]
fn an_aborted_task_cancels_the_closure_that_it_waits_for() {
    let _watch = watch();
    let runtime = two_threads();
    runtime.block_on(async {
        let (work, end) = begun().await;
        let handler = tokio::spawn(work);
        yield_now().await;
        handler.abort();
        end.await.unwrap();
        assert!(handler.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn the_drop_does_not_wait_for_callbacks_or_the_closure() {
    let _watch = watch();
    let held = Arc::new(Gate::default());
    one_thread().block_on(async {
        let ((begin, begun), (ended, end)) = (oneshot::channel(), oneshot::channel());
        let gate = held.clone();
        let work = spawn_blocking(move || {
            let token = taskgroup::current_token().unwrap();
            let in_callback = gate.clone();
            token.on_cancel(move || in_callback.wait()).forget();
            begin.send(()).unwrap();
            let cancelled = blocked();
            gate.wait(); // code that cannot be cancelled
            ended.send(cancelled).unwrap();
        });
        begun.await.unwrap();
        drop(work);
        // Only this thread opens the gate, after the drop.
        held.open();
        end.await.unwrap();
    });
}

#[test]
fn a_closure_that_has_not_begun_never_runs() {
    let _watch = watch();
    let (ran, drops) = (Arc::new(AtomicBool::new(false)), Drops::default());
    let runtime = one_thread();
    runtime.block_on(async {
        // The only thread for blocking work is taken.
        let (first, end) = begun().await;
        let (also, captured) = (ran.clone(), drops.counted());
        let second = spawn_blocking(move || {
            also.store(true, SeqCst);
            drop(captured);
        });
        assert_eq!(drops.count(), 0);
        drop(second);
        assert_eq!(drops.count(), 1, "before the drop of the future returns");
        assert!(!ran.load(SeqCst));

        // A later one runs after it.
        let third = spawn_blocking(|| 3);
        drop(first);
        end.await.unwrap();
        assert_eq!(third.await.unwrap(), 3);
    });
    drop(runtime);
    assert!(!ran.load(SeqCst));
    assert_eq!(Arc::strong_count(&ran), 1);
}

#[test]
fn a_panic_of_a_captured_value_stays_inside_the_drop() {
    let _watch = watch();
    one_thread().block_on(async {
        let (first, end) = begun().await;
        let bomb = Bomb("captured");
        let second = spawn_blocking(move || drop(bomb));
        drop(second);
        drop(first);
        end.await.unwrap();
    });
}

#[test]
fn a_panic_of_the_closure_is_an_error() {
    let _watch = watch();
    one_thread().block_on(async {
        let work = spawn_blocking(|| panic!("no such row"));
        let error = work.await.map(|never: ()| never).unwrap_err();
        assert!(error.is_panic());
        assert_eq!(
            *error.into_panic().downcast::<&str>().unwrap(),
            "no such row"
        );
    });
}

#[test]
fn outside_a_runtime_it_panics_at_the_call() {
    let drops = Drops::default();
    let captured = drops.counted();
    let panic = catch_unwind(AssertUnwindSafe(|| spawn_blocking(move || drop(captured))));
    assert!(panic.is_err());
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_runtime_that_is_shut_down_ends_its_blocking_work() {
    let _watch = watch();
    for runtime in [one_thread(), two_threads()] {
        let (send, receive) = mpsc::channel();
        runtime.block_on(async {
            let (work, end) = begun().await;
            // The task is the runtime's, and so is the future in it.
            tokio::spawn(async move {
                send.send(()).unwrap();
                work.await
            });
            while receive.try_recv().is_err() {
                yield_now().await;
            }
            drop(end);
        });
        // It waits for the thread that blocks.
        drop(runtime);
    }
}

#[cfg(all(unix, feature = "io"))]
#[test]
fn a_runtime_that_is_shut_down_ends_a_read_of_blocking_work() {
    use std::io::Read;

    let _watch = watch();
    let runtime = one_thread();
    let (mut reader, writer) = taskgroup::io::pipe().unwrap();
    let (begin, begun) = mpsc::channel();
    let entered = runtime.enter();
    let work = tokio::spawn(spawn_blocking(move || {
        begin.send(()).unwrap();
        reader.read(&mut [0; 1])
    }));
    begun.recv().unwrap();
    drop(entered);
    drop(runtime);
    drop((work, writer));
}

#[cfg(all(target_os = "linux", feature = "io"))]
#[test]
fn a_runtime_that_is_shut_down_ends_a_read_of_standard_input() {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    const TEST: &str = "a_runtime_that_is_shut_down_ends_a_read_of_standard_input";
    let _watch = watch();
    if !support::is_child() {
        // Inputs that are open, and silent.
        let (reader, _writer) = taskgroup::io::pipe().unwrap();
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (terminal, _user) = descriptors::terminal();
        for input in [OwnedFd::from(reader), near.into(), terminal] {
            program::Program::start(TEST, input, "").succeeds();
        }
        return;
    }

    let runtime = one_thread();
    let ((begin, begun), (end, ended)) = (mpsc::channel(), mpsc::channel());
    let entered = runtime.enter();
    let work = tokio::spawn(spawn_blocking(move || {
        begin.send(blocked::Seen::here()).unwrap();
        end.send(taskgroup::io::stdin().read(&mut [0; 1])).unwrap();
    }));
    begun.recv().unwrap().until_asleep();
    drop(entered);
    // It waits for the thread that reads.
    drop(runtime);
    descriptors::assert_cancelled(ended.recv().unwrap());
    drop(work);
}

#[test]
fn a_closure_that_a_runtime_never_began_is_dropped_with_its_future() {
    let _watch = watch();
    let drops = Drops::default();
    let captured = drops.counted();
    let runtime = one_thread();
    let handle = runtime.handle().clone();
    drop(runtime);
    let work = {
        let _entered = handle.enter();
        spawn_blocking(move || drop(captured))
    };
    let error = one_thread().block_on(work).unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(drops.count(), 1);
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

#[test]
fn drops_race_with_begins_and_ends() {
    let _watch = watch();
    let runtime = two_threads();
    let (drops, ended) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
    const TIMES: usize = 300;
    runtime.block_on(async {
        for n in 0..TIMES {
            let (captured, ended) = (drops.counted(), ended.clone());
            let mut work = spawn_blocking(move || {
                let cut = taskgroup::sleep(if n % 3 == 0 { LONG } else { Duration::ZERO });
                ended.fetch_add(1, SeqCst);
                drop(captured);
                cut
            });
            for _ in 0..n % 7 {
                if poll(&mut work).is_ready() {
                    break;
                }
                yield_now().await;
            }
        }
    });
    // Waits for the closures that have begun.
    drop(runtime);
    assert_eq!(drops.count(), TIMES);
    assert!(ended.load(SeqCst) <= TIMES);
}

#[test]
fn a_cancel_of_tokio_reaches_a_scope_outside_any_runtime() {
    let _watch = watch();
    let theirs = CancellationToken::new();
    let line = line!() + 1;
    let (ours, link) = token_from(&theirs);
    assert!(!ours.is_cancelled());
    let cancelled = thread::scope(|threads| {
        let sleeper = threads.spawn(|| ours.run(blocked));
        theirs.cancel();
        sleeper.join().unwrap()
    });
    assert_eq!(cancelled.origin(), ours.id());
    assert_eq!(
        (cancelled.location().file(), cancelled.location().line()),
        (file!(), line)
    );
    assert!(
        cancelled.to_string().contains("CancellationToken"),
        "{cancelled}"
    );
    drop(link);
}

#[test]
fn a_cancel_of_a_parent_on_the_side_of_tokio_counts() {
    let _watch = watch();
    let parent = CancellationToken::new();
    let (ours, _link) = token_from(&parent.child_token());
    parent.cancel();
    ours.wait().unwrap();
}

#[test]
fn a_token_that_is_cancelled_already_cancels_at_once() {
    let theirs = CancellationToken::new();
    theirs.cancel();
    let (ours, link) = token_from(&theirs);
    assert!(ours.is_cancelled());
    assert_eq!(ours.cancelled().unwrap().location().file(), file!());
    drop(link);

    let (back, link) = token_into(&ours);
    assert!(back.is_cancelled());
    drop(link);
}

#[test]
fn a_cancel_wakes_futures() {
    let _watch = watch();
    let ours = CancelToken::new();
    let (theirs, _link) = token_into(&ours);
    let waiting = theirs.clone();
    let future = thread::spawn(move || one_thread().block_on(waiting.cancelled()));
    let child = theirs.child_token();
    ours.cancel();
    assert!(child.is_cancelled());
    future.join().unwrap();
}

#[test]
fn a_deadline_wakes_futures() {
    let _watch = watch();
    let ours = CancelToken::new();
    let (theirs, _link) = token_into(&ours);
    ours.cancel_after(Duration::from_millis(1));
    one_thread().block_on(theirs.cancelled());
}

#[test]
fn a_failed_group_wakes_futures() {
    let _watch = watch();
    let runtime = one_thread();
    let outcome = TaskGroup::scope(|g| {
        let (theirs, link) = token_into(g.token());
        g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("the disk is full") });
        runtime.block_on(theirs.cancelled());
        drop(link);
        Ok(())
    });
    assert!(
        outcome
            .unwrap_err()
            .to_string()
            .contains("the disk is full")
    );
}

#[test]
fn a_dropped_link_has_no_effect() {
    let _watch = watch();
    let theirs = CancellationToken::new();
    let (ours, link) = token_from(&theirs);
    drop(link);
    let (control, _link) = token_from(&theirs);
    theirs.cancel();
    control.wait().unwrap();
    assert!(!ours.is_cancelled());

    let (back, link) = token_into(&ours);
    drop(link);
    ours.cancel();
    assert!(!back.is_cancelled());
}

#[test]
fn a_link_that_is_dropped_after_the_cancel_has_passed_it_on() {
    let _watch = watch();
    for _ in 0..100 {
        let theirs = CancellationToken::new();
        let (ours, link) = token_from(&theirs);
        theirs.cancel();
        drop(link);
        ours.wait().unwrap();
    }
}

#[test]
fn a_link_acts_in_one_direction() {
    let theirs = CancellationToken::new();
    let (ours, _link) = token_from(&theirs);
    ours.cancel();
    assert!(!theirs.is_cancelled());

    let ours = CancelToken::new();
    let (theirs, _link) = token_into(&ours);
    theirs.cancel();
    assert!(!ours.is_cancelled());
}

#[test]
fn from_a_to_b_to_a_there_is_no_loop() {
    let _watch = watch();
    let a = CancellationToken::new();
    let (b, _a_to_b) = token_from(&a);
    let (c, _b_to_c) = token_into(&b);
    let (d, _c_to_d) = token_from(&c);
    let calls = Arc::new(AtomicUsize::new(0));
    let called = calls.clone();
    d.on_cancel(move || _ = called.fetch_add(1, SeqCst))
        .forget();

    a.cancel();
    d.wait().unwrap();
    assert!(b.is_cancelled() && c.is_cancelled());
    until(|| calls.load(SeqCst) == 1);

    // A real cycle, built by hand: each cancels the other, once.
    let (x, y) = (CancellationToken::new(), CancelToken::new());
    let (from_x, _from_x) = token_from(&x);
    let (of_y, _of_y) = token_into(&y);
    let also = y.clone();
    from_x.on_cancel(move || _ = also.cancel()).forget();
    let there = x.clone();
    let cycle = thread::spawn(move || {
        one_thread().block_on(of_y.cancelled());
        there.cancel();
    });
    y.cancel();
    cycle.join().unwrap();
    from_x.wait().unwrap();
    assert!(x.is_cancelled() && y.is_cancelled());
}

#[test]
fn a_link_does_not_keep_a_token_of_ours_from_tokio() {
    let drops = Drops::default();
    let theirs = CancellationToken::new();
    let (ours, link) = token_from(&theirs);
    let captured = drops.counted();
    ours.on_cancel(move || drop(captured)).forget();
    drop(ours);
    assert_eq!(drops.count(), 1);
    theirs.cancel();
    drop(link);
}

/// The cancel of many blocked threads takes milliseconds, which a runtime must not wait for.
#[test]
fn a_thousand_blocked_threads_do_not_hold_the_runtime_up() {
    const THREADS: usize = 1_000;
    let _watch = watch();
    let (theirs, all) = (CancellationToken::new(), Event::new());
    let (ours, _link) = token_from(&theirs);
    let (ready, woken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // The thread that delivers the cancel does not end before the runtime has gone on.
    let go_on = Arc::new(Gate::default());
    let gate = go_on.clone();
    ours.on_cancel(move || gate.wait()).forget();
    thread::scope(|threads| {
        for _ in 0..THREADS {
            let spawned = thread::Builder::new()
                .stack_size(64 << 10)
                .spawn_scoped(threads, || {
                    ours.run(|| {
                        ready.fetch_add(1, SeqCst);
                        assert!(all.wait().is_err());
                    });
                    woken.fetch_add(1, SeqCst);
                });
            spawned.expect("a thousand threads are allowed");
        }
        until(|| ready.load(SeqCst) == THREADS);
        one_thread().block_on(async {
            let started = Instant::now();
            theirs.cancel();
            let held = started.elapsed();
            go_on.open();
            println!("held for {held:?}");
            // It is less than a millisecond, except on a machine where this thread did not run.
            assert!(held < Duration::from_secs(5), "{held:?}");
        });
    });
    assert_eq!(woken.load(SeqCst), THREADS);
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
