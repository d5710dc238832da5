//! What the tests of echoes share: reports in which one failure led to another.
//!
//! In most of them the echo is recorded first. The root drops its end of a channel, waits until the
//! echo has ended, and fails then: as a task does whose destructors take their time.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of this module"
)]

use taskgroup::{Failure, GroupError, OnFailure, TaskError, TaskGroup, TaskInfo};

use super::support::Gate;

pub const MODES: [OnFailure; 2] = [OnFailure::CancelSiblings, OnFailure::Collect];

pub fn group(on_failure: OnFailure) -> taskgroup::Builder {
    TaskGroup::builder().on_failure(on_failure)
}

pub fn name(task: Option<&TaskInfo>) -> &str {
    task.map_or("the body", |task| {
        task.name
            .as_deref()
            .expect("all tasks that fail have names")
    })
}

/// The task of each failure, and that of which it is an echo.
pub fn names<E>(error: &GroupError<E>) -> Vec<(&str, Option<&str>)> {
    let pair = |failure| {
        (
            name(Failure::task(failure)),
            failure.is_echo().then(|| name(failure.echo_of())),
        )
    };
    error.failures().iter().map(pair).collect()
}

pub fn primary<E>(error: &GroupError<E>) -> &str {
    name(error.primary().expect("it has failures").task())
}

/// That `root` failed second, and what failed first is its echo.
#[track_caller]
pub fn assert_echo<E>(error: &GroupError<E>) {
    assert_eq!(names(error), [("echo", Some("root")), ("root", None)]);
    assert_eq!(primary(error), "root");
}

/// That the only failure is that of `echo`, which is none.
#[track_caller]
pub fn assert_no_echo<E>(error: &GroupError<E>) {
    assert_eq!(names(error), [("echo", None)]);
    assert_eq!(primary(error), "echo");
}

/// What `fail` returns, in a task that drops what it owns and waits for the end of the echo first.
pub struct Root<'a>(pub &'a Gate);

impl Root<'_> {
    pub fn fails<E>(&self, owned: impl Send, fail: impl FnOnce() -> E) -> Result<(), E> {
        drop(owned);
        self.0.wait();
        Err(fail())
    }

    pub fn bails(&self, owned: impl Send) -> anyhow::Result<()> {
        self.fails(owned, || anyhow::anyhow!("disk full"))
    }
}

/// The report of two tasks: `echo`, which fails when `owned` has been dropped, and `root`, which
/// owns it.
pub fn report<E: TaskError>(
    on_failure: OnFailure,
    owned: impl Send,
    echo: impl FnOnce() -> Result<(), E> + Send,
    fail: impl FnOnce() -> E + Send,
) -> GroupError<E> {
    let ended = Gate::default();
    let scope = TaskGroup::builder()
        .error_type::<E>()
        .on_failure(on_failure)
        .scope(|g| {
            g.task()
                .name("echo")
                .spawn(echo)
                .on_finished(|_| ended.open());
            let root = Root(&ended);
            g.task().name("root").spawn(move || root.fails(owned, fail));
            Ok(())
        });
    scope.unwrap_err()
}

pub fn disk_full() -> anyhow::Error {
    anyhow::anyhow!("disk full")
}
