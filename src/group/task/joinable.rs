//! A task as its handle knows it, whatever its closure and its error type.

use std::panic::Location;
use std::sync::Arc;

use super::closure::Closure;
use super::common::TaskRef;
use super::end::LogUntaken;
use super::record::Task;
use super::spec::TaskSpec;
use super::watch_list::OnFinished;
use crate::cancel::context;
use crate::cancel::{CancelCause, Cancelled};
use crate::error::TaskError;
use crate::facade::{CountedRef, coerced};
use crate::group::erased::{ErasedTask, Runnable, erase};
use crate::group::state::completions::Completions;
use crate::group::state::deferred_drops::DeferredDrops;
use crate::group::state::held_permits::Lending;
use crate::group::state::yielding::{TaskWaiter, YieldGuard, YieldedPermits};
use crate::group::status::TaskStatus;
use crate::group::task_end::RunsInPlace;
use crate::trace;
use crate::waiting::Slot;

pub(crate) trait Joinable<'scope, T>: Send + Sync {
    fn spec(&self) -> &TaskSpec;

    fn status(&self) -> TaskStatus;

    /// Takes the result: the first call after the end gets it.
    fn take(&self) -> Option<T>;

    /// Returns the cancel that `join` returns in place of a result.
    fn no_result(&self) -> Cancelled;

    /// Runs the task on this thread, if that cannot be noticed and no thread has claimed the task.
    /// Returns its result.
    fn run_in_place(&self) -> Option<Option<T>>;

    fn cancel(&self, location: &'static Location<'static>);

    /// Notes that the handle is gone.
    fn detach(&self);

    /// Enters this thread, which has the slot `slot`, as a waiter that the end wakes, and gives its
    /// permit away. `this` makes a reference to the task.
    ///
    /// # Errors
    ///
    /// The task has ended.
    fn add_waiter(
        &self,
        slot: &Arc<Slot>,
        this: &dyn Fn() -> ErasedTask,
    ) -> Result<WaitGuards, AlreadyEnded>;

    /// Takes the waiter out again, and its permit back, unless the end has done that.
    fn remove_waiter(&self, slot: &Arc<Slot>);

    /// Makes the end of the task an event of `completions` with the number `event`; at once, if the
    /// task has ended.
    fn notify(&self, completions: Arc<Completions>, event: usize, this: &dyn Fn() -> ErasedTask);

    fn on_finished(&self, callback: OnFinished<'scope>);

    /// Returns a new reference for a queue. `this` is the task itself.
    fn erased(&self, this: &JoinableTask<'scope, T>) -> ErasedTask;
}

/// A task, as its handle refers to it.
pub(crate) type JoinableTask<'scope, T> = CountedRef<dyn Joinable<'scope, T> + 'scope>;

/// Forgets the types of the closure and the error of a task.
#[inline]
pub(crate) fn joinable<'scope, T>(
    task: CountedRef<impl Joinable<'scope, T> + 'scope>,
) -> JoinableTask<'scope, T> {
    coerced!(task => dyn Joinable<'scope, T> + 'scope)
}

/// While it lives, a thread that waits has given permits away: of the task's group, and of groups
/// around that.
pub(crate) struct WaitGuards {
    _yielding: Option<YieldGuard>,
    _lending: Option<Lending>,
}

/// A task has ended, and cannot be waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlreadyEnded;

impl<'scope, T, F, E> Joinable<'scope, T> for Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    fn spec(&self) -> &TaskSpec {
        &self.common.spec
    }

    fn status(&self) -> TaskStatus {
        self.job.word().status()
    }

    fn take(&self) -> Option<T> {
        self.job.take()
    }

    fn no_result(&self) -> Cancelled {
        self.task().no_result()
    }

    #[inline]
    fn run_in_place(&self) -> Option<Option<T>> {
        if !self.job.word().is_plain() {
            return None;
        }
        match self.place() {
            RunsInPlace::Anywhere => {}
            RunsInPlace::WhereItsSpanIs if self.is_at_home() => {}
            _ => return None,
        }

        let _in_place = context::enter_in_place(self.task().base())?;
        self.run_here()
    }

    fn cancel(&self, location: &'static Location<'static>) {
        let task = self.task();
        task.own()
            .cancel(CancelCause::Requested { reason: None }, location);

        // A task that has not begun never will.
        match self.discard() {
            Some(end) => self.common.core.state.leave_unrun(end),
            None => trace::task_cancelled(self.common.spec.id.0, location),
        }
    }

    fn detach(&self) {
        if self.job.word().detach() {
            self.drop_result(LogUntaken::AtEndOfGroup);
        }
    }

    fn add_waiter(
        &self,
        slot: &Arc<Slot>,
        this: &dyn Fn() -> ErasedTask,
    ) -> Result<WaitGuards, AlreadyEnded> {
        self.task().add_waiter(slot, this)
    }

    fn remove_waiter(&self, slot: &Arc<Slot>) {
        self.task().remove_waiter(slot);
    }

    fn notify(&self, completions: Arc<Completions>, event: usize, this: &dyn Fn() -> ErasedTask) {
        self.task().notify(completions, event, this);
    }

    fn on_finished(&self, callback: OnFinished<'scope>) {
        self.task().on_finished(callback);
    }

    fn erased(&self, this: &JoinableTask<'scope, T>) -> ErasedTask {
        erase(self.another_reference(this))
    }
}

