//! Cancelling a group: which tasks see the cancel, with which cause, and what happens to tasks that
//! have not begun.

mod nested;
mod spawn;
#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use taskgroup::{
    CancelCause, CancelToken, Cancelled, GroupError, TaskGroup, TaskHandle, TaskStatus,
};

use support::{Gate, LONG, blocked};

fn requested(cancelled: &Cancelled) -> Option<&str> {
    match cancelled.cause() {
        CancelCause::Requested { reason } => reason.as_deref(),
        other => panic!("not a request: {other:?}"),
    }
}

#[test]
fn every_blocking_point_fails_each_time_after_a_cancel() -> Result<(), GroupError> {
    let outcomes = TaskGroup::scope(|g| {
        let queued = g.spawn(|| Ok(taskgroup::sleep(LONG)?));
        g.cancel();
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            outcomes.extend([
                ("checkpoint", taskgroup::checkpoint().is_err()),
                ("sleep", taskgroup::sleep(LONG).is_err()),
                (
                    "sleep for no time",
                    taskgroup::sleep(Duration::ZERO).is_err(),
                ),
                (
                    "sleep until the past",
                    taskgroup::sleep_until(Instant::now()).is_err(),
                ),
                ("park", taskgroup::park().is_err()),
                ("park_timeout", taskgroup::park_timeout(LONG).is_err()),
                ("yield_now", taskgroup::yield_now().is_err()),
                ("token wait", CancelToken::new().wait().is_err()),
                (
                    "token wait_timeout",
                    CancelToken::new().wait_timeout(LONG).is_err(),
                ),
                ("is_cancelled", taskgroup::is_cancelled()),
            ]);
        }
        drop(queued);
        Ok(outcomes)
    })?;
    for (point, failed) in outcomes {
        assert!(failed, "{point}");
    }
    Ok(())
}

#[test]
fn cancelling_twice_changes_nothing() -> Result<(), GroupError> {
    let reason = TaskGroup::scope(|g| {
        g.cancel_because("first");
        g.cancel_because("second");
        assert!(!g.token().cancel_because("third"));
        Ok(requested(&blocked()).map(str::to_owned))
    })?;
    assert_eq!(reason.as_deref(), Some("first"));
    Ok(())
}

/// A blocking point, and a task that does not end for it to wait for.
type Point<'a> = &'a (dyn Fn(TaskHandle<'_, ()>) -> Result<(), Cancelled> + Sync);

#[test]
fn a_cancel_wakes_every_kind_of_blocking_point() -> Result<(), GroupError> {
    let (started, leave) = (Barrier::new(12), Gate::default());
    let woken = AtomicUsize::new(0);
    let foreign = CancelToken::new();
    let points: [Point<'_>; 11] = [
        &|_| taskgroup::sleep(LONG),
        &|_| taskgroup::sleep_until(Instant::now() + LONG),
        // One park may return early.
        &|_| loop {
            taskgroup::park()?;
        },
        &|_| loop {
            taskgroup::park_timeout(LONG)?;
        },
        &|_| foreign.wait(),
        &|_| foreign.wait_timeout(LONG).map(drop),
        &|stays| stays.join(),
        &|stays| stays.wait().map(drop),
        &|stays| stays.wait_timeout(LONG).map(drop),
        &|stays| stays.cancel_and_wait().map(drop),
        &|_| loop {
            taskgroup::yield_now()?;
        },
    ];
    TaskGroup::scope(|outer| {
        TaskGroup::scope(|g| {
            for point in points {
                let stays = outer.spawn(|| {
                    leave.wait();
                    Ok(())
                });
                g.spawn(|| {
                    let stays = stays;
                    support::until(|| stays.status() == TaskStatus::Running);
                    started.wait();
                    let cancelled = point(stays).expect_err("only a cancel ends this");
                    woken.fetch_add(1, Ordering::Relaxed);
                    Err::<(), _>(cancelled.into())
                });
            }
            started.wait();
            g.cancel();
            Ok(())
        })?;
        leave.open();
        Ok(())
    })?;
    assert_eq!(woken.into_inner(), 11);
    Ok(())
}

#[test]
fn a_group_that_cancels_itself_returns_the_bodys_value() -> Result<(), GroupError> {
    let value = TaskGroup::scope(|g| {
        g.spawn(|| Ok(taskgroup::sleep(LONG)?));
        g.cancel();
        Ok(3)
    })?;
    assert_eq!(value, 3);
    Ok(())
}

#[test]
fn a_body_cut_short_by_its_own_group_says_so() {
    let error = TaskGroup::scope(|g| {
        g.cancel_because("enough");
        Ok(taskgroup::checkpoint()?)
    })
    .unwrap_err();
    assert!(error.failures().is_empty());
    assert_eq!(error.cancelled().and_then(requested), Some("enough"));
    assert!(!error.timed_out());
}

#[test]
fn a_token_cancelled_before_the_scope_opens_is_seen_inside() {
    let parent = CancelToken::new();
    parent.cancel_because("closed");
    let mut status = None;
    let error = TaskGroup::builder()
        .parent(&parent)
        .scope(|g| {
            status = Some(g.spawn(|| Ok(())).status());
            Ok(taskgroup::checkpoint()?)
        })
        .unwrap_err();
    assert_eq!(status, Some(TaskStatus::NeverRan));
    assert_eq!(
        error
            .cancelled()
            .map(|cancelled| (cancelled.origin(), requested(cancelled))),
        Some((parent.id(), Some("closed")))
    );
    assert!(error.failures().is_empty());
}

#[test]
fn a_request_is_located_at_its_call() -> Result<(), GroupError> {
    let (location, line) = TaskGroup::scope(|g| {
        let line = line!() + 1;
        g.cancel();
        Ok((blocked().location(), line))
    })?;
    assert_eq!(location.file(), file!());
    assert_eq!(location.line(), line);
    Ok(())
}

#[test]
fn the_first_reason_wins_over_later_failures() {
    let started = Barrier::new(2);
    let error = TaskGroup::scope(|g| {
        let task = g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            blocked();
            anyhow::bail!("late")
        });
        started.wait();
        g.cancel_because("early");
        taskgroup::shield(|| task.wait())?;
        assert_eq!(requested(&blocked()), Some("early"));
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert!(error.failures()[0].after_cancel());
}

#[test]
fn a_cancel_from_any_thread_or_task_is_the_same() -> Result<(), GroupError> {
    let (started, seen) = (Gate::default(), Mutex::new(Vec::new()));
    TaskGroup::scope(|g| {
        g.spawn(|| {
            started.wait();
            g.cancel_because("from a task");
            Ok(())
        });
        started.open();
        seen.lock()
            .unwrap()
            .extend(requested(&blocked()).map(str::to_owned));
        Ok(())
    })?;
    TaskGroup::scope(|g| {
        let token = g.token().clone();
        let foreign = std::thread::spawn(move || token.cancel_because("from a thread"));
        seen.lock()
            .unwrap()
            .extend(requested(&blocked()).map(str::to_owned));
        assert!(foreign.join().expect("cancel does not panic"));
        Ok(())
    })?;
    assert_eq!(seen.into_inner().unwrap(), ["from a task", "from a thread"]);
    Ok(())
}
