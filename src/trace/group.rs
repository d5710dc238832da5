//! The span of a group, from its opening to its end, and the events that belong to it.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as PlainUsize, Ordering::Relaxed};
use std::time::Instant;

use tracing::field::Empty;
use tracing::subscriber::NoSubscriber;
use tracing::{Id, Level, Span};

use super::context::{Context, replace_innermost};
use super::event::untaken;
use super::site::Site;
use super::task::{EndOfTask, TaskTrace};
use super::telling::{contain, is_in_destructor, is_telling, may_tell, tell};
use crate::facade::{Mutex, debug_event};

/// A group that is being opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenedGroup<'a> {
    pub(crate) id: u64,
    pub(crate) name: Option<&'a str>,
    /// The id of the task that it is opened in, or of the group of the body.
    pub(crate) parent: Option<u64>,
    pub(crate) location: &'static Location<'static>,
}

/// A cancel that has reached a group.
#[derive(Clone, Debug)]
pub(crate) struct TracedCancel {
    pub(crate) cause: String,
    pub(crate) location: &'static Location<'static>,
    /// The id of the scope in which it was asked for.
    pub(crate) origin: u64,
}

/// The state of a group that a subscriber has seen. The span is taken out at the end: other threads
/// may keep the state of the group for longer.
pub(crate) struct GroupTrace {
    live: Mutex<Option<Arc<Live>>>,
    /// The number of tasks that never ran.
    never_ran: PlainUsize,
}

struct Live {
    context: Arc<Context>,
    span: Span,
    opened: Instant,
    /// The events of destructors of the crate, to be sent later (invariant 2).
    later: Mutex<Vec<Later>>,
}

enum Later {
    Cancelled(TracedCancel),
    Unrun(Arc<TaskTrace>, EndOfTask),
    Untaken(String),
}

/// The span of a group, for events of threads that are in none of its tasks. It does not keep the
/// span open.
#[cfg(not(loom))]
#[derive(Clone, Default)]
pub(crate) struct GroupSpan(std::sync::Weak<Live>);

/// Whether a thread has entered the span of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SpanEntry {
    Entered,
    /// There is no subscriber, or it panicked.
    Refused,
}

/// The thread of a scope, in the span of its group. It must end it by [`GroupRun::end`].
pub(crate) struct GroupRun {
    live: Arc<Live>,
    entry: SpanEntry,
    /// The innermost context of the thread before.
    before: Option<Arc<Context>>,
}

impl GroupTrace {
    /// Makes the trace of a group that this thread opens. Called only if there may be a subscriber.
    #[cold]
    pub(crate) fn new(group: OpenedGroup<'_>) -> Option<Box<Self>> {
        // A group that the subscriber opens is not told to it (invariant 4).
        if !may_tell() || is_telling() {
            return None;
        }

        let context = contain(|| {
            let context = Context::here();
            (!context.dispatch.is::<NoSubscriber>()).then_some(context)
        })
        .flatten()?;

        // A subscriber that panics here has no span of the group, and still hears of its events.
        let span = contain(|| span_of(group)).unwrap_or_else(Span::none);
        let live = Live {
            context: Arc::new(context),
            span,
            opened: Instant::now(),
            later: Mutex::new(Vec::new()),
        };

        Some(Box::new(GroupTrace {
            live: Mutex::new(Some(Arc::new(live))),
            never_ran: PlainUsize::new(0),
        }))
    }

    /// Enters the span on the thread that runs the scope.
    #[cold]
    pub(crate) fn enter(&self) -> Option<Box<GroupRun>> {
        let live = self.live()?;

        // The context goes to the tasks that the body spawns.
        let entry = live.enter();
        Some(Box::new(GroupRun {
            entry,
            before: replace_innermost(Some(live.context.clone())),
            live,
        }))
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.live.lock().clone()
    }

    /// Returns the span; an empty one where another thread has the lock. Does not block.
    #[cfg(not(loom))]
    pub(crate) fn span(&self) -> GroupSpan {
        let live = self.live.try_lock();
        let live = live.and_then(|live| live.as_ref().map(Arc::downgrade));
        GroupSpan(live.unwrap_or_default())
    }

    /// Sends the event of a cancel that has reached the group.
    pub(crate) fn cancelled(&self, cancel: TracedCancel) {
        self.say(Later::Cancelled(cancel));
    }

    /// Logs the failure of an isolated task after the drop of its result.
    pub(crate) fn untaken(&self, text: String) {
        self.say(Later::Untaken(text));
    }

    /// Counts a task that never ran.
    pub(crate) fn note_never_ran(&self) {
        self.never_ran.fetch_add(1, Relaxed);
    }

