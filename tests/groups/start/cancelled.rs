//! Starts that a cancel cuts short.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::{CancelToken, GroupError, StartError, TaskGroup};

use crate::support::{Drops, Gate, blocked};

#[test]
fn in_a_cancelled_scope_nothing_is_started() -> Result<(), GroupError> {
    let drops = Drops::default();
    let token = CancelToken::new();
    token.cancel();
    TaskGroup::scope(|g| {
        let own = drops.counted();
        let started = token.run(|| {
            g.start(move |ready| {
                let _own = own;
                ready.send(());
                Ok(())
            })
        });
        assert!(matches!(
            started,
            Err(StartError::Cancelled(cancelled)) if cancelled.origin() == token.id()
        ));
        assert_eq!((drops.count(), g.stats().queued), (1, 0));
        Ok(())
    })
}

#[test]
fn a_cancelled_call_cancels_its_task_alone_and_waits_for_it() -> Result<(), GroupError> {
    let (cleaned, token) = (AtomicUsize::new(0), CancelToken::new());
    let sibling_leave = Gate::default();
    TaskGroup::scope(|g| {
        let sibling = g.spawn(|| {
            sibling_leave.wait();
            taskgroup::checkpoint()?;
            Ok(5)
        });
        let started = token.run(|| {
            g.start(|ready| {
                token.cancel();
                let cancelled = blocked();
                cleaned.fetch_add(1, Ordering::SeqCst);
                // `start` no longer waits for the value.
                ready.send(());
                Err(cancelled.into())
            })
        });
        assert!(matches!(
            started,
            Err(StartError::Cancelled(cancelled)) if cancelled.origin() == token.id()
        ));
        assert_eq!(
            cleaned.load(Ordering::SeqCst),
            1,
            "the call did not wait for the task"
        );
        assert!(!g.token().is_cancelled());
        sibling_leave.open();
        assert_eq!(sibling.join()?, 5);
        Ok(())
    })
}

#[test]
fn a_cancelled_call_returns_the_error_of_its_task_even_if_it_had_sent() -> Result<(), GroupError> {
    for sends in [false, true] {
        let token = CancelToken::new();
        TaskGroup::scope(|g| {
            let started = token.run(|| {
                g.start(|ready| {
                    token.cancel();
                    blocked();
                    if sends {
                        ready.send(1);
                    }
                    anyhow::bail!("could not clean up")
                })
            });
            let Err(StartError::Failed(failure)) = started else {
                panic!("it failed: {started:?}")
            };
            assert!(failure.to_string().contains("could not clean up"));
            assert!(!g.token().is_cancelled());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_task_that_finishes_in_spite_of_the_cancel_of_its_start_gives_its_value()
-> Result<(), GroupError> {
    let token = CancelToken::new();
    TaskGroup::scope(|g| {
        let started = token.run(|| {
            g.start(|ready| {
                token.cancel();
                // The call of `start` has noticed: it has cancelled this task.
                blocked();
                ready.send(7);
                Ok(())
            })
        });
        assert_eq!(started?, 7);
        Ok(())
    })
}

#[test]
fn a_task_that_finishes_without_sending_after_the_cancel_of_its_start_was_cancelled()
-> Result<(), GroupError> {
    let token = CancelToken::new();
    TaskGroup::scope(|g| {
        let started = token.run(|| {
            g.start(|_ready: taskgroup::Ready<()>| {
                token.cancel();
                blocked();
                Ok(())
            })
        });
        assert!(matches!(started, Err(StartError::Cancelled(_))));
        Ok(())
    })
}

#[test]
fn a_value_sent_at_the_time_of_the_cancel_is_returned_or_the_task_ends() -> Result<(), GroupError> {
    for _ in 0..100 {
        let token = CancelToken::new();
        let both = Barrier::new(2);
        TaskGroup::scope(|g| {
            g.task().dedicated().spawn(|| {
                both.wait();
                token.cancel();
                Ok(())
            });
            let started = token.run(|| {
                g.start(|ready| {
                    both.wait();
                    ready.send(7);
                    taskgroup::checkpoint()?;
                    Ok(())
                })
            });
            match started {
                Ok(value) => assert_eq!(value, 7),
                Err(StartError::Cancelled(cancelled)) => assert_eq!(cancelled.origin(), token.id()),
                Err(other) => panic!("{other:?}"),
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_cancel_of_the_target_before_ready_cancels_the_start() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let started = g.start(|_ready: taskgroup::Ready<()>| {
            g.cancel();
            Err(blocked().into())
        });
        assert!(matches!(
            started,
            Err(StartError::Cancelled(cancelled)) if cancelled.origin() == g.token().id()
        ));
        Ok(())
    })?;
    // The same from a scope that is not the target's.
    let outcome = TaskGroup::scope(|target| {
        let started = taskgroup::shield(|| {
            target.start(|_ready: taskgroup::Ready<()>| {
                target.cancel();
                Err(blocked().into())
            })
        });
        assert!(matches!(
            started,
            Err(StartError::Cancelled(cancelled)) if cancelled.origin() == target.token().id()
        ));
        Ok(1)
    })?;
    assert_eq!(outcome, 1);
    Ok(())
}

#[test]
fn a_cancel_of_the_target_after_ready_wakes_the_tasks_that_the_task_has_started()
-> Result<(), GroupError> {
    let woken = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        g.start(|ready| {
            let asleep = Barrier::new(2);
            TaskGroup::scope(|inner| {
                inner.spawn(|| -> anyhow::Result<()> {
                    asleep.wait();
                    let cancelled = blocked();
                    woken.fetch_add(1, Ordering::SeqCst);
                    Err(cancelled.into())
                });
                asleep.wait();
                ready.send(());
                Err(blocked().into())
            })?;
            Ok(())
        })?;
        g.cancel();
        Ok(())
    })?;
    assert_eq!(woken.into_inner(), 1);
    Ok(())
}

#[test]
fn a_start_into_a_cancelled_target_never_runs() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        g.cancel();
        let started = taskgroup::shield(|| {
            g.start(|ready| {
                ready.send(());
                Ok(())
            })
        });
        assert!(matches!(started, Err(StartError::Cancelled(_))));
        Ok(())
    })
}

/// A task that takes the cancel for its end sends nothing and fails at nothing.
#[test]
fn a_cancel_is_not_a_task_that_was_not_ready() -> Result<(), GroupError> {
    for _ in 0..500 {
        TaskGroup::scope(|g| {
            let started = g.start(|_ready: taskgroup::Ready<()>| {
                g.cancel();
                assert!(taskgroup::checkpoint().is_err());
                Ok(())
            });
            assert!(
                matches!(started, Err(StartError::Cancelled(_))),
                "{started:?}"
            );
            Ok(())
        })?;
    }
    Ok(())
}
