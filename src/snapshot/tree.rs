//! The second step of a snapshot: the copied parts become a tree.
//!
//! A lane has the frames of its thread, the outermost first. Each task, scope and `abandon` among
//! them becomes a node; the regions in between belong to the node around them. A task belongs to
//! the group that its frame names, a group to the node that its scope was opened in. Only the
//! innermost node of a thread can wait; the others say what keeps them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::collect::{Collected, Thread};
use super::holders::{Holders, still_waits};
use super::kernel::{Doing, Kernel};
use super::view::{GroupView, QueuedTask};
use super::{
    GroupSnapshot, Inside, ObjectId, RegionKind, Snapshot, TaskKind, TaskSnapshot, TaskState, Wait,
    WorkerSnapshot, label,
};
use crate::blocking;
use crate::cancel::{TaskId, TokenId};
use crate::lanes::{FrameKind, FrameView, Object, WaitView, since_epoch};
use crate::waiting::WaitKind;

/// Scopes that are nested deeper than this are listed beside the tree.
const DEEPEST: usize = 32;

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
enum Place {
    /// In the group with this number.
    InGroup(u64),
    /// It is the body of this group.
    BodyOf(u64),
    /// In no group.
    Apart,
}

/// A task, body or thread, before it is in the tree.
struct Node {
    task: TaskSnapshot,
    place: Place,
}

/// A group, before it is in the tree.
struct GroupParts {
    view: GroupView,
    /// The node that has opened it.
    opened_in: Option<usize>,
    body: Option<usize>,
    tasks: Vec<usize>,
}

struct Builder {
    nodes: Vec<Option<Node>>,
    groups: BTreeMap<u64, GroupParts>,
    /// The node of each task that has begun.
    by_task: HashMap<u64, usize>,
    kernel: Kernel,
    now: Instant,
    holders: Holders,
}

/// Builds the tree.
pub(super) fn build(collected: Collected) -> Snapshot {
    let Collected {
        groups,
        batches,
        threads,
        mut incomplete,
    } = collected;
    let groups = groups.into_iter().map(|(number, view)| {
        let parts = GroupParts {
            view,
            opened_in: None,
            body: None,
            tasks: Vec::new(),
        };
        (number, parts)
    });
    let mut builder = Builder {
        // Most threads have one node.
        nodes: Vec::with_capacity(threads.len()),
        groups: groups.collect(),
        by_task: HashMap::with_capacity(threads.len()),
        kernel: Kernel::default(),
        now: Instant::now(),
        holders: Holders::of(&threads),
    };

    let workers = threads.iter().filter(|thread| thread.lane.is_worker);
    let workers = workers.map(worker).collect();
    for thread in &threads {
        builder.add_thread(thread);
    }

    // Queued tasks come last: one that has begun meanwhile is there already.
    let mut queued = Vec::new();
    for (number, group) in &mut builder.groups {
        let tasks = std::mem::take(&mut group.view.tasks).into_iter();
        queued.extend(tasks.map(|task| (*number, Listed::InQueue, task)));
    }
    for batch in batches {
        let tasks = batch.tasks.into_iter();
        queued.extend(tasks.map(|task| (batch.group, Listed::InBatch, task)));
    }
    builder.add_queued(queued);

    let abandoned = blocking::try_abandoned();
    incomplete += usize::from(abandoned.is_none());
    let notes = builder.kernel.note().into_iter().collect();
    let (groups, threads) = builder.finish();
    Snapshot {
        groups,
        threads,
        workers,
        abandoned: abandoned.unwrap_or_default(),
        incomplete,
        notes,
    }
}

fn worker(thread: &Thread) -> WorkerSnapshot {
    let tasks = thread.lane.frames.iter().rev();
    let task = tasks.into_iter().find(|frame| frame.kind.is_task());
    WorkerSnapshot {
        thread: thread.name.clone(),
        system_thread: system_thread(thread),
        task: task.map(|frame| TaskId(frame.id)),
    }
}

fn system_thread(thread: &Thread) -> Option<u32> {
    u32::try_from(thread.lane.system)
        .ok()
        .filter(|number| *number != 0)
}

