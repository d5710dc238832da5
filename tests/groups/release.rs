//! Release hooks, which run when everything in a scope has ended.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Drops, Gate, blocked, panic_messages};
use taskgroup::{CancelToken, GroupError, TaskGroup};

fn errors(error: &GroupError) -> Vec<String> {
    error.errors().map(ToString::to_string).collect()
}

#[test]
fn hooks_run_last_registered_first_after_all_tasks() -> Result<(), GroupError> {
    let events = Mutex::new(Vec::new());
    let leave = Gate::default();
    TaskGroup::scope(|g| {
        for name in ["first", "second", "third"] {
            let events = &events;
            g.on_release(move || {
                events.lock().unwrap().push(name);
                Ok(())
            });
        }
        g.spawn_daemon(|| {
            blocked();
            events.lock().unwrap().push("daemon");
            Ok(())
        });
        g.spawn(|| {
            leave.wait();
            events.lock().unwrap().push("task");
            Ok(())
        });
        leave.open();
        Ok(())
    })?;
    let events = events.into_inner().unwrap();
    let hooks: Vec<_> = events
        .iter()
        .copied()
        .filter(|event| !["task", "daemon"].contains(event))
        .collect();
    assert_eq!(hooks, ["third", "second", "first"]);
    assert!(events.ends_with(&hooks), "{events:?}");
    assert!(events.contains(&"task"));
    Ok(())
}

#[test]
fn hooks_run_after_a_failure_a_cancel_and_a_panic() {
    let ran = AtomicUsize::new(0);
    let count = || {
        ran.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let failed = TaskGroup::scope(|g| {
        g.on_release(count);
        g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("crash") });
        Ok(())
    });
    assert_eq!(
        failed.as_ref().map_err(errors),
        Err(vec!["crash".to_owned()])
    );
    let cancelled = TaskGroup::scope(|g| {
        g.on_release(count);
        g.cancel();
        Ok(())
    });
    assert!(cancelled.is_ok());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        TaskGroup::scope(|g| -> anyhow::Result<()> {
            g.on_release(count);
            panic_any(3_u8)
        })
    }));
    assert!(panicked.is_err_and(|payload| payload.is::<u8>()));
    assert_eq!(ran.into_inner(), 3);
}

#[test]
fn all_hooks_run_and_all_their_errors_are_reported() {
    let ran = AtomicUsize::new(0);
    let error = TaskGroup::scope(|g| {
        for n in 0..4 {
            let ran = &ran;
            g.on_release(move || {
                ran.fetch_add(1, Ordering::Relaxed);
                if n % 2 == 0 {
                    anyhow::bail!("hook {n}")
                } else {
                    Ok(())
                }
            });
        }
        Ok("the body's value")
    })
    .unwrap_err();
    assert_eq!(errors(&error), ["hook 2", "hook 0"]);
    assert_eq!(ran.into_inner(), 4);
}

#[test]
fn errors_of_hooks_follow_the_failures_of_tasks() {
    let error = TaskGroup::scope(|g| {
        g.on_release(|| anyhow::bail!("could not close"));
        g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("crash") });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(errors(&error), ["crash", "could not close"]);
    assert!(
        error
            .primary()
            .is_some_and(|failure| failure.task().is_some())
    );
}

