//! The second step of a snapshot: the copied parts become a tree.
//!
//! A lane has the frames of its thread, the outermost first. Each task, scope and `abandon` among
//! them becomes a node; the regions in between belong to the node around them. A task belongs to the
//! group that its frame names, a group to the node that its scope was opened in. Only the innermost
//! node of a thread can wait; the others say what keeps them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::collect::{Collected, Thread};
use super::kernel::{Doing, Kernel};
use super::view::{GroupView, QueuedTask};
use super::{
    GroupSnapshot, Holder, Inside, ObjectId, RegionKind, Snapshot, TaskKind, TaskSnapshot,
    TaskState, Wait, WorkerSnapshot, label,
};
use crate::blocking;
use crate::cancel::{TaskId, TokenId};
use crate::lanes::{FrameKind, FrameView, HeldView, Object, WaitView, since_epoch};
use crate::waiting::WaitKind;

/// Scopes that are nested deeper than this are listed beside the tree.
const DEEPEST: usize = 128;

/// How many tasks a wait names at most.
const MOST_HOLDERS: usize = 8;

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
        nodes: Vec::new(),
        groups: groups.collect(),
        by_task: HashMap::new(),
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
        queued.extend(tasks.map(|task| (*number, task)));
    }
    for batch in batches {
        queued.extend(batch.tasks.into_iter().map(|task| (batch.group, task)));
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
    let task = tasks.into_iter().find(|frame| is_task(frame.kind));
    WorkerSnapshot {
        thread: thread.name.clone(),
        system_thread: system_thread(thread),
        task: task.map(|frame| TaskId(frame.id)),
    }
}

