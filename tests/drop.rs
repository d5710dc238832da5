//! Destructors: when captures and results are dropped, and scopes that a destructor opens.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

use support::{Drops, Gate, LONG, blocked};
use taskgroup::{CancelToken, GroupError, TaskGroup, TaskStatus};

#[test]
fn captures_are_dropped_before_the_scope_returns() -> Result<(), GroupError> {
    for _ in 0..100 {
        let drops = Drops::default();
        TaskGroup::scope(|g| {
            for _ in 0..4 {
                let own = drops.counted();
                g.spawn(move || {
                    let _own = &own;
                    Ok(())
                });
            }
            Ok(())
        })?;
        assert_eq!(drops.count(), 4);
    }
    Ok(())
}

#[test]
fn results_that_are_not_joined_are_dropped_before_the_scope_returns() -> Result<(), GroupError> {
    for _ in 0..100 {
        let drops = Drops::default();
        TaskGroup::scope(|g| {
            let kept = g.spawn(|| Ok(drops.counted()));
            drop(g.spawn(|| Ok(drops.counted())));
            kept.wait()?;
            Ok(())
        })?;
        assert_eq!(drops.count(), 2);
    }
    Ok(())
}

#[test]
fn a_result_without_a_handle_may_borrow_until_the_scope_ends() -> Result<(), GroupError> {
    struct Borrows<'a>(&'a AtomicU32);
    impl Drop for Borrows<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (alive, leave) = (AtomicU32::new(0), Gate::default());
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            leave.wait();
            Ok(Borrows(&alive))
        });
        drop(task);
        leave.open();
        Ok(())
    })
    .map(|()| assert_eq!(alive.load(Ordering::Relaxed), 1))
}

#[test]
fn a_joined_result_belongs_to_its_joiner() -> Result<(), GroupError> {
    let drops = Drops::default();
    let kept = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(drops.counted())).join()?))?;
    assert_eq!(drops.count(), 0);
    drop(kept);
    assert_eq!(drops.count(), 1);
    Ok(())
}

#[test]
fn captures_are_dropped_by_the_time_a_waiter_returns() -> Result<(), GroupError> {
    for _ in 0..100 {
        let drops = Drops::default();
        TaskGroup::scope(|g| {
            let own = drops.counted();
            let task = g.spawn(move || {
                let _own = &own;
                Ok(())
            });
            assert_eq!(task.wait()?, TaskStatus::Finished);
            assert_eq!(drops.count(), 1);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn panic_payloads_of_isolated_tasks_are_dropped_before_the_scope_returns() -> Result<(), GroupError>
{
    let (drops, leave) = (Drops::default(), Gate::default());
    TaskGroup::scope(|g| {
        let task = g.spawn_isolated(|| -> anyhow::Result<()> {
            leave.wait();
            std::panic::panic_any(drops.counted())
        });
        drop(task);
        leave.open();
        Ok(())
    })?;
    assert_eq!(drops.count(), 1);
    Ok(())
}

/// Opens a scope with tasks in its destructor, like a pool or a cache that flushes when it is
/// dropped.
struct Flush<'a>(&'a AtomicU32);

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        let flushed = TaskGroup::scope(|g| {
            let tasks: Vec<_> = (0..4).map(|n| g.spawn(move || Ok(n))).collect();
            g.spawn(|| Ok(taskgroup::yield_now()?));
            let mut sum = 0;
            for task in tasks {
                sum += task.join()?;
            }
            Ok(sum)
        });
        self.0.fetch_add(flushed.unwrap_or(0), Ordering::Relaxed);
    }
}

#[test]
fn a_scope_in_a_destructor_works_while_unwinding() {
    let sum = AtomicU32::new(0);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _flush = Flush(&sum);
        panic!("outside the scope");
    }));
    assert!(panicked.is_err());
    assert_eq!(sum.into_inner(), 6);
}

#[test]
fn a_scope_in_a_destructor_works_while_a_task_unwinds() {
    let sum = AtomicU32::new(0);
    let error = TaskGroup::scope(|g| {
        g.spawn(|| -> anyhow::Result<()> {
            let _flush = Flush(&sum);
            panic!("in the task")
        });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.panics().count(), 1);
    assert_eq!(sum.into_inner(), 6);
}

#[test]
fn a_scope_in_a_destructor_works_while_the_body_unwinds() {
    let sum = AtomicU32::new(0);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        TaskGroup::scope(|g| -> anyhow::Result<()> {
            let _flush = Flush(&sum);
            g.spawn(|| Ok(taskgroup::sleep(LONG)?));
            panic!("in the body")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(sum.into_inner(), 6);
}

#[test]
fn failures_and_panics_inside_a_destructors_scope_are_contained() {
    struct Contained<'a>(&'a AtomicU32);
    impl Drop for Contained<'_> {
        fn drop(&mut self) {
            let waiting = Gate::default();
            let error = TaskGroup::scope(|g| {
                g.spawn(|| {
                    waiting.open();
                    Ok(taskgroup::sleep(LONG)?)
                });
                waiting.wait();
                g.spawn(|| -> anyhow::Result<()> { panic!("inside the destructor") });
                Err::<(), _>(blocked().into())
            });
            let panics = error.err().map_or(0, |error| error.panics().count());
            self.0
                .fetch_add(u32::try_from(panics).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }
    let panics = AtomicU32::new(0);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _contained = Contained(&panics);
        panic!("outside");
    }));
    assert!(unwound.is_err_and(|payload| payload.downcast_ref::<&str>() == Some(&"outside")));
    assert_eq!(panics.into_inner(), 1);
}

#[test]
fn a_shielded_scope_in_a_destructor_works_in_a_cancelled_task() {
    struct Shielded<'a>(&'a AtomicU32);
    impl Drop for Shielded<'_> {
        fn drop(&mut self) {
            taskgroup::shield(|| drop(Flush(self.0)));
        }
    }
    let (token, sum) = (CancelToken::new(), AtomicU32::new(0));
    token.cancel();
    token.run(|| drop(Flush(&sum)));
    assert_eq!(
        sum.load(Ordering::Relaxed),
        0,
        "without a shield its tasks never run"
    );
    token.run(|| drop(Shielded(&sum)));
    assert_eq!(sum.into_inner(), 6);
}
