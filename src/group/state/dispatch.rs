//! How a task that was taken from the queue gets to run: on this thread, or on one of its own.

use std::io;
use std::sync::Arc;

use super::group_state::GroupState;
use super::held_permits;
use super::queue::TakenTask;
use crate::group::erased::ErasedTask;
use crate::group::process_counts;
use crate::group::status::TaskStatus;
use crate::group::task_end::TaskEnd;
use crate::workers;

/// The outcome for a task that a worker took.
pub(super) enum Dispatched {
    /// The task has ended, and the caller has to take it off the counts. If only memory is left of
    /// it, the caller frees that.
    Ended(TaskEnd, Option<ErasedTask>),
    /// Another thread had claimed the task. The caller has to take it off the count of begun tasks.
    NotBegun,
    /// The task is off the counts already, or a thread of its own runs it.
    Elsewhere,
}

impl GroupState {
    /// Runs a task that a worker has taken, or starts the thread of its own that it asks for.
    pub(super) fn dispatch(self: &Arc<Self>, taken: TakenTask) -> Dispatched {
        if taken.task.own_thread().is_none() {
            // A task with a permit reports its own end, since the permit must not wait for a
            // batch.
            if taken.permit.is_some() {
                self.run(taken);
                return Dispatched::Elsewhere;
            }
            return match taken.task.run(taken.timing, None) {
                Some(end) => Dispatched::Ended(end, taken.task.into_spent()),
                None => Dispatched::NotBegun,
            };
        }

        let (task, permit) = (taken.task.clone(), taken.permit);
        match self.start_thread(taken) {
            Ok(()) => Dispatched::Elsewhere,
            Err(error) => {
                // The permit first: queued tasks must not wait for user code of this task.
                self.free_permit(permit);
                task.refuse(error).map_or(Dispatched::NotBegun, |end| {
                    Dispatched::Ended(refused(end), None)
                })
            }
        }
    }

    /// Starts a thread of its own for a task.
    pub(super) fn start_thread(self: &Arc<Self>, taken: TakenTask) -> io::Result<()> {
        let task = taken.task.clone();
        let (name, stack_size) = task.own_thread().unwrap_or(("taskgroup", None));

        let state = self.clone();
        workers::start_dedicated(name, stack_size, move || {
            let _inside = state.outer_permit.as_ref().map(held_permits::run_inside);
            state.run(taken);
        })
    }

    /// Runs a task and takes it off the counts, with its permit.
    pub(super) fn run(self: &Arc<Self>, taken: TakenTask) {
        let permit = taken.permit;
        let holding = self.hold(permit);

        // Step 3 of the end of a task: the permit counts as ending before the end can be seen.
        let ending = || self.permit_is_ending(holding.as_ref());
        let before_end: Option<&dyn Fn()> = if permit.is_some() {
            Some(&ending)
        } else {
            None
        };

        let end = taken.task.run(taken.timing, before_end);

        // The thread forgets the permit before it counts as free.
        drop(holding);
        match end {
            // `before_end` has announced the end of the permit (invariant 3 of the limit).
            Some(end) => self.leave(end, permit.ending()),
            None => self.not_begun(permit),
        }
    }
}

/// Counts a task without a thread as started, as its group does: it has failed, so it did not never
/// run.
pub(super) fn refused(end: TaskEnd) -> TaskEnd {
    if end.status != TaskStatus::NeverRan {
        process_counts::started();
    }
    end
}
