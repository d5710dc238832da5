//! A group and the batch of a worker, as a snapshot finds them: read without a wait, copied by
//! value.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use super::group_state::GroupState;
use super::queue::TaskQueue;
use super::worker_loop::TaskBatch;
use crate::group::erased::ErasedTask;
use crate::group::policy::Fatal;
use crate::lanes::Describe;
use crate::snapshot::{
    BatchView, GroupView, LARGEST_LISTING, LimitSnapshot, LimitView, Place, QueueView, QueueWalk,
    QueuedTask, TokenView,
};
use crate::stall::{ReportClaim, SpanView, StallView};
use crate::trace::GroupTrace;

/// How far from its place an entry is looked for, in each direction. A worker takes at most a
/// batch between two pieces, and few are given back.
const SEARCH: usize = 1024;

/// Describes a task that has not begun.
fn described(task: &ErasedTask) -> QueuedTask {
    let identity = task.identity();
    QueuedTask {
        id: identity.id,
        name: identity.name,
        location: identity.location,
        is_starting: task.is_starting(),
    }
}

/// Returns where `place` is now: the entry before it may have moved. Returns none if that entry is
/// gone.
fn found_again(place: Place, list: &VecDeque<ErasedTask>) -> Option<usize> {
    let is_last = |at: &usize| {
        list.get(*at)
            .is_some_and(|task| task.address() == place.last)
    };
    if place.index == 0 {
        return Some(0);
    }

    // Mostly it has not moved. Tasks are taken from the front more often than given back there.
    let before = (0..place.index.min(list.len())).rev().take(SEARCH);
    let behind = (place.index..list.len()).take(SEARCH);
    before.chain(behind).find(is_last).map(|at| at + 1)
}

impl Describe for GroupState {
    fn describe(&self, into: &mut dyn Any) {
        if let Some(view) = into.downcast_mut::<StallView>() {
            return self.describe_stall(view);
        }

        if let Some(claim) = into.downcast_mut::<ReportClaim>() {
            return self.claim_report(claim);
        }
        if let Some(view) = into.downcast_mut::<SpanView>() {
            view.0 = self.trace().map(GroupTrace::span).unwrap_or_default();
            return;
        }
        if let Some(view) = into.downcast_mut::<TokenView>() {
            view.0 = Some(self.token().clone());
            return;
        }

        if let Some(view) = into.downcast_mut::<LimitView>() {
            return self.describe_limit(view);
        }
        if let Some(view) = into.downcast_mut::<QueueView>() {
            return self.describe_queue(view);
        }

        if let Some(walk) = into.downcast_mut::<QueueWalk>() {
            match self.queue.try_lock() {
                Some(queue) => queue.read_piece(walk),
                None => walk.is_busy = true,
            }
            return;
        }

        if let Some(view) = into.downcast_mut::<GroupView>() {
            self.describe_group(view);
        }
    }
}

impl GroupState {
    fn describe_group(&self, view: &mut GroupView) {
        let info = self.info();
        view.name.clone_from(&info.name);
        view.location = Some(info.location);
        view.policy = match info.fatal {
            Fatal::All => "cancel siblings",
            Fatal::Panics => "cancel siblings at a panic",
            Fatal::None => "collect",
        };
        view.deadline = self.node().effective_deadline();

        // The cause of a cancel is under the lock of the node.
        match self.node().try_recorded() {
            Some(cancelled) => view.cancelled = cancelled,
            None => view.is_busy = true,
        }

        let Some(queue) = self.queue.try_lock() else {
            view.is_busy = true;
            return;
        };
        view.limit = self.permits_of(&queue);
        view.is_closed = queue.closed;
        queue.read_piece(&mut view.queue);
    }

    fn permits_of(&self, queue: &TaskQueue) -> Option<LimitSnapshot> {
        self.limit().map(|total| LimitSnapshot {
            total,
            held: queue.permits.held,
            lent: queue.permits.lent,
        })
    }

    fn describe_limit(&self, view: &mut LimitView) {
        // Only a race goes on at an error.
        view.is_race = matches!(self.info().fatal, Fatal::Panics);
        match self.queue.try_lock() {
            Some(queue) => view.limit = self.permits_of(&queue),
            None => view.is_busy = true,
        }
    }

    fn describe_queue(&self, view: &mut QueueView) {
        let Some(queue) = self.queue.try_lock() else {
            view.is_busy = true;
            return;
        };
        view.limit = self.permits_of(&queue);

        // Tasks that the owner has run are taken off the counts later.
        let ended = self.ended_in_place.load(Relaxed) + self.ended_from_queue.load(Relaxed);
        view.live = (queue.live_tasks + queue.live_daemons).saturating_sub(ended);

        // An awaited task has its entry here still when it has been taken.
        let queued = queue.tasks.iter().chain(&queue.daemons);
        for task in queued.filter(|task| task.is_queued()) {
            view.queued += 1;
            view.watched.extend(task.id_if_watched());
        }
    }
}

impl TaskQueue {
    /// Reads the next piece of the queue. A claimed task may still have an entry, and is not
    /// queued.
    pub(super) fn read_piece(&self, walk: &mut QueueWalk) {
        let lists = [&self.tasks, &self.daemons];
        let moved_to = |place: Place| Some((place, found_again(place, lists[place.list])?));
        let entries = self.tasks.len() + self.daemons.len();
        let Some((mut place, index)) = walk.place().and_then(moved_to).or_else(|| {
            let is_started = walk.start(entries);
            is_started.then_some((Place::default(), 0))
        }) else {
            return;
        };
        walk.is_busy = false;
        place.index = index;

        // Bounded, since the lock of the queue is held.
        let mut unread = walk.piece();
        while unread != 0 {
            let list = lists[place.list];
            let piece = list.range(place.index..).take(unread);
            let mut read = 0;
            for task in piece {
                read += 1;
                place.last = task.address();
                if !task.is_claimed() {
                    walk.count(|| described(task));
                }
            }

            place.index += read;
            walk.go_on(place, read);
            unread -= read;
            if unread == 0 {
                break;
            }
            if place.list + 1 == lists.len() {
                // Entries were taken meanwhile.
                return walk.end();
            }
            place = Place {
                list: place.list + 1,
                ..Place::default()
            };
        }
    }
}

impl Describe for TaskBatch {
    fn describe(&self, into: &mut dyn Any) {
        let Some(view) = into.downcast_mut::<BatchView>() else {
            return;
        };
        let Some(batch) = self.batch.try_lock() else {
            view.is_busy = true;
            return;
        };
        view.group = self.state.node().id().0;
        let unclaimed = batch.tasks.iter().filter(|task| !task.is_claimed());
        view.tasks = unclaimed.take(LARGEST_LISTING).map(described).collect();
    }
}
