//! Names in reports: a name cannot forge a line, and a long name leaves room for the rest.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Gate, alone};
use taskgroup::{GroupError, TaskGroup, abandon_named, abandoned};

/// A line of a report with two places, two names and a short text is not longer.
const LONGEST_LINE: usize = 500;

fn long(name: &str) -> String {
    format!("{name}\n\u{1b}[2J\u{200f}{}", "\u{7}".repeat(10_000))
}

#[track_caller]
fn is_short(text: &str, name: &str, lines: usize) {
    assert!(text.contains(name), "{text}");
    assert_eq!(text.lines().count(), lines, "{text}");
    assert!(text.lines().all(|line| line.len() < LONGEST_LINE), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{200f}', '\u{7}']), "{text}");
}

fn fails_with(name: &str) -> GroupError {
    let outcome = TaskGroup::builder().name(long(name)).scope(|g| {
        let task = g.task().name(long(name));
        task.spawn(|| -> anyhow::Result<()> { anyhow::bail!("no input") });
        Ok(())
    });
    outcome.unwrap_err()
}

#[test]
fn of_groups_and_tasks() {
    let error = fails_with("parser");
    is_short(&error.to_string(), "in group `parser\\n", 1);
    is_short(&format!("{error:#}"), "task `parser\\n", 3);

    let task = error.failures()[0].task().expect("a task has failed");
    is_short(&task.to_string(), "task `parser\\n", 1);
    assert_eq!(task.name.as_deref(), Some(long("parser").as_str()));
}

#[test]
fn of_a_cancel_that_a_failure_has_caused() {
    let mut cancelled = None;
    let outcome = TaskGroup::scope(|g| {
        let task = g.task().name(long("parser"));
        task.spawn(|| -> anyhow::Result<()> { anyhow::bail!("no input") });
        // The failure ends this wait, whether as a wait or as a cancel.
        let _ = g.token().wait();
        cancelled = g.token().check().err();
        Ok(())
    });
    assert!(outcome.is_err());
    let text = cancelled.expect("the group was cancelled").to_string();
    is_short(&text, "task `parser\\n", 1);
}

#[test]
fn of_threads_that_are_left_behind() {
    alone("of_threads_that_are_left_behind", || {
        let stuck = Arc::new(Gate::default());
        while abandoned().is_empty() {
            let theirs = stuck.clone();
            let call = move || abandon_named(long("resolver"), move || theirs.wait());
            // A time limit that passes before the call begins leaves nothing behind.
            let done = taskgroup::timeout(Duration::from_millis(10), call);
            assert!(done.expect("the call does not fail").is_none());
        }
        is_short(&abandoned()[0].to_string(), "abandoned `resolver\\n", 1);
        stuck.open();
    });
}
