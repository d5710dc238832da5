//! The span of a task, from its spawn to its end.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::field::Empty;
use tracing::{Level, Span};

use super::context::{Context, InsideSpan, innermost, replace_innermost};
use super::is_on;
use super::site::Site;
use super::telling::{Silence, contain, is_telling, may_tell};

thread_local! {
    /// This thread spawns siblings of the task that it runs.
    static BESIDE: Cell<bool> = const { Cell::new(false) };
}

/// A task that is being spawned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpawnedTask<'a> {
    pub(crate) id: u64,
    pub(crate) name: Option<&'a str>,
    /// The id of its group.
    pub(crate) group: u64,
    pub(crate) location: &'static Location<'static>,
}

/// The fields of the end of a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndOfTask {
    pub(crate) outcome: &'static str,
    /// When the scope of the task was cancelled, if it was.
    pub(crate) cancelled: Option<Instant>,
}

/// The state of a task that a subscriber has seen. Its holders share it: the thread that runs the
/// task takes it out of the task, and a thread that would run the task in place looks at it.
pub(crate) struct TaskTrace {
    context: Arc<Context>,
    span: Span,
    spawned: Instant,
    /// The subscriber has spawned the task (invariant 4).
    silent: bool,
}

/// A thread that runs a task with a trace. The thread must end it by [`TaskRun::end`].
pub(crate) struct TaskRun {
    trace: Arc<TaskTrace>,
    inside: Option<InsideSpan>,
    _silence: Option<Silence>,
    begun: Instant,
    /// From the cancel of the task to its first sight, if it has seen it.
    to_sight: Option<Duration>,
    /// The innermost context of the thread before.
    before: Option<Arc<Context>>,
}

impl TaskTrace {
    /// Makes the trace of a task that this thread spawns. Called only if there may be a subscriber.
    #[cold]
    pub(crate) fn new(task: SpawnedTask<'_>) -> Option<Arc<Self>> {
        if !may_tell() {
            return None;
        }

        // Before the subscriber is called, which may take its time.
        let spawned = Instant::now();
        let silent = is_telling();
        let (context, span) = if silent {
            (Arc::new(Context::none()), Span::none())
        } else {
            // A subscriber that panics in `new_span` has no span of the task.
            let context = match sibling() {
                Some(context) => context,
                None => Arc::new(contain(Context::here)?),
            };
            let span = contain(|| context.within(|| span_of(task, &context)));
            (context, span.unwrap_or_else(Span::none))
        };

        Some(Arc::new(TaskTrace {
            context,
            span,
            spawned,
            silent,
        }))
    }

    /// Whether this thread sees the same spans around it as the spawn did (invariant 7).
    pub(crate) fn is_at_home(&self) -> bool {
        !self.silent && self.context.is_here()
    }

    /// Enters the span of the task on this thread, which runs the task.
    pub(crate) fn begin(self: Arc<Self>) -> Box<TaskRun> {
        let before = replace_innermost(Some(self.context.clone()));

        // A task that the subscriber has spawned is in no span (invariant 4).
        let inside = (!self.silent).then(|| InsideSpan::enter(&self.context, &self.span));
        Box::new(TaskRun {
            inside,
            _silence: self.silent.then(Silence::begin),
            begun: Instant::now(),
            to_sight: None,
            before,
            trace: self,
        })
    }

    /// Closes the span of a task that does not run.
    pub(crate) fn end_unrun(&self, end: EndOfTask) {
        self.record(end, None, None);
    }

    /// Records the fields of the end (invariant 6).
    fn record(&self, end: EndOfTask, begun: Option<Instant>, to_sight: Option<Duration>) {
        if self.span.is_disabled() {
            return;
        }

        // One reading for all times, so that they add up.
        let ended = Instant::now();
        let since = |instant: Instant| ended.saturating_duration_since(instant).as_secs_f64();
        let queued = begun
            .unwrap_or(ended)
            .saturating_duration_since(self.spawned);

        // Each by itself: a panic at one field must not lose the next (invariant 3).
        contain(|| self.span.record("outcome", end.outcome));
        contain(|| self.span.record("queued", queued.as_secs_f64()));
        if let Some(begun) = begun {
            contain(|| self.span.record("ran", since(begun)));
        }

        if let Some(to_sight) = to_sight {
            contain(|| self.span.record("cancel_to_sight", to_sight.as_secs_f64()));
        }
        if let Some(cancelled) = end.cancelled {
            contain(|| self.span.record("cancel_to_end", since(cancelled)));
        }
    }
}

impl TaskRun {
    /// Keeps how long after its cancel the task first saw it.
    pub(crate) fn note_sight(&mut self, to_sight: Option<Duration>) {
        self.to_sight = to_sight;
    }

    /// Leaves the span, records how the task ended, and closes the span.
    pub(crate) fn end(self, end: EndOfTask) {
        let TaskRun {
            trace,
            inside,
            _silence,
            begun,
            to_sight,
            before,
        } = self;

        // The span is left before its end is recorded, and closed after that.
        if let Some(inside) = inside {
            inside.leave(&trace.context);
        }
        trace.record(end, Some(begun), to_sight);

        // The last references close the span.
        drop(replace_innermost(before));
        drop(trace);
    }
}

/// The context of the task that this thread runs, if it spawns siblings of that task.
fn sibling() -> Option<Arc<Context>> {
    let beside = BESIDE.try_with(Cell::get).unwrap_or(false);
    beside.then(innermost).flatten()
}

/// Runs `f`, which spawns tasks that are siblings of the task on this thread, and not its children:
/// which task of a map spawns the next one depends on the moment.
#[inline]
pub(crate) fn beside<T>(f: impl FnOnce() -> T) -> T {
    struct RestoreOnDrop(bool);
    impl Drop for RestoreOnDrop {
        fn drop(&mut self) {
            let _ = BESIDE.try_with(|beside| beside.set(self.0));
        }
    }

    // Without a subscriber there is no context to hand on.
    if !is_on() {
        return f();
    }
    let before = BESIDE.try_with(|beside| beside.replace(true));
    let _ends = RestoreOnDrop(before.unwrap_or(false));
    f()
}

fn span_of(task: SpawnedTask<'_>, context: &Context) -> Span {
    macro_rules! span {
        ($($parent:tt)*) => {
            tracing::span!(
                target: "taskgroup",
                $($parent)*
                Level::DEBUG,
                "task",
                name = task.name,
                id = task.id,
                parent = task.group,
                site = %Site(task.location),
                outcome = Empty,
                queued = Empty,
                ran = Empty,
                cancel_to_sight = Empty,
                cancel_to_end = Empty,
            )
        };
    }

    // A subscriber that does not say which span is current finds the parent itself.
    if context.is_known {
        span!(parent: context.around.id(),)
    } else {
        span!()
    }
}

impl Drop for TaskTrace {
    fn drop(&mut self) {
        self.context.close(&mut self.span);
    }
}

impl fmt::Debug for TaskTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskTrace")
            .field("span", &self.span.id())
            .field("silent", &self.silent)
            .finish_non_exhaustive()
    }
}
