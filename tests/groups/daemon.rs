//! Daemons: tasks that serve the others and end with them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::{Drops, Gate, LONG, blocked, panic_messages};
use taskgroup::{
    CancelCause, CancelToken, Cancelled, FailureKind, GroupError, OnFailure, TaskGroup, TaskStatus,
};

#[test]
fn a_daemon_is_cancelled_once_the_body_and_the_tasks_are_done() -> Result<(), GroupError> {
    let (running, leave) = (Gate::default(), Gate::default());
    let events = Mutex::new(Vec::new());
    let value = TaskGroup::scope(|g| {
        g.spawn_daemon(|| {
            running.open();
            let cancelled = blocked();
            let finished = matches!(cancelled.cause(), CancelCause::GroupFinished);
            events.lock().unwrap().push(if finished {
                "daemon"
            } else {
                "daemon, too early"
            });
            Err(cancelled.into())
        });
        running.wait();
        g.spawn(|| {
            leave.wait();
            events.lock().unwrap().push("task");
            Ok(())
        });
        events.lock().unwrap().push("body");
        leave.open();
        Ok(2)
    })?;
    assert_eq!(value, 2);
    let events = events.into_inner().unwrap();
    assert_eq!(
        (events.len(), events.last()),
        (3, Some(&"daemon")),
        "{events:?}"
    );
    Ok(())
}

#[test]
fn the_scope_waits_for_a_callback_on_a_daemons_own_token() -> Result<(), GroupError> {
    let (begun, leave, ended) = (
        Arc::new(Gate::default()),
        Arc::new(Gate::default()),
        Arc::new(AtomicUsize::new(0)),
    );
    let daemon_left = Arc::new(Gate::default());
    let (give, tokens) = mpsc::channel();
    let canceller = thread::spawn(move || {
        let token: CancelToken = tokens.recv().expect("the daemon gives its token");
        token.cancel();
    });
    let opener = thread::spawn({
        let (leave, daemon_left) = (leave.clone(), daemon_left.clone());
        move || {
            daemon_left.wait();
            // A scope that does not wait returns in this time. A scope that waits passes,
            // however long the time is.
            thread::sleep(Duration::from_millis(50));
            leave.open();
        }
    });
    TaskGroup::scope(|g| {
        let (begun_here, ended) = (begun.clone(), ended.clone());
        let daemon_left = daemon_left.clone();
        g.spawn_daemon(move || {
            let token = taskgroup::current_token().expect("a daemon is in a scope");
            let callback = move || {
                begun_here.open();
                leave.wait();
                ended.fetch_add(1, Ordering::SeqCst);
            };
            token.on_cancel(callback).forget();
            give.send(token)?;
            let cancelled = blocked();
            daemon_left.open();
            Err(cancelled.into())
        });
        begun.wait();
        Ok(())
    })?;
    assert_eq!(
        ended.load(Ordering::SeqCst),
        1,
        "the scope has returned while the callback ran"
    );
    canceller.join().expect("it only cancels");
    opener.join().expect("it only opens the gate");
    Ok(())
}

#[test]
fn a_daemon_that_fails_fails_the_group() {
    let error = TaskGroup::scope(|g| {
        g.task()
            .name("reaper")
            .spawn_daemon(|| anyhow::bail!("out of handles"));
        let cancelled: Cancelled = blocked();
        assert!(matches!(
            cancelled.cause(),
            CancelCause::TaskFailed { error, .. } if error == "out of handles"
        ));
        Err::<(), _>(cancelled.into())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    let failure = error.primary().expect("the daemon failed first");
    assert_eq!(
        failure.task().and_then(|task| task.name.as_deref()),
        Some("reaper")
    );
    assert!(
        matches!(failure.kind(), FailureKind::Error(error) if error.to_string() == "out of handles")
    );
}

#[test]
fn a_daemon_that_fails_while_it_ends_is_reported() {
    let running = Gate::default();
    let error = TaskGroup::scope(|g| {
        g.spawn_daemon(|| {
            running.open();
            blocked();
            anyhow::bail!("could not flush")
        });
        running.wait();
        Ok(())
    })
    .unwrap_err();
    assert_eq!(
        error.errors().map(ToString::to_string).collect::<Vec<_>>(),
        ["could not flush"]
    );
}

#[test]
fn a_daemon_that_panics_fails_the_group() {
    let error = TaskGroup::scope(|g| {
        g.spawn_daemon(|| panic!("daemon down"));
        Err::<(), _>(blocked().into())
    })
    .unwrap_err();
    assert_eq!(panic_messages(&error), ["daemon down"]);
}

#[test]
fn a_daemon_that_ends_early_ends_nothing_else() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let daemon = g.spawn_daemon(|| Ok(()));
        assert_eq!(daemon.wait()?, TaskStatus::Finished);
        g.spawn(|| Ok(taskgroup::checkpoint()?)).join()?;
        Ok(taskgroup::checkpoint()?)
    })
}

