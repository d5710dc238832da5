//! Describes threads that cannot go on, from their lanes.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::graph::{Graph, ReadLane};
use super::report::{Certainty, Deadlock, DeadlockedGroup, DeadlockedThread};
use super::stuck::Cycle;
use crate::cancel::TaskId;
use crate::lanes::{FrameKind, FrameView, HeldView, Object, Share, WaitView, since_epoch};
use crate::snapshot::{GroupView, Holder, LimitSnapshot, ObjectId, TokenView, label_of};
use crate::waiting::WaitKind;

impl Deadlock {
    /// Describes a cycle of threads.
    pub(super) fn of(graph: &mut Graph, cycle: &Cycle) -> Self {
        let group = graph.common_group(&cycle.threads);
        let group = group.and_then(|number| describe_group(graph, number));

        Deadlock {
            certainty: Certainty::Certain,
            threads: describe_all(graph, &cycle.threads),
            tail: describe_all(graph, &cycle.tail),
            group,
            notes: Vec::new(),
            response: None,
        }
    }
}

/// Describes a group, with its token; none if the thread that has opened it is busy.
pub(super) fn describe_group(graph: &mut Graph, number: u64) -> Option<DeadlockedGroup> {
    // The lanes that were read have no token: a `Graph` keeps no group alive.
    let (opener, _) = graph.opening(number)?;
    let described = graph.threads[opener].source.with_groups(|groups| {
        let group = groups.get(number)?;
        let (mut token, mut view) = (TokenView::default(), GroupView::default());
        group.describe(&mut token);
        group.describe(&mut view);
        Some((token.0?, view))
    });

    let (token, view) = described.ok().flatten()?;
    Some(DeadlockedGroup {
        id: token.id(),
        name: view.name,
        location: view.location,
        token,
    })
}

/// Returns the name of the task of a frame, if it has one and can be read.
fn name(seen: &ReadLane, frame: &FrameView) -> Option<Cow<'static, str>> {
    let names = seen.source.names().ok()?.into_iter();
    names
        .rev()
        .find(|(task, _)| *task == frame.id)
        .map(|(_, name)| name)
}

fn thread_name(seen: &ReadLane) -> Option<String> {
    let thread = seen.source.thread().ok().flatten()?;
    thread.name().map(str::to_owned)
}

/// Returns the innermost of the first `depth` frames that is a task, a body or an `abandon`.
fn actor(seen: &ReadLane, depth: usize) -> Option<&FrameView> {
    let mut frames = seen.view.frames.iter().take(depth).rev();
    frames.find(|frame| {
        frame.kind.is_task() || matches!(frame.kind, FrameKind::Scope | FrameKind::Abandon)
    })
}

/// Describes these threads of the graph.
pub(super) fn describe_all(graph: &mut Graph, threads: &[usize]) -> Vec<DeadlockedThread> {
    let described = threads.iter().filter_map(|thread| describe(graph, *thread));
    described.collect()
}

/// Describes a thread; none if it waits for nothing.
fn describe(graph: &mut Graph, thread: usize) -> Option<DeadlockedThread> {
    let wait = graph.threads[thread].view.wait?;
    let note = share_note(graph, &wait).or_else(|| limit_note(graph, wait.object));

    let seen = &graph.threads[thread];
    let (_, what) = label_of(wait.kind)?;
    let frames = &seen.view.frames;
    let inner = actor(seen, frames.len());

    // The tasks of the thread, the innermost first. Of these only the innermost runs: each of the
    // others waits for a task above it.
    let tasks = frames.iter().rev().filter(|frame| frame.kind.is_task());
    let tasks = tasks.map(|frame| TaskId(frame.id));
    let is_task = inner.is_some_and(|frame| frame.kind.is_task());

    let slept = since_epoch(Instant::now()).saturating_sub(wait.since);
    let waits_for = graph.needs[thread].iter().flat_map(|need| &need.on);
    Some(DeadlockedThread {
        wait: (seen.view.number, seen.view.version),
        task: inner.filter(|_| is_task).map(|frame| TaskId(frame.id)),
        name: inner.and_then(|frame| name(seen, frame)),
        in_place_of: tasks.skip(usize::from(is_task)).collect(),
        kind: inner.map_or(FrameKind::Region, |frame| frame.kind),
        begun_at: inner.map(|frame| frame.location),
        thread: thread_name(seen),
        system: seen.view.system,
        what,
        location: wait.location,
        object: match wait.object {
            Object::At(address) => Some(ObjectId::of(address)),
            _ => None,
        },
        since: Duration::from_nanos(slept),
        is_cancellable: wait.flags.is_cancellable,
        waits_for: waits_for
            .map(|other| holder(&graph.threads[*other], wait.object))
            .collect(),
        note,
    })
}

/// Says which limit keeps the task that is waited for from beginning, if one does.
fn limit_note(graph: &mut Graph, object: Object) -> Option<String> {
    let Object::Task(task) = object else {
        return None;
    };
    let group = graph.queued_in(task, |_, _| true)?;
    let LimitSnapshot { total, held, .. } = graph.queue(group)?.limit?;
    Some(format!(
        "the task is queued behind the limit of {total}: {held} of {total} permits are held"
    ))
}

/// Says how much of a barrier or a semaphore is taken, if that is known.
fn share_note(graph: &Graph, wait: &WaitView) -> Option<String> {
    let (kind, _) = label_of(wait.kind)?;
    let Share { taken, of } = wait.flags.share;
    match (kind, wait.object) {
        (WaitKind::Barrier, Object::At(barrier)) if of != 0 => {
            // Each of them is asleep there now. The first to come has seen no other.
            let there = graph.sleepers_at(barrier);
            Some(format!("{there} of {of} threads are at the barrier"))
        }

        // Permits have no owners, and the semaphore itself must not be looked at: it may be gone.
        (WaitKind::Semaphore, _) if of != 0 => Some(format!(
            "{taken} of {of} permits were taken when the wait began"
        )),
        _ => None,
    }
}

/// Describes a thread that another waits for.
fn holder(seen: &ReadLane, object: Object) -> Holder {
    let held = seen.view.held.iter().find(|held| match object {
        Object::At(object) => held.object == object,
        _ => false,
    });

    // Another task may run in place above the frame that has taken the object.
    let depth = held.map_or(seen.view.frames.len(), |held: &HeldView| {
        held.depth as usize
    });

    // A task that is joined may have others in place above it, too.
    let joined = seen.view.frames.iter().find(|frame| match object {
        Object::Task(task) => frame.kind.is_task() && frame.id == task,
        Object::Group(group) => frame.kind.is_task() && frame.group == group,
        _ => false,
    });

    let actor = joined.or_else(|| actor(seen, depth));
    let task = actor.filter(|frame| frame.kind.is_task());
    Holder::new(
        task.map(|frame| TaskId(frame.id)),
        actor.and_then(|frame| name(seen, frame)).map(Into::into),
        thread_name(seen),
        held.and_then(|held| held.location),
    )
}