#[test]
fn a_panicking_hook_is_reported_and_stops_no_other() {
    let ran = AtomicUsize::new(0);
    let error = TaskGroup::scope(|g| {
        g.on_release(|| {
            ran.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        g.on_release(|| panic!("hook down"));
        Ok(())
    })
    .unwrap_err();
    assert_eq!(panic_messages(&error), ["hook down"]);
    assert_eq!(ran.into_inner(), 1);
}

#[test]
fn a_hook_registered_while_releasing_runs_at_once_and_its_error_is_reported() {
    let events = Mutex::new(Vec::new());
    let error = TaskGroup::scope(|g| {
        g.on_release(|| {
            events.lock().unwrap().push("last");
            Ok(())
        });
        g.on_release(|| {
            events.lock().unwrap().push("before");
            g.on_release(|| {
                events.lock().unwrap().push("late");
                anyhow::bail!("late hook")
            });
            events.lock().unwrap().push("after");
            Ok(())
        });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(
        events.into_inner().unwrap(),
        ["before", "late", "after", "last"]
    );
    assert_eq!(errors(&error), ["late hook"]);
}

#[test]
fn tasks_register_hooks_for_the_resources_they_opened() -> Result<(), GroupError> {
    let drops = Drops::default();
    TaskGroup::scope(|g| {
        for _ in 0..8 {
            let resource = drops.counted();
            g.spawn(move || {
                g.on_release(move || {
                    drop(resource);
                    Ok(())
                });
                Ok(())
            });
        }
        Ok(())
    })?;
    assert_eq!(drops.count(), 8);
    Ok(())
}

#[test]
fn a_hook_registered_in_a_cancelled_group_still_runs_at_the_end() -> Result<(), GroupError> {
    let released = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        g.cancel();
        g.on_release(|| {
            released.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        assert_eq!(released.load(Ordering::Relaxed), 0);
        Ok(())
    })?;
    assert_eq!(released.into_inner(), 1);
    Ok(())
}

#[test]
fn a_task_spawned_by_a_hook_does_not_outlive_the_scope() {
    for _ in 0..50 {
        let drops = Drops::default();
        let _ = TaskGroup::scope(|g| {
            let own = drops.counted();
            g.on_release(move || {
                g.spawn(move || {
                    let _own = own;
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        });
        assert_eq!(drops.count(), 1);
    }
}

#[test]
fn a_hook_finds_all_tasks_in_the_statistics() -> Result<(), GroupError> {
    let seen = Mutex::new(None);
    TaskGroup::scope(|g| {
        g.on_release(|| {
            *seen.lock().unwrap() = Some(g.stats());
            Ok(())
        });
        // Some of these run in place.
        for _ in 0..100 {
            g.spawn(|| Ok(())).join()?;
        }
        Ok(())
    })?;
    let stats = seen.into_inner().unwrap().expect("the hook has run");
    assert_eq!((stats.finished, stats.queued, stats.running), (100, 0, 0));
    Ok(())
}

#[test]
fn a_cancel_of_the_group_does_not_reach_its_hooks() -> Result<(), GroupError> {
    // Kept out here: a scope absorbs the error of a hook that its own cancel cuts short.
    let seen = Mutex::new(None);
    TaskGroup::scope(|g| {
        g.on_release(|| {
            *seen.lock().unwrap() =
                Some((taskgroup::checkpoint().is_ok(), taskgroup::current_token()));
            Ok(())
        });
        g.cancel();
        assert!(taskgroup::checkpoint().is_err());
        Ok(())
    })?;
    assert_eq!(
        seen.into_inner().unwrap(),
        Some((true, None)),
        "hooks run in the scope that the group was opened in"
    );
    Ok(())
}

#[test]
fn a_hook_that_an_outer_cancel_cuts_short_has_not_failed() {
    let outer = CancelToken::new();
    let ran = AtomicUsize::new(0);
    let error = outer
        .run(|| {
            TaskGroup::scope(|g| {
                g.on_release(|| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                });
                g.on_release(|| Ok(taskgroup::checkpoint()?));
                outer.cancel();
                Ok(())
            })
        })
        .expect_err("clean-up was cut short");
    assert!(error.failures().is_empty(), "{error}");
    assert_eq!(
        error.cancelled().map(|cancelled| cancelled.origin()),
        Some(outer.id())
    );
    assert_eq!(ran.into_inner(), 1);
}

#[test]
fn a_hook_that_meets_a_foreign_cancel_has_failed() {
    let foreign = CancelToken::new();
    foreign.cancel();
    let error = TaskGroup::scope(|g| {
        g.on_release(|| Ok(foreign.check()?));
        Ok(())
    })
    .expect_err("the hook failed");
    assert_eq!(error.failures().len(), 1);
}
