//! How tasks are taken off the counts of their group.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::end_counts::EndCounts;
use super::group_state::GroupState;
use super::permit::TaskPermit;
use crate::group::permit_wait::PermitWait;
use crate::group::process_counts;
use crate::group::task_end::TaskEnd;
use crate::workers;

impl GroupState {
    /// Takes an ended task, and its permit, off the counts.
    pub(super) fn leave(self: &Arc<Self>, end: TaskEnd, permit: TaskPermit) {
        let mut ends = EndCounts::default();
        ends.add(end);

        // The permit and the count change together, for the price of one lock.
        let mut queue = self.queue.lock();
        queue.permits.give_back(permit);
        let wake = queue.enter(ends);
        let list = permit.is_some() && queue.must_list(self.limit);
        drop(queue);

        // Both outside the lock: a wake is a system call, and listing may start a thread.
        if let Some(owner) = wake {
            owner.unpark();
        }
        if list {
            workers::list(self.clone());
        }
    }

    /// Takes a task off the counts that was claimed outside the queue and dropped unrun.
    pub(crate) fn leave_unrun(self: &Arc<Self>, end: TaskEnd) {
        self.queue.lock().begin_claimed();
        self.leave(end, TaskPermit::None);
    }

    /// Counts a task that has been run in place.
    #[inline]
    pub(crate) fn ended_in_place(self: &Arc<Self>, end: TaskEnd, permit: TaskPermit) {
        // Only the owner waits for the counts, so it need not report the tasks that it runs itself.
        if end.is_plain() && permit == TaskPermit::None && self.is_owner() {
            process_counts::ended(end.status);
            self.ended_in_place
                .store(self.ended_in_place.load(Relaxed) + 1, Relaxed);
            return;
        }

        // A task that was claimed by its joiner has not been counted as begun.
        self.queue.lock().begin_claimed();
        self.leave(end, permit);
    }

    /// Ends the wait of a task for a permit, if it had to wait.
    #[inline]
    pub(crate) fn end_permit_wait(&self, wait: &PermitWait) {
        if wait.is_under_way() {
            self.queue.lock().end_permit_wait(wait);
        }
    }

    /// Takes back that a task was begun, because another thread had claimed it. The task was
    /// counted under the lock, not in a report of a worker.
    pub(super) fn not_begun(self: &Arc<Self>, permit: TaskPermit) {
        self.queue.lock().begun -= 1;
        // fault: late-worker-keeps-its-permit
        self.free_permit(permit);
    }

    /// Gives back the permit of a task that another thread had claimed, or that has no thread.
    pub(crate) fn free_permit(self: &Arc<Self>, permit: TaskPermit) {
        if !permit.is_some() {
            return;
        }

        let mut queue = self.queue.lock();
        queue.permits.give_back(permit);
        let list = queue.must_list(self.limit);
        drop(queue);

        // A queued task may begin with the permit (invariant 5 of `group_state`).
        //
        // fault: freed-permit-is-not-offered
        if list {
            workers::list(self.clone());
        }
    }

    /// Returns whether the owner runs tasks itself. A hint.
    pub(super) fn has_busy_owner(&self) -> bool {
        self.ended_in_place.load(Relaxed) + self.ended_from_queue.load(Relaxed) > 0
    }

    /// Empties the queue of a cancelled group: a task that has not begun never will.
    pub(super) fn empty(self: &Arc<Self>) {
        loop {
            let mut queue = self.queue.lock();
            let next = queue.daemons.pop_front();
            let next = next.or_else(|| queue.awaited.pop_front().map(|awaited| awaited.task));
            let next = next.or_else(|| queue.tasks.pop_front());
            let Some(task) = next else { return };

            // The drop of a task runs user code, so the lock is released for each.
            drop(queue);
            if let Some(end) = task.discard() {
                self.leave_unrun(end);
            }
        }
    }
}