#[test]
fn an_idle_group_with_only_daemons_ends_when_the_body_does() -> Result<(), GroupError> {
    let value = TaskGroup::scope(|g| {
        for _ in 0..4 {
            g.spawn_daemon(|| Ok(taskgroup::sleep(LONG)?));
        }
        Ok(4)
    })?;
    assert_eq!(value, 4);
    Ok(())
}

#[test]
fn a_daemons_clean_up_may_block_in_a_shield() -> Result<(), GroupError> {
    let (running, flushed) = (Gate::default(), AtomicUsize::new(0));
    TaskGroup::scope(|g| {
        g.spawn_daemon(|| {
            running.open();
            let cancelled = blocked();
            taskgroup::shield(taskgroup::yield_now)?;
            flushed.fetch_add(1, Ordering::Relaxed);
            Err(cancelled.into())
        });
        running.wait();
        Ok(())
    })?;
    assert_eq!(flushed.into_inner(), 1);
    Ok(())
}

#[test]
fn a_daemon_is_cancelled_by_a_failure_with_the_failures_cause() {
    let running = Gate::default();
    let seen = Mutex::new(None);
    let error = TaskGroup::scope(|g| {
        g.spawn_daemon(|| {
            running.open();
            let cancelled = blocked();
            *seen.lock().unwrap() = Some(cancelled.cause().clone());
            Err(cancelled.into())
        });
        running.wait();
        g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("crash") });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    let seen = seen.into_inner().unwrap();
    assert!(
        matches!(&seen, Some(CancelCause::TaskFailed { error, .. }) if error == "crash"),
        "{seen:?}"
    );
}

#[test]
fn a_daemon_cancelled_by_its_handle_does_not_end_the_group() -> Result<(), GroupError> {
    let running = Gate::default();
    TaskGroup::scope(|g| {
        let daemon = g.spawn_daemon(|| {
            running.open();
            Err(blocked().into())
        });
        running.wait();
        assert_eq!(daemon.cancel_and_wait()?, TaskStatus::Cancelled);
        Ok(taskgroup::checkpoint()?)
    })
}

#[test]
fn nothing_a_daemon_spawns_while_ending_outlives_the_scope() -> Result<(), GroupError> {
    for _ in 0..50 {
        let (drops, running) = (Drops::default(), Gate::default());
        TaskGroup::scope(|g| {
            let own = [drops.counted(), drops.counted()];
            let running = &running;
            g.spawn_daemon(move || {
                running.open();
                let cancelled = blocked();
                let [task, daemon] = own;
                g.spawn(move || {
                    let _own = task;
                    Ok(())
                });
                g.spawn_daemon(move || {
                    let _own = daemon;
                    Ok(taskgroup::sleep(LONG)?)
                });
                Err(cancelled.into())
            });
            running.wait();
            Ok(())
        })?;
        assert_eq!(drops.count(), 2);
    }
    Ok(())
}

#[test]
fn collecting_groups_cancel_their_daemons_at_the_end_too() {
    let running = Gate::default();
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            g.spawn_daemon(|| {
                running.open();
                Ok(taskgroup::sleep(LONG)?)
            });
            running.wait();
            g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("collected") });
            Ok(())
        })
        .unwrap_err();
    assert_eq!(
        error.errors().map(ToString::to_string).collect::<Vec<_>>(),
        ["collected"]
    );
}
