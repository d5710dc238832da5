//! Models of failures in a scope: which threads they wake, how they are reported, and that a model
//! notices a failure inside of a task.

use std::panic::panic_any;

use anyhow::anyhow;
use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::cancel::cancel_in_thread;
use super::support::{Gate, Note, apart, block, must_see, saw};
use super::{Model, Watched};
use crate::facade::ModelPanic;
use crate::{CancelCause, CancelToken, TaskGroup, TaskStatus, shield};

pub(super) const MODELS: &[Model] = &[
    holds!(
        scope_outside_cancel_and_failure_at_once,
        Preemptions(2),
        Preemptions(3),
        "a cancel from outside and a failure at the same time are both reported"
    ),
    holds!(
        scope_reports_a_cancel_that_has_not_come_down,
        Preemptions(2),
        Preemptions(4),
        "a task that ends with a cancel of an outer token makes its scope report it, even if \
             the cancel has not reached the scope"
    ),
    holds!(
        scope_two_tasks_fail_at_once,
        Preemptions(2),
        Preemptions(4),
        "two tasks that fail at the same time are both reported, and one is the primary"
    ),
    breaks!(
        broken_scope_failure_looks_before_it_is_recorded,
        "failure-looks-before-the-lock" in scope_two_tasks_fail_at_once,
        Preemptions(2),
        "both were first",
        "a failure that checks for an earlier one outside the lock becomes a second primary"
    ),
    holds!(
        scope_task_panics_while_body_parks,
        Preemptions(3),
        Exhaustive,
        "the panic of a task at any moment wakes the body"
    ),
    holds!(
        scope_one_fails_one_is_blocked,
        Preemptions(2),
        Preemptions(3),
        "the error of one task wakes another, at any point of its wait"
    ),
    holds!(
        scope_one_panics_one_is_blocked,
        Preemptions(2),
        Preemptions(3),
        "the panic of one task wakes another, at any point of its wait"
    ),
    holds!(
        scope_one_fails_one_and_the_body_are_blocked,
        Preemptions(2),
        Preemptions(3),
        "the error of one task wakes another and the body"
    ),
    holds!(
        scope_nested,
        Preemptions(2),
        Preemptions(4),
        "the cancel of a scope reaches the tasks of a scope inside of one of its tasks"
    ),
    breaks!(
        broken_scope_race_in_a_task_is_found,
        Exhaustive,
        "Causality violation",
        "a race between two tasks is found, although tasks catch their panics"
    ),
    breaks!(
        broken_scope_assertion_in_a_task_is_found,
        Exhaustive,
        "a task saw the other",
        "an assertion that fails in a task is found, although tasks catch their panics"
    ),
    breaks!(
        broken_scope_task_that_waits_for_ever_is_found,
        Exhaustive,
        "deadlock",
        "a task that waits for ever is found"
    ),
];

fn scope_outside_cancel_and_failure_at_once() {
    must_see(["only the cancel", "only the failure", "both"]);
    let outer = CancelToken::new();
    let canceller = thread::spawn({
        let outer = outer.clone();
        move || {
            outer.cancel();
        }
    });
    let failed = Note::default();
    let error = outer
        .run(|| {
            TaskGroup::scope(|g| {
                apart(g).spawn(|| {
                    failed.set();
                    Err::<(), _>(anyhow!("failed"))
                });
                Ok(block()?)
            })
        })
        .unwrap_err();
    canceller.join().unwrap();
    assert_eq!(
        error.failures().len(),
        failed.times(),
        "a failure was swallowed"
    );
    let by_failure = error
        .failures()
        .iter()
        .any(|failure| !failure.after_cancel());
    assert!(
        by_failure
            || error
                .cancelled()
                .is_some_and(|cancelled| cancelled.origin() == outer.id()),
        "a cancel was swallowed"
    );
    saw(match (failed.is_set(), by_failure) {
        (false, _) => "only the cancel",
        (true, true) => "only the failure",
        (true, false) => "both",
    });
}

