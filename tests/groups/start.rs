//! `start`: a task that says when it is ready.

mod cancelled;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use taskgroup::{FailureKind, GroupError, StartError, TaskGroup};

use crate::support::{Drops, Gate, blocked, until};

#[test]
fn it_returns_the_sent_value_and_the_scope_waits_for_the_task() -> Result<(), GroupError> {
    let (leave, ended) = (Gate::default(), AtomicUsize::new(0));
    TaskGroup::scope(|g| {
        let port = g.start(|ready| {
            ready.send(8080);
            leave.wait();
            ended.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })?;
        assert_eq!((port, ended.load(Ordering::SeqCst)), (8080, 0));
        leave.open();
        Ok(())
    })?;
    assert_eq!(ended.into_inner(), 1);
    Ok(())
}

#[test]
fn an_error_before_ready_is_the_callers_and_keeps_its_chain() -> Result<(), GroupError> {
    let line = line!() + 2;
    TaskGroup::scope(|g| {
        let started = g.start(|_ready: taskgroup::Ready<()>| {
            std::fs::read("no such file")
                .context("reading the key")
                .context("listening")?;
            Ok(())
        });
        let Err(StartError::Failed(failure)) = started else {
            panic!("it failed: {started:?}")
        };
        assert_eq!(failure.task().map(|task| task.location.line()), Some(line));
        assert!(!failure.after_cancel());
        let FailureKind::Error(error) = failure.into_kind() else {
            panic!("it was an error")
        };
        assert_eq!(
            error
                .chain()
                .map(ToString::to_string)
                .take(2)
                .collect::<Vec<_>>(),
            ["listening", "reading the key"]
        );
        assert!(error.root_cause().is::<std::io::Error>());
        assert!(!taskgroup::is_cancelled());
        // A task is counted as ended after the threads that wait for it have been woken.
        while g.stats().running > 0 {
            taskgroup::yield_now()?;
        }
        assert_eq!((g.stats().failed, g.stats().finished), (1, 0));
        Ok(())
    })
}

#[test]
fn the_callers_error_leads_to_that_of_the_task() {
    let error = TaskGroup::scope(|g| {
        g.start(|_ready: taskgroup::Ready<()>| anyhow::bail!("port in use"))?;
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert!(error.body().is_some());
    assert_eq!(
        error
            .errors()
            .next()
            .map(|error| error.root_cause().to_string())
            .as_deref(),
        Some("port in use")
    );
}

#[test]
fn a_panic_before_ready_is_the_callers() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let started = g.start(|_ready: taskgroup::Ready<()>| panic!("index 3 of 2"));
        let Err(StartError::Failed(failure)) = started else {
            panic!("it panicked: {started:?}")
        };
        assert!(
            matches!(failure.kind(), FailureKind::Panic(panic) if panic.message() == "index 3 of 2")
        );
        Ok(())
    })
}

#[test]
fn a_failure_after_ready_is_the_groups() {
    for panics in [false, true] {
        let leave = Gate::default();
        let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
            let value = g.start(|ready| {
                ready.send(1);
                leave.wait();
                assert!(!panics, "it panics");
                anyhow::bail!("connection lost")
            })?;
            assert_eq!(value, 1);
            leave.open();
            Err(blocked().into())
        })
        .unwrap_err();
        assert_eq!(error.failures().len(), 1);
        assert!(error.failures()[0].task().is_some());
        assert_eq!(error.panics().count(), usize::from(panics));
    }
}

#[test]
fn a_task_that_ends_without_sending_was_not_ready() -> Result<(), GroupError> {
    let ended = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        assert!(matches!(
            g.start(|_ready: taskgroup::Ready<u8>| Ok(())),
            Err(StartError::NotReady)
        ));
        // The call waits for a task that goes on without its `Ready`.
        let started = g.start(|ready: taskgroup::Ready<u8>| {
            drop(ready);
            taskgroup::sleep(Duration::from_millis(1))?;
            ended.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        assert!(matches!(started, Err(StartError::NotReady)));
        assert_eq!(ended.load(Ordering::SeqCst), 1);
        Ok(())
    })
}

