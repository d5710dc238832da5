//! Cancelling a group: which tasks see the cancel, with which cause, and what happens to tasks that
//! have not begun.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use support::{Drops, Gate, LONG, blocked};
use taskgroup::{
    CancelCause, CancelToken, Cancelled, GroupError, OnFailure, SpawnErrorKind, TaskGroup,
    TaskHandle, TaskStatus,
};

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
        &|_| taskgroup::park(),
        &|_| taskgroup::park_timeout(LONG),
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
fn a_task_cut_short_by_an_ancestor_makes_the_scope_say_so() {
    let parent = CancelToken::new();
    let started = Barrier::new(2);
    let error = TaskGroup::builder()
        .parent(&parent)
        .scope(|g| {
            g.spawn(|| {
                started.wait();
                Err::<(), _>(blocked().into())
            });
            started.wait();
            parent.cancel();
            Ok("the body does not mind")
        })
        .unwrap_err();
    assert_eq!(error.cancelled().map(Cancelled::origin), Some(parent.id()));
    assert!(error.failures().is_empty());
}

#[test]
fn values_produced_in_spite_of_an_ancestors_cancel_are_not_lost() -> Result<(), GroupError> {
    let parent = CancelToken::new();
    let value = TaskGroup::builder().parent(&parent).scope(|g| {
        let task = g.spawn(|| {
            blocked();
            Ok(20)
        });
        while task.status() == TaskStatus::Queued {
            std::thread::yield_now();
        }
        parent.cancel();
        Ok(taskgroup::shield(|| task.join())? + 1)
    })?;
    assert_eq!(value, 21);
    Ok(())
}

#[test]
fn a_task_that_never_ran_because_of_an_ancestor_was_cut_short() {
    let (running, leave) = (Gate::default(), Gate::default());
    let parent = CancelToken::new();
    let error = TaskGroup::builder()
        .parent(&parent)
        .limit(1)
        .scope(|g| {
            g.spawn(|| {
                running.open();
                leave.wait();
                Ok(())
            });
            running.wait();
            g.spawn(|| Ok(()));
            parent.cancel();
            leave.open();
            Ok("the body does not mind")
        })
        .unwrap_err();
    assert_eq!(error.cancelled().map(Cancelled::origin), Some(parent.id()));
    assert!(error.failures().is_empty());
}

/// How many threads this process has.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[cfg(target_os = "linux")]
#[test]
fn a_task_spawned_after_a_cancel_starts_no_thread() {
    support::alone("a_task_spawned_after_a_cancel_starts_no_thread", || {
        // The cache has no thread yet, so a thread for the task would have to be started.
        let before = threads();
        // A scope that is cancelled is watched, by the thread of the timer, unless it says
        // otherwise.
        let unwatched = TaskGroup::builder().stall_after(Duration::MAX);
        let outcome = unwatched.scope(|g| -> anyhow::Result<()> {
            g.cancel();
            g.spawn(|| Ok(()));
            g.spawn_daemon(|| Ok(()));
            g.task().dedicated().spawn(|| Ok(()));
            assert!(g.task().dedicated().try_spawn(|| Ok(())).is_err());
            assert_eq!(threads(), before);
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(threads(), before);
    });
}

#[test]
fn an_empty_scope_inside_a_cancelled_parent_keeps_the_bodys_value() -> Result<(), GroupError> {
    let parent = CancelToken::new();
    parent.cancel();
    assert_eq!(parent.run(|| TaskGroup::scope(|_| Ok(1)))?, 1);
    assert_eq!(TaskGroup::builder().parent(&parent).scope(|_| Ok(2))?, 2);
    Ok(())
}

#[test]
fn a_cancel_reaches_the_leaves_of_nested_groups_with_its_reason() -> Result<(), GroupError> {
    let started = Barrier::new(5);
    let seen = Mutex::new(Vec::new());
    let leaf = || {
        started.wait();
        let cancelled = blocked();
        seen.lock()
            .unwrap()
            .push((requested(&cancelled).map(str::to_owned), cancelled.origin()));
        Err::<(), _>(cancelled.into())
    };
    let top = TaskGroup::scope(|top| {
        for _ in 0..2 {
            top.spawn(|| {
                TaskGroup::scope(|worker| {
                    worker.spawn(leaf);
                    worker.spawn(leaf);
                    Ok(())
                })?;
                Ok(())
            });
        }
        started.wait();
        top.cancel_because("from the top");
        Ok(top.token().id())
    })?;
    assert_eq!(
        seen.into_inner().unwrap(),
        vec![(Some("from the top".to_owned()), top); 4]
    );
    Ok(())
}

#[test]
fn a_cancelled_inner_group_leaves_the_outer_one_alone() -> Result<(), GroupError> {
    TaskGroup::scope(|outer| {
        let sibling = outer.spawn(|| Ok(taskgroup::checkpoint()?));
        TaskGroup::scope(|inner| {
            inner.spawn(|| Ok(taskgroup::sleep(LONG)?));
            inner.cancel();
            Ok(())
        })?;
        taskgroup::checkpoint()?;
        Ok(sibling.join()?)
    })
}

#[test]
fn the_callers_token_is_not_cancelled_by_a_failed_scope() -> Result<(), GroupError> {
    let caller = CancelToken::new();
    caller.run(|| {
        let failed = TaskGroup::scope(|g| {
            g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("inside") });
            Ok(())
        });
        assert!(failed.is_err());
        assert!(taskgroup::checkpoint().is_ok());
        assert_eq!(taskgroup::current_token().as_ref(), Some(&caller));
    });
    assert!(!caller.is_cancelled());
    TaskGroup::scope(|outer| {
        let failed = TaskGroup::scope(|_| -> anyhow::Result<()> { anyhow::bail!("inside") });
        assert!(failed.is_err());
        outer.spawn(|| Ok(()));
        Ok(taskgroup::checkpoint()?)
    })
}