fn is_task(kind: FrameKind) -> bool {
    matches!(kind, FrameKind::Task | FrameKind::Drops)
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
            let mut task = empty(thread, TaskKind::Thread, 0, location);
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
        let mut task = empty(thread, kind, frame.id, frame.location);
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

    /// Returns the parts of a group. One that was not read, because it was busy or has opened since,
    /// has nothing but its number.
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

        let Some(node) = inner.last().and_then(|last| self.nodes[*last].take()) else {
            return;
        };
        let node = match &thread.lane.wait {
            Some(wait) => self.waiting(thread, wait, node),
            None => self.outside_of_a_wait(thread, node),
        };
        if let Some(last) = inner.last() {
            self.nodes[*last] = Some(node);
        }
    }

    /// The thread is in one of our blocking points.
    fn waiting(&mut self, thread: &Thread, wait: &WaitView, mut node: Node) -> Node {
        let Some((kind, what)) = label::of(wait.kind) else {
            return node;
        };
        let held_by = match wait.object {
            Object::At(address) => self.holders.still_hold(address, thread),
            _ => Vec::new(),
        };
        let mut holders: Vec<_> = held_by.iter().filter_map(|holder| holder.task).collect();
        if let (WaitKind::Join, Object::Task(task)) = (kind, wait.object) {
            holders.push(TaskId(task));
        }

        let slept = since_epoch(self.now).saturating_sub(wait.since);
        node.task.state = TaskState::Waiting;
        node.task.waits = Some(Wait {
            what: what.into(),
            location: Some(wait.location),
            object: match wait.object {
                Object::At(address) => Some(ObjectId::of(address)),
                _ => None,
            },
            target: self.target(wait.object),
            holders,
            held_by,
            since: Duration::from_nanos(if wait.since == 0 { 0 } else { slept }),
            has_seen_cancel: node.task.told != 0,
            is_cancellable: wait.flags.is_cancellable,
        });
        node
    }

    /// The thread runs, or is blocked in code that is not of this crate.
    fn outside_of_a_wait(&mut self, thread: &Thread, mut node: Node) -> Node {
        if node.task.state == TaskState::Dropping {
            return node;
        }
        if let Doing::Blocked { call, target } = self.kernel.doing(thread.lane.system) {
            node.task.state = TaskState::Foreign;
            node.task.waits = Some(Wait {
                what: format!("{call} (system call, not of this crate)").into(),
                location: None,
                object: None,
                target,
                holders: Vec::new(),
                held_by: Vec::new(),
                since: Duration::ZERO,
                has_seen_cancel: node.task.told != 0,
                is_cancellable: false,
            });
        }
        node
    }

    /// Returns what a wait is for, in words.
    fn target(&mut self, object: Object) -> Option<String> {
        match object {
            Object::None | Object::At(_) | Object::Task(_) | Object::Group(_) => None,
            Object::Descriptor(descriptor) => Some(self.kernel.describe(descriptor)),
            Object::Process(process) => Some(format!("process {process}")),
        }
    }

    /// Adds the tasks that have not begun.
    fn add_queued(&mut self, queued: Vec<(u64, QueuedTask)>) {
        let mut seen = HashSet::new();
        for (group, queued) in queued {
            // It has begun since its queue was read, or was given back to its queue.
            if self.by_task.contains_key(&queued.id.0) || !seen.insert(queued.id.0) {
                continue;
            }

            let index = self.push(
                TaskSnapshot {
                    id: queued.id,
                    kind: TaskKind::Task,
                    name: queued.name.map(Into::into),
                    location: queued.location,
                    state: TaskState::Queued,
                    waits: None,
                    thread: None,
                    system_thread: None,
                    told: 0,
                    told_at: None,
                    inside: Vec::new(),
                    outside: 0,
                    groups: Vec::new(),
                },
                Place::InGroup(group),
            );
            self.group(group).tasks.push(index);
        }
    }

    /// Puts the tree together. Returns the groups, and the threads, that stand in no other group.
    fn finish(mut self) -> (Vec<GroupSnapshot>, Vec<TaskSnapshot>) {
        // The numbers of tokens grow within a thread only, so the depth of a group is not known by
        // its number.
        let mut opened: HashMap<usize, Vec<u64>> = HashMap::new();
        let mut roots = Vec::new();
        for (number, group) in &self.groups {
            let is_gone = group.body.is_none() && group.tasks.is_empty();
            match group.opened_in {
                _ if is_gone => {}
                Some(node) => opened.entry(node).or_default().push(*number),
                None => roots.push(*number),
            }
        }

        let mut assembler = Assembler {
            deep: Vec::new(),
            opened,
        };
        let mut groups: Vec<_> = roots
            .into_iter()
            .filter_map(|number| assembler.group(&mut self, number, 0))
            .collect();
        let apart = (0..self.nodes.len()).filter(|index| {
            let node = self.nodes[*index].as_ref();
            node.is_some_and(|node| node.place == Place::Apart)
        });
        let apart: Vec<_> = apart.collect();
        let threads = apart
            .into_iter()
            .filter_map(|index| assembler.task(&mut self, index, 0))
            .collect();
        while let Some(number) = assembler.deep.pop() {
            groups.extend(assembler.group(&mut self, number, 0));
        }
        (groups, threads)
    }
}

/// Builds the tree from its parts, to a bounded depth.
struct Assembler {
    /// Groups that stand too deep in the tree.
    deep: Vec<u64>,
    /// The groups that each node has opened.
    opened: HashMap<usize, Vec<u64>>,
}

impl Assembler {
    fn group(&mut self, builder: &mut Builder, number: u64, depth: usize) -> Option<GroupSnapshot> {
        let GroupParts {
            view, body, tasks, ..
        } = builder.groups.remove(&number)?;
        let tasks: Vec<_> = tasks
            .into_iter()
            .filter_map(|index| self.task(builder, index, depth))
            .collect();
        let body = body.and_then(|index| self.task(builder, index, depth));

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
                .map(|deadline| deadline.saturating_duration_since(builder.now)),
            cancelled: view.cancelled,
            queued: view.queued,
            is_ending: is_ending || view.is_closed,
            body: body.unwrap_or_else(|| unknown_body(number, location)),
            tasks,
        })
    }

    fn task(&mut self, builder: &mut Builder, index: usize, depth: usize) -> Option<TaskSnapshot> {
        let mut task = builder.nodes[index].take()?.task;
        for number in self.opened.remove(&index).unwrap_or_default() {
            if depth >= DEEPEST {
                self.deep.push(number);
            } else {
                task.groups.extend(self.group(builder, number, depth + 1));
            }
        }
        Some(task)
    }
}

