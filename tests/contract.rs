//! The names and meanings the crate is held to. Every call here is one a user writes; if this file compiles and passes,
//! programs written against the contract keep working.

// The lines stay as they were agreed: not laid out anew, not simplified. Some imports serve only the parts cut below.
#![cfg_attr(rustfmt, rustfmt_skip)]
#![allow(clippy::err_expect, clippy::redundant_closure, unused_imports)]

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use taskgroup::channel;
use taskgroup::sync::{Barrier, Condvar, Event, Latch, Mutex, OnceCell, Promise, RwLock, Semaphore};
use taskgroup::{
    CancelCause, CancelToken, Cancelled, FailureKind, GroupError, OnFailure, OnPanic, SpawnErrorKind, TaskError, TaskGroup,
    TaskStatus,
};

const LONG: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("not a number: {0}")]
    Parse(#[from] std::num::ParseIntError),
}

impl TaskError for FetchError {
    fn cancelled(&self) -> Option<&Cancelled> {
        match self {
            FetchError::Cancelled(cancelled) => Some(cancelled),
            FetchError::Parse(_) => None,
        }
    }
}

fn parse(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.parse()
}

#[test]
fn tasks_borrow_locals_and_return_values() -> anyhow::Result<()> {
    let words = ["1", "2", "3"];
    let mut seen = 0;
    let total = TaskGroup::scope(|g| {
        let first = g.spawn(|| Ok(parse(words[0])?));
        let rest: Vec<_> = words[1..].iter().map(|word| g.spawn(move || Ok(parse(word)?))).collect();
        g.spawn(|| {
            seen = 7;
            g.spawn(|| Ok(()));
            Ok(())
        });
        let mut sum = first.join()?;
        for handle in rest {
            sum += handle.join()?;
        }
        Ok(sum)
    })?;
    assert_eq!((total, seen), (6, 7));
    Ok(())
}

#[test]
fn first_failure_wakes_blocked_siblings_and_the_body() {
    let started = Instant::now();
    let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
        g.spawn(|| {
            taskgroup::sleep(LONG)?;
            Ok(())
        });
        g.task().name("parser").spawn(|| Ok(parse("x")?));
        taskgroup::sleep(LONG)?;
        Ok(())
    })
    .unwrap_err();
    assert!(started.elapsed() < LONG / 2);
    assert_eq!(error.failures().len(), 1);
    let failure = error.primary().expect("the parser failed");
    assert_eq!(failure.task().and_then(|task| task.name.as_deref()), Some("parser"));
    assert!(matches!(failure.kind(), FailureKind::Error(e) if e.is::<std::num::ParseIntError>()));
    assert!(format!("{error:#}").contains("parser"), "the tree names the task: {error:#}");
}

#[test]
fn panics_and_errors_are_reported_together() {
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .on_panic(OnPanic::Collect)
        .scope(|g| {
            g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("disk full") });
            g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
            g.spawn(|| Ok(()));
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.errors().count(), 1);
    assert_eq!(error.panics().next().map(|panic| panic.message()), Some("index 3 of 2"));
    let (panics, errors) = error.split(|failure| matches!(failure.kind(), FailureKind::Panic(_)));
    assert_eq!(panics.map(|e| e.failures().len()), Some(1));
    assert_eq!(errors.and_then(|e| e.into_single().ok()).map(|e| e.to_string()), Some("disk full".to_owned()));
}

#[test]
fn typed_groups() -> Result<(), GroupError<FetchError>> {
    let sum = TaskGroup::builder().error_type::<FetchError>().name("typed").limit(2).scope(|g| {
        let a = g.spawn(|| Ok(parse("20")?));
        let b = g.spawn(|| {
            taskgroup::checkpoint()?;
            Ok(parse("22")?)
        });
        Ok(a.join()? + b.join()?)
    })?;
    assert_eq!(sum, 42);
    let read: Result<usize, GroupError<io::Error>> = TaskGroup::builder().error_type().scope(|g| {
        let file = g.spawn(|| {
            taskgroup::checkpoint()?;
            Ok(std::fs::read("Cargo.toml")?.len())
        });
        Ok(file.join()?)
    });
    assert!(read.expect("Cargo.toml is readable") > 0);
    Ok(())
}

#[test]
fn isolated_failures_go_to_the_joiner() -> anyhow::Result<()> {
    let bad = TaskGroup::scope(|g| {
        let task = g.spawn_isolated(|| Ok(parse("x")?));
        let good = g.spawn(|| Ok(1));
        Ok((task.join()?.is_err(), good.join()?))
    })?;
    assert_eq!(bad, (true, 1));
    Ok(())
}

#[test]
fn daemons_end_with_the_group() -> anyhow::Result<()> {
    let ticks = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        g.spawn_daemon(|| loop {
            ticks.fetch_add(1, Ordering::Relaxed);
            taskgroup::sleep(Duration::from_millis(1))?;
        });
        let work = g.spawn(|| {
            while ticks.load(Ordering::Relaxed) < 3 {
                taskgroup::yield_now()?;
            }
            Ok(())
        });
        Ok(work.join()?)
    })?;
    assert!(ticks.into_inner() > 0);
    Ok(())
}

