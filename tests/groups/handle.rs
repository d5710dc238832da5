//! Handles: the result of a task, its state, and the cancel of one task.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::time::Duration;

use crate::support::{Drops, Gate, LONG, alone, blocked, spawn_holder, until};
use taskgroup::{
    CancelCause, CancelToken, Cancelled, GroupError, OnFailure, TaskGroup, TaskStatus,
};

#[test]
fn a_status_follows_the_task_through_its_life() -> Result<(), GroupError> {
    let (running, leave) = (Gate::default(), Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        let first = g.spawn(|| {
            running.open();
            leave.wait();
            Ok(())
        });
        let second = g.spawn(|| Ok(()));
        running.wait();
        assert_eq!(
            (first.status(), second.status()),
            (TaskStatus::Running, TaskStatus::Queued)
        );
        assert!(!first.is_finished() && !second.is_finished());
        leave.open();
        assert_eq!(
            (first.wait()?, second.wait()?),
            (TaskStatus::Finished, TaskStatus::Finished)
        );
        assert_eq!(
            (first.status(), second.status()),
            (TaskStatus::Finished, TaskStatus::Finished)
        );
        assert!(first.is_finished() && second.is_finished());
        Ok(())
    })
}

#[test]
fn a_status_says_how_the_task_ended() {
    let mut ends = Vec::new();
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            let failed = g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("no") });
            let panicked = g.spawn(|| -> anyhow::Result<()> { panic!("no") });
            let started = Gate::default();
            TaskGroup::scope(|inner| {
                let cancelled = inner.spawn(|| {
                    started.open();
                    Err::<(), _>(blocked().into())
                });
                started.wait();
                inner.cancel();
                let never = inner.spawn(|| Ok(()));
                ends.extend(taskgroup::shield(|| [cancelled.wait(), never.wait()]));
                // The refused task is not counted: it was never one of the group.
                until(|| inner.stats().running == 0);
                assert_eq!((inner.stats().cancelled, inner.stats().queued), (1, 0));
                Ok(())
            })?;
            ends.extend([failed.wait(), panicked.wait()]);
            // The counts change a little later than the handles: workers report in batches.
            while g.stats().running > 0 {
                std::thread::yield_now();
            }
            let counted = g.stats();
            assert_eq!((counted.failed, counted.running, counted.queued), (2, 0, 0));
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.failures().len(), 2);
    let ends: Vec<_> = ends.into_iter().map(Result::ok).collect();
    let expected = [
        TaskStatus::Cancelled,
        TaskStatus::NeverRan,
        TaskStatus::Failed,
        TaskStatus::Panicked,
    ];
    assert_eq!(ends, expected.map(Some));
}

#[test]
fn waiting_for_a_limited_time_gives_none_until_the_task_ended() -> Result<(), GroupError> {
    let leave = Gate::default();
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            leave.wait();
            Ok(())
        });
        assert_eq!(task.wait_timeout(Duration::ZERO)?, None);
        assert_eq!(task.wait_timeout(Duration::from_millis(5))?, None);
        leave.open();
        assert_eq!(task.wait_timeout(LONG)?, Some(TaskStatus::Finished));
        assert_eq!(
            task.wait_timeout(Duration::ZERO)?,
            Some(TaskStatus::Finished)
        );
        Ok(())
    })
}

#[test]
fn joining_a_finished_task_gives_its_value_even_in_a_cancelled_scope() -> Result<(), GroupError> {
    let value = TaskGroup::scope(|g| {
        let task = g.spawn(|| Ok(8));
        task.wait()?;
        g.cancel();
        assert_eq!(task.wait()?, TaskStatus::Finished);
        Ok(task.join()?)
    })?;
    assert_eq!(value, 8);
    Ok(())
}

#[test]
fn joining_an_unfinished_task_in_a_cancelled_scope_is_cut_short() -> Result<(), GroupError> {
    let (running, leave) = (Gate::default(), Gate::default());
    TaskGroup::scope(|g| {
        let task = spawn_holder(g, &running, &leave);
        g.cancel();
        assert!(task.wait().is_err() && task.wait_timeout(LONG).is_err());
        assert!(task.join().is_err());
        leave.open();
        Ok(())
    })
}

#[test]
fn cancelling_a_task_returns_at_once_and_the_scope_still_waits() -> Result<(), GroupError> {
    let (running, leave) = (Gate::default(), Gate::default());
    let cleaned = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            running.open();
            let cancelled = blocked();
            leave.wait();
            cleaned.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(cancelled.into())
        });
        running.wait();
        task.cancel();
        assert!(!task.is_finished(), "its clean-up has not been let go");
        leave.open();
        Ok(())
    })?;
    assert_eq!(cleaned.into_inner(), 1);
    Ok(())
}

