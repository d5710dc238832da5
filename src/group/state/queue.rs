//! The queued tasks and the counts of a group, under one lock, and which task may begin next.

use std::collections::VecDeque;
use std::sync::Arc;

use super::deferred_drops::DeferredDrops;
use super::end_counts::{EndCounts, Outcomes};
use super::permit::{PermitCounts, TaskPermit, UNLIMITED};
use crate::cancel::Cancelled;
use crate::group::erased::ErasedTask;
use crate::group::job::Claimed;
use crate::group::permit_wait::{PermitWait, PermitWaits};
use crate::group::process_counts;
use crate::group::stopwatch::Timing;
use crate::group::task_end::Role;
use crate::waiting;

/// A queue that is shorter than this is not swept.
const SMALLEST_SWEEP: usize = 64;

/// How many tasks that have ended wait to be freed by the next spawn.
const MOST_SPENT: usize = 64;

pub(super) struct TaskQueue {
    /// Tasks in the order of their spawns. A thread that waits for one of them may have claimed it.
    pub(super) tasks: VecDeque<ErasedTask>,
    /// The length of `tasks` at which claimed tasks are next removed from all of it: see
    /// [`TaskQueue::push`].
    sweep_tasks_at: usize,
    /// The queued tasks that another task waits for: one entry for each waiter, in the order of the
    /// waits. Few groups have any.
    pub(super) awaited: VecDeque<Awaited>,
    /// Daemons, which need no permit.
    pub(super) daemons: VecDeque<ErasedTask>,
    /// Like `sweep_tasks_at`, for `daemons`.
    sweep_daemons_at: usize,
    /// A task has been claimed by another thread than one that took it from the queue. It may still
    /// be there.
    pub(super) has_claimed: bool,
    /// The group is listed with the workers (invariant 5 of `group_state`).
    pub(super) listed: bool,
    pub(super) permits: PermitCounts,
    pub(super) live_tasks: usize,
    pub(super) live_daemons: usize,
    pub(super) closed: bool,
    /// The owner, while it waits for the counts.
    pub(super) owner_waits: Option<Arc<waiting::Slot>>,
    pub(super) spawned: usize,
    /// Signed: that a worker began a task, and that another thread had claimed that task, are
    /// reported in [`EndCounts`] that can arrive in either order. `GroupState::stats` clamps it.
    pub(super) begun: isize,
    pub(super) ended: Outcomes,
    /// The most tasks that were running at once.
    pub(super) peak_running: usize,
    /// The waits for permits, if the group is limited.
    pub(super) permit_waits: PermitWaits,
    /// The first cancel from outside the group that cut a task short.
    pub(super) cut: Option<Cancelled>,
    /// See [`EndCounts::spent`]. At most `MOST_SPENT` and what comes in one report.
    pub(super) spent: Vec<ErasedTask>,
}

/// A queued task that another task waits for.
pub(super) struct Awaited {
    pub(super) task: ErasedTask,
    /// Identifies the wait: an address that no other wait has while this one has entries.
    by: usize,
}

/// A task taken from the queue, and its permit.
pub(super) struct TakenTask {
    pub(super) task: ErasedTask,
    pub(super) permit: TaskPermit,
    /// How to time the task. Precise timing is worth its price while the queue is short.
    pub(super) timing: Timing,
}

impl TaskQueue {
    pub(super) const fn new() -> Self {
        TaskQueue {
            tasks: VecDeque::new(),
            sweep_tasks_at: SMALLEST_SWEEP,
            daemons: VecDeque::new(),
            sweep_daemons_at: SMALLEST_SWEEP,
            awaited: VecDeque::new(),
            has_claimed: false,
            listed: false,
            permits: PermitCounts::new(),
            live_tasks: 0,
            live_daemons: 0,
            closed: false,
            owner_waits: None,
            spawned: 0,
            begun: 0,
            ended: Outcomes::new(),
            peak_running: 0,
            permit_waits: PermitWaits::new(),
            cut: None,
            spent: Vec::new(),
        }
    }

    /// Queues a task, and removes claimed tasks once the queue has doubled.
    ///
    /// Claimed tasks are tasks that a `join` ran in place or a handle cancelled. So the memory of
    /// the queue is in proportion to the tasks that wait, even if no worker takes any of them. A
    /// push takes amortised constant time.
    #[inline]
    pub(super) fn push(&mut self, task: ErasedTask, role: Role, drops: &mut DeferredDrops) {
        let (tasks, sweep_at) = match role {
            Role::Task => (&mut self.tasks, &mut self.sweep_tasks_at),
            Role::Daemon => (&mut self.daemons, &mut self.sweep_daemons_at),
        };
        if tasks.len() >= *sweep_at && self.has_claimed {
            *sweep_at = sweep(tasks, drops);
        }
        tasks.push_back(task);
    }

