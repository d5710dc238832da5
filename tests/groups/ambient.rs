//! The ambient token: none outside any task, adopted by `CancelToken::run`, inherited by scopes
//! opened inside.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Gate, LONG, blocked};
use taskgroup::{CancelToken, Cancelled, GroupError, TaskGroup, checkpoint, current_token};

const SHORT: Duration = Duration::from_millis(1);

#[test]
fn outside_any_task_blocking_points_work_and_are_never_cancelled() -> Result<(), Cancelled> {
    assert!(current_token().is_none());
    assert_eq!(taskgroup::remaining(), None);
    assert!(!taskgroup::is_cancelled());
    checkpoint()?;
    taskgroup::yield_now()?;
    taskgroup::sleep(SHORT)?;
    taskgroup::sleep_until(Instant::now())?;
    taskgroup::park_timeout(SHORT)?;
    taskgroup::shield(checkpoint)?;
    taskgroup::shield_for(SHORT, checkpoint)?;
    let hooks = AtomicUsize::new(0);
    let count = || {
        hooks.fetch_add(1, Ordering::Relaxed);
    };
    assert_eq!(taskgroup::with_cancel_hook(count, || 7), 7);
    assert_eq!(hooks.into_inner(), 0);
    Ok(())
}

#[test]
fn sleeping_lasts_as_long_as_asked() -> Result<(), Cancelled> {
    let since = Instant::now();
    taskgroup::sleep(Duration::from_millis(20))?;
    assert!(since.elapsed() >= Duration::from_millis(20));
    let until = Instant::now() + Duration::from_millis(20);
    taskgroup::sleep_until(until)?;
    assert!(Instant::now() >= until);
    Ok(())
}

#[test]
fn parking_ends_by_unpark_as_in_std() -> Result<(), Cancelled> {
    thread::current().unpark();
    taskgroup::park()?;
    let parked = thread::current();
    let told = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            told.store(true, Ordering::Release);
            parked.unpark();
        });
        while !told.load(Ordering::Acquire) {
            taskgroup::park()?;
        }
        Ok(())
    })
}

#[test]
fn an_unpark_that_came_before_a_task_parks_is_not_lost() -> Result<(), GroupError> {
    let told = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    TaskGroup::scope(|g| {
        g.spawn(|| {
            sender.send(thread::current())?;
            while !told.load(Ordering::Acquire) {
                taskgroup::park()?;
            }
            Ok(())
        });
        let task = receiver.recv()?;
        told.store(true, Ordering::Release);
        task.unpark();
        Ok(())
    })
}

#[test]
fn running_under_a_token_makes_it_ambient_until_it_returns() {
    let (outer, inner) = (CancelToken::new(), CancelToken::new());
    outer.run(|| {
        assert_eq!(current_token(), Some(outer.clone()));
        inner.run(|| {
            let joint = current_token();
            assert!(
                joint.is_some() && joint != Some(inner.clone()) && joint != Some(outer.clone())
            );
        });
        assert_eq!(current_token(), Some(outer.clone()));
        let panicked = catch_unwind(AssertUnwindSafe(|| inner.run(|| panic!("inside"))));
        assert!(panicked.is_err());
        assert_eq!(current_token(), Some(outer.clone()));
    });
    assert!(current_token().is_none());
}

#[test]
fn a_token_that_runs_inside_a_scope_is_added_to_it() {
    for cancel_outer in [true, false] {
        let (outer, inner) = (CancelToken::new(), CancelToken::new());
        let origin = outer.run(|| {
            inner.run(|| {
                let cancelled = if cancel_outer { &outer } else { &inner };
                assert!(cancelled.cancel());
                (
                    taskgroup::sleep(LONG)
                        .expect_err("both tokens reach the sleep")
                        .origin(),
                    cancelled.id(),
                )
            })
        });
        assert_eq!(origin.0, origin.1);
        assert_eq!(
            (outer.is_cancelled(), inner.is_cancelled()),
            (cancel_outer, !cancel_outer)
        );
    }
}

#[test]
fn deadlines_only_get_shorter_under_a_token() {
    let (near, far) = (Instant::now() + LONG, Instant::now() + 2 * LONG);
    for (outside, inside) in [(near, far), (far, near)] {
        let (outer, inner) = (CancelToken::new(), CancelToken::new());
        outer.cancel_at(outside);
        inner.cancel_at(inside);
        let deadline =
            outer.run(|| inner.run(|| current_token().and_then(|token| token.deadline())));
        assert_eq!(deadline, Some(near));
    }
}

#[test]
fn the_joint_token_of_a_run_ends_only_calls_inside() {
    let (outer, inner) = (CancelToken::new(), CancelToken::new());
    outer.run(|| {
        inner.run(|| {
            current_token().expect("this is a scope").cancel();
            assert!(checkpoint().is_err());
        });
        assert!(checkpoint().is_ok());
    });
    assert!(!outer.is_cancelled() && !inner.is_cancelled());
}

#[test]
fn a_token_at_or_above_the_scope_adds_nothing() -> Result<(), GroupError> {
    let top = CancelToken::new();
    top.run(|| {
        top.run(|| assert_eq!(current_token(), Some(top.clone())));
        TaskGroup::scope(|g| {
            for above in [&top, g.token()] {
                above.run(|| assert_eq!(current_token().as_ref(), Some(g.token())));
            }
            Ok(())
        })
    })
}

