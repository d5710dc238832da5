//! Groups and tasks, as a snapshot finds them: each stands in the other.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::kinds::{Inside, LimitSnapshot, TaskKind, TaskState};
use super::label::SCOPE_END;
use super::wait::Wait;
use crate::cancel::{Cancelled, TaskId, TokenId};

/// A group that was open when the [`Snapshot`](super::Snapshot) was taken.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::TaskGroup;
///
/// TaskGroup::builder().name("imports").limit(4).scope(|_| {
///     let snapshot = taskgroup::snapshot();
///     let group = snapshot.all_groups().find(|group| group.name() == Some("imports"));
///     assert_eq!(group.and_then(|group| group.limit()).map(|limit| limit.total), Some(4));
///     Ok::<_, anyhow::Error>(())
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GroupSnapshot {
    pub(super) id: TokenId,
    pub(super) name: Option<String>,
    pub(super) location: &'static Location<'static>,
    pub(super) policy: &'static str,
    pub(super) limit: Option<LimitSnapshot>,
    pub(super) remaining: Option<Duration>,
    pub(super) cancelled: Option<Cancelled>,
    pub(super) queued: usize,
    pub(super) is_ending: bool,
    pub(super) opened_in: Option<TaskId>,
    pub(super) body: TaskSnapshot,
    pub(super) tasks: Vec<TaskSnapshot>,
}

impl GroupSnapshot {
    /// Returns the identity of the group's token.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// Returns the name given with [`Builder::name`](crate::Builder::name).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the call that opened the group.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Returns what a failure does to the other tasks, in words.
    pub fn policy(&self) -> &str {
        self.policy
    }

    /// Returns the cancel that cancelled the group, if it is cancelled.
    pub fn cancelled(&self) -> Option<&Cancelled> {
        self.cancelled.as_ref()
    }

    /// Returns the time left until the earliest deadline that holds in the group. It is zero if
    /// that has passed.
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining
    }

    /// Returns the permits of the group, if it is limited.
    pub fn limit(&self) -> Option<LimitSnapshot> {
        self.limit
    }

    /// Returns whether the body has returned, so that the scope waits for its tasks.
    pub fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// Returns the task, the body or the thread that opened the group: none if that is outside of
    /// any group and region. The group is drawn inside of it, unless that is more than 32 groups
    /// deep.
    pub fn opened_in(&self) -> Option<TaskId> {
        self.opened_in
    }

    /// Returns the body of the scope: the thread that opened the group. After the body has
    /// returned, this is the end of the scope.
    pub fn body(&self) -> &TaskSnapshot {
        &self.body
    }

    /// Returns the tasks and daemons of the group: those that have begun, then those that are
    /// queued. Of the queued ones, at most 256 are listed; [`queued`](Self::queued) counts them
    /// all.
    pub fn tasks(&self) -> &[TaskSnapshot] {
        &self.tasks
    }

    /// Returns how many tasks wait for a worker or for a permit.
    pub fn queued(&self) -> usize {
        self.queued
    }
}

/// A task, the body of a scope, or another thread that uses the crate, when a
/// [`Snapshot`](super::Snapshot) was taken.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::{TaskGroup, TaskState, sync::Event};
///
/// let event = Event::new();
/// TaskGroup::scope(|g| {
///     let task = g.task().name("waits").spawn(|| Ok(event.wait()?));
///     let waiting = loop {
///         let snapshot = taskgroup::snapshot();
///         let found = snapshot.tasks().find(|seen| seen.id() == task.id()).cloned();
///         match found {
///             Some(found) if found.state() == TaskState::Waiting => break found,
///             _ => std::thread::yield_now(),
///         }
///     };
///     assert_eq!(waiting.waits().map(|wait| wait.what()), Some("Event::wait"));
///     event.set();
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TaskSnapshot {
    pub(super) id: TaskId,
    pub(super) kind: TaskKind,
    pub(super) name: Option<String>,
    pub(super) location: &'static Location<'static>,
    pub(super) state: TaskState,
    pub(super) is_starting: bool,
    pub(super) waits: Option<Wait>,
    pub(super) thread: Option<Arc<str>>,
    pub(super) system_thread: Option<u32>,
    pub(super) told: u32,
    pub(super) told_at: Option<&'static Location<'static>>,
    pub(super) inside: Vec<Inside>,
    /// How many of these regions its thread was in before it came to its first node, this one.
    pub(super) outside: usize,
    pub(super) groups: Vec<GroupSnapshot>,
}

impl TaskSnapshot {
    /// Returns the identity of the task. A body has the number of its group's token. A thread, or a
    /// call of `abandon`, has an identity in this snapshot only.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Returns what this is about.
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    /// Returns the name of the task.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the call that spawned the task, or that opened the scope or the region.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Returns what the task was doing.
    pub fn state(&self) -> TaskState {
        self.state
    }

    /// Returns whether [`TaskGroup::start`](crate::TaskGroup::start) still waits for the task to be
    /// ready. From [`Ready::send`](crate::Ready::send) on, called by whichever thread, the task is
    /// one of its group like any other.
    pub fn is_starting(&self) -> bool {
        self.is_starting
    }

    /// Returns what the task was waiting for, in this crate or in the system.
    pub fn waits(&self) -> Option<&Wait> {
        self.waits.as_ref()
    }

    /// Returns the name of the thread that runs the task.
    pub fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// Returns the number of that thread in the system, as a debugger and `/proc` show it. Known on
    /// Linux only.
    pub fn system_thread(&self) -> Option<u32> {
        self.system_thread
    }

    /// Returns how often a blocking point of the task has returned that it is cancelled, and where
    /// that was last.
    pub fn cancels_seen(&self) -> (u32, Option<&'static Location<'static>>) {
        (self.told, self.told_at)
    }

    /// Returns the regions that the task is inside of, the outermost first.
    pub fn inside(&self) -> &[Inside] {
        &self.inside
    }

    /// Returns how many of the regions were entered before the task, or the scope, began.
    pub(crate) fn regions_outside(&self) -> usize {
        self.outside
    }

    /// Returns whether it waits for the tasks of its scope.
    pub(crate) fn is_at_scope_end(&self) -> bool {
        let what = self.waits.as_ref().map(Wait::what);
        self.kind == TaskKind::Body && what == Some(SCOPE_END)
    }

    /// Returns the groups that the task has opened.
    pub fn groups(&self) -> &[GroupSnapshot] {
        &self.groups
    }
}
