//! The failures of a group.

use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool as PlainBool, Ordering::Relaxed};
use std::time::Duration;

use super::callback_panic::CallbackPanic;
use super::policy::{Fatal, OnPanic};
use super::stopwatch::{Stopwatch, Timing};
use crate::cancel::actor::Actor;
use crate::cancel::{CancelCause, Cancelled, Node};
use crate::error::{
    Elapsed, FailedWhen, Failure, FailureKind, GroupError, Origin, TaskError, find_echoes,
};
use crate::facade::{Mutex, catch, error_event};
use crate::panics::{PanicPayload, log};
use crate::trace::{self, FailedHow};

/// The failures of a group, in the order in which they were recorded.
///
/// The decision that a failure cancels the group, its entry and the mark of the node are in one
/// critical section. So of two failures at once, one is the cause, and the other came after the
/// cancel. The lock of a node is taken inside.
pub(crate) struct FailureLog<E> {
    /// The place of the call of `scope`.
    location: &'static Location<'static>,
    /// When the scope began, by the coarse clock.
    begun: Stopwatch,
    fatal: Fatal,
    on_panic: OnPanic,
    /// There is an entry. Read by the owner when no thread is left that could write one.
    written: PlainBool,
    entries: Mutex<Entries<E>>,
}

struct Entries<E> {
    failures: Vec<Failure<E>>,
    /// The index of the failure that cancelled the group.
    canceller: Option<usize>,
}

/// How a failure of this kind is told to a subscriber.
pub(crate) fn failed_how<E>(kind: &FailureKind<E>) -> FailedHow {
    match kind {
        FailureKind::Error(_) => FailedHow::Error,
        FailureKind::Panic(_) => FailedHow::Panic,
        FailureKind::Spawn(_) => FailedHow::NoThread,
    }
}

impl<E: TaskError> FailureLog<E> {
    pub(crate) fn new(
        location: &'static Location<'static>,
        begun: Stopwatch,
        fatal: Fatal,
        on_panic: OnPanic,
    ) -> Self {
        let entries = Mutex::new(Entries {
            failures: Vec::new(),
            canceller: None,
        });

        FailureLog {
            location,
            begun,
            fatal,
            on_panic,
            written: PlainBool::new(false),
            entries,
        }
    }

    /// Records a failure of `failed`. If it is the first and the policy says so, cancels the group,
    /// which has the node `node`, with it. Returns the cancel that `join` returns in place of a
    /// result.
    pub(crate) fn fail(
        &self,
        node: &Arc<Node>,
        origin: Origin,
        kind: FailureKind<E>,
        elapsed: Elapsed,
        failed: Arc<Actor>,
    ) -> Cancelled {
        let traces = kind.traces();
        let (cause, location) = self.cause_of(&origin, &kind);
        let cancelled = Cancelled::by_failure(cause, location, node.id(), failed);

        // `Abort` comes before everything else: the process is to end where the panic was.
        if matches!(kind, FailureKind::Panic(_)) && self.on_panic == OnPanic::Abort {
            log(|| error_event!(%cancelled, "a panic aborts the process"));
            std::process::abort();
        }

        // The decision, the entry and the mark are in one critical section.
        let fatal = self.fatal.includes(&kind);
        let how = failed_how(&kind);
        let mut failure =
            Failure::new(origin, kind, FailedWhen::BeforeCancel, elapsed).with_traces(traces);

        // fault: failure-looks-before-the-lock
        let mut entries = self.entries.lock();

        // Under the lock, so that the times are in the order of the entries.
        failure.set_at(self.now());

        let mut delivery = None;
        if node.is_flagged() {
            failure.set_after_cancel();
        } else if fatal {
            // None if a cancel from elsewhere has marked the node since the check above.
            delivery = node.trip(cancelled.clone());
            match delivery {
                None => failure.set_after_cancel(),
                _ => entries.canceller = Some(entries.failures.len()),
            }
        }

        let after_cancel = failure.after_cancel();
        entries.failures.push(failure);
        self.written.store(true, Relaxed);
        drop(entries);

        // The delivery runs user code, so it is outside of the lock.
        if let Some(delivery) = delivery {
            delivery.deliver();
        }

        // Last: a slow subscriber must not hold up the cancel.
        trace::failed(how, cancelled.cause(), after_cancel);
        cancelled
    }

