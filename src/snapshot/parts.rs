//! The second step of a snapshot: the copied lanes become nodes, and the copied groups know them.
//!
//! A lane has the frames of its thread, the outermost first. Each task, scope and `abandon` among
//! them becomes a node; the regions in between belong to the node around them. A task belongs to
//! the group that its frame names, a group to the node that its scope was opened in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::Location;
use std::time::Instant;

use super::collect::{Collected, ReadThread};
use super::holders::Holders;
use super::kernel::Kernel;
use super::queue_walk::QueuedTask;
use super::view::GroupView;
use super::{Inside, RegionKind, TaskKind, TaskSnapshot, TaskState};
use crate::cancel::TaskId;
use crate::lanes::{FrameKind, FrameView};

/// Where a task was found that has not begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    /// In the queue of its group, which counts it.
    InQueue,
    /// In the batch of a worker.
    InBatch,
}

/// Where a node belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    /// In the group with this number.
    InGroup(u64),
    /// It is the body of this group.
    BodyOf(u64),
    /// In no group.
    Apart,
}

/// A task, body or thread, before it is in the tree.
pub(super) struct TaskParts {
    pub(super) task: TaskSnapshot,
    pub(super) place: Membership,
}

/// A group, before it is in the tree.
#[derive(Default)]
pub(super) struct GroupParts {
    pub(super) view: GroupView,
    /// The node that has opened it.
    pub(super) opened_in: Option<usize>,
    pub(super) body: Option<usize>,
    pub(super) tasks: Vec<usize>,
}

/// The nodes and the groups, before they are a tree.
pub(super) struct Parts {
    /// A node is taken out once it stands in the tree, or if its task was seen twice.
    pub(super) nodes: Vec<Option<TaskParts>>,
    pub(super) groups: BTreeMap<u64, GroupParts>,
    /// The node of each task that has begun.
    by_task: HashMap<u64, usize>,
    pub(super) kernel: Kernel,
    pub(super) now: Instant,
    pub(super) holders: Holders,
}

impl Parts {
    /// Makes nodes from the copied lanes and groups.
    pub(super) fn of(collected: Collected) -> Self {
        let groups = collected.groups.into_iter().map(|(number, view)| {
            let parts = GroupParts {
                view,
                ..GroupParts::default()
            };
            (number, parts)
        });

        let mut parts = Parts {
            // Most threads have one node.
            nodes: Vec::with_capacity(collected.threads.len()),
            groups: groups.collect(),
            by_task: HashMap::with_capacity(collected.threads.len()),
            kernel: Kernel::default(),
            now: Instant::now(),
            holders: Holders::of(&collected.threads),
        };

        let mut inner = Vec::new();
        for thread in &collected.threads {
            inner.clear();
            parts.add_thread(thread, &mut inner);
        }

        // Queued tasks come last: a task that has begun meanwhile is there already.
        let mut queued = Vec::new();
        for (number, group) in &mut parts.groups {
            let tasks = std::mem::take(&mut group.view.queue.tasks).into_iter();
            queued.extend(tasks.map(|task| (*number, Listed::InQueue, task)));
        }

        for batch in collected.batches {
            let tasks = batch.tasks.into_iter();
            queued.extend(tasks.map(|task| (batch.group, Listed::InBatch, task)));
        }
        parts.add_queued(queued);
        parts
    }

    /// Returns a note if the system did not tell what threads do.
    pub(super) fn note(&self) -> Option<String> {
        self.kernel.note()
    }

    /// Adds the nodes of one thread, and their indices to `inner`, the outermost first.
    fn add_thread(&mut self, thread: &ReadThread, inner: &mut Vec<usize>) {
        // Regions outside of any node belong to the first node inside of them.
        let mut outside = Vec::new();

        for frame in &thread.lane.frames {
            // A region is not a node: it says of the node around it what a cancel does there.
            if let Some(region) = region(frame.kind) {
                let inside = Inside {
                    region,
                    location: frame.location,
                    group: frame.group,
                };
                match inner.last().and_then(|index| self.nodes[*index].as_mut()) {
                    Some(node) => {
                        node.task.inside.push(inside);
                        node.task.add_told(frame);
                    }
                    None => outside.push((inside, frame)),
                }
                continue;
            }

            // The regions before the first node belong to the thread that runs it.
            let index = self.add_node(thread, frame, inner.last().copied());
            if let Some(node) = self.nodes[index].as_mut() {
                node.task.outside = outside.len();
                node.task
                    .inside
                    .extend(outside.drain(..).map(|(inside, _)| inside));
            }
            inner.push(index);
        }

        // A thread that is in no group counts if it is in a region, or waits.
        let wait = thread.lane.wait;
        if inner.is_empty() {
            let Some(location) = outside
                .first()
                .map(|(inside, _)| inside.location)
                .or(wait.map(|wait| wait.location))
            else {
                return;
            };
            let mut task = empty(thread, TaskKind::Thread, TaskId::next().0, location);
            for (inside, frame) in outside {
                task.inside.push(inside);
                task.add_told(frame);
            }
            inner.push(self.push(task, Membership::Apart));
        }

        self.set_states(thread, inner);
    }

