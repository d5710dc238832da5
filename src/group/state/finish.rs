//! The end of a scope: the owner runs the tasks that have not begun, and waits for the others.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::deferred_drops::DeferredDrops;
use super::group_state::GroupState;
use super::permit::TaskPermit;
use super::queue::{TakenTask, TaskQueue};
use crate::cancel::context::Outcome;
use crate::cancel::{CancelCause, context};
use crate::deadlock;
use crate::facade::spin;
use crate::group::erased::ErasedTask;
use crate::group::process_counts;
use crate::group::stopwatch::Timing;
use crate::group::task_end::RunsInPlace;
use crate::lanes::Object;
use crate::waiting::WaitKind;
use crate::workers::{self, Source};

/// While this many tasks are queued, the owner times the tasks that it runs by the coarse clock.
const LONG_QUEUE: usize = 8;

/// The step that the owner may take about the next queued task.
enum ForOwner {
    Taken(TakenTask),
    /// Run it, if the span that is current here was current at its spawn.
    IfAtHome(ErasedTask),
    Nothing,
}

impl GroupState {
    /// Runs the tasks that have not begun on the owner's thread, and waits until all tasks have
    /// ended. Then closes the group and ends the daemons.
    pub(crate) fn finish(self: &Arc<Self>, location: &'static Location<'static>) {
        // Without a task, no other thread can know of the group. This is the price of an empty
        // scope, so it is kept low.
        if !self.used.load(Relaxed) && !self.node().is_flagged() {
            return;
        }

        // If the stack is used up, the workers run the queued tasks: a group with queued tasks is
        // listed (invariant 5).
        if let Some(_in_place) = workers::InPlace::begin() {
            // The owner waits for the tasks, also while it runs one of them. Tasks inside may need
            // its permits of groups around before that one can end.
            let mut lending = None;
            while let Some(taken) = self.take_for_owner() {
                // fault: owner-keeps-its-permits-for-a-task-in-place
                lending.get_or_insert_with(|| self.wait_inside());
                self.run_for_owner(taken);
            }
        }

        // fault: group-closes-after-the-look
        self.wait_for_end(location, |queue| {
            let done = queue.live_tasks == 0;
            // Invariant 2: closed in the critical section that saw the last task gone.
            if done {
                queue.closed = true;
            }
            done
        });

        if let Some(node) = self.daemon_node() {
            node.cancel(CancelCause::GroupFinished, location);
            self.wait_for_end(location, |queue| queue.live_daemons == 0);
        }

        // The node of the daemons is a child of the group's node and is waited for with it.
        self.node().quiesce(location);
    }

    /// Accepts no more tasks. Hooks that run after the end of the scope cannot spawn.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
    }

    /// Waits until `done`, which the caller's thread checks under the lock of the queue.
    fn wait_for_end(
        self: &Arc<Self>,
        location: &'static Location<'static>,
        mut done: impl FnMut(&mut TaskQueue) -> bool,
    ) {
        let mut poll = || self.poll_end(&mut done);
        if spin(&mut poll) {
            return;
        }

        deadlock::expect_wait();

        // The owner has nothing to do but to keep the deadlines of the group.
        let _lending = self.wait_inside();
        let next_limit = || self.node().next_limit();
        let what = WaitKind::ScopeEnd.on(Object::Group(self.node().id().0));
        while context::wait_uncancellable_at(location, what, next_limit, &mut poll)
            == Outcome::TimedOut
        {
            self.node().expire();
        }
    }

    /// Returns whether the counts satisfy `done`. If they do not, asks for a wake.
    fn poll_end(&self, done: &mut impl FnMut(&mut TaskQueue) -> bool) -> bool {
        let mut queue = self.queue.lock();
        queue.enter_in_place(
            self.ended_in_place.swap(0, Relaxed),
            self.ended_from_queue.swap(0, Relaxed),
        );

        let done = done(&mut queue);

        // In the critical section that saw a task left: the last task to end finds the owner.
        //
        // fault: owner-waits-after-the-look
        if done {
            queue.owner_waits = None;
        } else if queue.owner_waits.is_none() {
            queue.owner_waits = Some(context::slot());
        }
        done
    }

    /// Takes a task that the owner may run while it waits for all of them. Tasks that ask for a
    /// thread of their own, or for their name on the thread, are left to the workers, and so are
    /// daemons.
    fn take_for_owner(self: &Arc<Self>) -> Option<TakenTask> {
        let mut at_home: Option<ErasedTask> = None;
        loop {
            match self.try_take_for_owner(at_home.as_ref()) {
                ForOwner::Taken(taken) => return Some(taken),
                ForOwner::Nothing => return None,
                // The subscriber is asked without the lock. A worker may take the task meanwhile.
                ForOwner::IfAtHome(task) => {
                    if !task.is_at_home() {
                        return None;
                    }
                    at_home = Some(task);
                }
            }
        }
    }

    /// Takes the next task, if the owner may run it. `at_home` is a task that it may run in its
    /// span.
    #[inline]
    fn try_take_for_owner(self: &Arc<Self>, at_home: Option<&ErasedTask>) -> ForOwner {
        let mut drops = DeferredDrops::default();
        let mut queue = self.queue.lock();
        let next = if queue.permits.held < self.limit {
            queue.next_task(&mut drops)
        } else {
            None
        };

        // The subscriber must not be asked under the lock of the queue. So the caller asks, and
        // comes back with the task that was at home.
        let place = next.map_or(RunsInPlace::Elsewhere, |task| task.place());
        if let (RunsInPlace::WhereItsSpanIs, Some(task)) = (place, next) {
            if !at_home.is_some_and(|at_home| at_home.is(task)) {
                return ForOwner::IfAtHome(task.clone());
            }
        }

        // A group without work leaves the list, so that no worker comes to it for nothing.
        if place == RunsInPlace::Elsewhere {
            if !queue.has_work(self.limit) && queue.listed {
                queue.listed = false;
                let source: Arc<dyn Source> = self.clone();
                workers::unlist(&source);
            }
            return ForOwner::Nothing;
        }

        let Some(taken) = queue.pop_next(self.limit) else {
            return ForOwner::Nothing;
        };
        queue.note_running(self.ended_from_queue.load(Relaxed));
        let timing = if queue.tasks.len() < LONG_QUEUE {
            Timing::Precise
        } else {
            Timing::Coarse
        };
        ForOwner::Taken(TakenTask { timing, ..taken })
    }

    /// Runs a task on the owner's thread. Most of these are not reported until the owner looks at
    /// the counts, like tasks that run in place.
    fn run_for_owner(self: &Arc<Self>, taken: TakenTask) {
        // The end of a task with a permit may start a queued one, so it is reported at once.
        if taken.permit.is_some() {
            return self.run(taken);
        }

        match taken.task.run(taken.timing, None) {
            Some(end) if end.is_plain() => {
                process_counts::ended(end.status);
                self.ended_from_queue
                    .store(self.ended_from_queue.load(Relaxed) + 1, Relaxed);
            }
            Some(end) => self.leave(end, TaskPermit::None),
            None => self.not_begun(TaskPermit::None),
        }
    }
}
