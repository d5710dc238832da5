//! Values that the tests of the error layer share.

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::{FailedWhen, Failure, FailureKind, GroupError, Origin, TaskError};
use crate::cancel::{CancelCause, Cancelled, TaskId, TaskInfo, TokenId};
pub(crate) use crate::panics::testing::{caught, errors_logged};

/// A task error that is no `std::error::Error`: the crate can only print it.
#[derive(Debug)]
pub(crate) struct Plain(pub(crate) String);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Cancelled> for Plain {
    fn from(cancelled: Cancelled) -> Self {
        Plain(cancelled.to_string())
    }
}

impl TaskError for Plain {
    fn cancelled(&self) -> Option<&Cancelled> {
        None
    }
}

#[track_caller]
pub(crate) fn cancelled() -> Cancelled {
    Cancelled::new(
        CancelCause::Requested { reason: None },
        Location::caller(),
        TokenId(7),
    )
}

#[track_caller]
pub(crate) fn timed_out() -> Cancelled {
    Cancelled::new(
        CancelCause::Deadline {
            deadline: Instant::now(),
        },
        Location::caller(),
        TokenId(7),
    )
}

#[track_caller]
pub(crate) fn task(id: u64, name: Option<&str>) -> Origin {
    Origin::Task(TaskInfo {
        id: TaskId(id),
        name: name.map(str::to_owned),
        location: Location::caller(),
    })
}

#[track_caller]
pub(crate) fn failed<E>(id: u64, error: E) -> Failure<E> {
    Failure::new(
        task(id, None),
        FailureKind::Error(error),
        FailedWhen::BeforeCancel,
        Duration::from_millis(3),
    )
}

#[track_caller]
pub(crate) fn group<E: 'static>(failures: Vec<Failure<E>>) -> GroupError<E> {
    GroupError::new(None, Location::caller(), failures, None, None)
}

#[track_caller]
pub(crate) fn failed_group<E: 'static>(error: E) -> GroupError<E> {
    group(vec![failed(1, error)])
}

/// Returns the drawing of a failure without its heading.
pub(crate) fn drawn_failure<E: TaskError>(failure: &Failure<E>) -> String {
    // The heading names a line of the test, which changes with each edit above it.
    format!("{failure:?}")
        .split_once('\n')
        .map(|(_, below)| below.to_owned())
        .unwrap_or_default()
}
