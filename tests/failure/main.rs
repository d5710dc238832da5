//! Failures: the first cancels the others wherever they block, all are reported, and each appears
//! once.

mod policy;
mod report;
#[path = "../support/mod.rs"]
mod support;

use std::fmt;
use std::sync::{Arc, Barrier, Mutex};

use taskgroup::{CancelCause, Failure, FailureKind, GroupError, TaskGroup};

use support::blocked;

/// An error that can be told from a copy of itself.
#[derive(Clone, Debug)]
struct Unique(Arc<()>);

impl fmt::Display for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a unique error")
    }
}

impl std::error::Error for Unique {}

fn text(failure: &Failure<anyhow::Error>) -> String {
    match failure.kind() {
        FailureKind::Error(error) => format!("{error}"),
        FailureKind::Panic(panic) => format!("panic: {}", panic.message()),
        other => format!("{other:?}"),
    }
}

fn texts(error: &GroupError) -> Vec<String> {
    error.failures().iter().map(text).collect()
}

#[test]
fn the_error_of_a_task_is_reported_as_the_very_value() {
    let original = Unique(Arc::new(()));
    let error = TaskGroup::scope(|g| {
        let raised = original.clone();
        g.spawn(move || -> anyhow::Result<()> { Err(raised.into()) });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    let raised = error
        .into_single()
        .expect("the one failure is an error")
        .downcast::<Unique>()
        .expect("of its own type");
    assert!(Arc::ptr_eq(&raised.0, &original.0));
}

#[test]
fn the_error_of_the_body_is_marked_as_the_bodys() {
    let error =
        TaskGroup::scope(|_| -> anyhow::Result<()> { anyhow::bail!("no network") }).unwrap_err();
    assert_eq!(texts(&error), ["no network"]);
    assert!(
        error
            .primary()
            .is_some_and(|failure| failure.task().is_none() && !failure.after_cancel())
    );
    assert_eq!(error.body().map(text), Some("no network".to_owned()));
}

#[test]
fn the_failure_of_a_task_is_not_the_bodys() {
    let mut id = None;
    let error = TaskGroup::scope(|g| {
        id = Some(
            g.task()
                .name("reader")
                .spawn(|| -> anyhow::Result<()> { anyhow::bail!("torn page") })
                .id(),
        );
        Ok(())
    })
    .unwrap_err();
    assert!(error.body().is_none());
    let failure = error
        .of_task(id.expect("the body ran"))
        .expect("found by the id of its task");
    assert_eq!(
        failure.task().and_then(|task| task.name.as_deref()),
        Some("reader")
    );
    assert_eq!(text(failure), "torn page");
}

#[test]
fn a_failing_task_wakes_the_blocked_body_and_is_all_that_is_reported() {
    let mut seen = None;
    let mut line = 0;
    let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
        let importer = g.task().name("importer");
        line = line!() + 1;
        importer.spawn(|| -> anyhow::Result<()> { anyhow::bail!("bad row") });
        let cancelled = blocked();
        seen = Some(cancelled.clone());
        Err(cancelled.into())
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["bad row"]);
    assert!(error.body().is_none());
    match seen.expect("the body was woken").cause() {
        CancelCause::TaskFailed { task, error, .. } => {
            assert_eq!(
                (task.name.as_deref(), error.as_str()),
                (Some("importer"), "bad row")
            );
            assert_eq!(task.location.file(), file!());
            assert_eq!(task.location.line(), line);
        }
        other => panic!("not the failure of the task: {other:?}"),
    }
}

#[test]
fn a_sibling_that_checks_in_a_loop_sees_the_cancel_and_is_not_reported() {
    let started = Barrier::new(2);
    let seen = Mutex::new(None);
    let error = TaskGroup::scope(|g| {
        g.spawn(|| {
            started.wait();
            loop {
                if let Err(cancelled) = taskgroup::checkpoint() {
                    *seen.lock().unwrap() = Some(cancelled.clone());
                    return Err::<(), _>(cancelled.into());
                }
                std::thread::yield_now();
            }
        });
        g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            anyhow::bail!("crash")
        });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["crash"]);
    let seen = seen
        .into_inner()
        .unwrap()
        .expect("the sibling was cancelled");
    assert!(
        matches!(seen.cause(), CancelCause::TaskFailed { error, .. } if error == "crash"),
        "{seen}"
    );
}

#[test]
fn a_failing_body_cancels_blocked_tasks() {
    let started = Barrier::new(3);
    let causes = Mutex::new(Vec::new());
    let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
        for _ in 0..2 {
            g.spawn(|| -> anyhow::Result<()> {
                started.wait();
                let cancelled = blocked();
                causes.lock().unwrap().push(cancelled.cause().clone());
                Err(cancelled.into())
            });
        }
        started.wait();
        anyhow::bail!("the body gave up")
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["the body gave up"]);
    assert!(error.body().is_some());
    let causes = causes.into_inner().unwrap();
    assert_eq!(causes.len(), 2);
    for cause in causes {
        assert!(
            matches!(&cause, CancelCause::BodyFailed { error, .. } if error == "the body gave up"),
            "{cause}"
        );
    }
}

#[test]
fn a_body_that_fails_at_once_reports_only_its_error() {
    for _ in 0..100 {
        let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
            for _ in 0..2 {
                g.spawn(|| Ok(taskgroup::sleep(support::LONG)?));
            }
            anyhow::bail!("at once")
        })
        .unwrap_err();
        assert_eq!(texts(&error), ["at once"]);
    }
}

#[test]
fn joining_a_failed_task_says_that_it_failed() {
    let mut joined = None;
    let error = TaskGroup::scope(|g| {
        let task = g
            .task()
            .name("loader")
            .spawn(|| -> anyhow::Result<u32> { anyhow::bail!("gone") });
        joined = task.join().err();
        Ok(())
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["gone"]);
    let joined = joined.expect("a failed task has no value");
    assert!(
        matches!(joined.cause(), CancelCause::TaskFailed { error, .. } if error == "gone"),
        "{joined}"
    );
}