    /// Counts a task that is spawned, before another thread can find it (invariant 1 of
    /// `group_state`).
    pub(super) fn count(&mut self, role: Role) {
        self.spawned += 1;
        process_counts::spawned();
        match role {
            Role::Task => self.live_tasks += 1,
            Role::Daemon => self.live_daemons += 1,
        }
    }

    /// Takes ended tasks off the counts. Returns the owner if it has to be woken.
    pub(super) fn enter(&mut self, ends: EndCounts) -> Option<Arc<waiting::Slot>> {
        self.live_tasks -= ends.tasks;
        self.live_daemons -= ends.daemons;
        self.begun += ends.begun;
        self.ended.add(&ends.ended);

        // A group that spawns no more tasks must not keep the memory of all that it had. The rest
        // is freed here.
        if self.spent.len() < MOST_SPENT {
            self.spent.extend(ends.spent);
        }

        // Before the group is closed, the owner waits for tasks alone: daemons end only when the
        // owner has woken and cancelled them.
        //
        // fault: last-task-waits-for-daemons
        if self.live_tasks == 0 && (!self.closed || self.live_daemons == 0) {
            self.owner_waits.take()
        } else {
            None
        }
    }

    /// Counts a task as begun that was claimed by another thread than one that took it from the
    /// queue.
    pub(super) fn begin_claimed(&mut self) {
        self.begun += 1;
        self.has_claimed = true;
    }

    /// Notes how many tasks run, after one has begun. The owner has run `from_queue` tasks of those
    /// that count as begun and has not reported their ends.
    pub(super) fn note_running(&mut self, from_queue: usize) {
        // Negative while a correction of a worker has come before its report.
        let ended = self.spawned - self.live_tasks - self.live_daemons + from_queue;
        let running = self.begun - ended as isize;
        self.peak_running = self.peak_running.max(running.max(0) as usize);
    }

    /// Takes tasks that the owner has run off the counts: the number that it ran in place, and the
    /// number that it took from the queue.
    pub(super) fn enter_in_place(&mut self, in_place: usize, from_queue: usize) {
        self.live_tasks -= in_place + from_queue;
        self.has_claimed |= in_place > 0;
        // A task that was taken from the queue counts as begun since then.
        self.begun += in_place as isize;
        self.ended.finished += in_place + from_queue;
    }

    /// Returns whether fewer permits are held than `limit`.
    pub(super) fn has_free_permit(&self, limit: usize) -> bool {
        // fault: limit-is-ignored
        self.permits.held < limit
    }

    /// Returns whether a worker may begin a task.
    pub(super) fn has_work(&self, limit: usize) -> bool {
        !self.daemons.is_empty()
            || ((!self.awaited.is_empty() || !self.tasks.is_empty()) && self.has_free_permit(limit))
    }

    /// Returns whether a task that is queued now could begin at once.
    pub(super) fn has_room(&mut self, limit: usize, drops: &mut DeferredDrops) -> bool {
        let free = self.permits.free_soon(limit);
        if free == 0 {
            return false;
        }

        self.drop_claimed_ends(drops);

        // Queued tasks come first, so each of them takes one of the free permits.
        let queued = self.tasks.iter().filter(|task| !task.is_claimed());
        queued.take(free).count() < free
    }

    /// Drops the claimed tasks at both ends of the queue. A `join` that ran a task in place has
    /// left it there. Those in between go when it is their turn.
    fn drop_claimed_ends(&mut self, drops: &mut DeferredDrops) {
        self.next_task(drops);
        while let Some(claimed) = claimed(self.tasks.back()) {
            let task = self.tasks.pop_back();
            task.into_iter().for_each(|task| drops.defer(task, claimed));
        }
    }

    /// Begins the wait for a permit of a task that is about to be queued, if it has to wait: if the
    /// tasks that are queued before it take all permits that are free.
    pub(super) fn begin_permit_wait(
        &mut self,
        task: &ErasedTask,
        limit: usize,
        drops: &mut DeferredDrops,
    ) {
        let free = self.permits.free_soon(limit);
        if self.tasks.len() < free {
            return;
        }

        // Claimed tasks take no permit. In the middle of the queue, and in a long queue, they are
        // counted with the others: a walk for each spawn would take too long.
        if free > 0 && self.tasks.len() < SMALLEST_SWEEP {
            self.drop_claimed_ends(drops);
            if self.tasks.len() < free {
                return;
            }
        }

        if let Some(wait) = task.permit_wait() {
            self.permit_waits.begin(wait);
        }
    }

    /// Ends the wait of a task for a permit, if it had to wait.
    pub(super) fn end_permit_wait(&mut self, wait: &PermitWait) {
        if let Some(waited) = self.permit_waits.end(wait) {
            process_counts::waited_for_permit(waited);
        }
    }