impl<'scope, E: TaskError> TaskRef<'_, 'scope, E> {
    fn no_result(self) -> Cancelled {
        let watch_list = self.common.watch_list.lock();
        let no_result = watch_list.as_ref().and_then(|list| list.no_result.clone());
        drop(watch_list);
        if let Some(cancelled) = no_result {
            return cancelled;
        }

        // A task that was spawned too late is neither cancelled nor failed.
        self.innermost().cancelled().unwrap_or_else(|| {
            Cancelled::new(
                CancelCause::GroupFinished,
                self.common.spec.location,
                self.common.core.state.node().id(),
            )
        })
    }

    /// See [`Joinable::add_waiter`]. `this` makes a reference to the task.
    fn add_waiter(
        self,
        slot: &Arc<Slot>,
        this: &dyn Fn() -> ErasedTask,
    ) -> Result<WaitGuards, AlreadyEnded> {
        let state = &self.common.core.state;
        let mut watch_list = self.common.watch_list.lock();
        if self.word.watch() {
            return Err(AlreadyEnded);
        }

        // Invariant 2 of the limit: the permit is given away in the critical section that enters
        // the waiter.
        let list = watch_list.get_or_insert_default();
        let queued = || self.is_queued().then(this);
        let (mut yielded, guard) = state
            .yield_permits(Arc::as_ptr(slot).addr(), queued)
            .unzip();
        if list.ending.is_some() {
            yielded.iter_mut().for_each(YieldedPermits::mark_owed);
        }

        list.waiters.push(TaskWaiter {
            thread: slot.clone(),
            yielded,
        });
        drop(watch_list);

        // Outside the lock: the system may have no thread for the queued task, which fails here
        // then.
        if let Some(guard) = &guard {
            guard.offer();
        }

        Ok(WaitGuards {
            _yielding: guard,
            _lending: state.wait_inside(),
        })
    }

    /// See [`Joinable::remove_waiter`].
    fn remove_waiter(self, slot: &Arc<Slot>) {
        let mut watch_list = self.common.watch_list.lock();
        let Some(list) = watch_list.as_mut() else {
            return;
        };

        let mut waiters = list.waiters.iter();
        let Some(index) = waiters.position(|waiter| Arc::ptr_eq(&waiter.thread, slot)) else {
            return;
        };

        // fault: cut-wait-takes-no-permit
        let Some(yielded) = list.waiters.swap_remove(index).yielded else {
            return;
        };

        // Under the lock: the end that comes next gives a permit back, and must find that this one
        // is taken.
        let mut drops = DeferredDrops::default();
        yielded.take_back();
        let by = Arc::as_ptr(slot).addr();
        let removed = self.common.core.state.not_awaited(by, &mut drops);

        // Tasks are dropped outside the lock.
        drop(watch_list);
        drop(removed);
    }

    /// See [`Joinable::notify`]. `this` makes a reference to the task.
    fn notify(self, completions: Arc<Completions>, event: usize, this: &dyn Fn() -> ErasedTask) {
        if self.common.core.state.is_limited() && self.is_queued() {
            completions.await_queued(this());
        }

        let mut watch_list = self.common.watch_list.lock();
        if self.word.watch() {
            drop(watch_list);
            return completions.push(event);
        }

        let list = watch_list.get_or_insert_default();

        // Step 3 of the end has passed, so the end comes soon.
        if list.ending.is_some() {
            completions.announce();
        }
        list.completions = Some((completions, event));
    }

    fn on_finished(self, callback: OnFinished<'scope>) {
        let mut watch_list = self.common.watch_list.lock();
        let list = watch_list.get_or_insert_default();
        if list.ending.is_none() && !self.word.watch() {
            list.callbacks.push(callback);
            return;
        }

        // The callbacks have been taken already, so this one runs here.
        let status = list.ending.unwrap_or_else(|| self.word.status());
        drop(watch_list);
        self.call(callback, status);
    }
}