    /// Ends the span of a task that did not run.
    pub(crate) fn end_unrun(&self, task: Arc<TaskTrace>, end: EndOfTask) {
        self.say(Later::Unrun(task, end));
    }

    /// Says something now, or at the end of the group if a destructor of the crate runs.
    fn say(&self, what: Later) {
        match (self.live(), what) {
            // Invariant 2: no destructor calls the subscriber.
            (Some(live), what) if is_in_destructor() => live.later.lock().push(what),
            (Some(live), what) => live.say(what),
            // The group has ended. A task that is spawned then does not run.
            (None, Later::Unrun(task, end)) => task.end_unrun(end),
            (None, Later::Untaken(text)) => untaken(&text),
            (None, Later::Cancelled(_)) => {}
        }
    }
}

impl Live {
    fn say(&self, what: Later) {
        match what {
            Later::Cancelled(cancel) => self.event(|parent| {
                debug_event!(
                    parent: parent,
                    cause = cancel.cause,
                    site = %Site(cancel.location),
                    origin = cancel.origin,
                    "cancelled"
                );
            }),
            Later::Unrun(task, end) => task.end_unrun(end),
            // With the span of the group as the current one.
            Later::Untaken(text) => self.within(|| untaken(&text)),
        }
    }

    /// Calls `send` with the dispatcher of the group, and its span as the current one.
    fn within(&self, send: impl FnOnce()) {
        self.context.within(|| {
            let entry = self.enter();
            send();
            self.exit(entry);
        });
    }

    /// Calls `send`, which sends an event below the span that it is given.
    fn event(&self, send: impl FnOnce(Option<Id>)) {
        // A group with a span that is off by its level sends its events to the span around it.
        let parent = self.span.id().or_else(|| self.context.around.id());
        tell(|| self.context.within(|| send(parent)));
    }

    fn enter(&self) -> SpanEntry {
        let enter = |(id, dispatch): (&Id, &tracing::Dispatch)| tell(|| dispatch.enter(id));
        match self.span.with_subscriber(enter).flatten() {
            Some(()) => SpanEntry::Entered,
            None => SpanEntry::Refused,
        }
    }

    fn exit(&self, entry: SpanEntry) {
        if entry == SpanEntry::Entered {
            self.span
                .with_subscriber(|(id, dispatch)| contain(|| dispatch.exit(id)));
        }
    }
}

#[cfg(not(loom))]
impl GroupSpan {
    /// Calls `send`, which sends events, inside of the span if it is open.
    pub(crate) fn within(&self, send: impl FnOnce()) {
        match self.0.upgrade() {
            Some(live) => live.within(send),
            None => send(),
        }
    }
}

#[cfg(not(loom))]
impl fmt::Debug for GroupSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = self.0.strong_count() != 0;
        f.debug_struct("GroupSpan")
            .field("is_open", &is_open)
            .finish()
    }
}

impl GroupRun {
    /// Leaves the span, records how the group ended, and closes the span.
    #[cold]
    pub(crate) fn end(self, trace: &GroupTrace, outcome: &'static str, cancelled: Option<Instant>) {
        let GroupRun {
            live,
            entry,
            before,
        } = self;

        // One event for all of them: a cancel can find any number of queued tasks.
        let never_ran = trace.never_ran.load(Relaxed);
        if never_ran > 0 {
            live.event(|parent| {
                debug_event!(
                    parent: parent,
                    count = never_ran,
                    "tasks never ran"
                );
            });
        }

        // What destructors have left, without the lock: the subscriber is user code.
        let later = std::mem::take(&mut *live.later.lock());
        later.into_iter().for_each(|what| live.say(what));

        live.exit(entry);
        drop(replace_innermost(before));

        // One reading for all times.
        let ended = Instant::now();
        let since = |instant: Instant| ended.saturating_duration_since(instant).as_secs_f64();
        contain(|| live.span.record("outcome", outcome));
        contain(|| live.span.record("ran", since(live.opened)));
        if let Some(cancelled) = cancelled {
            contain(|| live.span.record("cancel_to_end", since(cancelled)));
        }

        // The lock is released before the span is closed.
        let last = trace.live.lock().take();
        drop((last, live));
    }
}

fn span_of(group: OpenedGroup<'_>) -> Span {
    // Below the span that is current.
    tracing::span!(
        target: "taskgroup",
        Level::DEBUG,
        "group",
        name = group.name,
        id = group.id,
        parent = group.parent,
        site = %Site(group.location),
        outcome = Empty,
        ran = Empty,
        cancel_to_end = Empty,
    )
}

impl Drop for Live {
    fn drop(&mut self) {
        self.context.close(&mut self.span);
    }
}

impl fmt::Debug for GroupTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupTrace")
            .field("never_ran", &self.never_ran)
            .finish_non_exhaustive()
    }
}