impl Builder {
    /// Adds the nodes of one thread.
    fn add_thread(&mut self, thread: &Thread) {
        let mut inner: Vec<usize> = Vec::new();
        // Regions outside of any node belong to the first node inside of them.
        let mut outside = Vec::new();

        for frame in &thread.lane.frames {
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
            inner.push(self.push(task, Place::Apart));
        }

        self.set_states(thread, &inner);
    }

    /// Adds the node of a frame, inside of the node `outer` of the same thread.
    fn add_node(&mut self, thread: &Thread, frame: &FrameView, outer: Option<usize>) -> usize {
        let (kind, place) = match frame.kind {
            FrameKind::Scope => (TaskKind::Body, Place::BodyOf(frame.id)),
            FrameKind::Abandon => (TaskKind::Abandon, Place::Apart),
            _ => (TaskKind::Task, Place::InGroup(frame.group)),
        };
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
            Place::BodyOf(group) => {
                let parts = self.group(group);
                parts.body = Some(index);
                parts.opened_in = outer;
            }
            Place::InGroup(group) => {
                // Seen twice: the task has moved while the lanes were read.
                if let Some(before) = self.by_task.insert(frame.id, index) {
                    self.nodes[before] = None;
                }
                self.group(group).tasks.push(index);
            }
            Place::Apart => {}
        }
        index
    }

    fn push(&mut self, task: TaskSnapshot, place: Place) -> usize {
        self.nodes.push(Some(Node { task, place }));
        self.nodes.len() - 1
    }

    /// Returns the parts of a group. One that was not read, because it was busy or has opened
    /// since, has nothing but its number.
    fn group(&mut self, number: u64) -> &mut GroupParts {
        self.groups.entry(number).or_insert_with(|| GroupParts {
            view: GroupView::default(),
            opened_in: None,
            body: None,
            tasks: Vec::new(),
        })
    }

    /// Says what the nodes of a thread do: the innermost waits, or runs; each other is kept by the
    /// next.
    fn set_states(&mut self, thread: &Thread, inner: &[usize]) {
        for pair in inner.windows(2) {
            let keeps = self.nodes[pair[1]]
                .as_ref()
                .map(|node| (node.place, node.task.id));
            let Some(node) = self.nodes[pair[0]].as_mut() else {
                continue;
            };
            match keeps {
                Some((Place::InGroup(_), task)) => {
                    node.task.state = TaskState::InPlace;
                    node.task.waits = Some(in_place(task, node.task.told != 0));
                }
                _ => node.task.state = TaskState::InScope,
            }
        }

        let Some(&last) = inner.last() else { return };
        let Some(node) = &self.nodes[last] else {
            return;
        };
        let has_seen_cancel = node.task.told != 0;
        let found = match &thread.lane.wait {
            Some(wait) => self.waiting(thread, wait, has_seen_cancel),
            None => self.outside_of_a_wait(thread, has_seen_cancel),
        };
        if let (Some((state, waits)), Some(node)) = (found, &mut self.nodes[last]) {
            // A destructor that is blocked in other code is a destructor all the same.
            if node.task.state != TaskState::Dropping || state == TaskState::Waiting {
                node.task.state = state;
            }
            node.task.waits = waits;
        }
    }

    /// The thread is in one of our blocking points.
    fn waiting(
        &mut self,
        thread: &Thread,
        wait: &WaitView,
        has_seen_cancel: bool,
    ) -> Option<(TaskState, Option<Wait>)> {
        let (kind, what) = label::of(wait.kind)?;
        let held_by = match wait.object {
            Object::At(address) => self.holders.hold(address, kind, thread),
            _ => Vec::new(),
        };
        let mut holders: Vec<_> = held_by.iter().filter_map(|holder| holder.task).collect();
        if let Object::Task(task) = wait.object {
            holders.push(TaskId(task));
        }

        let slept = since_epoch(self.now).saturating_sub(wait.since);
        let waits = Wait {
            what: what.into(),
            location: Some(wait.location),
            object: match wait.object {
                Object::At(address) => Some(ObjectId::of(address)),
                _ => None,
            },
            target: self.target(kind, wait.object, thread),
            group: match wait.object {
                Object::Group(group) => Some(TokenId(group)),
                _ => None,
            },
            holders,
            held_by,
            since: Duration::from_nanos(if wait.since == 0 { 0 } else { slept }),
            has_seen_cancel,
            is_cancellable: wait.flags.is_cancellable,
        };
        Some((TaskState::Waiting, Some(waits)))
    }

    /// The thread runs, or is blocked in code that is not of this crate.
    fn outside_of_a_wait(
        &mut self,
        thread: &Thread,
        has_seen_cancel: bool,
    ) -> Option<(TaskState, Option<Wait>)> {
        let (call, target) = match self.kernel.doing(thread.lane.system) {
            Doing::Runs => return None,
            Doing::Blocked { call, target } => (call, target),
            Doing::Unknown => return Some((TaskState::Elsewhere, None)),
        };
        let waits = Wait {
            what: format!("{call} (system call, not of this crate)").into(),
            location: None,
            object: None,
            target,
            group: None,
            holders: Vec::new(),
            held_by: Vec::new(),
            since: Duration::ZERO,
            has_seen_cancel,
            is_cancellable: false,
        };
        Some((TaskState::Foreign, Some(waits)))
    }

    /// Returns what a wait of this thread is for, in words.
    fn target(&mut self, kind: WaitKind, object: Object, thread: &Thread) -> Option<String> {
        match object {
            Object::None | Object::At(_) | Object::Task(_) => None,
            // The end of a scope stands below the group itself.
            Object::Group(_) if kind == WaitKind::ScopeEnd => None,
            Object::Group(group) => {
                let parts = self.groups.get(&group);
                Some(match parts.and_then(|parts| parts.view.name.as_ref()) {
                    Some(name) => format!("a task of group {group} `{name}`"),
                    None => format!("a task of group {group}"),
                })
            }
            Object::Descriptor(descriptor) => {
                let text = self.kernel.describe(descriptor);
                // While it waits the thread keeps the descriptor open. Afterwards it may be closed,
                // and its number be that of another file.
                Some(if still_waits(thread) {
                    text
                } else {
                    format!("fd {descriptor}")
                })
            }
            Object::Process(process) => Some(format!("process {process}")),
        }
    }

    /// Adds the tasks that have not begun.
    fn add_queued(&mut self, queued: Vec<(u64, Listed, QueuedTask)>) {
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

            let index = self.push(
                TaskSnapshot {
                    name: queued.name.map(Into::into),
                    state: TaskState::Queued,
                    is_starting: queued.is_starting,
                    ..blank(TaskKind::Task, queued.id.0, queued.location)
                },
                Place::InGroup(group),
            );
            self.group(group).tasks.push(index);
        }
    }

    /// Puts the tree together. Returns the groups, and the threads, that stand in no other group.
    fn finish(mut self) -> (Vec<GroupSnapshot>, Vec<TaskSnapshot>) {
        // From the leaves up, so that no recursion is needed: each group is whole before the node
        // that it stands in.
        let mut roots = Vec::new();
        for open in self.order().into_iter().rev() {
            let Some(group) = self.assemble(open.number, open.opened_in) else {
                continue;
            };
            match open.stands_in.and_then(|index| self.nodes[index].as_mut()) {
                Some(node) => node.task.groups.push(group),
                None => roots.push(group),
            }
        }
        roots.reverse();

        let apart = self.nodes.into_iter().flatten();
        let apart = apart.filter(|node| node.place == Place::Apart);
        let threads = apart.map(|node| in_order(node.task));
        (roots, threads.collect())
    }

    /// Returns the open groups, each after the group around it.
    fn order(&self) -> Vec<OpenAt> {
        let mut opened: HashMap<usize, Vec<u64>> = HashMap::new();
        let mut order = Vec::new();
        for (number, group) in &self.groups {
            let is_gone = group.body.is_none() && group.tasks.is_empty();
            match group.opened_in {
                _ if is_gone => {}
                Some(node) => opened.entry(node).or_default().push(*number),
                None => order.push(OpenAt::root(*number, None)),
            }
        }

        let apart = self.nodes.iter().enumerate().filter(|(_, node)| {
            let node = node.as_ref();
            node.is_some_and(|node| node.place == Place::Apart)
        });
        for (index, _) in apart {
            order.extend(self.inside(index, 0, &mut opened));
        }

        let mut next = 0;
        while let Some(open) = order.get(next) {
            let (number, depth) = (open.number, open.depth);
            next += 1;
            let Some(group) = self.groups.get(&number) else {
                continue;
            };
            for index in group.body.iter().chain(&group.tasks) {
                order.extend(self.inside(*index, depth + 1, &mut opened));
            }
        }
        order
    }

    /// Returns the groups that a node has opened, which stand at `depth`.
    fn inside(
        &self,
        index: usize,
        depth: usize,
        opened: &mut HashMap<usize, Vec<u64>>,
    ) -> Vec<OpenAt> {
        let opener = self.nodes[index].as_ref().map(|node| node.task.id);
        let numbers = opened.remove(&index).unwrap_or_default().into_iter();
        let groups = numbers.map(|number| {
            // Too deep for a tree that is dropped and drawn by recursion.
            if depth > DEEPEST {
                OpenAt::root(number, opener)
            } else {
                OpenAt {
                    number,
                    opened_in: opener,
                    stands_in: Some(index),
                    depth,
                }
            }
        });
        groups.collect()
    }

    /// Makes a group of its parts. Its nodes have their groups.
    fn assemble(&mut self, number: u64, opened_in: Option<TaskId>) -> Option<GroupSnapshot> {
        let GroupParts {
            view, body, tasks, ..
        } = self.groups.remove(&number)?;
        let mut take = |index: usize| self.nodes[index].take().map(|node| in_order(node.task));
        let tasks: Vec<_> = tasks.into_iter().filter_map(&mut take).collect();
        let body = body.and_then(take);

        let location = view.location.or(body.as_ref().map(|body| body.location));
        let location = location.or(tasks.first().map(|task| task.location))?;
        let is_ending = body.as_ref().is_some_and(|body| {
            let wait = body.waits.as_ref();
            wait.is_some_and(|wait| wait.what == label::SCOPE_END)
        });
        Some(GroupSnapshot {
            id: TokenId(number),
            name: view.name.map(Into::into),
            location,
            policy: view.policy,
            limit: view.limit,
            remaining: view
                .deadline
                .map(|deadline| deadline.saturating_duration_since(self.now)),
            cancelled: view.cancelled,
            queued: view.queued,
            is_ending: is_ending || view.is_closed,
            opened_in,
            body: body.unwrap_or_else(|| blank(TaskKind::Body, number, location)),
            tasks,
        })
    }
}

