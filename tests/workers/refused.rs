//! Threads that the system refuses.

use std::sync::Mutex;

use taskgroup::{FailureKind, GroupError, OnFailure, SpawnErrorKind, TaskGroup, TaskStatus};

use super::support;
use crate::support::{Drops, Gate, LONG, blocked};

/// Three quarters of the address space, which no system grants a thread for its stack.
const REFUSED: usize = 3 << (usize::BITS - 2);

#[test]
fn a_thread_the_system_refuses_is_a_failure_of_its_task() {
    let drops = Drops::default();
    let mut status = None;
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            let own = drops.counted();
            let task = g
                .task()
                .name("greedy")
                .dedicated()
                .stack_size(REFUSED)
                .spawn(move || {
                    let _own = &own;
                    Ok(())
                });
            status = Some(task.wait()?);
            assert_eq!(drops.count(), 1);
            Ok(g.spawn(|| Ok(())).join()?)
        })
        .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    let failure = error.primary().expect("the refusal is the first failure");
    assert_eq!(
        failure.task().and_then(|task| task.name.as_deref()),
        Some("greedy")
    );
    assert!(
        matches!(failure.kind(), FailureKind::Spawn(_)),
        "{failure:?}"
    );
    assert_eq!(status, Some(TaskStatus::Failed));
}

#[test]
fn a_refused_thread_cancels_the_group_like_any_failure() {
    let running = Gate::default();
    let error = TaskGroup::scope(|g| {
        g.spawn(|| {
            running.open();
            Ok(taskgroup::sleep(LONG)?)
        });
        running.wait();
        g.task().dedicated().stack_size(REFUSED).spawn(|| Ok(()));
        Err::<(), _>(blocked().into())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert!(matches!(error.failures()[0].kind(), FailureKind::Spawn(_)));
}

#[test]
fn a_refused_thread_gives_the_closure_of_try_spawn_back() -> Result<(), GroupError> {
    let drops = Drops::default();
    let value = TaskGroup::scope(|g| {
        let own = drops.counted();
        let refused = g
            .task()
            .dedicated()
            .stack_size(REFUSED)
            .try_spawn(move || {
                let _own = &own;
                Ok(4)
            })
            .expect_err("no address space is that large");
        assert!(matches!(refused.kind(), SpawnErrorKind::Os(_)), "{refused}");
        assert_eq!(drops.count(), 0);
        refused.into_task()()
    })?;
    assert_eq!((value, drops.count()), (4, 1));
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_system_out_of_threads_is_reported_and_the_scope_still_joins() {
    const TEST: &str = "a_system_out_of_threads_is_reported_and_the_scope_still_joins";
    if support::is_child() {
        let drops = Drops::default();
        // Stacks this large leave room for the heap when the next one no longer fits.
        let error = TaskGroup::builder()
            .stack_size(64 << 20)
            .scope(|g| {
                for _ in 0..200 {
                    let own = drops.counted();
                    g.spawn(move || {
                        let _own = &own;
                        Ok(taskgroup::sleep(LONG)?)
                    });
                }
                Ok(taskgroup::sleep(LONG)?)
            })
            .expect_err("two hundred such threads do not fit");
        assert!(error.failures().iter().any(is_refused), "{error:#}");
        assert!(error.failures().iter().all(is_refused), "{error:#}");
        assert_eq!(drops.count(), 200);
        workers_are_of_use_again();
        return;
    }
    passes_in_a_small_child(TEST);
}

#[cfg(target_os = "linux")]
#[test]
fn a_cache_that_can_grow_no_more_is_reported_and_the_scope_still_joins() {
    const TEST: &str = "a_cache_that_can_grow_no_more_is_reported_and_the_scope_still_joins";
    if support::is_child() {
        let drops = Drops::default();
        let error = TaskGroup::scope(|g| {
            for _ in 0..2_000 {
                let own = drops.counted();
                g.spawn(move || {
                    let _own = &own;
                    Ok(taskgroup::sleep(LONG)?)
                });
            }
            Ok(taskgroup::sleep(LONG)?)
        })
        .expect_err("two thousand threads do not fit");
        assert!(error.failures().iter().any(is_refused), "{error:#}");
        assert_eq!(drops.count(), 2_000);
        workers_are_of_use_again();
        return;
    }
    passes_in_a_small_child(TEST);
}

/// Whether the system refused a thread.
#[cfg(target_os = "linux")]
fn is_refused(failure: &taskgroup::Failure<anyhow::Error>) -> bool {
    matches!(failure.kind(), FailureKind::Spawn(_))
}

#[cfg(target_os = "linux")]
fn workers_are_of_use_again() {
    let after = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(5)).join()?));
    assert!(
        after.is_ok_and(|value| value == 5),
        "the workers are of use again"
    );
}

