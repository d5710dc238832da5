//! The end of a task: steps 3 to 6 (see [`record`](super::record)).

use super::closure::Closure;
use super::record::Task;
use super::watch_list::OnFinished;
use crate::cancel::current;
use crate::error::TaskError;
use crate::facade::catch;
use crate::group::job::{Claim, HandleAtEnd};
use crate::group::state::yielding::YieldedPermits;
use crate::group::status::TaskStatus;
use crate::group::task_end::TaskEnd;
use crate::scoped::unbound;
use crate::trace;

/// When the failure of an isolated task whose result is dropped is logged.
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
    ) -> TaskEnd {
        // With a permit, steps 3 and 5 are in one critical section of the watch list, so that no
        // waiter gives its own permit away between the two.
        let watch_list = before_end.map(|before_end| {
            let watch_list = self.watch_list.lock();
            if !self.job.is_watched() {
                before_end();
            }
            watch_list
        });
        let handle = match self.job.end_unwatched(claim, status) {
            Ok(handle) => handle,
            Err(claim) => {
                drop(watch_list);
                return self.end_watched(claim, status, before_end);
            }
        };
        drop(watch_list);

        // fault: result-outlives-the-end
        if handle == HandleAtEnd::Gone {
            self.drop_result(LogUntaken::Now);
        }
        self.task_end(status)
    }

    /// Ends a task that threads wait for, or that has callbacks.
    #[cold]
    pub(super) fn end_watched(
        &self,
        claim: Claim,
        status: TaskStatus,
        before_end: Option<&dyn Fn()>,
    ) -> TaskEnd {
        // Step 3. From now on, a waiter that comes finds the status and is owed a permit at once.
        let mut watch_list = self.watch_list.lock();
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
        let callbacks = std::mem::take(&mut list.callbacks);
        drop(watch_list);
        for callback in callbacks {
            self.call(callback, status);
        }

        // Step 5.
        let handle = self.job.end(claim, status);
        // fault: result-outlives-a-watched-end
        if handle == HandleAtEnd::Gone {
            self.drop_result(LogUntaken::Now);
        }

        self.wake_waiters();
        self.task_end(status)
    }

    /// Step 6: gives the waiters their permits back, and wakes them.
    fn wake_waiters(&self) {
        let mut watch_list = self.watch_list.lock();
        let list = watch_list.get_or_insert_default();
        let mut waiters = std::mem::take(&mut list.waiters);
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

    /// Drops a result that has no handle.
    pub(super) fn drop_result(&self, when: LogUntaken) {
        if let Some(value) = self.job.take() {
            // The failure of an isolated task is in its result alone, so it is logged.
            let failure = self
                .isolation
                .and_then(|isolation| (isolation.failure)(&value));
            match (failure, when) {
                (None, _) => {}
                (Some(failure), LogUntaken::Now) => self.core.log_untaken(failure),
                (Some(failure), LogUntaken::AtEndOfGroup) => {
                    trace::in_destructor(|| self.core.log_untaken(failure));
                }
            }
            unbound(|| self.guard_drop(value));
        }
    }

    pub(super) fn call(&self, callback: OnFinished<'scope>, status: TaskStatus) {
        if let Err(payload) = catch(|| unbound(|| callback(status))) {
            self.fail_aside(payload);
        }
    }

    /// Drops the closure unrun, and ends the task with `status`.
    pub(super) fn drop_unrun(
        &self,
        claim: Claim,
        status: TaskStatus,
        before_end: Option<&dyn Fn()>,
    ) -> TaskEnd {
        self.core.state.end_permit_wait(&self.spec.permit_wait);
        if let Some(closure) = self.job.closure(&claim) {
            let _recorded = current::begin_ill(
                self.spec.identity(),
                self.core.state.node().id(),
                self.core.state.opened_in(),
            );
            self.guard_drop(closure);
        }
        self.end_unrun_trace(status);
        self.end(claim, status, before_end)
    }
}
