//! Iterations in a scope that is cancelled.

use std::sync::Barrier;

use crate::support::Gate;
use taskgroup::{CancelToken, GroupError, TaskGroup};

#[test]
fn in_a_cancelled_scope_it_gives_the_cancel_then_the_end_and_keeps_the_handles()
-> Result<(), GroupError> {
    let token = CancelToken::new();
    TaskGroup::scope(|g| {
        let tasks: Vec<_> = (0..3).map(|n| g.spawn(move || Ok(n))).collect();
        for task in &tasks {
            task.wait()?;
        }
        let mut finished = g.as_completed(tasks);
        token.run(|| -> anyhow::Result<()> {
            finished.next().expect("three are left")?;
            token.cancel();
            for _ in 0..3 {
                let cancelled = finished
                    .next()
                    .expect("it does not look finished")
                    .expect_err("the scope is cancelled");
                assert_eq!(cancelled.origin(), token.id());
                assert_eq!(finished.len(), 2);
                assert!(
                    finished.next().is_none(),
                    "a loop that does not stop at errors stops all the same"
                );
            }
            let outcomes: Vec<_> = finished.by_ref().map(|task| task.is_ok()).collect();
            assert_eq!(outcomes, [false]);
            let task = taskgroup::shield(|| finished.next()).expect("two are left")?;
            assert!(task.is_finished());
            assert!(matches!(finished.next(), Some(Err(_))));
            Ok(())
        })?;
        let rest: Result<Vec<_>, _> = finished.collect();
        assert_eq!(rest?.len(), 1);
        Ok(())
    })
}

#[test]
fn it_is_finished_in_a_cancelled_scope_when_no_handle_is_left() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let mut none = g.as_completed(Vec::<taskgroup::TaskHandle<'_, ()>>::new());
        let task = g.spawn(|| Ok(()));
        let mut one = g.as_completed([task]);
        one.next().expect("one is left")?;
        g.cancel();
        assert!(none.next().is_none());
        assert!(one.next().is_none());
        Ok(())
    })
}

#[test]
fn a_cancel_wakes_the_wait_and_loses_no_handle() -> Result<(), GroupError> {
    let leave = Gate::default();
    let token = CancelToken::new();
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            leave.wait();
            Ok(7)
        });
        let mut finished = g.as_completed([task]);
        g.spawn(|| {
            token.cancel();
            Ok(())
        });
        let cancelled = token
            .run(|| finished.next())
            .expect("one is left")
            .expect_err("the task has not ended");
        assert_eq!(cancelled.origin(), token.id());
        leave.open();
        assert_eq!(finished.next().expect("one is left")?.join()?, 7);
        Ok(())
    })
}

#[test]
fn an_end_and_a_cancel_at_once_lose_nothing() -> Result<(), GroupError> {
    for _ in 0..200 {
        let token = CancelToken::new();
        let both = Barrier::new(2);
        TaskGroup::scope(|g| {
            let task = g.spawn(|| {
                both.wait();
                Ok(7)
            });
            let mut finished = g.as_completed([task]);
            g.task().dedicated().spawn(|| {
                both.wait();
                token.cancel();
                Ok(())
            });
            let value = match token.run(|| finished.next()).expect("one is left") {
                Ok(task) => task.join()?,
                Err(_) => finished.next().expect("it was not lost")?.join()?,
            };
            assert_eq!(value, 7);
            Ok(())
        })?;
    }
    Ok(())
}
