//! Which scope a cancel came from: a `Cancelled` of the own scope is not a failure, a `Cancelled`
//! of another scope is.

use std::io;
use std::sync::Barrier;

use crate::support::{LONG, blocked};
use anyhow::Context as _;
use taskgroup::{CancelToken, Cancelled, Failure, FailureKind, GroupError, TaskError, TaskGroup};

fn texts(error: &GroupError) -> Vec<String> {
    error.errors().map(ToString::to_string).collect()
}

#[test]
fn a_foreign_cancelled_is_a_failure() {
    let foreign = CancelToken::new();
    foreign.cancel_because("another application");
    let error = TaskGroup::scope(|g| {
        let theirs = foreign.clone();
        g.spawn(move || Ok(theirs.check()?));
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    let kind = error
        .primary()
        .expect("the foreign cancel failed the task")
        .kind();
    assert!(matches!(
        kind,
        FailureKind::Error(e) if e
            .downcast_ref::<Cancelled>()
            .is_some_and(|c| c.origin() == foreign.id())
    ));
}

#[test]
fn the_cancel_that_a_shield_hides_is_foreign_inside_of_it() {
    let hidden = CancelToken::new();
    hidden.cancel();
    let error = hidden
        .run(|| taskgroup::shield(|| TaskGroup::scope(|_| Ok(hidden.check()?))))
        .expect_err("the group belongs to nothing outside of the shield");
    assert_eq!(error.failures().len(), 1);
    assert!(error.cancelled().is_none());
}

#[test]
fn the_cancel_of_a_sibling_is_foreign_to_the_body_that_returns_it() {
    let started = Barrier::new(2);
    let error = TaskGroup::scope(|g| {
        let sibling = g.spawn(|| {
            started.wait();
            Err::<(), _>(blocked().into())
        });
        started.wait();
        sibling.cancel();
        Ok(sibling.join()?)
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert!(error.body().is_some());
}

#[test]
fn the_groups_own_cancelled_is_dropped_even_under_context() {
    let started = Barrier::new(2);
    let error = TaskGroup::scope(|g| {
        g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            taskgroup::sleep(crate::support::LONG)
                .context("while reading")
                .context("while importing")
        });
        g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            anyhow::bail!("crash")
        });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["crash"]);
}

#[test]
fn a_nested_group_cut_short_by_the_outer_cancel_adds_nothing() {
    let started = Barrier::new(3);
    let error = TaskGroup::scope(|outer| {
        outer.spawn(|| {
            TaskGroup::scope(|inner| {
                inner.spawn(|| {
                    started.wait();
                    Err::<(), _>(blocked().into())
                });
                started.wait();
                Err::<(), _>(blocked().into())
            })?;
            Ok(())
        });
        started.wait();
        Err::<(), _>(anyhow::anyhow!("outer body"))
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["outer body"]);
}

#[test]
fn a_failure_inside_a_nested_group_is_not_lost_to_the_cancel_of_the_outer_one() {
    let started = Barrier::new(2);
    let error = TaskGroup::scope(|outer| {
        outer.spawn(|| {
            TaskGroup::scope(|inner| {
                inner.spawn(|| -> anyhow::Result<()> {
                    started.wait();
                    blocked();
                    anyhow::bail!("clean-up broke")
                });
                Ok(())
            })?;
            Ok(())
        });
        started.wait();
        Err::<(), _>(anyhow::anyhow!("outer body"))
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 2, "{error:#}");
    assert!(error.failures()[1].after_cancel());
    assert!(format!("{error:#}").contains("clean-up broke"), "{error:#}");
}

#[test]
fn the_cause_of_the_outer_group_is_reported_inside_the_inner_group() {
    let started = Barrier::new(2);
    let (mut seen, mut top) = (None, None);
    let error = TaskGroup::scope(|outer| {
        top = Some(outer.token().id());
        let (started, seen) = (&started, &mut seen);
        outer.spawn(move || {
            TaskGroup::scope(|inner| {
                inner.spawn(|| {
                    started.wait();
                    let cancelled = blocked();
                    *seen = Some((cancelled.to_string(), cancelled.origin()));
                    Err::<(), _>(cancelled.into())
                });
                Ok(())
            })?;
            Ok(())
        });
        outer
            .task()
            .name("importer")
            .spawn(move || -> anyhow::Result<()> {
                started.wait();
                anyhow::bail!("bad row")
            });
        Err::<(), _>(blocked().into())
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["bad row"]);
    let (text, origin) = seen.expect("the inner task was cancelled");
    assert!(
        text.contains("importer") && text.contains("bad row"),
        "{text}"
    );
    assert_eq!(Some(origin), top);
}

#[test]
fn the_own_cancelled_is_recognised_inside_an_io_error() {
    let error = TaskGroup::builder()
        .error_type::<io::Error>()
        .scope(|g| {
            g.cancel_because("closing");
            taskgroup::sleep(LONG)?;
            Ok(())
        })
        .unwrap_err();
    assert!(error.failures().is_empty());
    let cancelled = error.cancelled().expect("the body was cut short");
    let through_io = io::Error::from(cancelled.clone());
    assert_eq!(through_io.kind(), io::ErrorKind::Other);
    assert_eq!(
        TaskError::cancelled(&through_io).map(Cancelled::origin),
        Some(cancelled.origin())
    );
    assert!(TaskError::cancelled(&io::Error::other("something else")).is_none());
}

#[test]
fn the_own_cancelled_is_recognised_through_io_and_anyhow() {
    let started = Barrier::new(2);
    let outcome = TaskGroup::scope(|g| {
        g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            let read: io::Result<()> = taskgroup::sleep(LONG).map_err(io::Error::from);
            read.context("while reading the header")
        });
        started.wait();
        g.cancel();
        Ok("absorbed")
    });
    assert!(outcome.is_ok_and(|value| value == "absorbed"));
}

#[test]
fn a_type_of_ones_own_that_hides_its_cancelled_has_failed() {
    #[derive(Debug, thiserror::Error)]
    #[error("gave up")]
    struct Hiding;
    impl From<Cancelled> for Hiding {
        fn from(_: Cancelled) -> Self {
            Hiding
        }
    }
    impl TaskError for Hiding {
        fn cancelled(&self) -> Option<&Cancelled> {
            None
        }
    }
    let error = TaskGroup::builder()
        .error_type::<Hiding>()
        .scope(|g| {
            g.cancel();
            Ok(taskgroup::checkpoint()?)
        })
        .unwrap_err();
    assert!(error.body().is_some_and(Failure::after_cancel));
}
