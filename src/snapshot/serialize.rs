//! The serialised form of a snapshot, for feature `serde`.
//!
//! It is flat: groups and tasks are two lists, and each says in what it stands. So a reader needs
//! no recursion, however deep scopes are nested, and a parent comes before its children. The form
//! has a version, [`Snapshot::VERSION`]. `docs/seeing.md` describes it; within a version fields are
//! only added.

use std::panic::Location;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{
    GroupSnapshot, Holder, Inside, LimitSnapshot, RegionKind, Snapshot, TaskKind, TaskSnapshot,
    TaskState, Wait, WorkerSnapshot,
};
use crate::blocking::Abandoned;
use crate::cancel::{CancelCause, Cancelled};

/// Serialises as an object with `version` as its first field.
///
/// ```
/// let json = serde_json::to_string(&taskgroup::snapshot())?;
/// assert!(json.starts_with(r#"{"version":1,"#));
/// # Ok::<(), serde_json::Error>(())
/// ```
impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut groups, mut tasks) = (Vec::new(), Vec::new());
        self.walk(
            |group, parent| groups.push(GroupForm::of(group, parent)),
            |task, group| tasks.push(TaskForm::of(task, group)),
        );

        let whole = WholeForm {
            version: Self::VERSION,
            groups,
            tasks,
            workers: self.workers.iter().map(WorkerForm::of).collect(),
            abandoned: self.abandoned.iter().map(AbandonedForm::of).collect(),
            incomplete: self.incomplete,
            notes: &self.notes,
        };
        whole.serialize(serializer)
    }
}

#[derive(Serialize)]
struct WholeForm<'a> {
    version: u32,
    groups: Vec<GroupForm<'a>>,
    tasks: Vec<TaskForm<'a>>,
    workers: Vec<WorkerForm<'a>>,
    abandoned: Vec<AbandonedForm<'a>>,
    incomplete: usize,
    notes: &'a [String],
}

#[derive(Serialize)]
struct GroupForm<'a> {
    id: u64,
    /// The task, body or thread that has opened it.
    parent: Option<u64>,
    name: Option<&'a str>,
    location: LocationForm,
    policy: &'a str,
    limit: Option<LimitForm>,
    remaining_ns: Option<u64>,
    cancelled: Option<CancelForm>,
    queued: usize,
    is_ending: bool,
}

#[derive(Serialize)]
struct TaskForm<'a> {
    id: u64,
    kind: &'static str,
    /// None for a thread outside of any group.
    group: Option<u64>,
    name: Option<&'a str>,
    location: LocationForm,
    state: &'static str,
    is_starting: bool,
    thread: Option<&'a str>,
    system_thread: Option<u32>,
    wait: Option<WaitForm<'a>>,
    cancels_seen: u32,
    cancel_seen_at: Option<LocationForm>,
    inside: Vec<RegionForm>,
}

#[derive(Serialize)]
struct WaitForm<'a> {
    what: &'a str,
    location: Option<LocationForm>,
    object: Option<String>,
    target: Option<&'a str>,
    group: Option<u64>,
    holders: Vec<u64>,
    held_by: Vec<HolderForm<'a>>,
    since_ns: u64,
    has_seen_cancel: bool,
    is_cancellable: bool,
}

#[derive(Serialize)]
struct HolderForm<'a> {
    task: Option<u64>,
    name: Option<&'a str>,
    thread: Option<&'a str>,
    location: Option<LocationForm>,
}

#[derive(Serialize)]
struct LimitForm {
    total: usize,
    held: usize,
    lent: usize,
}

#[derive(Serialize)]
struct CancelForm {
    kind: &'static str,
    text: String,
    location: LocationForm,
    /// The number of the token that was cancelled.
    origin: u64,
}

#[derive(Serialize)]
struct RegionForm {
    region: &'static str,
    location: LocationForm,
}

#[derive(Serialize)]
struct WorkerForm<'a> {
    thread: Option<&'a str>,
    system_thread: Option<u32>,
    task: Option<u64>,
}

#[derive(Serialize)]
struct AbandonedForm<'a> {
    name: Option<&'a str>,
    location: LocationForm,
    since_ns: u64,
}

#[derive(Serialize)]
struct LocationForm {
    file: &'static str,
    line: u32,
    column: u32,
}

impl LocationForm {
    fn of(location: &'static Location<'static>) -> Self {
        LocationForm {
            file: location.file(),
            line: location.line(),
            column: location.column(),
        }
    }
}

impl<'a> GroupForm<'a> {
    fn of(group: &'a GroupSnapshot, parent: Option<u64>) -> Self {
        GroupForm {
            id: group.id.0,
            parent,
            name: group.name.as_deref(),
            location: LocationForm::of(group.location),
            policy: group.policy,
            limit: group.limit.map(LimitForm::of),
            remaining_ns: group.remaining.map(nanos),
            cancelled: group.cancelled.as_ref().map(CancelForm::of),
            queued: group.queued,
            is_ending: group.is_ending,
        }
    }
}