#[test]
fn a_shield_hides_the_scope_from_a_token_that_runs_in_it() {
    let (outer, inner) = (CancelToken::new(), CancelToken::new());
    outer.cancel();
    outer.run(|| {
        taskgroup::shield(|| {
            inner.run(|| {
                assert_eq!(current_token(), Some(inner.clone()));
                assert!(checkpoint().is_ok());
            });
        });
        // A scope that is shielded for a time does not descend from the token, so `run` links to
        // it.
        taskgroup::shield_for(LONG, || {
            assert!(checkpoint().is_ok());
            assert!(outer.run(checkpoint).is_err());
        });
    });
}

#[test]
fn a_foreign_thread_that_runs_under_a_token_is_cancelled_with_it() {
    let token = CancelToken::new();
    let (started, waits) = mpsc::channel();
    let foreign = thread::spawn({
        let token = token.clone();
        move || {
            let inside = token.run(|| {
                started.send(()).expect("the test waits");
                taskgroup::sleep(LONG)
            });
            (
                inside.map_err(|cancelled| cancelled.origin()),
                checkpoint().is_ok(),
            )
        }
    });
    waits.recv().expect("the thread starts");
    token.cancel();
    assert_eq!(
        foreign.join().expect("sleeping does not panic"),
        (Err(token.id()), true)
    );
}

#[test]
fn a_cancel_that_came_after_the_run_leaves_no_trace() -> Result<(), Cancelled> {
    let token = CancelToken::new();
    for _ in 0..100 {
        token.child().run(checkpoint)?;
    }
    token.cancel();
    checkpoint()?;
    taskgroup::sleep(SHORT)
}

#[test]
fn threads_that_a_task_starts_by_other_means_have_no_token_of_their_own() -> Result<(), GroupError>
{
    TaskGroup::scope(|g| {
        g.cancel();
        let token = g.token();
        let foreign = thread::scope(|scope| {
            let bare = scope.spawn(|| current_token().is_none() && checkpoint().is_ok());
            let handed = scope.spawn(|| token.run(checkpoint).is_err());
            (bare.join().ok(), handed.join().ok())
        });
        assert_eq!(foreign, (Some(true), Some(true)));
        Ok(())
    })
}

#[test]
fn a_group_made_under_a_token_belongs_to_it() {
    let token = CancelToken::new();
    let running = Gate::default();
    let outcome = token.run(|| {
        TaskGroup::scope(|g| {
            g.spawn(|| {
                running.open();
                Err::<(), _>(blocked().into())
            });
            running.wait();
            token.cancel_because("its owner left");
            Err::<(), _>(blocked().into())
        })
    });
    let error = outcome.expect_err("the token was cancelled");
    assert_eq!(error.cancelled().map(Cancelled::origin), Some(token.id()));
}

#[test]
fn a_task_sees_a_token_below_its_groups() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let seen = g
            .spawn(|| Ok(current_token()))
            .join()?
            .expect("a task has a token");
        assert!(!seen.is_cancelled());
        g.cancel();
        assert!(seen.is_cancelled());
        Ok(())
    })
}

#[test]
fn a_group_given_a_parent_answers_to_that_parent() -> Result<(), GroupError> {
    let (parent, running) = (CancelToken::new(), Gate::default());
    let status = TaskGroup::scope(|outer| {
        let task = outer.spawn(|| {
            let inner = TaskGroup::builder().parent(&parent).scope(|g| {
                assert_eq!(current_token().as_ref(), Some(g.token()));
                running.open();
                Err::<(), _>(blocked().into())
            });
            Ok(inner
                .expect_err("its parent is cancelled")
                .cancelled()
                .map(Cancelled::origin))
        });
        running.wait();
        parent.cancel();
        assert!(checkpoint().is_ok());
        Ok(task.join()?)
    })?;
    assert_eq!(status, Some(parent.id()));
    Ok(())
}

#[test]
fn a_hook_fires_when_its_scope_is_cancelled_and_at_once_if_it_was() -> Result<(), GroupError> {
    let (running, interrupted) = (Gate::default(), Gate::default());
    let fired = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            let hook = || {
                fired.fetch_add(1, Ordering::Relaxed);
                interrupted.open();
            };
            taskgroup::with_cancel_hook(hook, || {
                running.open();
                interrupted.wait();
            });
            Ok(())
        });
        running.wait();
        g.cancel();
        taskgroup::shield(|| task.wait())?;
        assert_eq!(fired.load(Ordering::Relaxed), 1);
        let count = || {
            fired.fetch_add(1, Ordering::Relaxed);
        };
        taskgroup::with_cancel_hook(count, || assert_eq!(fired.load(Ordering::Relaxed), 2));
        assert_eq!(fired.load(Ordering::Relaxed), 2, "once is enough");
        Ok(())
    })
}

#[test]
fn a_hook_that_is_over_does_not_fire() -> Result<(), GroupError> {
    let fired = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        let count = || {
            fired.fetch_add(1, Ordering::Relaxed);
        };
        taskgroup::with_cancel_hook(count, || ());
        g.cancel();
        assert!(checkpoint().is_err());
        Ok(())
    })?;
    assert_eq!(fired.into_inner(), 0);
    Ok(())
}