    /// Adds the node of a frame, inside of the node `outer` of the same thread.
    fn add_node(&mut self, thread: &ReadThread, frame: &FrameView, outer: Option<usize>) -> usize {
        let (kind, place) = match frame.kind {
            FrameKind::Scope => (TaskKind::Body, Membership::BodyOf(frame.id)),
            FrameKind::Abandon => (TaskKind::Abandon, Membership::Apart),
            _ => (TaskKind::Task, Membership::InGroup(frame.group)),
        };

        // No token and no task has its number, so it gets one here that no other node has.
        let id = match frame.kind {
            FrameKind::Abandon => TaskId::next().0,
            _ => frame.id,
        };

        let mut task = empty(thread, kind, id, frame.location);
        task.is_starting = frame.is_starting;
        task.add_told(frame);
        if frame.kind == FrameKind::Drops {
            task.state = TaskState::Dropping;
        }

        let index = self.push(task, place);
        match place {
            Membership::BodyOf(group) => {
                let parts = self.group(group);
                parts.body = Some(index);
                parts.opened_in = outer;
            }
            Membership::InGroup(group) => {
                // Seen twice: the task has moved while the lanes were read.
                if let Some(before) = self.by_task.insert(frame.id, index) {
                    self.nodes[before] = None;
                }
                self.group(group).tasks.push(index);
            }
            Membership::Apart => {}
        }
        index
    }

    fn push(&mut self, task: TaskSnapshot, place: Membership) -> usize {
        self.nodes.push(Some(TaskParts { task, place }));
        self.nodes.len() - 1
    }

    /// Returns the parts of a group. A group that was not read, because it was busy or has opened
    /// since, has nothing but its number.
    fn group(&mut self, number: u64) -> &mut GroupParts {
        self.groups.entry(number).or_default()
    }

    /// Adds the tasks that have not begun.
    fn add_queued(&mut self, queued: Vec<(u64, Listed, QueuedTask)>) {
        // A task goes from a queue to a batch and back while the two are read, and is listed once.
        let mut seen = HashSet::new();
        for (group, listed, queued) in queued {
            // It has begun since its queue was read. The group has counted it.
            if self.by_task.contains_key(&queued.id.0) {
                let counted = &mut self.group(group).view.queued;
                *counted = counted.saturating_sub(usize::from(listed == Listed::InQueue));
                continue;
            }
            // It was given back to its queue, or taken from there.
            if !seen.insert(queued.id.0) {
                continue;
            }
            self.group(group).view.queued += usize::from(listed == Listed::InBatch);

            // It has no thread and no frame: all that is known is what its spawn said.
            let index = self.push(
                TaskSnapshot {
                    name: queued.name.map(Into::into),
                    state: TaskState::Queued,
                    is_starting: queued.is_starting,
                    ..blank(TaskKind::Task, queued.id.0, queued.location)
                },
                Membership::InGroup(group),
            );
            self.group(group).tasks.push(index);
        }
    }
}

pub(super) fn system_thread(thread: &ReadThread) -> Option<u32> {
    u32::try_from(thread.lane.system)
        .ok()
        .filter(|number| *number != 0)
}

/// A task of which nothing is known but its kind, its number and its place.
pub(super) fn blank(kind: TaskKind, id: u64, location: &'static Location<'static>) -> TaskSnapshot {
    TaskSnapshot {
        id: TaskId(id),
        kind,
        name: None,
        location,
        state: TaskState::Running,
        is_starting: false,
        waits: None,
        thread: None,
        system_thread: None,
        told: 0,
        told_at: None,
        inside: Vec::new(),
        outside: 0,
        groups: Vec::new(),
    }
}

fn empty(
    thread: &ReadThread,
    kind: TaskKind,
    id: u64,
    location: &'static Location<'static>,
) -> TaskSnapshot {
    TaskSnapshot {
        name: thread.task_name(id),
        thread: thread.name.clone(),
        system_thread: system_thread(thread),
        ..blank(kind, id, location)
    }
}

fn region(kind: FrameKind) -> Option<RegionKind> {
    match kind {
        FrameKind::Region => Some(RegionKind::Run),
        FrameKind::Shield => Some(RegionKind::Shield),
        FrameKind::WindingDown => Some(RegionKind::WindingDown),
        FrameKind::Hook => Some(RegionKind::CancelHook),
        FrameKind::Callback => Some(RegionKind::Callback),
        FrameKind::Task
        | FrameKind::Daemon
        | FrameKind::Scope
        | FrameKind::Drops
        | FrameKind::Abandon => None,
    }
}

impl TaskSnapshot {
    /// Adds how often the code of a frame was told of a cancel.
    fn add_told(&mut self, frame: &FrameView) {
        self.told = self.told.saturating_add(frame.told);
        self.told_at = frame.told_at.or(self.told_at);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::lanes::{Lane, ShownFrame};

    #[test]
    fn a_task_that_was_seen_on_two_lanes_is_there_once() {
        // It has moved from one thread to another while the lanes were read.
        let seen = || {
            let lane = Lane::apart();
            lane.push(ShownFrame {
                kind: FrameKind::Task,
                id: 7,
                group: 5,
                location: Location::caller(),
            });
            ReadThread::of(lane)
        };
        let parts = Parts::of(Collected {
            threads: vec![seen(), seen()],
            ..Collected::default()
        });
        let nodes = parts.nodes.iter().flatten();
        assert_eq!(nodes.filter(|node| node.task.id == TaskId(7)).count(), 1);
    }
}