fn scope_reports_a_cancel_that_has_not_come_down() {
    must_see(["cut short", "in time"]);
    let outer = CancelToken::new();
    let canceller = cancel_in_thread(&outer);
    let produced = Note::default();
    let result = outer.run(|| {
        TaskGroup::scope(|g| {
            apart(g).spawn(|| {
                outer.check()?;
                produced.set();
                Ok(())
            });
            Ok(())
        })
    });
    canceller.join().unwrap();
    assert_eq!(
        result.is_ok(),
        produced.is_set(),
        "a task was cut short and its scope does not report it"
    );
    saw(if result.is_ok() {
        "in time"
    } else {
        "cut short"
    });
}

fn scope_two_tasks_fail_at_once() {
    must_see(["one failed", "both failed"]);
    let failed = Note::default();
    let error = TaskGroup::scope(|g| {
        for _ in 0..2 {
            apart(g).spawn(|| {
                failed.set();
                Err::<(), _>(anyhow!("failed"))
            });
        }
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), failed.times());
    assert!(
        error
            .failures()
            .iter()
            .filter(|failure| !failure.after_cancel())
            .count()
            == 1,
        "both were first"
    );
    assert!(
        error
            .primary()
            .is_some_and(|failure| !failure.after_cancel())
    );
    saw(if failed.times() == 1 {
        "one failed"
    } else {
        "both failed"
    });
}

fn scope_task_panics_while_body_parks() {
    let error = TaskGroup::scope(|g| {
        apart(g).spawn(|| -> anyhow::Result<()> { panic_any(ModelPanic) });
        let cancelled = block().unwrap_err();
        assert!(matches!(
            cancelled.cause(),
            CancelCause::TaskPanicked { .. }
        ));
        Err::<(), _>(cancelled.into())
    })
    .unwrap_err();
    assert_eq!(error.panics().count(), 1);
}

/// Ends one task by `fail` while another task and, if `body_blocks`, the body are blocked.
fn one_ends_the_others(body_blocks: bool, fail: impl Fn() -> anyhow::Result<()> + Send + Sync) {
    must_see(["the other was cut short"]);
    let error = TaskGroup::scope(|g| {
        apart(g).spawn(|| {
            let cut = block();
            saw("the other was cut short");
            Ok(cut?)
        });
        apart(g).spawn(&fail);
        if body_blocks {
            block()?;
        }
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert!(error.primary().is_some() && error.cancelled().is_none());
}

fn scope_one_fails_one_is_blocked() {
    one_ends_the_others(false, || Err(anyhow!("failed")));
}

fn scope_one_panics_one_is_blocked() {
    one_ends_the_others(false, || panic_any(ModelPanic));
}

fn scope_one_fails_one_and_the_body_are_blocked() {
    one_ends_the_others(true, || Err(anyhow!("failed")));
}

fn scope_nested() {
    must_see(["the inner task was cut short", "the outer task never ran"]);
    let ended = Note::default();
    TaskGroup::scope(|g| {
        let outer = apart(g).spawn(|| {
            let result = TaskGroup::scope(|inner| {
                apart(inner).spawn(|| {
                    let cut = block();
                    saw("the inner task was cut short");
                    ended.set();
                    Ok(cut?)
                });
                Ok(())
            });
            assert!(result.is_err(), "a cancel was absorbed by the wrong scope");
            Ok(result?)
        });
        g.cancel();
        if shield(|| outer.wait())? == TaskStatus::NeverRan {
            saw("the outer task never ran");
            assert!(!ended.is_set());
        }
        Ok(())
    })
    .unwrap();
}

fn broken_scope_race_in_a_task_is_found() {
    let shared = Watched::new();
    let _ = TaskGroup::scope(|g| {
        for _ in 0..2 {
            apart(g).spawn(|| {
                shared.write();
                Ok(())
            });
        }
        Ok(())
    });
}

fn broken_scope_assertion_in_a_task_is_found() {
    let first = loom::sync::atomic::AtomicBool::new(false);
    let relaxed = loom::sync::atomic::Ordering::Relaxed;
    let _ = TaskGroup::scope(|g| {
        apart(g).spawn(|| {
            first.store(true, relaxed);
            Ok(())
        });
        apart(g).spawn(|| {
            assert!(!first.load(relaxed), "a task saw the other");
            Ok(())
        });
        Ok(())
    });
}

fn broken_scope_task_that_waits_for_ever_is_found() {
    let never = Gate::new();
    let _ = TaskGroup::scope(|g| {
        apart(g).spawn(|| Ok(never.wait()?));
        Ok(())
    });
}