#[cfg(target_os = "linux")]
fn passes_in_a_small_child(test: &str) {
    let run = |kib| {
        let output = support::run_in_small_child(test, kib);
        let text = [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat();
        (output.status, text)
    };
    // Where the stack of the last thread fits and what std needs for its signals does not, std
    // aborts. At another size neither fits, or both do.
    let sizes = [
        1 << 20,
        (1 << 20) + (1 << 10),
        (1 << 20) - 600,
        (1 << 20) - 1_200,
    ];
    let mut outcomes = sizes.into_iter().map(run);
    let aborted = |text: &str| text.contains("failed to allocate an alternative stack");
    let (status, text) = outcomes
        .find(|(_, text)| !aborted(text))
        .expect("std aborts at none of the sizes");
    assert!(
        status.success() && text.contains("1 passed"),
        "{status}: {text}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn every_task_fails_for_which_there_is_no_thread_and_not_only_the_first() {
    const TEST: &str = "every_task_fails_for_which_there_is_no_thread_and_not_only_the_first";
    if support::is_child() {
        let running = Gate::default();
        let mut statuses = None;
        let error = TaskGroup::builder()
            .on_failure(OnFailure::Collect)
            .scope(|g| {
                let only = g.spawn(|| {
                    running.open();
                    let tasks = [g.spawn(|| Ok(())), g.spawn(|| Ok(())), g.spawn(|| Ok(()))];
                    let mut statuses = Vec::new();
                    for task in tasks.iter().rev() {
                        statuses.push(task.wait()?);
                    }
                    Ok(statuses)
                });
                running.wait();
                statuses = Some(only.join()?);
                Ok(())
            })
            .expect_err("a second thread does not fit");
        assert_eq!(statuses, Some(vec![TaskStatus::Failed; 3]));
        assert_eq!(error.failures().len(), 3);
        return;
    }
    // The thread of the test and one worker fit, and no third thread does.
    let output = support::run_in_small_child_with_stacks(TEST, 1 << 20, 340 << 20);
    support::assert_passed(&output);
}

#[test]
fn a_stack_of_any_size_that_cannot_be_had_is_a_failure() {
    for size in [usize::MAX, usize::MAX - 4095, REFUSED] {
        for limit in [usize::MAX, 1] {
            let error = TaskGroup::builder()
                .limit(limit)
                .scope(|g| {
                    let first = (limit == 1).then(|| g.spawn(|| Ok(())));
                    g.task().name("a\0b").stack_size(size).spawn(|| Ok(()));
                    drop(first);
                    Ok(())
                })
                .expect_err("no system has such a stack");
            assert!(
                matches!(error.failures()[0].kind(), FailureKind::Spawn(_)),
                "{error}"
            );
        }
    }
}

#[test]
fn a_task_without_a_thread_in_a_group_that_is_cancelled_never_ran() {
    let status = Mutex::new(None);
    let error = TaskGroup::builder()
        .limit(1)
        .timeout(std::time::Duration::from_millis(20))
        .scope(|g| {
            let deadline = g.token().deadline().expect("it has one");
            let holder = g.spawn(move || {
                // The deadline passes before any thread has looked.
                support::until(|| std::time::Instant::now() > deadline);
                Ok(())
            });
            support::until(|| holder.status() != TaskStatus::Queued);
            let refused = g.task().stack_size(REFUSED).spawn(|| Ok(()));
            support::until(|| refused.is_finished());
            *status.lock().unwrap() = Some(refused.status());
            Ok(())
        })
        .expect_err("the deadline has passed");
    assert_eq!(status.into_inner().unwrap(), Some(TaskStatus::NeverRan));
    assert!(error.timed_out() && error.failures().is_empty(), "{error}");
}
