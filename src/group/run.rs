//! The run of a scope, from its opening to its report.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::atomic::AtomicBool as PlainBool;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::core::GroupCore;
use super::failure_log::FailureLog;
use super::options::Options;
use super::scope::TaskGroup;
use super::stalled;
use super::state::group_state::{GroupInfo, GroupState};
use super::stopwatch::{Stopwatch, Timing};
use crate::cancel::actor::{Actor, Part};
use crate::cancel::context::InsideScope;
use crate::cancel::{CancelToken, Cancelled, Node, Observer, OwnedBy, TokenId, context, current};
use crate::error::{Failure, FailureKind, GroupError, Origin, TaskError};
use crate::facade::{Contained, Mutex, Payload, catch};
use crate::lanes::{self, FrameKind, Listed, Pushed, ShownFrame};
use crate::panics::PanicPayload;
use crate::trace::{GroupRun, GroupTrace, OpenedGroup};

impl TaskGroup<'_, '_> {
    /// Runs `body` with a new group, and returns when every task of the group has ended.
    ///
    /// A group that is opened inside of a task, a body, [`timeout`](crate::timeout) or
    /// [`CancelToken::run`] is cancelled with it.
    ///
    /// # Cancellation
    ///
    /// The scope always waits for its tasks; a cancel makes them end early. If the scope is
    /// cancelled from outside, and the body and all tasks produced their values anyway, it returns
    /// the value.
    ///
    /// # Errors
    ///
    /// Every error and panic of a task and every error of the body, or the cancel from outside that
    /// cut one of them short.
    ///
    /// # Panics
    ///
    /// A panic of the body resumes after everything has ended. The failures that it hides are
    /// logged with `tracing`.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     taskgroup::sleep(std::time::Duration::from_secs(60))?; // wakes at once
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert_eq!(error.failures().len(), 1);
    /// ```
    #[track_caller]
    pub fn scope<'env, T, F>(body: F) -> Result<T, GroupError>
    where
        F: for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env>) -> anyhow::Result<T>,
    {
        run(Options::new(), body)
    }
}

/// Opens a group with `options` and runs it to its end.
#[track_caller]
pub(crate) fn run<'env, T, F, E>(options: Options, body: F) -> Result<T, GroupError<E>>
where
    E: TaskError,
    F: for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env, E>) -> Result<T, E>,
{
    let location = Location::caller();
    let begun = Stopwatch::start(Timing::Coarse);
    let (state, frame) = open(&options, location);
    let opened_in = state.opened_in();
    let node = state.node().clone();
    let core = GroupCore {
        state,
        failures: FailureLog::new(location, begun, options.fatal, options.on_panic),
    };

    let group = TaskGroup {
        core,
        releases: Mutex::new(Some(Vec::new())),
        has_releases: PlainBool::new(false),
        stack_size: options.stack_size,
        scope: PhantomData,
        env: PhantomData,
    };

    // The thread stays in the span of the group until nothing is left to report.
    let traced = group.core().state.trace().and_then(GroupTrace::enter);

    // The body runs in the scope of the group, and as its actor.
    let inside = context::enter(node);
    let recorded = current::begin_body(group.token().id(), opened_in);
    let returned = catch(|| body(&group));
    drop(recorded);

    let visible = Visible { traced, frame };
    conclude(&group, returned, inside, visible, options.name, begun)
}

/// Waits for the tasks of a group after the end of its body, and makes the result of the scope.
///
/// Apart from [`run`], which is compiled once for each scope of a program.
#[track_caller]
fn conclude<T, E: TaskError>(
    group: &TaskGroup<'_, '_, E>,
    returned: Result<Result<T, E>, Payload>,
    inside: InsideScope,
    visible: Visible,
    name: Option<Cow<'static, str>>,
    begun: Stopwatch,
) -> Result<T, GroupError<E>> {
    let core = group.core();

    // Until `finish` has returned, nothing may unwind past here: the tasks still borrow.
    let contained = Contained::begin();
    let outcome = match returned {
        Ok(Ok(value)) => Body::Value(value),
        Ok(Err(error)) => {
            catch(|| failed(core, error, begun)).unwrap_or_else(|payload| panicked(core, payload))
        }
        Err(payload) => panicked(core, payload),
    };

    core.state.finish(core.state.info().location);
    contained.end();

    // The hooks run in the scope that the group was opened in.
    drop(inside);
    group.release();
    let result = report(core, outcome, name, begun, visible);
    if core.state.has_stalled() {
        return stalled::conclude(&core.state, result);
    }
    result
}