#[test]
fn start_returns_what_the_task_made_ready() -> anyhow::Result<()> {
    let port = TaskGroup::scope(|g| {
        let port = g.start(|ready| {
            ready.send(8080);
            taskgroup::sleep(Duration::from_millis(1))?;
            Ok(())
        })?;
        Ok(port)
    })?;
    assert_eq!(port, 8080);
    Ok(())
}

#[test]
fn refused_tasks_come_back() -> anyhow::Result<()> {
    let hold = Event::new();
    let outcome = TaskGroup::builder().limit(1).scope(|g| {
        let running = g.spawn(|| Ok(hold.wait()?));
        while running.status() != TaskStatus::Running {
            taskgroup::yield_now()?;
        }
        let refused = g.try_spawn(|| Ok(5)).err().expect("the group is full");
        assert!(matches!(refused.kind(), SpawnErrorKind::Full));
        hold.set();
        refused.into_task()()
    })?;
    assert_eq!(outcome, 5);
    Ok(())
}

#[test]
fn handles_tell_their_state() -> anyhow::Result<()> {
    let done = AtomicUsize::new(0);
    let started = std::sync::Barrier::new(2);
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            started.wait();
            taskgroup::sleep(LONG)?;
            Ok(())
        });
        task.on_finished(|status| {
            assert_eq!(status, TaskStatus::Cancelled);
            done.fetch_add(1, Ordering::Relaxed);
        });
        started.wait();
        assert_eq!(task.wait_timeout(Duration::from_millis(5))?, None);
        task.cancel();
        assert_eq!(task.wait()?, TaskStatus::Cancelled);
        assert!(task.is_finished());
        assert_eq!(done.load(Ordering::Relaxed), 1);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn maps_and_completion_order() -> anyhow::Result<()> {
    let squares = TaskGroup::builder().limit(3).scope(|g| {
        let ordered: Vec<u64> = g.map(1..=5u64, |n| Ok(n * n)).collect::<Result<_, _>>()?;
        assert_eq!(ordered, [1, 4, 9, 16, 25]);
        let mut any: Vec<u64> = g.map_unordered(vec![1u64, 2, 3], |n| Ok(n + 1)).collect::<Result<_, _>>()?;
        any.sort_unstable();
        assert_eq!(any, [2, 3, 4]);
        let mut names = HashMap::new();
        let handles: Vec<_> = ["ab", "c"]
            .into_iter()
            .map(|word| {
                let handle = g.spawn(move || Ok(word.len()));
                names.insert(handle.id(), word);
                handle
            })
            .collect();
        let finished = g.as_completed(handles);
        assert_eq!(finished.len(), 2);
        let mut total = 0;
        for handle in finished {
            let handle = handle?;
            assert!(names.contains_key(&handle.id()));
            total += handle.join()?;
        }
        Ok(total)
    })?;
    assert_eq!(squares, 3);
    assert_eq!(taskgroup::map(["1", "2"], 2, |word| Ok::<_, FetchError>(parse(word)?))?, [1, 2]);
    Ok(())
}

#[test]
fn race_and_join() -> anyhow::Result<()> {
    let slow: fn() -> Result<u32, FetchError> = || {
        taskgroup::sleep(LONG)?;
        Ok(1)
    };
    let quick: fn() -> Result<u32, FetchError> = || Ok(2);
    assert_eq!(taskgroup::race([slow, quick])?, 2);
    let (a, b) = taskgroup::join(|| Ok::<_, FetchError>(parse("1")?), || Ok("b"))?;
    assert_eq!((a, b), (1, "b"));
    assert!(taskgroup::race(Vec::<fn() -> Result<u32, FetchError>>::new()).is_err());
    Ok(())
}

#[test]
fn time() -> anyhow::Result<()> {
    let cut = taskgroup::timeout(Duration::from_millis(5), || {
        taskgroup::sleep(LONG)?;
        anyhow::Ok(1)
    })?;
    assert_eq!(cut, None);
    let whole = taskgroup::deadline(Instant::now() + LONG, || {
        assert!(taskgroup::remaining().is_some_and(|left| left <= LONG));
        anyhow::Ok(2)
    })?;
    assert_eq!(whole, Some(2));
    let late = TaskGroup::builder()
        .timeout(Duration::from_millis(5))
        .scope(|g| {
            g.spawn(|| {
                taskgroup::sleep_until(Instant::now() + LONG)?;
                Ok(())
            });
            Ok(())
        })
        .unwrap_err();
    assert!(late.timed_out());
    assert!(late.failures().is_empty());
    Ok(())
}

