//! The end of a task: steps 3 to 6 (see [`record`](super::record)).

use std::mem;

use super::closure::Closure;
use super::common::TaskRef;
use super::record::Task;
use super::watch_list::OnFinished;
use crate::cancel::current::{self, Recorded};
use crate::error::{Failure, TaskError};
use crate::facade::catch;
use crate::group::erased::ErasedTask;
use crate::group::job::{Claim, HandleAtEnd};
use crate::group::state::yielding::YieldedPermits;
use crate::group::status::TaskStatus;
use crate::group::task_end::TaskEnd;
use crate::lanes::FrameKind;
use crate::scoped::unbound;
use crate::trace;

/// The references to a task that ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum References {
    /// This thread has the only one.
    Sole,
    /// Other threads may have references.
    Several,
}

impl References {
    #[inline]
    pub(super) fn to(task: &ErasedTask) -> Self {
        if task.is_sole() {
            References::Sole
        } else {
            References::Several
        }
    }
}

/// When the failure of an isolated task is logged, if its result is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LogUntaken {
    Now,
    /// The drop of a handle logs nothing itself, if there is a subscriber that can be told later.
    AtEndOfGroup,
}

impl<'scope, T, F, E> Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    /// Ends the task. `before_end` announces the end of its permit, if it has one.
    #[inline]
    pub(super) fn end(
        &self,
        claim: Claim,
        status: TaskStatus,
        before_end: Option<&dyn Fn()>,
        references: References,
    ) -> TaskEnd {
        let ended = match references {
            References::Sole => self.task().end_sole(claim, status, before_end),
            References::Several => self.task().end_unwatched(claim, status, before_end),
        };
        let handle = match ended {
            Ok(handle) => handle,
            Err(claim) => return self.end_watched(claim, status, before_end),
        };

        // fault: result-outlives-the-end
        if handle == HandleAtEnd::Gone {
            self.drop_result(LogUntaken::Now);
        }
        self.task().task_end(status)
    }

    /// Ends a task that threads wait for, or that has callbacks.
    #[cold]
    pub(super) fn end_watched(
        &self,
        claim: Claim,
        status: TaskStatus,
        before_end: Option<&dyn Fn()>,
    ) -> TaskEnd {
        let task = self.task();
        task.announce_end(status, before_end);

        // Step 5.
        let handle = task.word.end(claim, status);

        // fault: result-outlives-a-watched-end
        if handle == HandleAtEnd::Gone {
            self.drop_result(LogUntaken::Now);
        }

        task.wake_waiters();
        task.task_end(status)
    }

    /// Drops a result that has no handle.
    #[inline]
    pub(super) fn drop_result(&self, when: LogUntaken) {
        // Most results have neither a failure nor a destructor.
        if self.isolation.is_some() || mem::needs_drop::<T>() {
            self.drop_result_that_acts(when);
        }
    }

    fn drop_result_that_acts(&self, when: LogUntaken) {
        let Some(value) = self.job.take() else {
            return;
        };

        // Until its end, the task is live, and a destructor may block.
        let task = self.task();
        let _shown = (when == LogUntaken::Now).then(|| task.show(FrameKind::Drops));
        // The failure of an isolated task is in its result alone, so it is logged.
        if let Some(isolation) = self.isolation {
            task.log_untaken((isolation.failure)(&value), when);
        }
        unbound(|| task.guard_drop(value));
    }

    /// Drops the closure unrun, and ends the task with `status`.
    pub(super) fn drop_unrun(
        &self,
        claim: Claim,
        status: TaskStatus,
        before_end: Option<&dyn Fn()>,
    ) -> TaskEnd {
        let task = self.task();
        task.end_permit_wait();
        if let Some(closure) = self.job.closure(&claim) {
            let _recorded = task.begin_drop();
            task.guard_drop(closure);
        }

        task.end_unrun_trace(status);
        self.end(claim, status, before_end, References::Several)
    }
}

