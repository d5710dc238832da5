//! Values and a log collector that the tests of the error layer share.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span;

use super::{Failure, FailureKind, GroupError, Origin, PanicPayload, TaskError};
use crate::cancel::{CancelCause, Cancelled, TaskId, TaskInfo, TokenId};

/// A task error that is no `std::error::Error`: all the crate can do with it is print it.
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
        false,
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

/// The drawing of a failure without its heading.
pub(crate) fn drawn_failure<E: TaskError>(failure: &Failure<E>) -> String {
    format!("{failure:?}")
        .split_once('\n')
        .map(|(_, below)| below.to_owned())
        .unwrap_or_default()
}

/// The payload of the panic that `f` raises.
pub(crate) fn caught(f: impl FnOnce()) -> PanicPayload {
    PanicPayload::new(catch_unwind(AssertUnwindSafe(f)).expect_err("it panics"))
}

/// Runs `f` and returns, with its result, the messages logged at error level on this thread.
///
/// The collector is a global one. `tracing` remembers, for the whole process, whether anybody wants
/// an event, and where there are only collectors of single threads it may ask a thread that has
/// none.
pub(crate) fn errors_logged<T>(f: impl FnOnce() -> T) -> (T, Vec<String>) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        tracing::subscriber::set_global_default(Collector)
            .expect("no other test installs a global subscriber");
        tracing::callsite::rebuild_interest_cache();
    });
    LOGGED.take();
    let result = f();
    (result, LOGGED.take())
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Collector;

impl tracing::Subscriber for Collector {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        LOGGED.with_borrow_mut(|logged| logged.push(message.0));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