#[test]
fn a_ready_that_was_passed_on_may_be_sent_by_another_task() -> Result<(), GroupError> {
    let leave = Gate::default();
    TaskGroup::scope(|g| {
        let value = g.start(|ready| {
            g.spawn(|| {
                ready.send(7);
                leave.open();
                Ok(())
            });
            leave.wait();
            Ok(())
        })?;
        assert_eq!(value, 7);
        Ok(())
    })
}

#[test]
fn a_value_sent_after_the_end_of_the_task_is_dropped() -> Result<(), GroupError> {
    let (leave, sent, drops) = (Gate::default(), Gate::default(), Drops::default());
    TaskGroup::scope(|g| {
        let started = g.start(|ready| {
            g.spawn(|| {
                leave.wait();
                ready.send(drops.counted());
                sent.open();
                Ok(())
            });
            Ok(())
        });
        assert!(matches!(started, Err(StartError::NotReady)));
        leave.open();
        sent.wait();
        assert_eq!(drops.count(), 1);
        Ok(())
    })
}

#[test]
fn the_scope_waits_for_tasks_that_another_scope_is_still_starting() -> Result<(), GroupError> {
    let (inside, leave) = (Gate::default(), Gate::default());
    let failed = AtomicUsize::new(0);
    TaskGroup::scope(|outer| {
        TaskGroup::scope(|target| {
            target.spawn(|| {
                let started = target.start(|_ready: taskgroup::Ready<()>| {
                    inside.open();
                    leave.wait();
                    anyhow::bail!("too late")
                });
                failed.fetch_add(
                    usize::from(matches!(started, Err(StartError::Failed(_)))),
                    Ordering::SeqCst,
                );
                Ok(())
            });
            inside.wait();
            outer.spawn(|| {
                leave.open();
                Ok(())
            });
            Ok(())
        })?;
        assert_eq!(
            failed.load(Ordering::SeqCst),
            1,
            "the scope returned before the task was started"
        );
        Ok(())
    })
}

#[test]
fn a_task_of_a_limited_group_may_start_another() -> Result<(), GroupError> {
    TaskGroup::builder().limit(1).scope(|g| {
        let outer = g.task().dedicated().spawn(|| {
            let leave = std::sync::Arc::new(Gate::default());
            let value = g.start({
                let leave = leave.clone();
                move |ready| {
                    ready.send(7);
                    leave.wait();
                    Ok(())
                }
            })?;
            leave.open();
            let failed = g.start(|_ready: taskgroup::Ready<()>| anyhow::bail!("port in use"));
            assert!(matches!(failed, Err(StartError::Failed(_))));
            Ok(value)
        });
        outer.wait()?;
        assert_eq!(outer.join()?, 7);
        // All permits have been given back.
        assert_eq!(g.spawn(|| Ok(1)).join()?, 1);
        Ok(())
    })
}

#[test]
fn a_started_task_has_the_name_it_was_given() {
    let error = TaskGroup::scope(|g| {
        g.task().name("server").start(|ready| {
            ready.send(());
            anyhow::bail!("port in use")
        })?;
        Ok(())
    })
    .unwrap_err();
    assert_eq!(
        error.failures()[0]
            .task()
            .and_then(|task| task.name.as_deref()),
        Some("server")
    );
}

/// Nothing keeps the task once it and its handle are gone, and with it the callbacks of its token.
#[test]
fn a_started_task_is_freed_whichever_side_waits() -> Result<(), GroupError> {
    for limit in [1, 2] {
        let captured = Arc::new(());
        TaskGroup::builder().limit(limit).scope(|g| {
            let start = || {
                g.start(|ready| {
                    let captured = captured.clone();
                    let own = taskgroup::current_token().context("a task has a token")?;
                    own.on_cancel(move || drop(captured)).forget();
                    ready.send(());
                    Ok(())
                })
            };
            start()?;
            g.spawn(move || Ok(start()?)).join()?;
            Ok(())
        })?;
        // The worker that ran the task may be the last to let it go, after the scope has ended.
        until(|| Arc::strong_count(&captured) == 1);
    }
    Ok(())
}