impl<'scope, E: TaskError> TaskRef<'_, 'scope, E> {
    /// Ends a task that no other thread can reach, unless it is watched.
    ///
    /// # Errors
    ///
    /// Returns the claim of a watched task.
    #[inline]
    fn end_sole(
        self,
        claim: Claim,
        status: TaskStatus,
        before_end: Option<&dyn Fn()>,
    ) -> Result<HandleAtEnd, Claim> {
        if self.word.is_watched() {
            return Err(claim);
        }

        // Step 3. No waiter can come between this and the end.
        if let Some(before_end) = before_end {
            before_end();
        }
        self.word
            .end_unshared(claim, status)
            .map(|()| HandleAtEnd::Gone)
    }

    /// Ends a task that is not watched.
    ///
    /// # Errors
    ///
    /// Returns the claim of a watched task.
    #[inline]
    fn end_unwatched(
        self,
        claim: Claim,
        status: TaskStatus,
        before_end: Option<&dyn Fn()>,
    ) -> Result<HandleAtEnd, Claim> {
        // With a permit, steps 3 and 5 are in one critical section of the watch list, so that no
        // waiter gives its own permit away between the two.
        let _watch_list = before_end.map(|before_end| {
            let watch_list = self.common.watch_list.lock();
            if !self.word.is_watched() {
                before_end();
            }
            watch_list
        });
        self.word.end_unwatched(claim, status)
    }

    /// Steps 3 and 4 of a task that is watched.
    fn announce_end(self, status: TaskStatus, before_end: Option<&dyn Fn()>) {
        // Step 3. From now on, a waiter that comes finds the status and is owed a permit at once.
        let mut watch_list = self.common.watch_list.lock();
        let list = watch_list.get_or_insert_default();
        list.ending = Some(status);
        list.waiters
            .iter_mut()
            .filter_map(|waiter| waiter.yielded.as_mut())
            .for_each(YieldedPermits::mark_owed);
        if let Some((completions, _)) = &list.completions {
            completions.announce();
        }

        if let Some(before_end) = before_end {
            before_end();
        }

        // Step 4, outside the lock, since callbacks are user code.
        let callbacks = mem::take(&mut list.callbacks);
        drop(watch_list);
        if callbacks.is_empty() {
            return;
        }

        // The task is live: a callback that blocks keeps its group.
        let _shown = self.show(self.frame_kind());
        for callback in callbacks {
            self.call(callback, status);
        }
    }

    /// Step 6: gives the waiters their permits back, and wakes them.
    fn wake_waiters(self) {
        let mut watch_list = self.common.watch_list.lock();
        let list = watch_list.get_or_insert_default();
        let mut waiters = mem::take(&mut list.waiters);

        // Under the lock: a waiter that is awake finds that it has been taken out, and goes on.
        for yielded in waiters
            .iter_mut()
            .filter_map(|waiter| waiter.yielded.take())
        {
            // fault: end-keeps-the-permit
            yielded.take_back();
        }

        let completions = list.completions.take();
        drop(watch_list);

        // Outside the lock, which the woken threads take.
        waiters.iter().for_each(|waiter| waiter.thread.unpark());
        if let Some((completions, event)) = completions {
            completions.push_announced(event);
        }
    }

    /// Logs the failure that is the result of an isolated task, if it is one.
    fn log_untaken(self, failure: Option<&Failure<E>>, when: LogUntaken) {
        match (failure, when) {
            (None, _) => {}
            (Some(failure), LogUntaken::Now) => self.common.core.log_untaken(failure),
            (Some(failure), LogUntaken::AtEndOfGroup) => {
                trace::in_destructor(|| self.common.core.log_untaken(failure));
            }
        }
    }

    /// Calls a callback of the end. Its panic is a failure of the task.
    pub(super) fn call(self, callback: OnFinished<'scope>, status: TaskStatus) {
        if let Err(payload) = catch(|| unbound(|| callback(status))) {
            self.fail_aside(payload);
        }
    }

    /// Ends the wait of the task for a permit, if it had to wait.
    fn end_permit_wait(self) {
        let state = &self.common.core.state;
        state.end_permit_wait(&self.common.spec.permit_wait);
    }

    /// Records that this thread drops values of the task, which never ran.
    fn begin_drop(self) -> Recorded {
        let state = &self.common.core.state;
        current::begin_ill(
            self.common.spec.identity(),
            state.node().id(),
            state.opened_in(),
        )
    }
}
