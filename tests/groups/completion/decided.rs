//! The first tasks to end decide what becomes of the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::support::blocked;
use taskgroup::{FailureKind, GroupError, OnFailure, TaskGroup, TaskStatus};

#[test]
fn the_first_to_end_may_decide_over_the_others() -> Result<(), GroupError> {
    TaskGroup::builder().limit(2).scope(|g| {
        let slow: Vec<_> = (0..3)
            .map(|_| {
                g.spawn(|| {
                    blocked();
                    taskgroup::checkpoint()?;
                    Ok(0)
                })
            })
            .collect();
        let others = slow.len();
        let quick = g.spawn_daemon(|| Ok(()));
        quick.wait()?;
        for task in &slow {
            task.cancel();
        }
        let ended = g
            .as_completed(slow)
            .filter(|task| task.as_ref().is_ok_and(|task| task.is_finished()))
            .count();
        assert_eq!(ended, others);
        Ok(())
    })
}

#[test]
fn a_predicate_may_cancel_after_two_failures_and_outcomes_are_in_spawn_order() {
    let failures = AtomicUsize::new(0);
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .limit(1)
        .scope(|g| {
            let (register, registered) = mpsc::channel::<()>();
            let holder = g.spawn(move || {
                let _ = registered.recv();
                Ok(())
            });
            let tasks: Vec<_> = (0..5)
                .map(|n| g.spawn(move || -> anyhow::Result<()> { anyhow::bail!("{n}") }))
                .collect();
            for task in &tasks {
                task.on_finished(|status| {
                    if status == TaskStatus::Failed && failures.fetch_add(1, Ordering::SeqCst) == 1
                    {
                        g.cancel();
                    }
                });
            }
            drop(register);
            let statuses: Result<Vec<_>, _> =
                taskgroup::shield(|| tasks.iter().map(|task| task.wait()).collect());
            assert_eq!(
                statuses?,
                [
                    TaskStatus::Failed,
                    TaskStatus::Failed,
                    TaskStatus::NeverRan,
                    TaskStatus::NeverRan,
                    TaskStatus::NeverRan
                ]
            );
            taskgroup::shield(|| holder.join())?;
            Ok(())
        })
        .unwrap_err();
    let texts: Vec<_> = error.errors().map(ToString::to_string).collect();
    assert_eq!(texts, ["0", "1"]);
}

#[test]
fn a_predicate_may_cancel_after_the_first_completion() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let quick = g.spawn(|| Ok(1));
        let slow: Vec<_> = (0..3)
            .map(|_| {
                g.spawn(|| {
                    Err(blocked())?;
                    Ok(0)
                })
            })
            .collect();
        let mut finished = g.as_completed(std::iter::once(quick).chain(slow));
        let first = finished.next().expect("four are left")?;
        g.cancel();
        assert_eq!(taskgroup::shield(|| first.join())?, 1);
        for task in taskgroup::shield(|| finished.collect::<Vec<_>>()) {
            assert!(matches!(
                task?.status(),
                TaskStatus::Cancelled | TaskStatus::NeverRan
            ));
        }
        Ok(())
    })
}

#[test]
fn a_group_that_waits_for_all_fails_with_its_first_error() {
    let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
        let tasks: Vec<_> = (0..3)
            .map(|n| {
                g.spawn(move || {
                    anyhow::ensure!(n != 1, "task {n}");
                    Err(blocked())?;
                    Ok(())
                })
            })
            .collect();
        for task in g.as_completed(tasks) {
            task?;
        }
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert!(matches!(
        error.failures()[0].kind(),
        FailureKind::Error(error) if error.to_string() == "task 1"
    ));
}
