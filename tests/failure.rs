//! Failures: the first cancels the others wherever they block, all are reported, and each appears
//! once.

mod support;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use anyhow::Context as _;
use support::{Gate, blocked};
use taskgroup::{CancelCause, Failure, FailureKind, GroupError, OnFailure, TaskGroup, TaskStatus};

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
    assert_eq!(
        error
            .failures()
            .iter()
            .map(Failure::after_cancel)
            .collect::<Vec<_>>(),
        [false, true, true]
    );
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
            assert!(task.location.file().ends_with("failure.rs"));
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
    assert_eq!(
        error
            .failures()
            .iter()
            .map(Failure::after_cancel)
            .collect::<Vec<_>>(),
        [false, true]
    );
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
fn collecting_keeps_siblings_running() {
    let mut status = None;
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            let failing = g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("one") });
            failing.wait()?;
            taskgroup::checkpoint()?;
            let sibling = g.spawn(|| Ok(taskgroup::checkpoint()?));
            status = Some(sibling.wait()?);
            Ok(())
        })
        .unwrap_err();
    assert_eq!(texts(&error), ["one"]);
    assert_eq!(status, Some(TaskStatus::Finished));
}

#[test]
fn a_policy_of_ones_own_tells_how_all_ended_in_the_order_of_their_spawn() {
    let failed = AtomicUsize::new(0);
    let mut ends = Vec::new();
    let error = TaskGroup::builder()
        .limit(1)
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            let tasks: Vec<_> = [true, false, true, false, true, false]
                .into_iter()
                .map(|good| {
                    let failed = &failed;
                    g.spawn(move || {
                        if good {
                            return Ok(());
                        }
                        if failed.fetch_add(1, Ordering::Relaxed) == 1 {
                            g.cancel_because("two failures are enough");
                        }
                        anyhow::bail!("bad")
                    })
                })
                .collect();
            for task in &tasks {
                ends.push(taskgroup::shield(|| task.wait())?);
            }
            Ok(())
        })
        .unwrap_err();
    assert_eq!(texts(&error), ["bad", "bad"]);
    use TaskStatus::{Failed, Finished, NeverRan};
    assert_eq!(
        ends,
        [Finished, Failed, Finished, Failed, NeverRan, NeverRan]
    );
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

#[test]
fn isolated_failures_do_not_cancel_the_group() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let failing = g.spawn_isolated(|| -> anyhow::Result<()> { anyhow::bail!("contained") });
        let failure = failing.join()?.expect_err("it failed");
        assert_eq!(text(&failure), "contained");
        let panicking = g.spawn_isolated(|| -> anyhow::Result<()> { panic!("contained too") });
        let failure = panicking.join()?.expect_err("it panicked");
        assert_eq!(text(&failure), "panic: contained too");
        Ok(taskgroup::checkpoint()?)
    })
}

/// A `main` that returns it prints the same, by the same trait.
#[test]
fn what_a_main_returns_is_printed_as_a_tree() -> Result<(), GroupError> {
    if !support::is_child() {
        let output = support::run_in_child("what_a_main_returns_is_printed_as_a_tree");
        assert!(!output.status.success());
        let printed = [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat();
        let tree = printed.split_once("Error: ").expect("it is introduced").1;
        let mut lines = tree.lines();
        for parts in [
            &["group `import` (tests/failure.rs:", "): 3 failures"][..],
            &[
                "├─ task `mirror` (tests/failure.rs:",
                ") failed after ",
                " [cancelled the group]",
            ],
            &["│  no mirror answered"],
            &["│  └─ group `mirrors` (tests/failure.rs:", "): 1 failure"],
            &[
                "│     └─ task `first` (tests/failure.rs:",
                ") failed after ",
            ],
            &["│        cannot connect"],
            &["│        caused by: connection refused"],
            &[
                "├─ task `index` (tests/failure.rs:",
                ") panicked after ",
                " [after the cancel]",
            ],
            &["│  index 3 of 2"],
            &["│  at tests/failure.rs:"],
            &["└─ the body failed after ", " [after the cancel]"],
            &["   no time to clean up"],
        ] {
            let line = lines.next().unwrap_or_default();
            assert!(
                line.starts_with(parts[0]) && parts.iter().all(|part| line.contains(part)),
                "not {parts:?}:\n{tree}"
            );
        }
        return Ok(());
    }
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

#[test]
fn a_policy_of_ones_own_ends_the_others_when_one_has_ended() -> Result<(), GroupError> {
    let (running, first) = (Barrier::new(3), Gate::default());
    let ends = TaskGroup::builder().limit(3).scope(|g| {
        let others = |_: usize| {
            g.spawn(|| {
                running.wait();
                Err::<(), _>(blocked().into())
            })
        };
        let mut tasks = vec![others(0), others(1)];
        tasks.push(g.spawn(|| {
            running.wait();
            first.wait();
            Ok(())
        }));
        // It waits for a permit.
        tasks.push(g.spawn(|| Ok(())));
        for task in &tasks {
            task.on_finished(|status| {
                if status == TaskStatus::Finished {
                    g.cancel_because("one is enough");
                }
            });
        }
        first.open();
        tasks
            .iter()
            .map(|task| Ok(taskgroup::shield(|| task.wait())?))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    use TaskStatus::{Cancelled, Finished, NeverRan};
    assert_eq!(ends, [Cancelled, Cancelled, Finished, NeverRan]);
    Ok(())
}
