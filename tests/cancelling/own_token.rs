//! The token of a task: its own, whichever thread runs the task or holds its handle.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::{Gate, LONG};
use taskgroup::{
    CancelToken, GroupError, TaskGroup, TaskHandle, TaskStatus, checkpoint, current_token,
};

/// The thread that a task runs on.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// On the thread that joins it.
    Joined,
    /// On a worker, with its handle alive.
    Kept,
    /// On a worker, with its handle dropped before it begins.
    Dropped,
    /// On a thread of its own.
    Dedicated,
    /// On the thread of the scope, after the body.
    AtTheEnd,
}

const WAYS: [Way; 5] = [
    Way::Joined,
    Way::Kept,
    Way::Dropped,
    Way::Dedicated,
    Way::AtTheEnd,
];

/// Runs `f` as a task that runs `way`. Returns its result and whether the group was cancelled then.
fn run<T: Send>(
    way: Way,
    limit: Option<usize>,
    f: impl Fn(&CancelToken) -> T + Send + Sync,
) -> Result<(T, bool), GroupError> {
    let builder = TaskGroup::builder();
    let builder = match limit {
        Some(limit) => builder.limit(limit),
        None => builder,
    };
    let (sender, results) = mpsc::channel();
    let group = builder.scope(|g| {
        let f = &f;
        let ran = Arc::new(Gate::default());
        let task = {
            let ran = ran.clone();
            move || {
                sender.send(f(g.token())).expect("the test receives");
                ran.open();
                Ok(())
            }
        };
        match way {
            Way::Joined => drop(g.spawn(task).join()),
            Way::Kept => until_ended(&g.spawn(task)),
            Way::Dedicated => until_ended(&g.task().dedicated().spawn(task)),
            Way::Dropped => {
                drop(g.spawn(task));
                ran.wait();
            }
            Way::AtTheEnd => drop(g.spawn(task)),
        }
        Ok(g.token().clone())
    })?;
    let result = results
        .recv_timeout(LONG)
        .expect("the task sends before the scope returns");
    Ok((result, group.is_cancelled()))
}

fn until_ended(task: &TaskHandle<'_, ()>) {
    crate::support::until(|| task.is_finished());
}

#[test]
fn cancelling_the_token_of_a_task_does_not_cancel_the_group() -> Result<(), GroupError> {
    for way in WAYS {
        for limit in [None, Some(1), Some(2)] {
            let seen = run(way, limit, |group| {
                assert!(checkpoint().is_ok());
                let own = current_token().expect("a task has a token");
                assert_ne!(own, *group);
                assert_eq!(
                    current_token().as_ref(),
                    Some(&own),
                    "one task has one token"
                );
                assert!(own.cancel());
                let cancelled = checkpoint().expect_err("the task is cancelled");
                (cancelled.origin() == own.id(), group.is_cancelled())
            })?;
            assert_eq!(seen, ((true, false), false), "{way:?}, limit {limit:?}");
        }
    }
    Ok(())
}

#[test]
fn a_deadline_on_the_token_of_a_task_ends_only_the_task() -> Result<(), GroupError> {
    for way in WAYS {
        let seen = run(way, None, |_| {
            current_token()
                .expect("a task has a token")
                .cancel_after(Duration::from_millis(1));
            taskgroup::sleep(LONG).is_err()
        })?;
        assert_eq!(seen, (true, false), "{way:?}");
    }
    Ok(())
}

#[test]
fn a_task_that_ends_with_its_own_cancel_has_not_failed() -> Result<(), GroupError> {
    let cut = || -> anyhow::Result<()> {
        current_token().expect("a task has a token").cancel();
        Ok(checkpoint()?)
    };
    TaskGroup::scope(|g| {
        assert!(g.spawn(cut).join().is_err(), "in place");
        let kept = g.spawn(cut);
        crate::support::until(|| kept.is_finished());
        assert_eq!(kept.status(), TaskStatus::Cancelled);
        drop(g.spawn(cut));
        g.spawn_daemon(cut);
        assert!(!g.token().is_cancelled());
        Ok(())
    })
}

#[test]
fn a_task_that_runs_in_place_leaves_no_token_behind() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let outer = g.spawn(move || {
            let inner = g.spawn(|| {
                current_token().expect("a task has a token").cancel();
                assert!(checkpoint().is_err());
                Ok(())
            });
            inner.join()?;
            checkpoint()?;
            // A task that begins here now must not run under the token of this task.
            let own = current_token().expect("a task has a token");
            let next = g.spawn(move || {
                own.cancel();
                Ok(checkpoint()?)
            });
            let ended = taskgroup::shield(|| next.wait())?;
            assert_eq!(ended, TaskStatus::Finished);
            assert!(checkpoint().is_err());
            Ok(())
        });
        outer.join()?;
        Ok(checkpoint()?)
    })
}

#[test]
fn the_token_of_a_body_is_the_groups_again_after_a_task_in_place() -> Result<(), GroupError> {
    let here = thread::current().id();
    TaskGroup::scope(|g| {
        let mut in_place = 0;
        // A worker may be faster than the join, but not each time.
        while in_place < 3 {
            let on = g.spawn(|| Ok(thread::current().id())).join()?;
            in_place += usize::from(on == here);
            assert_eq!(current_token().as_ref(), Some(g.token()));
        }
        Ok(())
    })
}

#[test]
fn a_hook_is_called_for_the_cancel_of_its_task_alone() -> Result<(), GroupError> {
    for way in WAYS {
        let seen = run(way, None, |_| {
            let (called, calls) = mpsc::channel();
            taskgroup::with_cancel_hook(
                || called.send(()).expect("the region waits"),
                || {
                    current_token().expect("a task has a token").cancel();
                    calls.try_recv().is_ok()
                },
            )
        })?;
        assert_eq!(seen, (true, false), "{way:?}");
    }
    Ok(())
}
