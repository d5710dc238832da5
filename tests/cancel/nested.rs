//! Cancels from further out: which scopes are cut short, and which keep their value.

use std::sync::{Barrier, Mutex};

use taskgroup::{CancelToken, Cancelled, GroupError, OnFailure, TaskGroup, TaskStatus};

use super::requested;
use crate::support::{LONG, blocked};

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