#[test]
fn cancel_and_wait_returns_after_the_clean_up() -> Result<(), GroupError> {
    let running = Gate::default();
    let cleaned = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            running.open();
            let cancelled = blocked();
            taskgroup::shield(|| taskgroup::sleep(Duration::from_millis(5)))?;
            cleaned.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(cancelled.into())
        });
        running.wait();
        assert_eq!(task.cancel_and_wait()?, TaskStatus::Cancelled);
        assert_eq!(cleaned.load(Ordering::Relaxed), 1);
        assert!(taskgroup::checkpoint().is_ok(), "the group goes on");
        Ok(())
    })
}

#[test]
fn a_cancelled_task_that_gives_a_value_all_the_same_is_finished() -> Result<(), GroupError> {
    let running = Gate::default();
    let value = TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            running.open();
            blocked();
            Ok(13)
        });
        running.wait();
        assert_eq!(task.cancel_and_wait()?, TaskStatus::Finished);
        Ok(task.join()?)
    })?;
    assert_eq!(value, 13);
    Ok(())
}

#[test]
fn cancelling_a_task_reaches_the_scopes_it_opened_and_not_its_siblings() -> Result<(), GroupError> {
    let (running, go) = (Barrier::new(2), Gate::default());
    TaskGroup::scope(|g| {
        let sibling = g.spawn(|| {
            go.wait();
            Ok(taskgroup::checkpoint()?)
        });
        let task = g.spawn(|| {
            TaskGroup::scope(|inner| {
                inner.spawn(|| {
                    running.wait();
                    Err::<(), _>(blocked().into())
                });
                Ok(())
            })?;
            Ok(())
        });
        running.wait();
        assert_eq!(task.cancel_and_wait()?, TaskStatus::Cancelled);
        go.open();
        Ok(sibling.join()?)
    })
}

/// Runs a join inside of a scope. Returns whether the cancel of that scope ended the join.
type Around<'a> = &'a dyn Fn(&mut dyn FnMut() -> Result<(), Cancelled>) -> Result<bool, Cancelled>;

#[test]
fn a_task_is_not_run_in_place_where_its_joiner_could_be_woken_and_it_could_not() {
    let short = Duration::from_millis(5);
    let arounds: [Around<'_>; 3] = [
        &|join| Ok(taskgroup::timeout(short, join)?.is_none()),
        &|join| Ok(taskgroup::shield(|| taskgroup::timeout(short, join))?.is_none()),
        &|join| {
            let token = CancelToken::new();
            token.cancel_after(short);
            Ok(token
                .run(join)
                .is_err_and(|cancelled| cancelled.origin() == token.id()))
        },
    ];
    let body = std::thread::current().id();
    for around in arounds {
        let leave = Gate::default();
        let outcome = TaskGroup::scope(|g| {
            let mut task = Some(g.spawn(|| {
                // The owner may run it at the end, when no thread still waits for it.
                let in_place = std::thread::current().id() == body && !leave.is_open();
                assert!(
                    !in_place,
                    "it ran in place, where no cancel can cut it short"
                );
                leave.wait();
                Ok(())
            }));
            let cut = around(&mut || task.take().expect("it is joined once").join())?;
            leave.open();
            Ok(cut)
        });
        assert!(outcome.as_ref().is_ok_and(|cut| *cut), "{outcome:#?}");
    }
}

#[test]
fn joining_a_task_cancelled_by_its_handle_says_it_was_requested() -> Result<(), GroupError> {
    let running = Gate::default();
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            running.open();
            Err::<(), _>(blocked().into())
        });
        running.wait();
        task.cancel_and_wait()?;
        let cancelled = task.join().expect_err("it has no value");
        assert!(
            matches!(cancelled.cause(), CancelCause::Requested { reason: None }),
            "{cancelled}"
        );
        assert!(cancelled.location().file().ends_with("handle.rs"));
        Ok(())
    })
}

#[test]
fn cancelling_a_finished_task_changes_nothing() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let task = g.spawn(|| Ok(1));
        task.wait()?;
        task.cancel();
        assert_eq!(task.cancel_and_wait()?, TaskStatus::Finished);
        assert_eq!(task.join()?, 1);
        Ok(())
    })
}

#[test]
fn completion_hooks_run_once_with_the_final_status() -> Result<(), GroupError> {
    let seen = Mutex::new(Vec::new());
    let (running, leave) = (Gate::default(), Gate::default());
    TaskGroup::scope(|g| {
        let task = spawn_holder(g, &running, &leave);
        for n in 0..2 {
            let seen = &seen;
            task.on_finished(move |status| seen.lock().unwrap().push((n, status)));
        }
        assert!(seen.lock().unwrap().is_empty());
        leave.open();
        task.wait()?;
        assert_eq!(
            seen.lock().unwrap().len(),
            2,
            "a waiter returns after the hooks"
        );
        task.on_finished(|status| seen.lock().unwrap().push((2, status)));
        assert_eq!(
            seen.lock().unwrap().last(),
            Some(&(2, TaskStatus::Finished))
        );
        Ok(())
    })?;
    let mut seen = seen.into_inner().unwrap();
    seen.sort_by_key(|(n, _)| *n);
    assert_eq!(seen, [0, 1, 2].map(|n| (n, TaskStatus::Finished)));
    Ok(())
}

