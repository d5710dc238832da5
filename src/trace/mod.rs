//! Spans and events of `tracing`: what a subscriber is told of groups, tasks, and threads that are
//! left behind.
//!
//! Each group and each task has a span. The span of a task is made at its spawn, on the thread that
//! spawns it, so its parent is the span that is current there. It is current while the task runs,
//! on any thread. The default dispatcher of the spawn is the default one meanwhile.
//!
//! | file | contents |
//! |---|---|
//! | `telling` | how the subscriber is called: contained, not recursively, and not where a thread ends |
//! | `context` | the dispatcher and the span of a thread, and how a thread runs under others |
//! | `task`, `group`, `left_behind` | the spans, and the fields at their end |
//! | `event`, `site` | events that belong to the span that is current; places in the source |
//!
//! # Invariants
//!
//! 1. Without a subscriber, the cost is the relaxed load in [`is_on`]. All other state is made only
//!    if it returns true, and stays inside an option that exists for other reasons. In a model it
//!    is false.
//! 2. The subscriber is called with no lock of the crate held, from no signal handler, and from no
//!    destructor of a thread-local. What a destructor of the crate would say is kept, and said at
//!    the end of its group. A worker says nothing after its last task.
//! 3. A panic of the subscriber changes neither an outcome nor a count.
//! 4. While the subscriber is called by the crate, code that it runs on this thread makes no spans
//!    and no events of the crate. Tasks that it spawns make none wherever they run. So a subscriber
//!    may use this crate.
//! 5. A task leaves its thread as it found it: its span is left, then the spans that it left
//!    entered, then its dispatcher.
//! 6. The fields of the end are recorded once. Then the span is closed, under its own dispatcher,
//!    before the task or the group counts as ended. Something holds a span, never an id alone, for
//!    as long as it names the span. So the event of a stall that is being sent at the end of its
//!    group keeps the span open for that long.
//! 7. A task runs in place only if the same span is current there as at its spawn. Entering its own
//!    span would not hide another: a layer with a filter that does not want the task's span sees
//!    the span below.

mod context;
mod event;
mod group;
mod left_behind;
mod site;
mod task;
mod telling;

use tracing::level_filters::LevelFilter;

pub(crate) use event::{
    FailedHow, failed, isolated_failed, refused, task_cancelled, untaken, wants_failures,
};
#[cfg(not(loom))]
pub(crate) use group::GroupSpan;
pub(crate) use group::{GroupRun, GroupTrace, OpenedGroup, TracedCancel};
pub(crate) use left_behind::LeftBehind;
pub(crate) use site::Site;
pub(crate) use task::{EndOfTask, SpawnedTask, TaskRun, TaskTrace, beside};
pub(crate) use telling::{in_destructor, log, thread_ends};

/// Whether there may be a subscriber.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    // A relaxed load of a static (invariant 1). A model knows no subscribers.
    !cfg!(loom) && LevelFilter::current() != LevelFilter::OFF
}
