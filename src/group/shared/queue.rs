//! What a group has to run and what it has counted, under one lock; what of it may begin.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::erased::ErasedTask;
use super::super::job::Claimed;
use super::super::stats::GroupStats;
use super::super::status::TaskStatus;
use super::super::task_end::{Role, TaskEnd};
use super::{Permit, UNLIMITED};
use crate::cancel::Cancelled;
use crate::facade::{Guard, holds};
use crate::waiting;

/// A queue that is shorter than this is not swept.
const SMALLEST_SWEEP: usize = 64;

pub(super) struct Queue {
    /// Tasks in the order of their spawns. Some may have been claimed already by somebody who waits
    /// for them.
    pub(super) tasks: VecDeque<ErasedTask>,
    /// The length of `tasks` at which claimed tasks are next removed from all of it: see
    /// [`Queue::push`].
    sweep_at: usize,
    /// Those of them that another task waits for, once for each waiter, in the order of the waits.
    /// Few groups have any.
    pub(super) awaited: VecDeque<Awaited>,
    /// Daemons, which need no permit.
    pub(super) express: VecDeque<ErasedTask>,
    pub(super) listed: bool,
    /// How many are held.
    pub(super) permits: usize,
    /// Those of tasks that have ended, as far as other threads can see, and not left yet.
    pub(super) permits_ending: usize,
    /// Those that are about to be taken back, by waiters of tasks that end.
    pub(super) permits_owed: usize,
    pub(super) live_tasks: usize,
    pub(super) live_daemons: usize,
    pub(super) closed: bool,
    /// The owner, while it waits for the counts.
    pub(super) owner_waits: Option<Arc<waiting::Slot>>,
    pub(super) spawned: usize,
    /// Signed: a worker reports that it began a task, or that another thread had claimed that task
    /// first, in tallies that can arrive in either order. [`Shared::stats`](super::Shared::stats)
    /// clamps it.
    pub(super) begun: isize,
    pub(super) ended: GroupStats,
    /// The first cancel from outside the group that cut a task short.
    pub(super) cut: Option<Cancelled>,
}

/// A queued task that another task waits for.
pub(super) struct Awaited {
    pub(super) task: ErasedTask,
    /// The wait, by an address that is its own for as long as it has entries.
    by: usize,
}

/// A task taken from the queue, and its permit.
pub(super) struct Taken {
    pub(super) task: ErasedTask,
    pub(super) permit: Permit,
    /// It is worth a look at the precise clock: the queue is not long.
    pub(super) precisely: bool,
}

/// Claimed tasks that have been taken out of a queue. To be dropped when its lock has been
/// released: made before the lock is taken, it is by itself.
#[derive(Default)]
pub(in crate::group) struct Dead(Vec<ErasedTask>);

impl Dead {
    /// Most can be dropped at once.
    #[inline]
    pub(super) fn bury(&mut self, task: ErasedTask, claimed: Claimed) {
        if claimed != Claimed::Spent {
            self.0.push(task);
        }
    }

    /// Whether the task has not been claimed; one that has may be dropped under the lock after
    /// this.
    pub(in crate::group) fn spare(&mut self, task: &ErasedTask) -> bool {
        let claimed = task.claimed();
        if claimed != Claimed::No {
            self.bury(task.clone(), claimed);
        }
        claimed == Claimed::No
    }
}

impl Queue {
    pub(super) const fn new() -> Self {
        Queue {
            tasks: VecDeque::new(),
            sweep_at: SMALLEST_SWEEP,
            express: VecDeque::new(),
            awaited: VecDeque::new(),
            listed: false,
            permits: 0,
            permits_ending: 0,
            permits_owed: 0,
            live_tasks: 0,
            live_daemons: 0,
            closed: false,
            owner_waits: None,
            spawned: 0,
            begun: 0,
            ended: GroupStats {
                queued: 0,
                running: 0,
                finished: 0,
                failed: 0,
                cancelled: 0,
            },
            cut: None,
        }
    }

    /// Queues a task, and removes claimed ones once the queue has doubled: those that their joiners
    /// ran in place, and those that their handles cancelled. So its memory is in proportion to the
    /// tasks that wait, also where no worker comes for any of them, and a push costs amortised
    /// constant time.
    pub(super) fn push(&mut self, task: ErasedTask, dead: &mut Dead) {
        if self.tasks.len() >= self.sweep_at {
            self.sweep(dead);
        }
        self.tasks.push_back(task);
    }

