//! Ends that a panic drops.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use taskgroup::channel::{self, Sender};
use taskgroup::{FailureKind, OnFailure, TaskGroup, TaskId};

use super::{assert_cut_by, collecting, end_of, two_channels};
use crate::support::Gate;

#[test]
fn a_panic_is_known_without_with() {
    let (sender, receiver) = channel::unbounded::<u32>();
    let good = sender.clone();
    collecting(|g| {
        let bad = g.task().name("bad").spawn(move || -> anyhow::Result<()> {
            sender.send(1)?;
            panic!("expected");
        });
        bad.wait()?;
        g.spawn(move || Ok(good.send(2)?)).wait()?;
        assert_cut_by(&receiver, Some("bad"));
        Ok(())
    });
}

/// Runs `f` in a task of a group that runs each joined task in place: the task holds the only
/// permit, so no worker can begin another, and the task has no handle. Returns the task as well.
fn where_joins_run_in_place(
    f: impl for<'s> FnOnce(&'s TaskGroup<'s, '_>) -> anyhow::Result<()> + Send,
) -> (TaskId, Result<(), taskgroup::GroupError>) {
    let (first_may_end, has_run) = (Gate::default(), AtomicUsize::new(0));
    let mut id = None;
    let scope = TaskGroup::builder()
        .limit(1)
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            g.spawn(|| {
                first_may_end.wait();
                Ok(())
            });
            let has_run = &has_run;
            let task = g.spawn(move || {
                f(g)?;
                has_run.fetch_add(1, SeqCst);
                Ok(())
            });
            id = Some(task.id());
            drop(task);
            first_may_end.open();
            Ok(())
        });
    assert_eq!(
        has_run.into_inner(),
        1,
        "it did not run to its end: {scope:?}"
    );
    (id.unwrap(), scope)
}

/// Whether it is the panic of these tests, and not a failed assertion.
fn is_expected(kind: FailureKind<anyhow::Error>) -> bool {
    match kind {
        FailureKind::Panic(panic) => panic.into_inner().is::<Expected>(),
        _ => false,
    }
}

struct Expected;

#[test]
fn a_panic_is_known_in_place_and_with_with() {
    let [(sender, receiver), (given, also)] = two_channels();
    let (_, scope) = where_joins_run_in_place(|g| {
        let here = thread::current().id();
        let spawned = g
            .task()
            .with(given)
            .spawn(move |_given| -> anyhow::Result<()> {
                let _sender = sender;
                assert_eq!(thread::current().id(), here, "it runs in place");
                panic::panic_any(Expected);
            });
        let id = spawned.id();
        assert!(spawned.join().is_err());
        for receiver in [&receiver, &also] {
            let disconnected = end_of(receiver);
            assert!(!disconnected.ended_well());
            assert_eq!(disconnected.closed_by().unwrap().id, id);
        }
        Ok(())
    });
    let failures = scope.unwrap_err().into_failures();
    assert_eq!(failures.len(), 1);
    assert!(
        failures
            .into_iter()
            .all(|failure| is_expected(failure.into_kind()))
    );
}

#[test]
fn a_task_in_place_leaves_the_record_of_the_task_around_it() {
    let (sender, receiver) = channel::unbounded::<u32>();
    let (around, scope) = where_joins_run_in_place(|g| {
        let here = thread::current().id();
        for _ in 0..10 {
            let fails = g.spawn_isolated(move || -> anyhow::Result<()> {
                assert_eq!(thread::current().id(), here, "it runs in place");
                panic::panic_any(Expected);
            });
            assert!(is_expected(fails.join()?.unwrap_err().into_kind()));
        }
        drop(sender);
        Ok(())
    });
    scope.unwrap();
    let disconnected = end_of(&receiver);
    assert!(disconnected.ended_well());
    assert_eq!(disconnected.closed_by().unwrap().id, around);
}

#[test]
fn a_panic_of_the_body_is_known() {
    let (sender, receiver) = channel::unbounded::<u32>();
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        TaskGroup::scope(|_g| -> anyhow::Result<()> {
            let _sender = sender;
            panic!("expected");
        })
    }));
    assert!(panicked.is_err());
    assert_cut_by(&receiver, None);
}

#[test]
fn a_task_of_a_thread_that_panics_already_has_not_panicked() {
    struct RunsTasks(Option<Sender<u32>>, Option<Sender<u32>>);
    impl Drop for RunsTasks {
        fn drop(&mut self) {
            let (of_body, of_task) = (self.0.take(), self.1.take());
            TaskGroup::scope(|g| {
                drop(of_body);
                g.spawn(move || {
                    drop(of_task);
                    Ok(())
                })
                .join()?;
                Ok(())
            })
            .unwrap();
        }
    }

    let [(of_body, body), (of_task, task)] = two_channels();
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        let _runs = RunsTasks(Some(of_body), Some(of_task));
        panic!("expected");
    }));
    assert!(panicked.is_err());
    assert!(end_of(&body).ended_well());
    assert!(end_of(&task).ended_well());
}