impl<'a> TaskForm<'a> {
    fn of(task: &'a TaskSnapshot, group: Option<u64>) -> Self {
        TaskForm {
            id: task.id.0,
            kind: kind(task.kind),
            group,
            name: task.name.as_deref(),
            location: LocationForm::of(task.location),
            state: state(task.state),
            is_starting: task.is_starting,
            thread: task.thread.as_deref(),
            system_thread: task.system_thread,
            wait: task.waits.as_ref().map(WaitForm::of),
            cancels_seen: task.told,
            cancel_seen_at: task.told_at.map(LocationForm::of),
            inside: task.inside.iter().map(RegionForm::of).collect(),
        }
    }
}

impl<'a> WaitForm<'a> {
    fn of(wait: &'a Wait) -> Self {
        WaitForm {
            what: &wait.what,
            location: wait.location.map(LocationForm::of),
            object: wait.object.map(|object| object.to_string()),
            target: wait.target.as_deref(),
            group: wait.group.map(|group| group.0),
            holders: wait.holders.iter().map(|task| task.0).collect(),
            held_by: wait.held_by.iter().map(HolderForm::of).collect(),
            since_ns: nanos(wait.since),
            has_seen_cancel: wait.has_seen_cancel,
            is_cancellable: wait.is_cancellable,
        }
    }
}

impl<'a> HolderForm<'a> {
    fn of(holder: &'a Holder) -> Self {
        HolderForm {
            task: holder.task.map(|task| task.0),
            name: holder.name.as_deref(),
            thread: holder.thread.as_deref(),
            location: holder.location.map(LocationForm::of),
        }
    }
}

impl LimitForm {
    fn of(limit: LimitSnapshot) -> Self {
        let LimitSnapshot { total, held, lent } = limit;
        LimitForm { total, held, lent }
    }
}

impl CancelForm {
    fn of(cancelled: &Cancelled) -> Self {
        CancelForm {
            kind: cause(cancelled.cause()),
            text: cancelled.cause().to_string(),
            location: LocationForm::of(cancelled.location()),
            origin: cancelled.origin().0,
        }
    }
}

impl RegionForm {
    fn of(inside: &Inside) -> Self {
        RegionForm {
            region: region(inside.region),
            location: LocationForm::of(inside.location),
        }
    }
}

impl<'a> WorkerForm<'a> {
    fn of(worker: &'a WorkerSnapshot) -> Self {
        WorkerForm {
            thread: worker.thread.as_deref(),
            system_thread: worker.system_thread,
            task: worker.task.map(|task| task.0),
        }
    }
}

impl<'a> AbandonedForm<'a> {
    fn of(abandoned: &'a Abandoned) -> Self {
        AbandonedForm {
            name: abandoned.name.as_deref(),
            location: LocationForm::of(abandoned.location),
            since_ns: nanos(abandoned.since.elapsed()),
        }
    }
}

/// A time of more than 584 years is cut.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

// The words below are part of the form: a renamed variant keeps its word.

fn kind(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Task => "task",
        TaskKind::Body => "body",
        TaskKind::Thread => "thread",
        TaskKind::Abandon => "abandon",
    }
}

fn state(state: TaskState) -> &'static str {
    match state {
        TaskState::Queued => "queued",
        TaskState::Running => "running",
        TaskState::Elsewhere => "elsewhere",
        TaskState::Waiting => "waiting",
        TaskState::Foreign => "foreign",
        TaskState::InScope => "in_scope",
        TaskState::InPlace => "in_place",
        TaskState::Dropping => "dropping",
    }
}

fn region(region: RegionKind) -> &'static str {
    match region {
        RegionKind::Run => "run",
        RegionKind::Shield => "shield",
        RegionKind::WindingDown => "winding_down",
        RegionKind::CancelHook => "cancel_hook",
        RegionKind::Callback => "callback",
    }
}

fn cause(cause: &CancelCause) -> &'static str {
    match cause {
        CancelCause::Requested { .. } => "requested",
        CancelCause::TaskFailed { .. } => "task_failed",
        CancelCause::TaskPanicked { .. } => "task_panicked",
        CancelCause::BodyFailed { .. } => "body_failed",
        CancelCause::BodyPanicked => "body_panicked",
        CancelCause::Deadline { .. } => "deadline",
        CancelCause::Signal { .. } => "signal",
        CancelCause::Deadlock { .. } => "deadlock",
        CancelCause::GroupFinished => "group_finished",
        CancelCause::Dropped => "dropped",
        CancelCause::SemaphoreClosed => "semaphore_closed",
    }
}