#[test]
fn tokens() -> anyhow::Result<()> {
    let root = CancelToken::new();
    let child = root.child();
    let other = CancelToken::new();
    let either = CancelToken::linked([&child, &other]);
    let calls = std::sync::Arc::new(AtomicUsize::new(0));
    let guard = either.on_cancel({
        let calls = calls.clone();
        move || {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(root.cancel_because("shutting down"));
    assert!(!root.cancel(), "the first cancel wins");
    drop(guard);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(child.is_cancelled() && either.is_cancelled() && !other.is_cancelled());
    let cancelled = child.check().unwrap_err();
    assert!(matches!(cancelled.cause(), CancelCause::Requested { reason: Some(why) } if why == "shutting down"));
    assert_eq!(cancelled.origin(), root.id());
    assert!(cancelled.location().file().ends_with("contract.rs"));
    assert!(either.run(|| taskgroup::sleep(LONG)).is_err());
    assert!(taskgroup::current_token().is_none());
    taskgroup::checkpoint()?;
    let stopped = TaskGroup::builder().parent(&root).scope(|g| {
        g.spawn(|| Ok(taskgroup::sleep(LONG)?));
        Ok(taskgroup::checkpoint()?)
    });
    assert!(stopped.unwrap_err().cancelled().is_some());
    Ok(())
}

#[test]
fn shields_hooks_and_abandoning() -> anyhow::Result<()> {
    let cleaned = AtomicUsize::new(0);
    let interrupted = AtomicUsize::new(0);
    let started = std::sync::Barrier::new(3);
    let _ = TaskGroup::scope(|g| {
        g.spawn(|| {
            started.wait();
            let slept = taskgroup::sleep(LONG);
            taskgroup::shield(|| taskgroup::sleep(Duration::from_millis(1)))?;
            taskgroup::shield_for(LONG, || taskgroup::checkpoint())?;
            cleaned.fetch_add(1, Ordering::Relaxed);
            Ok(slept?)
        });
        g.spawn(|| {
            let (wake, asleep) = std::sync::mpsc::channel();
            started.wait();
            taskgroup::with_cancel_hook(
                || {
                    interrupted.fetch_add(1, Ordering::Relaxed);
                    let _ = wake.send(());
                },
                || asleep.recv(),
            )?;
            Ok(())
        });
        g.spawn(|| Ok(taskgroup::abandon(|| std::thread::sleep(Duration::from_millis(200)))?));
        started.wait();
        g.cancel();
        Ok(())
    });
    assert_eq!((cleaned.into_inner(), interrupted.into_inner()), (1, 1));
    Ok(())
}

#[test]
fn release_hooks_run_last_and_in_reverse() -> anyhow::Result<()> {
    let order = std::sync::Mutex::new(Vec::new());
    TaskGroup::scope(|g| {
        g.on_release(|| {
            order.lock().unwrap().push("first opened");
            Ok(())
        });
        g.on_release(|| {
            order.lock().unwrap().push("last opened");
            Ok(())
        });
        g.spawn(|| {
            order.lock().unwrap().push("task");
            Ok(())
        });
        Ok(())
    })?;
    assert_eq!(order.into_inner()?, ["task", "last opened", "first opened"]);
    Ok(())
}

#[test]
fn blocking_primitives() -> anyhow::Result<()> {
    static COUNT: Mutex<u32> = Mutex::new(0);
    let ready = Condvar::new();
    let table = RwLock::new(HashMap::from([("a", 1)]));
    let permits = Semaphore::new(1);
    let barrier = Barrier::new(2);
    let gate = Event::new();
    let latch = Latch::new(1);
    let once = OnceCell::new();
    let promise = Promise::new();
    TaskGroup::scope(|g| {
        g.spawn(|| {
            *COUNT.lock()? += 1;
            ready.notify_all();
            table.write()?.insert("b", 2);
            gate.set();
            latch.count_down();
            assert!(promise.set(7).is_ok());
            barrier.wait()?;
            Ok(())
        });
        let mut count = COUNT.lock()?;
        ready.wait_while(&mut count, |n| *n == 0)?;
        drop(count);
        gate.wait()?;
        latch.wait()?;
        assert_eq!(table.read()?.get("b"), Some(&2));
        let permit = permits.acquire()?;
        assert!(permits.try_acquire().is_none());
        drop(permit);
        assert_eq!(*once.get_or_try_init(|| Ok::<_, Cancelled>(3))?, 3);
        assert_eq!(*promise.wait()?, 7);
        barrier.wait()?;
        Ok(())
    })?;
    Ok(())
}

#[test]
fn channels() -> anyhow::Result<()> {
    let total = TaskGroup::scope(|g| {
        let (sender, receiver) = channel::bounded(1);
        for n in 0..4u32 {
            let sender = sender.clone();
            g.spawn(move || Ok(sender.send(n)?));
        }
        drop(sender);
        let mut total = 0;
        for n in receiver.iter() {
            total += n?;
        }
        assert!(matches!(receiver.recv(), Err(channel::RecvError::Disconnected)));
        Ok(total)
    })?;
    assert_eq!(total, 6);
    let (sender, receiver) = channel::unbounded::<u32>();
    let stopped = TaskGroup::scope(|g| {
        g.spawn(|| Ok(receiver.recv()?));
        g.cancel();
        Ok(())
    });
    assert!(stopped.is_ok(), "a group that cancelled itself is not an error");
    assert!(sender.send(1).is_ok());
    Ok(())
}
