//! Calls of this crate under a runtime of tokio.

use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use taskgroup::net::TcpListener;
use taskgroup::process::Command;
use taskgroup::tokio_bridge::{spawn_blocking, token_from, token_into};
use taskgroup::{CancelCause, TaskGroup};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::blocked::{the_cancel, when_blocked};
use crate::children::has_children;
use crate::support::{Gate, alone, watch};

fn runtime() -> tokio::runtime::Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap()
}

#[test]
fn a_dropped_future_ends_the_child_that_its_closure_waits_for() {
    let test = "a_dropped_future_ends_the_child_that_its_closure_waits_for";
    alone(test, || {
        let _watch = watch();
        runtime().block_on(async {
            let ((begin, begun), (ended, end)) = (oneshot::channel(), oneshot::channel());
            let work = spawn_blocking(move || {
                let child = Command::new("sleep").arg("600").spawn().unwrap();
                begin.send(()).unwrap();
                ended.send(child.wait()).unwrap();
            });
            begun.await.unwrap();
            drop(work);
            let cut = the_cancel(end.await.unwrap());
            assert!(matches!(cut.cause(), CancelCause::Dropped), "{cut}");
        });
        assert!(!has_children());
    });
}

#[test]
fn a_runtime_that_is_left_in_the_background_ends_its_accept() {
    let runtime = runtime();
    let ((begin, begun), ended) = (oneshot::channel(), Arc::new(Gate::default()));
    let gate = ended.clone();
    runtime.spawn(async move {
        let work = spawn_blocking(move || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            begin.send(()).unwrap();
            the_cancel(listener.accept());
            gate.open();
        });
        work.await.unwrap();
    });
    runtime.block_on(begun).unwrap();
    runtime.shutdown_background();
    ended.wait();
}

#[test]
fn a_closure_that_waits_for_a_future_passes_its_cancel_on() {
    let _watch = watch();
    runtime().block_on(async {
        let ((begin, begun), (ended, end)) = (oneshot::channel(), oneshot::channel());
        let work = spawn_blocking(move || {
            let ours = taskgroup::current_token().unwrap();
            let (theirs, _link) = token_into(&ours);
            let inner = async {
                let inner = spawn_blocking(|| taskgroup::sleep(Duration::MAX).unwrap_err());
                begin.send(()).unwrap();
                // The inner work is dropped with this future.
                theirs.run_until_cancelled(inner).await.is_none()
            };
            ended.send(Handle::current().block_on(inner)).unwrap();
        });
        begun.await.unwrap();
        drop(work);
        assert!(end.await.unwrap(), "the wait was cut");
    });
}

#[test]
fn a_future_that_loses_a_select_cancels_its_closure_and_the_winner_stays() {
    let _watch = watch();
    runtime().block_on(async {
        let (ended, end) = oneshot::channel();
        let slow = spawn_blocking(move || ended.send(taskgroup::sleep(Duration::MAX).unwrap_err()));
        let fast = spawn_blocking(|| 7);
        tokio::pin!(slow, fast);
        let won = std::future::poll_fn(|context| {
            use std::task::Poll;
            if let Poll::Ready(value) = fast.as_mut().poll(context) {
                return Poll::Ready(value);
            }
            assert!(slow.as_mut().poll(context).is_pending());
            Poll::Pending
        });
        assert_eq!(won.await.unwrap(), 7);
        slow.set(spawn_blocking(|| Ok(())));
        // Dropped by the set: cancelled, or never begun.
        match end.await {
            Ok(cut) => assert!(matches!(cut.cause(), CancelCause::Dropped), "{cut}"),
            Err(_never_ran) => {}
        }
        slow.await.unwrap().unwrap();
    });
}

#[test]
fn a_token_of_tokio_ends_a_server_and_outlives_the_runtime() {
    let _watch = watch();
    let theirs = CancellationToken::new();
    let (stop, _link) = token_from(&theirs);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let runtime = runtime();
    thread::scope(|threads| {
        let server = when_blocked(threads, || {
            let builder = TaskGroup::builder().parent(&stop);
            let served = builder.scope(|g| {
                for stream in listener.incoming() {
                    let mut stream = stream?;
                    g.spawn(move || Ok(stream.read(&mut [0]).map(drop)?));
                }
                Ok(())
            });
            served.unwrap_err().cancelled().is_some()
        });
        drop(runtime);
        theirs.cancel();
        assert!(server.join().unwrap());
    });
}
