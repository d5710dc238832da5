//! A group and the batch of a worker, as a snapshot finds them: read without a wait, copied by
//! value.

use std::any::Any;
use std::sync::atomic::Ordering::Relaxed;

use super::group_state::GroupState;
use super::queue::TaskQueue;
use super::worker_loop::TaskBatch;
use crate::group::erased::ErasedTask;
use crate::group::policy::Fatal;
use crate::lanes::Describe;
use crate::snapshot::{
    BatchView, GroupView, LARGEST_LISTING, LimitSnapshot, LimitView, QueueView, QueuedTask,
    TokenView,
};
use crate::stall::{ReportClaim, SpanView, StallView};
use crate::trace::GroupTrace;

/// Returns the first of `tasks` that no thread has claimed.
fn queued<'a>(tasks: impl Iterator<Item = &'a ErasedTask>) -> Vec<QueuedTask> {
    // Bounded, since the caller holds the lock of the queue.
    let unclaimed = tasks.filter(|task| !task.is_claimed());
    let listed = unclaimed.take(LARGEST_LISTING).map(|task| {
        let identity = task.identity();
        QueuedTask {
            id: identity.id,
            name: identity.name,
            location: identity.location,
            is_starting: task.is_starting(),
        }
    });
    listed.collect()
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
        view.tasks = queued(queue.tasks.iter().chain(&queue.daemons));

        // The queue also holds tasks that a joiner has claimed. A short one is counted without
        // them.
        let length = queue.tasks.len() + queue.daemons.len();
        view.queued = if length > LARGEST_LISTING {
            length
        } else {
            view.tasks.len()
        };
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
        view.tasks = queued(batch.tasks.iter());
    }
}