    /// Cancels the group for a panic of the body `failed`. The panic is not recorded: it resumes.
    pub(crate) fn body_panicked(&self, node: &Arc<Node>, failed: Arc<Actor>) {
        if self.fatal != Fatal::None {
            let cancelled =
                Cancelled::by_failure(CancelCause::BodyPanicked, self.location, node.id(), failed);
            if let Some(delivery) = node.trip(cancelled) {
                delivery.deliver();
            }
        }
        trace::failed(FailedHow::Panic, &CancelCause::BodyPanicked, false);
    }

    /// Records the panics of callbacks. A callback runs because of a cancel, so they come after
    /// one.
    pub(crate) fn add_callback_panics(&self, panics: Vec<CallbackPanic>) {
        let failure = |CallbackPanic { panic, when }| {
            let cause = format!("a cancel callback panicked: {}", panic.message());
            trace::failed(FailedHow::Panic, &cause, true);
            let mut failure = Failure::new(
                Origin::Callback,
                FailureKind::Panic(panic),
                FailedWhen::AfterCancel,
                Duration::ZERO,
            );
            failure.set_at(when.since(self.begun));
            failure
        };

        // Made outside of the lock, since the subscriber is told.
        let failures: Vec<_> = panics.into_iter().map(failure).collect();
        self.entries.lock().failures.extend(failures);
        self.written.store(true, Relaxed);
    }

    /// Returns how long the scope has been open.
    pub(crate) fn now(&self) -> Duration {
        Stopwatch::start(Timing::Coarse).since(self.begun)
    }

    /// Returns whether nothing has failed. For the owner, after all tasks have ended: their ends
    /// order the load.
    pub(crate) fn is_empty(&self) -> bool {
        !self.written.load(Relaxed)
    }

    /// Takes all failures, as one error.
    pub(crate) fn take(
        &self,
        node: &Node,
        name: Option<Cow<'static, str>>,
        cancelled: Option<Cancelled>,
    ) -> GroupError<E> {
        let mut entries = self.entries.lock();
        let mut failures = std::mem::take(&mut entries.failures);
        let canceller = entries.canceller;
        drop(entries);

        find_echoes(&mut failures, node.id());
        GroupError::new(name, self.location, failures, canceller, cancelled)
    }

    pub(crate) fn resumes_panics(&self) -> bool {
        self.on_panic == OnPanic::Resume
    }

    /// Makes the cause of the cancel that a failure leads to, and the place in the source that it
    /// names.
    fn cause_of(
        &self,
        origin: &Origin,
        kind: &FailureKind<E>,
    ) -> (CancelCause, &'static Location<'static>) {
        let text = match kind {
            // The text is made by user code, which may panic. The failure must not be lost then.
            FailureKind::Error(error) => catch(|| error.to_string()).unwrap_or_else(|payload| {
                format!(
                    "its text is not available: {}",
                    PanicPayload::new(payload).message()
                )
            }),
            FailureKind::Panic(panic) => panic.message().to_owned(),
            FailureKind::Spawn(error) => format!("the system refused a thread: {error}"),
        };

        // A cause owns its text, since it outlives the failure: tasks and tokens keep it.
        let panicked = matches!(kind, FailureKind::Panic(_));
        match origin {
            Origin::Task(task) if panicked => (
                CancelCause::TaskPanicked {
                    task: task.clone(),
                    message: text,
                },
                task.location,
            ),
            Origin::Task(task) => (
                CancelCause::TaskFailed {
                    task: task.clone(),
                    error: text,
                },
                task.location,
            ),
            Origin::Body if panicked => (CancelCause::BodyPanicked, self.location),
            Origin::Release(location) => (CancelCause::BodyFailed { error: text }, location),
            Origin::Body | Origin::Callback => {
                (CancelCause::BodyFailed { error: text }, self.location)
            }
        }
    }
}