/// An open group, and where it stands.
struct OpenAt {
    number: u64,
    opened_in: Option<TaskId>,
    /// The node; none at the root of the tree.
    stands_in: Option<usize>,
    depth: usize,
}

impl OpenAt {
    fn root(number: u64, opened_in: Option<TaskId>) -> Self {
        OpenAt {
            number,
            opened_in,
            stands_in: None,
            depth: 0,
        }
    }
}

/// The groups of a node are added from the last to the first.
fn in_order(mut task: TaskSnapshot) -> TaskSnapshot {
    task.groups.reverse();
    task
}

/// A task of which nothing is known but its kind, its number and its place.
fn blank(
    kind: TaskKind,
    id: u64,
    location: &'static std::panic::Location<'static>,
) -> TaskSnapshot {
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
    thread: &Thread,
    kind: TaskKind,
    id: u64,
    location: &'static std::panic::Location<'static>,
) -> TaskSnapshot {
    TaskSnapshot {
        name: thread.task_name(id),
        thread: thread.name.clone(),
        system_thread: system_thread(thread),
        ..blank(kind, id, location)
    }
}

/// The wait for a task that runs on the thread of its joiner.
fn in_place(task: TaskId, has_seen_cancel: bool) -> Wait {
    Wait {
        what: "a task that runs in place".into(),
        location: None,
        object: None,
        target: None,
        group: None,
        holders: vec![task],
        held_by: Vec::new(),
        since: Duration::ZERO,
        has_seen_cancel,
        is_cancellable: false,
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
