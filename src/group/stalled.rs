//! Ends the reports about a scope that stalled, and does what its policy asks for.

use std::borrow::Cow;
use std::thread;
use std::time::Duration;

use super::state::group_state::GroupState;
use crate::cancel::Name;
use crate::error::{Failure, GroupError, TaskError};
use crate::facade::error_event;
use crate::panics::{drop_contained, log};
use crate::stall::{EndedScope, StallPolicy, ended};

/// Ends the reports about a scope, which has ended, and does what its policy asks for: raises a
/// panic, once the result has been dropped.
#[cold]
#[track_caller]
pub(super) fn conclude<T, E: TaskError>(
    state: &GroupState,
    result: Result<T, GroupError<E>>,
) -> Result<T, GroupError<E>> {
    let took = end_reports(state);
    if state.info().stall_policy != StallPolicy::Panic {
        return result;
    }

    let text = Text::of(state, took);

    // A second panic would abort the process.
    if thread::panicking() {
        text.log();
        return result;
    }

    match result {
        // Contained, since a panic of a destructor would take the place of the one below.
        Ok(value) => drop_contained("value of a scope that stalled", value),
        Err(error) => error
            .into_failures()
            .into_iter()
            .for_each(Failure::drop_hidden),
    }
    panic!("{}", text.0);
}

/// Ends the reports about a scope that has panicked. Its own panic is raised.
#[cold]
pub(super) fn conclude_panicked(state: &GroupState) {
    let took = end_reports(state);
    if state.info().stall_policy == StallPolicy::Panic {
        Text::of(state, took).log();
    }
}

fn end_reports(state: &GroupState) -> Duration {
    let info = state.info();
    ended(EndedScope {
        number: state.node().id().0,
        name: info.name.clone(),
        location: info.location,
        cancelled: state.cancelled(),
        worst_latencies: state.worst_latencies(),
    })
}

/// The message of the panic.
struct Text(String);

impl Text {
    fn of(state: &GroupState, took: Duration) -> Self {
        let info = state.info();
        let name = info.name.as_ref().map(|name| format!("`{}` ", Name(name)));
        let name = name.map_or(Cow::Borrowed(""), Cow::Owned);
        let (file, line) = (info.location.file(), info.location.line());
        let cause = state.cancelled().map(|cancelled| format!("; {cancelled}"));
        let cause = cause.unwrap_or_default();
        Text(format!(
            "the scope {name}({file}:{line}) stalled: it took {took:.1?} to end{cause}"
        ))
    }

    fn log(&self) {
        log(|| error_event!("{}", self.0));
    }
}
