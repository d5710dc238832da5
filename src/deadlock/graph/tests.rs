//! Graphs of lanes that are made up, so that each rule decides alone.

use std::any::Any;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::super::stuck::{cycles, stuck};
use super::*;
use crate::cancel::TaskId;
use crate::lanes::{Describe, FrameView, HeldView, Share, WaitFlags};
use crate::snapshot::{LimitSnapshot, QueuedTask};

const GROUP: u64 = 1 << 40;
const LOCK: usize = 0x10;
const OTHER: usize = 0x20;

fn frame(kind: FrameKind, id: u64, group: u64) -> FrameView {
    FrameView {
        kind,
        id,
        group,
        is_starting: false,
        is_without_ready: false,
        location: Location::caller(),
        told: 0,
        told_at: None,
    }
}

/// A thread that has slept in a wait.
fn asleep(kind: WaitKind, object: Object) -> ReadLane {
    let wait = WaitView {
        kind: kind as u8,
        object,
        flags: WaitFlags {
            is_cancellable: true,
            is_limited: false,
            is_foreign: false,
            share: Share::default(),
        },
        location: Location::caller(),
        since: 1,
    };

    ReadLane {
        source: Lane::apart(),
        view: LaneView {
            number: 1,
            system: 0,
            version: 0,
            is_worker: false,
            is_idle: false,
            frames: Vec::new(),
            wait: Some(wait),
            held: Vec::new(),
        },
    }
}

impl ReadLane {
    fn inside(mut self, frame: FrameView) -> Self {
        self.view.frames.push(frame);
        self
    }

    fn holding(mut self, object: usize, access: HeldAs) -> Self {
        self.view.held.push(HeldView {
            object,
            depth: 0,
            is_left: false,
            access,
            location: None,
        });
        self
    }

    fn limited(mut self) -> Self {
        let wait = self.view.wait.as_mut();
        wait.expect("it waits").flags.is_limited = true;
        self
    }
}

/// A group that describes itself like this.
#[derive(Default)]
struct Described {
    live: usize,
    is_busy: bool,
    /// Its only permit is held, and these tasks are queued. Without any, it has no limit.
    queued: Vec<u64>,
    /// How often its queue was read.
    reads: AtomicUsize,
}

impl Described {
    fn limit(&self) -> Option<LimitSnapshot> {
        (!self.queued.is_empty()).then_some(LimitSnapshot {
            total: 1,
            held: 1,
            lent: 0,
        })
    }
}

impl Describe for Described {
    fn describe(&self, into: &mut dyn Any) {
        if let Some(view) = into.downcast_mut::<LimitView>() {
            view.limit = self.limit();
        }
        if let Some(view) = into.downcast_mut::<QueueView>() {
            self.reads.fetch_add(1, Relaxed);
            (view.live, view.is_busy) = (self.live, self.is_busy);
            (view.limit, view.queued) = (self.limit(), self.queued.len());
            view.watched = self.queued.iter().copied().map(TaskId).collect();
        }
    }
}

/// The batch of a worker, with one task.
struct Batch;

impl Describe for Batch {
    fn describe(&self, into: &mut dyn Any) {
        if let Some(view) = into.downcast_mut::<BatchView>() {
            view.group = GROUP;
            view.tasks.push(QueuedTask {
                id: TaskId(9),
                name: None,
                location: Location::caller(),
                is_starting: false,
            });
        }
    }
}

/// The body of the group waits for a task to end. Of the tasks, as many as `members` wait for a
/// lock that the body holds.
fn body_and(members: usize, live: usize, is_busy: bool) -> Vec<ReadLane> {
    let body = asleep(WaitKind::Completion, Object::Group(GROUP))
        .inside(frame(FrameKind::Scope, GROUP, 0))
        .holding(LOCK, HeldAs::Exclusive);
    let group = Described {
        live,
        is_busy,
        ..Described::default()
    };
    body.source.open(GROUP, Arc::new(group));
    let member = |task| {
        let waits = asleep(WaitKind::Mutex, Object::At(LOCK));
        waits.inside(frame(FrameKind::Task, task, GROUP))
    };
    let members = (0..members as u64).map(|task| member(task + 1));
    std::iter::once(body).chain(members).collect()
}

fn deadlocks(threads: Vec<ReadLane>) -> Vec<Vec<usize>> {
    let graph = Graph::of(threads);
    let found = cycles(&graph.needs, &stuck(&graph.needs));
    found.into_iter().map(|cycle| cycle.threads).collect()
}

#[test]
fn a_body_and_all_tasks_of_its_group_are_a_deadlock() {
    assert_eq!(deadlocks(body_and(2, 2, false)), [[0, 1, 2]]);
}

#[test]
fn a_task_that_is_in_no_frame_and_in_no_queue_may_go_on() {
    assert!(deadlocks(body_and(2, 3, false)).is_empty());
}

#[test]
fn a_task_in_the_batch_of_a_worker_may_go_on_whatever_the_counts_are() {
    // The counts and the frames are read one after the other.
    let threads = body_and(2, 2, false);
    threads[1].source.set_batch(Some(Arc::new(Batch)));
    assert!(deadlocks(threads).is_empty());
}

#[test]
fn of_a_group_that_is_busy_nothing_is_known() {
    assert!(deadlocks(body_and(2, 2, true)).is_empty());
}