    /// Returns the task that the next free permit goes to: the first unclaimed task that another
    /// task waits for, or else the first unclaimed task (invariant 4 of the limit).
    #[inline]
    pub(super) fn next_task(&mut self, drops: &mut DeferredDrops) -> Option<&ErasedTask> {
        while let Some(claimed) = claimed(self.tasks.front()) {
            let task = self.tasks.pop_front();
            task.into_iter().for_each(|task| drops.defer(task, claimed));
        }

        // An awaited task comes before the others.
        if self.is_any_awaited(drops) {
            return self.awaited.front().map(|awaited| &awaited.task);
        }
        self.tasks.front()
    }

    /// Returns whether another task waits for a queued task.
    #[inline]
    pub(super) fn is_any_awaited(&mut self, drops: &mut DeferredDrops) -> bool {
        // Few groups have any.
        !self.awaited.is_empty() && self.drop_claimed_awaited(drops)
    }

    /// Drops the claimed tasks at the front of the list of awaited tasks. Returns whether any are
    /// left.
    fn drop_claimed_awaited(&mut self, drops: &mut DeferredDrops) -> bool {
        while let Some(claimed) = claimed(self.awaited.front().map(|awaited| &awaited.task)) {
            let awaited = self.awaited.pop_front();
            awaited
                .into_iter()
                .for_each(|awaited| drops.defer(awaited.task, claimed));
        }
        !self.awaited.is_empty()
    }

    /// Enters queued tasks that another task begins to wait for.
    pub(super) fn add_awaited(
        &mut self,
        tasks: impl IntoIterator<Item = ErasedTask>,
        by: usize,
        drops: &mut DeferredDrops,
    ) {
        for task in tasks {
            // Claimed entries matter only where they would make the list grow.
            if self.awaited.len() == self.awaited.capacity() {
                self.awaited
                    .retain(|awaited| drops.keep_unclaimed(&awaited.task));
            }
            self.awaited.push_back(Awaited { task, by });
        }
    }

    /// Removes the entries of a wait that has ended. Returns the unclaimed tasks of these.
    pub(super) fn remove_awaited(
        &mut self,
        by: usize,
        drops: &mut DeferredDrops,
    ) -> Vec<ErasedTask> {
        let mut removed = Vec::new();
        self.awaited.retain(|awaited| {
            // Only tasks that are still queued can be handed on by another wait.
            if awaited.by == by && drops.keep_unclaimed(&awaited.task) {
                removed.push(awaited.task.clone());
            }
            awaited.by != by
        });
        removed
    }

    /// Returns whether the caller has to list the group, which counts as listed from now on.
    pub(super) fn must_list(&mut self, limit: usize) -> bool {
        // Marked under the lock of the queue: of two threads, one lists the group.
        let list = !self.listed && self.has_work(limit);
        self.listed |= list;
        list
    }

    /// Takes the next task that a worker may begin.
    pub(super) fn take(&mut self, limit: usize, drops: &mut DeferredDrops) -> Option<TakenTask> {
        // Daemons come first, since they need no permit.
        if let Some(task) = self.daemons.pop_front() {
            self.begun += 1;
            return Some(TakenTask {
                task,
                permit: TaskPermit::None,
                timing: Timing::Precise,
            });
        }

        // Invariant 1 of the limit: a task begins only while a permit is free.
        if !self.has_free_permit(limit) {
            return None;
        }
        self.next_task(drops)?;
        self.pop_next(limit)
    }

    /// Takes the task that `next_task` has just found, with a permit if the group is limited.
    #[inline]
    pub(super) fn pop_next(&mut self, limit: usize) -> Option<TakenTask> {
        // An awaited task has a second entry in `tasks`, which goes when it is its turn, like the
        // entry of any claimed task.
        let awaited = self.awaited.pop_front().map(|awaited| awaited.task);
        #[cfg(not(loom))]
        if let Some(task) = &awaited {
            // Until it is claimed, only this tells it from a queued task.
            task.mark_dealt();
        }
        let task = awaited.or_else(|| self.tasks.pop_front())?;
        self.begun += 1;

        // Without a limit, nothing reads the permits.
        let permit = if limit == UNLIMITED {
            TaskPermit::None
        } else {
            if let Some(wait) = task.permit_wait().filter(|wait| wait.is_under_way()) {
                self.end_permit_wait(wait);
            }
            TaskPermit::Held
        };

        self.permits.take(permit);
        Some(TakenTask {
            task,
            permit,
            timing: Timing::Precise,
        })
    }
}

/// Removes the claimed tasks, and returns the length at which to do that again.
#[cold]
fn sweep(tasks: &mut VecDeque<ErasedTask>, drops: &mut DeferredDrops) -> usize {
    // `retain` works in place and allocates nothing.
    tasks.retain(|task| drops.keep_unclaimed(task));
    (2 * tasks.len()).max(SMALLEST_SWEEP)
}

/// Returns how `task` was claimed, if there is a task and it was.
fn claimed(task: Option<&ErasedTask>) -> Option<Claimed> {
    let claimed = task?.claimed();
    (claimed != Claimed::No).then_some(claimed)
}
