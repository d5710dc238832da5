//! The data that a snapshot copies from the parts of the crate.

use std::borrow::Cow;
use std::collections::HashSet;
use std::panic::Location;
use std::time::Instant;

use super::LimitSnapshot;
use super::queue_walk::{QueueWalk, QueuedTask};
use crate::cancel::{CancelToken, Cancelled, TaskId};

/// A group, as it describes itself.
#[derive(Debug, Default)]
pub(crate) struct GroupView {
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) location: Option<&'static Location<'static>>,
    pub(crate) policy: &'static str,
    pub(crate) limit: Option<LimitSnapshot>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancelled: Option<Cancelled>,
    /// The first piece of its queue.
    pub(crate) queue: QueueWalk,
    /// How many tasks are queued, once all pieces have been read.
    pub(crate) queued: usize,
    /// Its last task has ended, and it takes no more.
    pub(crate) is_closed: bool,
    /// A part of it could not be read.
    pub(crate) is_busy: bool,
}

/// The part of a group that decides whether the rest is worth a look: the search for deadlocks
/// reads it for every group that threads wait for.
#[derive(Debug, Default)]
pub(crate) struct LimitView {
    /// The first result cancels its other tasks.
    pub(crate) is_race: bool,
    pub(crate) limit: Option<LimitSnapshot>,
    /// The permits could not be read.
    pub(crate) is_busy: bool,
}

/// The whole queue of a group, and its counts at the same moment.
///
/// The lock of the queue is held for the time that a walk over all of it takes.
#[derive(Debug, Default)]
pub(crate) struct QueueView {
    pub(crate) limit: Option<LimitSnapshot>,
    /// How many tasks and daemons have been spawned and have not ended.
    pub(crate) live: usize,
    /// How many of them are queued, without those that a thread has claimed, or has taken and not
    /// claimed yet.
    pub(crate) queued: usize,
    /// The queued tasks that are watched. A thread that waits for a task watches it before it goes
    /// to sleep.
    pub(crate) watched: HashSet<TaskId>,
    /// It could not be read.
    pub(crate) is_busy: bool,
}

/// The tasks that a worker has taken from a group and not begun.
#[derive(Debug, Default)]
pub(crate) struct BatchView {
    /// The number of the group's token; 0 if there is no batch.
    pub(crate) group: u64,
    pub(crate) tasks: Vec<QueuedTask>,
    pub(crate) is_busy: bool,
}

/// The token of a group, as it describes itself.
#[derive(Debug, Default)]
pub(crate) struct TokenView(pub(crate) Option<CancelToken>);