/// A body that holds a lock and joins the task with this id, in a group that has queued `queued`
/// behind a task in the wait `waits`.
fn joins_behind(task: u64, queued: Vec<u64>, waits: ReadLane) -> (Vec<ReadLane>, Arc<Described>) {
    let group = Arc::new(Described {
        live: queued.len() + 1,
        queued,
        ..Described::default()
    });
    let body = asleep(WaitKind::Join, Object::Task(task))
        .inside(frame(FrameKind::Scope, GROUP, 0))
        .holding(LOCK, HeldAs::Exclusive);
    body.source.open(GROUP, group.clone());
    let threads = vec![body, waits.inside(frame(FrameKind::Task, 1, GROUP))];
    (threads, group)
}

#[test]
fn a_queued_task_waits_for_the_task_that_has_the_permit() {
    let joined = |task, queued| {
        let waits = asleep(WaitKind::Mutex, Object::At(LOCK));
        deadlocks(joins_behind(task, queued, waits).0)
    };
    assert_eq!(joined(1000, (2..=1000).collect()), [[0, 1]]);

    // The task has been taken, and is about to begin.
    assert!(joined(1000, (2..1000).collect()).is_empty());
}

/// To read a queue takes as long as it is.
#[test]
fn no_queue_is_read_while_a_running_task_of_its_group_can_go_on() {
    let reads = |waits: ReadLane| {
        let (threads, group) = joins_behind(2, vec![2], waits);
        deadlocks(threads);
        group.reads.load(Relaxed)
    };
    let waits = || asleep(WaitKind::Mutex, Object::At(LOCK));
    assert_eq!(reads(waits()), 1);
    assert_eq!(reads(waits().limited()), 0);
    assert_eq!(reads(asleep(WaitKind::Event, Object::None)), 0);
    let mut runs = waits();
    runs.view.wait = None;
    assert_eq!(reads(runs), 0);
}

#[test]
fn a_wait_with_a_limit_ends_by_itself() {
    let crossed = || {
        let one = asleep(WaitKind::Mutex, Object::At(LOCK)).holding(OTHER, HeldAs::Exclusive);
        let other = asleep(WaitKind::Mutex, Object::At(OTHER)).holding(LOCK, HeldAs::Exclusive);
        [one, other]
    };
    assert_eq!(deadlocks(crossed().into()), [[0, 1]]);
    let [one, other] = crossed();
    assert!(deadlocks(vec![one, other.limited()]).is_empty());
}

#[test]
fn a_daemon_that_its_scope_will_cancel_does_not_keep_it() {
    let scope = |kind| {
        let body = asleep(WaitKind::ScopeEnd, Object::Group(GROUP))
            .inside(frame(FrameKind::Scope, GROUP, 0))
            .holding(LOCK, HeldAs::Exclusive);
        let live = 1;
        let group = Described {
            live,
            ..Described::default()
        };
        body.source.open(GROUP, Arc::new(group));
        let waits = asleep(WaitKind::Mutex, Object::At(LOCK));
        vec![body, waits.inside(frame(kind, 1, GROUP))]
    };

    assert_eq!(deadlocks(scope(FrameKind::Task)), [[0, 1]]);
    assert!(deadlocks(scope(FrameKind::Daemon)).is_empty());
}

/// A reader holds the lock and waits for a later reader, before which a writer is queued.
fn readers_and_a_writer(beside: ReadLane) -> Vec<ReadLane> {
    let first = asleep(WaitKind::Mutex, Object::At(OTHER)).holding(LOCK, HeldAs::Shared);
    let later = asleep(WaitKind::Read, Object::At(LOCK)).holding(OTHER, HeldAs::Exclusive);
    let writer = asleep(WaitKind::Write, Object::At(LOCK));
    vec![first, later, writer, beside]
}

#[test]
fn a_reader_that_may_go_on_may_let_the_readers_beside_it_in() {
    let beside = || asleep(WaitKind::Read, Object::At(LOCK));
    assert_eq!(deadlocks(readers_and_a_writer(beside())), [[0, 1, 2]]);
    assert!(deadlocks(readers_and_a_writer(beside().limited())).is_empty());
}

#[test]
fn a_lock_that_is_free_keeps_neither_readers_nor_writers() {
    let reader = asleep(WaitKind::Read, Object::At(LOCK)).holding(OTHER, HeldAs::Exclusive);
    let writer = asleep(WaitKind::Write, Object::At(LOCK));
    let waits = asleep(WaitKind::Mutex, Object::At(OTHER));
    assert!(deadlocks(vec![reader, writer, waits]).is_empty());
}

#[test]
fn a_wait_without_a_need_is_no_reason_for_a_search() {
    // What it needs is not known, so a search for it would find nothing.
    let is_reason = |kind| {
        let seen = asleep(kind, Object::None);
        seen.view.wait.is_some_and(|wait| is_candidate(&wait))
    };
    assert!(!is_reason(WaitKind::Map));
    assert!(!is_reason(WaitKind::Event));
    assert!(is_reason(WaitKind::Mutex));
}

#[test]
fn a_call_of_start_waits_for_its_task_if_there_is_no_ready() {
    let started = |is_without_ready| {
        let starter = asleep(WaitKind::Start, Object::Task(1)).holding(LOCK, HeldAs::Exclusive);
        let waits = asleep(WaitKind::Mutex, Object::At(LOCK));
        let task = FrameView {
            is_starting: true,
            is_without_ready,
            ..frame(FrameKind::Task, 1, GROUP)
        };
        vec![starter, waits.inside(task)]
    };
    assert_eq!(deadlocks(started(true)), [[0, 1]]);
    assert!(deadlocks(started(false)).is_empty());
}
