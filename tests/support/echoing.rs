//! Helpers of the tests of echoes: reports in which one failure led to another.
//!
//! In most reports the echo is recorded first. The root drops its end of a channel, waits until the
//! task of the echo has ended, and fails then, like a task with slow destructors.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of this module"
)]

use taskgroup::{Failure, GroupError, OnFailure, TaskError, TaskGroup, TaskInfo};

use crate::support::Gate;

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

/// Returns the name of each failure's task, and of the task that it echoes.
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

/// Asserts that `echo` failed first and `root` second, and that the first is the echo.
#[track_caller]
pub fn assert_echo<E>(error: &GroupError<E>) {
    assert_eq!(names(error), [("echo", Some("root")), ("root", None)]);
    assert_eq!(primary(error), "root");
}

/// Asserts that `echo` failed first and the body second, and that the first is the echo.
#[track_caller]
pub fn assert_echo_of_the_body<E>(error: &GroupError<E>) {
    let body = "the body";
    assert_eq!(names(error), [("echo", Some(body)), (body, None)]);
    assert_eq!(primary(error), body);
}

/// Asserts that the failure of `echo` is the only one, and is not an echo.
#[track_caller]
pub fn assert_no_echo<E>(error: &GroupError<E>) {
    assert_eq!(names(error), [("echo", None)]);
    assert_eq!(primary(error), "echo");
}

/// Fails a task after it has dropped its values and the task of the echo has ended.
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

/// Spawns the task `echo`. Its end opens `ended`.
pub fn spawn_echo<'scope, E: TaskError>(
    g: &'scope TaskGroup<'scope, '_, E>,
    ended: &'scope Gate,
    echo: impl FnOnce() -> Result<(), E> + Send + 'scope,
) {
    let task = g.task().name("echo").spawn(echo);
    task.on_finished(|_| ended.open());
}

/// Returns the report of two tasks: `echo`, which fails once `owned` is dropped, and `root`, which
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
