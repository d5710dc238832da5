//! How a spawned task enters its group.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::deferred_drops::DeferredDrops;
use super::group_state::GroupState;
use super::permit::TaskPermit;
use super::queue::TakenTask;
use crate::facade::TIME_PASSES;
use crate::group::erased::ErasedTask;
use crate::group::process_counts;
use crate::group::status::TaskStatus;
use crate::group::stopwatch::Timing;
use crate::group::task_end::{Role, TaskEnd};
use crate::workers;

/// The thread that a task asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RunsOn {
    /// A worker, or a thread that waits for the task.
    AnyThread,
    /// A thread of its own.
    OwnThread,
}

/// How a task is treated that cannot begin at once because of the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhenFull {
    Queue,
    Refuse,
}

/// Why a task was not spawned.
#[derive(Debug)]
pub(crate) enum NotSpawned {
    Cancelled,
    Closed,
    /// The limit is reached.
    Full,
    /// The system refused the thread that the task asks for.
    NoThread(io::Error),
}

impl GroupState {
    /// Counts a task and queues it, or starts its thread.
    ///
    /// # Errors
    ///
    /// The task will not run. It is not counted, but for a task for which the system refused a
    /// thread, which counts as spawned and failed.
    #[inline]
    pub(crate) fn submit(
        self: &Arc<Self>,
        task: ErasedTask,
        role: Role,
        runs_on: RunsOn,
        when_full: WhenFull,
    ) -> Result<(), NotSpawned> {
        match runs_on {
            RunsOn::AnyThread => self.submit_queued(task, role, when_full),
            RunsOn::OwnThread => self.submit_apart(task, role, when_full),
        }
    }

    /// Counts a task and queues it.
    fn submit_queued(
        self: &Arc<Self>,
        task: ErasedTask,
        role: Role,
        when_full: WhenFull,
    ) -> Result<(), NotSpawned> {
        let mut drops = DeferredDrops::default();
        let mut queue = self.queue.lock();

        // Invariants 2 and 3: both checks are in the critical section that queues the task.
        if queue.closed {
            return Err(NotSpawned::Closed);
        }

        // fault: spawn-looks-before-it-queues
        if self.node().is_flagged() {
            return Err(NotSpawned::Cancelled);
        }
        if when_full == WhenFull::Refuse
            && self.is_limited()
            && !queue.has_room(self.limit, &mut drops)
        {
            return Err(NotSpawned::Full);
        }

        // Invariant 1: the task is counted before a worker can find it.
        queue.count(role);
        self.used.store(true, Relaxed);
        if TIME_PASSES && role == Role::Task && self.is_limited() {
            queue.begin_permit_wait(&task, self.limit, &mut drops);
        }
        if self.ended_in_place.load(Relaxed) > 0 {
            // The owner ran tasks in place, which are claimed, and has not reported their ends yet.
            queue.has_claimed = true;
        }
        queue.push(task, role, &mut drops);

        // Invariant 5; outside the lock, since listing may start a thread.
        let list = queue.must_list(self.limit);
        let spent = mem::take(&mut queue.spent);
        drop(queue);

        // Freed after the lock, which all workers of the group want.
        drop(spent);
        if list {
            workers::list(self.clone());
        }
        Ok(())
    }

    /// Counts a task that asks for a thread of its own, and starts the thread if a permit is free.
    /// Otherwise queues the task.
    fn submit_apart(
        self: &Arc<Self>,
        task: ErasedTask,
        role: Role,
        when_full: WhenFull,
    ) -> Result<(), NotSpawned> {
        let mut drops = DeferredDrops::default();
        let mut queue = self.queue.lock();
        let permit = match role {
            Role::Task => TaskPermit::Held,
            Role::Daemon => TaskPermit::None,
        };

        // Under a limit the task must not overtake queued tasks.
        let waits = permit.is_some()
            && self.is_limited()
            && (queue.permits.held >= self.limit || queue.next_task(&mut drops).is_some());
        if queue.closed || self.node().is_flagged() || waits {
            drop(queue);
            return self.submit_queued(task, role, when_full);
        }

        // Invariant 1: the task is counted before its thread exists.
        queue.count(role);
        self.used.store(true, Relaxed);
        queue.begun += 1;
        queue.note_running(self.ended_from_queue.load(Relaxed));
        queue.permits.take(permit);
        drop(queue);

        let taken = TakenTask {
            task: task.clone(),
            permit,
            timing: Timing::Precise,
        };

        self.start_thread(taken).map_err(|error| {
            // The task leaves the counts again. The caller ends it with the error.
            process_counts::started();
            let status = TaskStatus::Failed;
            self.leave(TaskEnd { role, status }, permit);
            NotSpawned::NoThread(error)
        })
    }
}
