//! Blocking work of a runtime, cancelled with its future.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use taskgroup::tokio_bridge::{SpawnBlocking, spawn_blocking};
use taskgroup::{CancelCause, Cancelled, TaskGroup};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::one_thread;
use crate::support::{Bomb, Drops, Gate, LONG, blocked, watch};

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

fn two_threads() -> Runtime {
    let mut builder = runtime::Builder::new_multi_thread();
    builder.worker_threads(2).build().unwrap()
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
                        Ok(taskgroup::sleep(Duration::MAX)?)
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

    const TEST: &str = "spawn_blocking::a_runtime_that_is_shut_down_ends_a_read_of_standard_input";
    let _watch = watch();
    if !crate::support::is_child() {
        // Inputs that are open, and silent.
        let (reader, _writer) = taskgroup::io::pipe().unwrap();
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (terminal, _user) = crate::descriptors::terminal();
        for input in [OwnedFd::from(reader), near.into(), terminal] {
            crate::program::Program::start(TEST, input, "").succeeds();
        }
        return;
    }

    let runtime = one_thread();
    let ((begin, begun), (end, ended)) = (mpsc::channel(), mpsc::channel());
    let entered = runtime.enter();
    let work = tokio::spawn(spawn_blocking(move || {
        begin.send(crate::blocked::Seen::here()).unwrap();
        end.send(taskgroup::io::stdin().read(&mut [0; 1])).unwrap();
    }));
    begun.recv().unwrap().until_asleep();
    drop(entered);
    // It waits for the thread that reads.
    drop(runtime);
    crate::descriptors::assert_cancelled(ended.recv().unwrap());
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