/// The body of a group whose thread could not be read.
fn unknown_body(number: u64, location: &'static std::panic::Location<'static>) -> TaskSnapshot {
    TaskSnapshot {
        id: TaskId(number),
        kind: TaskKind::Body,
        name: None,
        location,
        state: TaskState::Running,
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
        id: TaskId(id),
        kind,
        name: thread.names.get(&id).cloned().map(Into::into),
        location,
        state: TaskState::Running,
        waits: None,
        thread: thread.name.clone(),
        system_thread: system_thread(thread),
        told: 0,
        told_at: None,
        inside: Vec::new(),
        outside: 0,
        groups: Vec::new(),
    }
}

/// The wait for a task that runs on the thread of its joiner.
fn in_place(task: TaskId, has_seen_cancel: bool) -> Wait {
    Wait {
        what: "a task that runs in place".into(),
        location: None,
        object: None,
        target: None,
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
        FrameKind::Task | FrameKind::Scope | FrameKind::Drops | FrameKind::Abandon => None,
    }
}

impl TaskSnapshot {
    /// Adds how often the code of a frame was told of a cancel.
    fn add_told(&mut self, frame: &FrameView) {
        self.told = self.told.saturating_add(frame.told);
        self.told_at = frame.told_at.or(self.told_at);
    }
}

/// Which threads hold which objects.
struct Holders {
    by_object: HashMap<usize, Vec<Candidate>>,
}

/// A thread that held an object when its lane was read.
struct Candidate {
    source: &'static crate::lanes::Lane,
    number: u64,
    thread: Option<String>,
    task: Option<TaskId>,
    name: Option<String>,
    location: Option<&'static std::panic::Location<'static>>,
}

impl Holders {
    fn of(threads: &[Thread]) -> Self {
        let mut by_object: HashMap<usize, Vec<Candidate>> = HashMap::new();
        for thread in threads {
            for held in &thread.lane.held {
                let task = taken_by(thread, held);
                let name = task.and_then(|task| thread.names.get(&task.0));
                by_object.entry(held.object).or_default().push(Candidate {
                    name: name.cloned().map(Into::into),
                    source: thread.source,
                    number: thread.lane.number,
                    thread: thread.name.clone(),
                    task,
                    location: held.location,
                });
            }
        }
        Holders { by_object }
    }

    /// Returns the threads that hold the object for which `waiter` waits. They are named only if
    /// they hold it still, while the wait still lasts: so both are true at one moment.
    fn still_hold(&self, address: usize, waiter: &Thread) -> Vec<Holder> {
        let Some(candidates) = self.by_object.get(&address) else {
            return Vec::new();
        };
        let holds_it = |candidate: &&Candidate| {
            let view = candidate.source.view().and_then(Result::ok);
            view.is_some_and(|view| {
                let is_there = view.held.iter().any(|held| held.object == address);
                view.number == candidate.number && is_there
            })
        };
        let holding = candidates.iter().take(MOST_HOLDERS).filter(holds_it);
        let holders = holding.map(|candidate| Holder {
            task: candidate.task,
            name: candidate.name.clone(),
            thread: candidate.thread.clone(),
            location: candidate.location,
        });
        let holders = holders.collect();

        let again = waiter.source.view().and_then(Result::ok);
        let still_waits = again.is_some_and(|view| {
            view.number == waiter.lane.number
                && view.version == waiter.lane.version
                && view.wait.is_some()
        });
        if still_waits { holders } else { Vec::new() }
    }
}

/// Returns the task, or the body, that took an object: the innermost frame at that time.
fn taken_by(thread: &Thread, held: &HeldView) -> Option<TaskId> {
    let frames = thread.lane.frames.iter().take(held.depth as usize).rev();
    let mut actors = frames
        .into_iter()
        .filter(|frame| is_task(frame.kind) || frame.kind == FrameKind::Scope);
    actors.next().map(|frame| TaskId(frame.id))
}