    #[cold]
    fn sweep(&mut self, dead: &mut Dead) {
        // In place: it allocates nothing.
        self.tasks.retain(|task| {
            let claimed = task.claimed();
            if claimed != Claimed::No {
                dead.bury(task.clone(), claimed);
            }
            claimed == Claimed::No
        });
        self.sweep_at = (2 * self.tasks.len()).max(SMALLEST_SWEEP);
    }

    /// Takes ended tasks off the counts; the owner, if it is to be woken.
    pub(super) fn enter(&mut self, tally: Tally) -> Option<Arc<waiting::Slot>> {
        self.live_tasks -= tally.tasks;
        self.live_daemons -= tally.daemons;
        self.begun += tally.begun;
        self.ended.finished += tally.ended.finished;
        self.ended.failed += tally.ended.failed;
        self.ended.cancelled += tally.ended.cancelled;
        // A daemon ends only when the owner has woken and cancelled it.
        let for_tasks = !self.closed && holds(Guard::OwnerSleepsForTasksAlone);
        if self.live_tasks == 0 && (for_tasks || self.live_daemons == 0) {
            self.owner_waits.take()
        } else {
            None
        }
    }

    /// Counts so many tasks that the owner has run in place, and so many that it took from the
    /// queue.
    pub(super) fn enter_in_place(&mut self, in_place: usize, from_queue: usize) {
        self.live_tasks -= in_place + from_queue;
        self.begun += in_place as isize;
        self.ended.finished += in_place + from_queue;
    }

    pub(super) fn has_work(&self, limit: usize) -> bool {
        !self.express.is_empty()
            || ((!self.awaited.is_empty() || !self.tasks.is_empty())
                && (self.permits < limit || !holds(Guard::LimitIsKept)))
    }

    /// Whether a task that is queued now could begin at once.
    pub(super) fn has_room(&mut self, limit: usize, dead: &mut Dead) -> bool {
        let free = limit.saturating_sub(self.permits - self.permits_ending + self.permits_owed);
        if free == 0 {
            return false;
        }
        // Joiners that ran a task in place have left it here. Those in between go with their turn.
        self.next_task(dead);
        while let Some(claimed) = self
            .tasks
            .back()
            .map(|task| task.claimed())
            .filter(|claimed| *claimed != Claimed::No)
        {
            self.tasks
                .pop_back()
                .into_iter()
                .for_each(|task| dead.bury(task, claimed));
        }
        self.tasks
            .iter()
            .filter(|task| !task.is_claimed())
            .take(free)
            .count()
            < free
    }

    /// The task that the next free permit goes to: the first that has not been claimed, of those
    /// that another task waits for or else of all.
    pub(super) fn next_task(&mut self, dead: &mut Dead) -> Option<&ErasedTask> {
        first_unclaimed(&mut self.tasks, dead);
        if self.is_any_awaited(dead) {
            return self.awaited.front().map(|awaited| &awaited.task);
        }
        self.tasks.front()
    }

    /// Whether another task waits for a queued one.
    pub(super) fn is_any_awaited(&mut self, dead: &mut Dead) -> bool {
        while let Some(claimed) = self
            .awaited
            .front()
            .map(|awaited| awaited.task.claimed())
            .filter(|claimed| *claimed != Claimed::No)
        {
            self.awaited
                .pop_front()
                .into_iter()
                .for_each(|awaited| dead.bury(awaited.task, claimed));
        }
        !self.awaited.is_empty()
    }

    /// Enters queued tasks that another task begins to wait for.
    pub(super) fn add_awaited(
        &mut self,
        tasks: impl IntoIterator<Item = ErasedTask>,
        by: usize,
        dead: &mut Dead,
    ) {
        for task in tasks {
            // A claimed entry is in the way only where it would make the list grow.
            if self.awaited.len() == self.awaited.capacity() {
                self.awaited.retain(|awaited| dead.spare(&awaited.task));
            }
            self.awaited.push_back(Awaited { task, by });
        }
    }

    /// Removes the entries of a wait that has ended, and returns those of tasks that have not been
    /// claimed.
    pub(super) fn remove_awaited(&mut self, by: usize, dead: &mut Dead) -> Vec<ErasedTask> {
        let mut removed = Vec::new();
        self.awaited.retain(|awaited| {
            if awaited.by == by && dead.spare(&awaited.task) {
                removed.push(awaited.task.clone());
            }
            awaited.by != by
        });
        removed
    }