/// Opens a group, and shows it until its report: a scope that does not end is what a report of a
/// stall is about.
///
/// Apart from [`run`], which is compiled once for each scope of a program.
fn open(options: &Options, location: &'static Location<'static>) -> (Listed<GroupState>, Pushed) {
    let opened_in = current::actor().map(Arc::new);
    let info = || GroupInfo {
        name: options.name.clone(),
        location,
        fatal: options.fatal,
        stall_after: options.stall_after,
        stall_policy: options.stall_policy,
    };

    let state = GroupState::new(
        options.limit,
        info,
        opened_in.clone(),
        |observer| open_node(options, observer, location),
        |id| open_trace(options, id, opened_in.as_deref(), location),
    );

    // The frame first: a reader finds the thread that has opened a listed group.
    let id = state.node().id().0;
    let frame = lanes::push(ShownFrame {
        kind: FrameKind::Scope,
        id,
        group: 0,
        location,
    });
    let state = Listed::new(id, state);

    // Now, since the watcher finds the group there. A thread that cancels a scope around this one
    // may have asked for a look that did not find it: then the cancel is seen here.
    if state.node().has_parents() {
        state.meet_readers();
    }
    state.ask_for_look();
    (state, frame)
}

/// Makes the node of a group: a child of the current scope and of the parents it was given.
fn open_node(
    options: &Options,
    observer: Weak<dyn Observer>,
    location: &'static Location<'static>,
) -> Arc<Node> {
    // The group is a child of the current scope, whatever its other parents are.
    let current = context::current();
    let node = if options.parents.is_empty() {
        Node::of_group(&current, observer)
    } else {
        let parents = options.parents.iter().map(CancelToken::node);
        Node::of_group(current.iter().chain(parents), observer)
    };

    // A timeout that is too long to express never passes.
    let timeout = options
        .timeout
        .and_then(|timeout| Instant::now().checked_add(timeout));
    if let Some(deadline) = [options.deadline, timeout].into_iter().flatten().min() {
        node.set_deadline(deadline, location);
    }
    node
}

/// Makes the trace of a group that is opened in the task or body `parent`.
#[cold]
fn open_trace(
    options: &Options,
    id: TokenId,
    parent: Option<&Actor>,
    location: &'static Location<'static>,
) -> Option<Box<GroupTrace>> {
    let parent = parent.and_then(|actor| actor.parts().next());
    GroupTrace::new(OpenedGroup {
        id: id.0,
        name: options.name.as_deref(),
        parent: parent.map(|part| match part {
            Part::Task(task) => task.id.0,
            Part::Body(group) => group.0,
        }),
        location,
    })
}

/// The error of a scope that has neither a failure nor a result: it was cancelled from inside, or
/// had no tasks.
pub(crate) fn no_result<E: 'static>(
    token: Option<CancelToken>,
    location: &'static Location<'static>,
) -> GroupError<E> {
    match token.and_then(|token| token.cancelled()) {
        Some(cancelled) => GroupError::from(cancelled),
        None => GroupError::new(None, location, Vec::new(), None, None),
    }
}

/// How a body ended.
enum Body<T> {
    Value(T),
    /// With its own cancel.
    Cancelled(Cancelled),
    /// With an error, which is in the failure log.
    Failed,
    Panicked(PanicPayload),
}

/// Records the error that the body returned, unless it is the cancel of the scope. The error's
/// methods and its destructor are user code and may panic.
fn failed<T, E: TaskError>(core: &GroupCore<E>, error: E, begun: Stopwatch) -> Body<T> {
    let own = error
        .cancelled()
        .filter(|cancelled| core.state.node().owner_of(cancelled) != OwnedBy::Foreign)
        .cloned();
    match own {
        Some(cancelled) => {
            // The body was cut short, and its cancel is not a failure.
            core.state.note_cut(&cancelled);
            discard(core, error, begun);
            Body::Cancelled(cancelled)
        }
        None => {
            core.fail(Origin::Body, FailureKind::Error(error), begun.elapsed());
            Body::Failed
        }
    }
}

