//! Tasks that have not begun when the cancel comes, or are spawned after it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(target_os = "linux")]
use std::time::Duration;

use taskgroup::{CancelToken, Cancelled, GroupError, SpawnErrorKind, TaskGroup, TaskStatus};

use super::requested;
#[cfg(target_os = "linux")]
use crate::support;
use crate::support::{Drops, Gate, blocked, spawn_holder};

#[test]
fn a_task_that_never_ran_because_of_an_ancestor_was_cut_short() {
    let (running, leave) = (Gate::default(), Gate::default());
    let parent = CancelToken::new();
    let error = TaskGroup::builder()
        .parent(&parent)
        .limit(1)
        .scope(|g| {
            spawn_holder(g, &running, &leave);
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