#[test]
fn a_groups_token_is_a_child_of_the_ambient_one() -> Result<(), GroupError> {
    let ambient = CancelToken::new();
    ambient.run(|| {
        TaskGroup::scope(|g| {
            assert_ne!(g.token(), &ambient);
            assert_eq!(taskgroup::current_token().as_ref(), Some(g.token()));
            ambient.cancel_because("ambient");
            assert!(g.token().is_cancelled());
            assert_eq!(
                g.token().cancelled().map(|cancelled| cancelled.origin()),
                Some(ambient.id())
            );
            Ok(())
        })
    })
}

#[test]
fn a_task_spawned_after_a_cancel_never_runs_and_its_captures_are_dropped() -> Result<(), GroupError>
{
    let (drops, ran) = (Drops::default(), AtomicUsize::new(0));
    TaskGroup::scope(|g| {
        g.cancel_because("too late");
        let own = drops.counted();
        let task = g.spawn(|| {
            let _own = own;
            ran.fetch_add(1, Ordering::Relaxed);
            Ok(1)
        });
        assert_eq!(drops.count(), 1, "the captures outlive the refusal");
        assert_eq!(task.status(), TaskStatus::NeverRan);
        assert!(task.is_finished());
        let cancelled = task.join().expect_err("it never ran");
        assert_eq!(requested(&cancelled), Some("too late"));
        Ok(())
    })?;
    assert_eq!((ran.into_inner(), drops.count()), (0, 1));
    Ok(())
}

#[test]
fn a_task_that_spawns_while_its_group_is_ending_is_refused() {
    let (drops, started) = (Drops::default(), Barrier::new(2));
    let mut late = None;
    let error = TaskGroup::scope(|g| {
        let (own, late, started) = (drops.counted(), &mut late, &started);
        g.spawn(move || {
            started.wait();
            blocked();
            let refused = g.spawn(move || {
                let _own = own;
                Ok(())
            });
            *late = Some(refused.status());
            Ok(())
        });
        started.wait();
        Err::<(), _>(anyhow::anyhow!("abort"))
    })
    .unwrap_err();
    assert_eq!((late, drops.count()), (Some(TaskStatus::NeverRan), 1));
    assert_eq!(error.failures().len(), 1);
}

#[test]
fn try_spawn_after_a_cancel_gives_the_closure_back() -> Result<(), GroupError> {
    let drops = Drops::default();
    let value = TaskGroup::scope(|g| {
        g.cancel_because("no more");
        let own = drops.counted();
        let refused = g
            .try_spawn(move || {
                let _own = &own;
                Ok(9)
            })
            .expect_err("the group is cancelled");
        assert!(matches!(
            refused.kind(),
            SpawnErrorKind::Cancelled(c) if requested(c) == Some("no more")
        ));
        assert_eq!(drops.count(), 0, "the refused closure keeps its captures");
        refused.into_task()()
    })?;
    assert_eq!((value, drops.count()), (9, 1));
    Ok(())
}

#[test]
fn a_request_is_located_at_its_call() -> Result<(), GroupError> {
    let (location, line) = TaskGroup::scope(|g| {
        let line = line!() + 1;
        g.cancel();
        Ok((blocked().location(), line))
    })?;
    assert!(location.file().ends_with("cancel.rs"));
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

#[test]
fn a_task_cut_short_by_a_failure_further_out_makes_its_scope_say_so() {
    let mut outermost = None;
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|outer| {
            outermost = Some(outer.token().id());
            let failed = outer.spawn(|| -> anyhow::Result<()> { anyhow::bail!("crash") });
            // Nothing is cancelled, and the task of the inner scope gives up all the same.
            let inner = TaskGroup::scope(|inner| {
                inner.spawn(move || Ok(failed.join()?));
                Ok("the body's value")
            });
            let error = inner.expect_err("a task of it was cut short");
            assert!(error.failures().is_empty(), "{error:#}");
            assert_eq!(error.cancelled().map(Cancelled::origin), outermost);
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.failures().len(), 1);
}
