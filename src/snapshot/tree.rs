//! The third step of a snapshot: the nodes and the groups become a tree.
//!
//! Each group stands in the node that has opened it, and each task in its group. Nothing here
//! recurses, since scopes nest to any depth.

use std::collections::HashMap;

use super::collect::{Collected, ReadThread};
use super::parts::{GroupParts, Membership, Parts, blank, system_thread};
use super::{GroupSnapshot, Snapshot, TaskKind, TaskSnapshot, WorkerSnapshot, label};
use crate::blocking;
use crate::cancel::{TaskId, TokenId};

/// Scopes that are nested deeper than this are listed beside the tree.
const DEEPEST: usize = 32;

/// Builds the tree.
pub(super) fn build(collected: Collected) -> Snapshot {
    let threads = collected.threads.iter();
    let mut workers = Vec::with_capacity(threads.len());
    workers.extend(threads.filter(|thread| thread.lane.is_worker).map(worker));
    let incomplete = collected.incomplete;
    let parts = Parts::of(collected);

    // Tried, like all locks of a snapshot.
    let abandoned = blocking::try_abandoned();
    let is_busy = abandoned.is_none();
    let notes = parts.note().into_iter().collect();
    let (groups, threads) = finish(parts);
    Snapshot {
        groups,
        threads,
        workers,
        abandoned: abandoned.unwrap_or_default(),
        incomplete: incomplete + usize::from(is_busy),
        notes,
    }
}

fn worker(thread: &ReadThread) -> WorkerSnapshot {
    // The innermost: a task in place runs on behalf of the others.
    let tasks = thread.lane.frames.iter().rev();
    let task = tasks.into_iter().find(|frame| frame.kind.is_task());
    WorkerSnapshot {
        thread: thread.name.clone(),
        system_thread: system_thread(thread),
        task: task.map(|frame| TaskId(frame.id)),
    }
}

/// Puts the tree together. Returns the groups, and the threads, that stand in no other group.
fn finish(mut parts: Parts) -> (Vec<GroupSnapshot>, Vec<TaskSnapshot>) {
    // From the leaves up, so that no recursion is needed: each group is whole before the node
    // that it stands in.
    let mut roots = Vec::new();
    for open in order(&parts).into_iter().rev() {
        let Some(group) = assemble(&mut parts, open.number, open.opened_in) else {
            continue;
        };
        match open.stands_in.and_then(|index| parts.nodes[index].as_mut()) {
            Some(node) => node.task.groups.push(group),
            None => roots.push(group),
        }
    }

    roots.reverse();

    let apart = parts.nodes.into_iter().flatten();
    let apart = apart.filter(|node| node.place == Membership::Apart);
    let threads = apart.map(|node| in_order(node.task));
    (roots, threads.collect())
}

/// Returns the open groups, each after the group around it.
fn order(parts: &Parts) -> Vec<OpenAt> {
    let mut opened: HashMap<usize, Vec<u64>> = HashMap::new();
    let mut order = Vec::new();

    // A group without a body and tasks has ended since its queue was read.
    for (number, group) in &parts.groups {
        let is_gone = group.body.is_none() && group.tasks.is_empty();
        match group.opened_in {
            _ if is_gone => {}
            Some(node) => opened.entry(node).or_default().push(*number),
            None => order.push(OpenAt::root(*number, None)),
        }
    }

    // Groups that were opened by a thread outside of all groups are roots, below that thread.
    let apart = parts.nodes.iter().enumerate().filter(|(_, node)| {
        let node = node.as_ref();
        node.is_some_and(|node| node.place == Membership::Apart)
    });

    for (index, _) in apart {
        order.extend(inside(parts, index, 0, &mut opened));
    }

    // Breadth first, over the list itself: what a group's nodes have opened comes behind it.
    let mut next = 0;
    while let Some(open) = order.get(next) {
        let (number, depth) = (open.number, open.depth);
        next += 1;
        let Some(group) = parts.groups.get(&number) else {
            continue;
        };
        for index in group.body.iter().chain(&group.tasks) {
            order.extend(inside(parts, *index, depth + 1, &mut opened));
        }
    }
    order
}

/// Returns the groups that a node has opened, which stand at `depth`.
fn inside(
    parts: &Parts,
    index: usize,
    depth: usize,
    opened: &mut HashMap<usize, Vec<u64>>,
) -> Vec<OpenAt> {
    let opener = parts.nodes[index].as_ref().map(|node| node.task.id);
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
fn assemble(parts: &mut Parts, number: u64, opened_in: Option<TaskId>) -> Option<GroupSnapshot> {
    let GroupParts {
        view,
        body,
        tasks: nodes,
        ..
    } = parts.groups.remove(&number)?;

    // A node stands in one group, so it is moved there and not copied.
    let mut take = |index: usize| parts.nodes[index].take().map(|node| in_order(node.task));
    // Growing would copy the tasks moved so far.
    let mut tasks = Vec::with_capacity(nodes.len());
    tasks.extend(nodes.into_iter().filter_map(&mut take));
    let body = body.and_then(take);

    // A group that was busy has no place of its own; one of its nodes has a place close to it.
    let location = view.location.or(body.as_ref().map(|body| body.location));
    let location = location.or(tasks.first().map(|task| task.location))?;

    // The body waits for the tasks, or the queue says that it takes no more.
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
            .map(|deadline| deadline.saturating_duration_since(parts.now)),
        cancelled: view.cancelled,
        queued: view.queued,
        is_ending: is_ending || view.is_closed,
        opened_in,
        body: body.unwrap_or_else(|| blank(TaskKind::Body, number, location)),
        tasks,
    })
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