#[test]
fn completion_hooks_of_tasks_that_never_run_are_called_too() -> Result<(), GroupError> {
    let seen = Mutex::new(Vec::new());
    let (running, leave) = (Gate::default(), Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        spawn_holder(g, &running, &leave);
        let queued = g.spawn(|| Ok(()));
        queued.on_finished(|status| seen.lock().unwrap().push(status));
        g.cancel();
        taskgroup::shield(|| queued.wait())?;
        leave.open();
        Ok(())
    })?;
    assert_eq!(seen.into_inner().unwrap(), [TaskStatus::NeverRan]);
    Ok(())
}

#[test]
fn a_panicking_completion_hook_keeps_the_result_and_the_worker() {
    let mut values = Vec::new();
    let mut after = 0;
    let outcome = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            let leave = Gate::default();
            TaskGroup::builder()
                .on_failure(OnFailure::Collect)
                .scope(|inner| {
                    let tasks: Vec<_> = (0..4)
                        .map(|n| {
                            let leave = &leave;
                            let task = inner.spawn(move || {
                                leave.wait();
                                Ok(n)
                            });
                            task.on_finished(|_| panic!("in a completion hook"));
                            task
                        })
                        .collect();
                    leave.open();
                    for task in tasks {
                        values.push(task.join()?);
                    }
                    Ok(())
                })?;
            g.spawn(|| Ok(()));
            Ok(())
        });
    let later = TaskGroup::scope(|g| {
        let tasks: Vec<_> = (0..8).map(|_| g.spawn(|| Ok(1))).collect();
        for task in tasks {
            after += task.join()?;
        }
        Ok(())
    });
    assert_eq!((values, after), (vec![0, 1, 2, 3], 8));
    assert!(later.is_ok());
    let told = outcome.expect_err("a panic of a hook is told");
    assert!(
        format!("{told:#}").contains("in a completion hook"),
        "{told:#}"
    );
}

#[test]
fn completion_hooks_may_spawn_and_send() -> Result<(), GroupError> {
    let (sender, receiver) = mpsc::channel();
    let last = TaskGroup::scope(|g| {
        let task = g.spawn(|| Ok(()));
        task.on_finished(move |_| {
            g.spawn(move || Ok(sender.send(5)?));
        });
        Ok(receiver.recv()?)
    })?;
    assert_eq!(last, 5);
    Ok(())
}

#[test]
fn ids_are_unique_and_names_are_the_given_ones() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let tasks: Vec<_> = (0..100).map(|_| g.spawn(|| Ok(()))).collect();
        assert_eq!(
            tasks
                .iter()
                .map(|task| task.id())
                .collect::<HashSet<_>>()
                .len(),
            100
        );
        assert!(tasks.iter().all(|task| task.name().is_none()));
        let named = g
            .task()
            .name("a name much longer than the system allows")
            .spawn(|| Ok(()));
        assert_eq!(
            named.name(),
            Some("a name much longer than the system allows")
        );
        let owned = g.task().name(format!("worker {}", 7)).spawn(|| Ok(()));
        assert_eq!(owned.name(), Some("worker 7"));
        Ok(())
    })
}

#[test]
fn a_dropped_handle_lets_its_task_go_on() -> Result<(), GroupError> {
    let (drops, leave) = (Drops::default(), Gate::default());
    TaskGroup::scope(|g| {
        drop(g.spawn(|| {
            leave.wait();
            Ok(drops.counted())
        }));
        assert_eq!(drops.count(), 0);
        leave.open();
        Ok(())
    })?;
    assert_eq!(drops.count(), 1);
    Ok(())
}

#[test]
fn a_chain_of_joins_is_longer_than_the_stack_is_deep() {
    // Only Linux tells the pool that the spinning workers are not asleep. Elsewhere they count as
    // blocked, and thousands of other workers take links of a long chain, each a thread.
    const LINKS: usize = if cfg!(target_os = "linux") {
        20_000
    } else {
        2_000
    };
    alone("a_chain_of_joins_is_longer_than_the_stack_is_deep", || {
        // No worker takes from the chain for a while, so that it runs in place from its end.
        let length = crate::support::with_busy_workers(|| {
            TaskGroup::scope(|g| {
                let mut last = g.spawn(|| Ok(0));
                for _ in 0..LINKS {
                    let before = last;
                    last = g.spawn(move || Ok(before.join()? + 1));
                }
                Ok(last.join()?)
            })
        });
        assert_eq!(length.ok(), Some(LINKS));
    });
}