fn panicked<T, E: TaskError>(core: &GroupCore<E>, payload: Payload) -> Body<T> {
    // Made here, since the next panic on this thread replaces the record of where this one was.
    let panic = PanicPayload::new(payload);
    core.body_panicked();
    Body::Panicked(panic)
}

/// Drops a value or error of the body that the caller does not get. A panic of its destructor is a
/// failure of the body.
fn discard<E: TaskError>(core: &GroupCore<E>, returned: impl Sized, begun: Stopwatch) {
    if let Err(payload) = catch(move || drop(returned)) {
        let kind = FailureKind::Panic(PanicPayload::new(payload));
        core.fail(Origin::Body, kind, begun.elapsed());
    }
}

/// Raises the panic of the body, once everything that it hides has been logged.
fn resume_body<E: TaskError>(
    core: &GroupCore<E>,
    panic: PanicPayload,
    name: Option<Cow<'static, str>>,
    cut: Option<Cancelled>,
    visible: Visible,
) -> ! {
    let GroupCore { state, failures } = core;

    // A destructor that panics must not hide the panic of the body.
    let hidden = failures.take(state.node(), name, cut).into_failures();
    hidden.into_iter().for_each(Failure::drop_hidden);
    visible.end(state, "panicked");

    // Now: the caller, which does this for a result, gets none.
    if state.has_stalled() {
        stalled::conclude_panicked(state);
    }
    panic.resume()
}

/// Where others see a scope until its result is made: in its span, and on the lane of its thread.
struct Visible {
    traced: Option<Box<GroupRun>>,
    frame: Pushed,
}

impl Visible {
    /// Ends what others see of the scope. From here on it is no longer reported.
    fn end(self, state: &Listed<GroupState>, outcome: &'static str) {
        state.take_back();
        drop(self.frame);
        if let Some(traced) = self.traced {
            end_trace(state, *traced, outcome);
        }
    }
}

/// Ends the span of a group, which this thread leaves.
#[cold]
fn end_trace(state: &GroupState, traced: GroupRun, outcome: &'static str) {
    if let Some(trace) = state.trace() {
        let cancelled = state.node().recorded().map(|cancelled| cancelled.at());
        traced.end(trace, outcome, cancelled);
    }
}

/// Makes the result of the scope.
fn report<T, E: TaskError>(
    core: &GroupCore<E>,
    body: Body<T>,
    name: Option<Cow<'static, str>>,
    begun: Stopwatch,
    visible: Visible,
) -> Result<T, GroupError<E>> {
    let GroupCore { state, failures } = core;

    // Callbacks have no place among the tasks, so their panics come last.
    if state.has_callback_panics() {
        failures.add_callback_panics(state.take_callback_panics());
    }

    let cut = state.cut();
    let failed = !failures.is_empty();
    let cancelled = match body {
        Body::Value(value) if !failed && cut.is_none() => {
            visible.end(state, "finished");
            return Ok(value);
        }
        Body::Value(value) => {
            // Dropped before the failures are taken: its destructor may add one.
            discard(core, value, begun);
            cut
        }
        Body::Failed => cut,
        Body::Cancelled(cancelled) => cut.or(if failed { None } else { Some(cancelled) }),
        Body::Panicked(panic) => resume_body(core, panic, name, cut, visible),
    };

    let mut error = failures.take(state.node(), name, cancelled);
    error.set_worst_latencies(state.worst_latencies());

    let outcome = match error.failures() {
        [] => "cancelled",
        _ => "failed",
    };
    visible.end(state, outcome);

    if !failures.resumes_panics() {
        return Err(error);
    }

    // The first panic of the report goes on in place of the result, if there is one.
    if state.has_stalled() && error.panics().next().is_some() {
        stalled::conclude_panicked(state);
    }
    Err(error.resume_panic())
}