    /// Whether the group has to be listed, which it then counts as.
    pub(super) fn must_list(&mut self, limit: usize) -> bool {
        let list = !self.listed && self.has_work(limit);
        self.listed |= list;
        list
    }

    pub(super) fn take(&mut self, limit: usize, dead: &mut Dead) -> Option<Taken> {
        if let Some(task) = self.express.pop_front() {
            self.begun += 1;
            return Some(Taken {
                task,
                permit: Permit::Nothing,
                precisely: true,
            });
        }
        if self.permits < limit || !holds(Guard::LimitIsKept) {
            self.take_task(limit, dead)
        } else {
            None
        }
    }

    pub(super) fn take_task(&mut self, limit: usize, dead: &mut Dead) -> Option<Taken> {
        self.next_task(dead)?;
        self.pop_next(limit)
    }

    /// Takes the task that `next_task` has just found.
    pub(super) fn pop_next(&mut self, limit: usize) -> Option<Taken> {
        // The entry of an awaited task among all of them goes with its turn, as that of a claimed
        // task.
        let task = self
            .awaited
            .pop_front()
            .map(|awaited| awaited.task)
            .or_else(|| self.tasks.pop_front())?;
        self.begun += 1;
        // Without a limit, nothing looks at the permits.
        let permit = if limit == UNLIMITED {
            Permit::Nothing
        } else {
            Permit::Own
        };
        self.permits += usize::from(permit.is_some());
        Some(Taken {
            task,
            permit,
            precisely: true,
        })
    }
}

/// Drops claimed tasks from the front.
fn first_unclaimed(tasks: &mut VecDeque<ErasedTask>, dead: &mut Dead) {
    while let Some(claimed) = tasks
        .front()
        .map(|task| task.claimed())
        .filter(|claimed| *claimed != Claimed::No)
    {
        tasks
            .pop_front()
            .into_iter()
            .for_each(|task| dead.bury(task, claimed));
    }
}

/// Ended tasks that are still on the counts.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) tasks: usize,
    pub(super) daemons: usize,
    /// Begun tasks, less those of an earlier tally that turned out to be claimed by another thread.
    pub(super) begun: isize,
    pub(super) ended: GroupStats,
}

impl Tally {
    pub(super) fn add(&mut self, end: TaskEnd) {
        match end.role {
            Role::Task => self.tasks += 1,
            Role::Daemon => self.daemons += 1,
        }
        match end.status {
            TaskStatus::Failed | TaskStatus::Panicked => self.ended.failed += 1,
            TaskStatus::Cancelled | TaskStatus::NeverRan => self.ended.cancelled += 1,
            _ => self.ended.finished += 1,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Dead, Permit, Queue};
    use crate::TaskGroup;

    fn has_room(queue: &mut Queue, limit: usize) -> bool {
        queue.has_room(limit, &mut Dead::default())
    }

    #[test]
    fn no_task_begins_in_place_before_one_that_another_task_waits_for() {
        TaskGroup::builder()
            .limit(2)
            .scope(|g| {
                let shared = &g.group().shared;
                // While all permits seem to be held, no worker takes what is queued.
                shared.queue.lock().permits = 2;
                g.spawn(|| Ok(()));
                g.spawn(|| Ok(()));
                let mut queue = shared.queue.lock();
                queue.permits = 0;
                let (awaited, mut dead) = (queue.tasks[1].clone(), Dead::default());
                queue.add_awaited([awaited], 1, &mut dead);
                drop(queue);
                assert_eq!(shared.begin_in_place(), None);
                shared.not_awaited(1, &mut dead);
                assert_eq!(shared.begin_in_place(), Some(Permit::Own));
                shared.free_permit(Permit::Own);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn there_is_room_while_fewer_tasks_wait_than_permits_are_free() {
        TaskGroup::builder()
            .limit(3)
            .scope(|g| {
                let shared = &g.group().shared;
                // While all permits seem to be held, no worker takes what is queued.
                shared.queue.lock().permits = 3;
                g.spawn(|| Ok(()));
                g.spawn(|| Ok(()));
                let mut queue = shared.queue.lock();
                for (permits, room) in [(3, false), (2, false), (1, false), (0, true)] {
                    queue.permits = permits;
                    assert_eq!(
                        has_room(&mut queue, 3),
                        room,
                        "{permits} of 3 permits are held and two tasks wait"
                    );
                }
                drop(queue);
                Ok(())
            })
            .unwrap();
    }
}
