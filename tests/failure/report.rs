//! The contents of a report: each failure once, in order, and how it is printed.

use std::sync::Barrier;

use anyhow::Context as _;
use taskgroup::{Failure, GroupError, OnFailure, TaskGroup, TaskStatus};

use super::{text, texts};
use crate::support::{self, Gate, blocked};

/// Returns for each failure whether it came after the cancel.
fn after_cancel(error: &GroupError) -> Vec<bool> {
    error.failures().iter().map(Failure::after_cancel).collect()
}

#[test]
fn failures_are_listed_in_the_order_of_completion() {
    let go = [Gate::default(), Gate::default(), Gate::default()];
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            let tasks: Vec<_> = (0..3)
                .map(|n| {
                    let go = &go[n];
                    g.spawn(move || -> anyhow::Result<()> {
                        go.wait();
                        anyhow::bail!("{n}")
                    })
                })
                .collect();
            for n in [2, 0, 1] {
                go[n].open();
                assert_eq!(tasks[n].wait()?, TaskStatus::Failed);
            }
            Ok(())
        })
        .unwrap_err();
    assert_eq!(texts(&error), ["2", "0", "1"]);
}

#[test]
fn the_first_of_three_failures_is_primary_and_the_rest_follow_in_order() {
    let started = Barrier::new(4);
    let (second_may, third_may) = (Gate::default(), Gate::default());
    let error = TaskGroup::scope(|g| {
        g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            anyhow::bail!("first")
        });
        let second = g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            blocked();
            second_may.wait();
            anyhow::bail!("second")
        });
        g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            blocked();
            third_may.wait();
            anyhow::bail!("third")
        });
        started.wait();
        blocked();
        second_may.open();
        taskgroup::shield(|| second.wait())?;
        third_may.open();
        Ok(())
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["first", "second", "third"]);
    assert_eq!(error.primary().map(text), Some("first".to_owned()));
    assert_eq!(after_cancel(&error), [false, true, true]);
}

#[test]
fn a_failure_the_body_joined_and_returned_appears_once() {
    for policy in [OnFailure::CancelSiblings, OnFailure::Collect] {
        let error = TaskGroup::builder()
            .on_failure(policy)
            .scope(|g| {
                let task = g.spawn(|| -> anyhow::Result<u32> { anyhow::bail!("only once") });
                Ok(task.join()?)
            })
            .unwrap_err();
        assert_eq!(texts(&error), ["only once"], "under {policy:?}");
        assert!(error.body().is_none());
    }
}

#[test]
fn the_failure_of_a_task_that_is_never_joined_is_not_dropped_silently() {
    let error = TaskGroup::scope(|g| {
        drop(g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("unheard") }));
        Ok("body is content")
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["unheard"]);
}

#[test]
fn errors_of_cleaning_up_are_kept_and_flagged() {
    let started = Barrier::new(3);
    let error = TaskGroup::scope(|g| {
        g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            let _ = blocked();
            anyhow::bail!("cannot roll back")
        });
        g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            anyhow::bail!("crash")
        });
        started.wait();
        Err::<(), _>(blocked().into())
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["crash", "cannot roll back"]);
    assert_eq!(after_cancel(&error), [false, true]);
    assert_eq!(error.primary().map(text), Some("crash".to_owned()));
}

#[test]
fn an_error_of_the_body_after_a_cancel_is_flagged_and_not_primary() {
    let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
        g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("crash") });
        blocked();
        anyhow::bail!("the body's clean-up")
    })
    .unwrap_err();
    assert_eq!(texts(&error), ["crash", "the body's clean-up"]);
    assert!(error.body().is_some_and(Failure::after_cancel));
    assert_eq!(error.primary().map(text), Some("crash".to_owned()));
}

#[test]
fn many_failures_at_once_are_all_reported() {
    for _ in 0..50 {
        let started = Barrier::new(8);
        let error = TaskGroup::scope(|g| {
            for n in 0..8 {
                let started = &started;
                g.spawn(move || -> anyhow::Result<()> {
                    started.wait();
                    anyhow::bail!("{n}")
                });
            }
            Ok(())
        })
        .unwrap_err();
        let mut all = texts(&error);
        all.sort();
        assert_eq!(all, ["0", "1", "2", "3", "4", "5", "6", "7"]);
        assert_eq!(
            error
                .failures()
                .iter()
                .filter(|failure| !failure.after_cancel())
                .count(),
            1
        );
    }
}

/// The parts of each line that the process of the next test prints.
const PRINTED: [&[&str]; 12] = [
    &["group `import` (tests/failure/report.rs:", "): 3 failures"],
    &[
        "├─ task `mirror` (tests/failure/report.rs:",
        ") failed after ",
        " [cancelled the group]",
    ],
    &["│  no mirror answered"],
    &[
        "│  └─ group `mirrors` (tests/failure/report.rs:",
        "): 1 failure",
    ],
    &[
        "│     └─ task `first` (tests/failure/report.rs:",
        ") failed after ",
    ],
    &["│        cannot connect"],
    &["│        caused by: connection refused"],
    &[
        "├─ task `index` (tests/failure/report.rs:",
        ") panicked after ",
        " [after the cancel]",
    ],
    &["│  index 3 of 2"],
    &["│  at tests/failure/report.rs:"],
    &["└─ the body failed after ", " [after the cancel]"],
    &["   no time to clean up"],
];

/// A `main` that returns it prints the same, by the same trait.
#[test]
fn what_a_main_returns_is_printed_as_a_tree() -> Result<(), GroupError> {
    if support::is_child() {
        return import();
    }
    let output = support::run_in_child("what_a_main_returns_is_printed_as_a_tree");
    assert!(!output.status.success());
    let printed = [output.stdout, output.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .concat();
    let tree = printed.split_once("Error: ").expect("it is introduced").1;
    let mut lines = tree.lines();
    for parts in PRINTED {
        let line = lines.next().unwrap_or_default();
        assert!(
            line.starts_with(parts[0]) && parts.iter().all(|part| line.contains(part)),
            "not {parts:?}:\n{tree}"
        );
    }
    Ok(())
}

/// Fails in a group inside, and after the cancel by a panic and by its body.
fn import() -> Result<(), GroupError> {
    taskgroup::install_panic_hook();
    let asleep = Barrier::new(2);
    TaskGroup::builder().name("import").scope(|g| {
        let index = g.task().name("index").spawn(|| -> anyhow::Result<()> {
            asleep.wait();
            blocked();
            panic!("index 3 of 2")
        });
        asleep.wait();
        g.task().name("mirror").spawn(|| {
            let mirrors = TaskGroup::builder().name("mirrors").scope(|inner| {
                inner.task().name("first").spawn(|| -> anyhow::Result<()> {
                    Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
                        .context("cannot connect")
                });
                Ok(())
            });
            mirrors.context("no mirror answered")
        });
        blocked();
        taskgroup::shield(|| index.wait())?;
        anyhow::bail!("no time to clean up")
    })
}
