//! One task: its closure, its result, and what happens from its spawn to its end.
//!
//! # The end
//!
//! In this order, and each step before the next can be seen:
//!
//! 1. The closure has returned, and what it captured has been dropped.
//! 2. A failure is in the ledger, and the group is cancelled; or the result is there. Then what the
//!    task was given with [`TaskBuilder::with`](super::TaskBuilder::with) is dropped, and a result
//!    is stored.
//! 3. The task's permit counts as ending, where there is a limit: a thread that sees the end can
//!    spawn the next task. A waiter that has given up its own permit is owed one in the same
//!    critical section. It gets it in step 6, and the task's is given up in step 7.
//! 4. The callbacks of `on_finished` have run.
//! 5. The phase is `ENDED`: `join` has the result. If there is no handle, the result is dropped.
//! 6. Those who wait for the task are woken.
//! 7. The task leaves the counts of the group: from here on the scope may return. `stats` says so a
//!    little later than the handle, as a worker reports what it has ended in batches.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::closure::Closure;
use super::completions::Completions;
use super::erased::{ErasedTask, Runnable, erase};
use super::held_permits::Inside;
use super::isolation::Isolation;
use super::item;
use super::job::{Claim, Claimed, Job};
use super::ledger::Ledger;
use super::shared::{Dead, GivenUp, Leave, Shared};
use super::start::Handshake;
use super::status::TaskStatus;
use super::stopwatch::Stopwatch;
use super::task_end::{Role, TaskEnd};
use crate::cancel::actor::{Actor, Identity, Part};
use crate::cancel::context::{self, OwnNode};
use crate::cancel::current;
use crate::cancel::{CancelCause, Cancelled, Node, OwnedBy, TaskId, TaskInfo};
use crate::error::{Elapsed, Failure, FailureKind, Origin, PanicPayload, TaskError};
use crate::facade::{Guard, Mutex, Payload, THREAD_FOR_EACH_TASK, catch, holds};
use crate::waiting::Slot;
use crate::workers;

/// What a task and its handle have of the group. Both live within the scope, and nothing of it is
/// used once the task has left the counts.
pub(super) struct Group<E> {
    pub(super) shared: Arc<Shared>,
    pub(super) ledger: Ledger<E>,
}

impl<E: TaskError> Group<E> {
    /// As [`Ledger::fail`].
    pub(super) fn fail(
        &self,
        origin: Origin,
        kind: FailureKind<E>,
        elapsed: impl Into<Elapsed>,
    ) -> Cancelled {
        let node = self.shared.node();
        let part = match &origin {
            Origin::Task(task) => Part::Task(Identity::of(task)),
            Origin::Body | Origin::Release(_) | Origin::Callback => Part::Body(node.id()),
        };
        let failed = Arc::new(Actor::new(part, self.shared.opened_in()));
        self.ledger.fail(node, origin, kind, elapsed.into(), failed)
    }
}

/// What is said about a task at its spawn.
pub(super) struct Traits {
    pub(super) id: TaskId,
    pub(super) location: &'static Location<'static>,
    pub(super) role: Role,
    /// What most tasks do not have.
    special: Option<Box<Special>>,
}

struct Special {
    name: Option<Cow<'static, str>>,
    /// It asked for a thread of its own, perhaps with a stack of so many bytes.
    dedicated: Option<Option<usize>>,
}

impl Traits {
    #[inline]
    pub(super) fn new(
        name: Option<Cow<'static, str>>,
        dedicated: Option<Option<usize>>,
        location: &'static Location<'static>,
        role: Role,
    ) -> Self {
        let dedicated = if THREAD_FOR_EACH_TASK {
            Some(dedicated.flatten())
        } else {
            dedicated
        };
        let plain = name.is_none() && dedicated.is_none();
        let special = if plain {
            None
        } else {
            Some(Box::new(Special { name, dedicated }))
        };
        Traits {
            id: TaskId::next(),
            location,
            role,
            special,
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.special.as_ref()?.name.as_deref()
    }

    pub(super) fn dedicated(&self) -> Option<Option<usize>> {
        self.special.as_ref()?.dedicated
    }

    #[inline]
    fn identity(&self) -> Identity {
        let name = self
            .special
            .as_ref()
            .and_then(|special| special.name.clone());
        Identity {
            id: self.id,
            name,
            location: self.location,
        }
    }

    fn info(&self) -> TaskInfo {
        self.identity().info()
    }

    /// As `info`, of a task that failed at this item of a map, if it is one of a map.
    fn info_at(&self, item: Option<usize>) -> TaskInfo {
        let info = self.info();
        TaskInfo {
            name: info.name.or_else(|| Some(format!("map item {}", item?))),
            ..info
        }
    }
}

type OnFinished<'scope> = Box<dyn FnOnce(TaskStatus) + Send + 'scope>;

/// Who waits for the end of a task, and what is to be called then.
#[derive(Default)]
struct Watch<'scope> {
    callbacks: Vec<OnFinished<'scope>>,
    waiting: Vec<Waiter>,
    /// Who is told of the end beside other events, and the number that it has there.
    told: Option<(Arc<Completions>, usize)>,
    /// Says whether the task is still being started.
    handshake: Option<Arc<Handshake>>,
    /// The callbacks have been taken: who comes later runs its own.
    ending: Option<TaskStatus>,
    /// The cancel that stands for a result that there is not.
    instead: Option<Cancelled>,
}

/// A thread that waits for the end of a task.
struct Waiter {
    thread: Arc<Slot>,
    /// The permit of the limit that it takes back at the end of the wait.
    given_up: Option<GivenUp>,
}

pub(super) struct Task<'scope, T, F, E> {
    job: Job<F, T>,
    traits: Traits,
    group: &'scope Group<E>,
    /// Makes a failure the task's result instead of the group's failure.
    isolation: Option<&'scope Isolation<T, E>>,
    /// The task's own token, made when something asks for it: the first blocking point inside the
    /// task, or its cancel. A task that begins without a handle has it in its frame, if at all.
    own: Mutex<Option<Arc<Node>>>,
    watch: Mutex<Option<Box<Watch<'scope>>>>,
}

/// A task as its handle knows it.
pub(super) trait Joinable<'scope, T>: Send + Sync {
    fn traits(&self) -> &Traits;
    fn status(&self) -> TaskStatus;
    /// The result, for the first who asks after the end.
    fn take(&self) -> Option<T>;
    /// The cancel that stands for a result that there is not.
    fn instead(&self) -> Cancelled;
    /// Runs the task on this thread, if that cannot be noticed and nobody has claimed it.
    fn run_in_place(&self) -> Option<Option<T>>;
    fn cancel(&self, location: &'static Location<'static>);
    fn detach(&self);
    /// Adds this thread, as `slot`, to those that are woken at the end, and gives up its permit;
    /// `Err` if the task has ended.
    fn add_waiting(self: Arc<Self>, slot: &Arc<Slot>) -> Result<Leaves, Ended>;
    /// Takes the thread out again, with its permit, if the end has not done that.
    fn remove_waiting(self: Arc<Self>, slot: &Arc<Slot>);
    /// Has `completions` told of the end as `event`; at once, if it has ended.
    fn tell(self: Arc<Self>, completions: Arc<Completions>, event: usize);
    fn on_finished(&self, callback: OnFinished<'scope>);
}

/// What a thread has given up for its wait: of permits of the task's group, and of groups around
/// that.
pub(super) type Leaves = (Option<Leave>, Option<Inside>);

/// A task has ended, and cannot be waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended;

impl<'scope, T, F, E> Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    pub(super) fn new(
        group: &'scope Group<E>,
        traits: Traits,
        isolation: Option<&'scope Isolation<T, E>>,
        closure: F,
    ) -> Arc<Self> {
        Arc::new(Task {
            job: Job::new(closure),
            traits,
            group,
            isolation,
            own: Mutex::new(None),
            watch: Mutex::new(None),
        })
    }

    pub(super) fn traits(&self) -> &Traits {
        &self.traits
    }

    /// Makes its failures the group's once `handshake` says that it is ready. Before the task is
    /// submitted.
    pub(super) fn isolate_until_ready(&self, handshake: Arc<Handshake>) {
        self.watch.lock().get_or_insert_default().handshake = Some(handshake);
    }

    /// The closure back, if nobody has begun it.
    pub(super) fn take_closure(&self) -> Option<F> {
        let claim = self.job.claim()?;
        let closure = self.job.closure(&claim);
        self.job.end(claim, TaskStatus::NeverRan);
        closure
    }

    /// The task as one that waits for a permit in the queue, if it does.
    fn queued(self: &Arc<Self>) -> Option<ErasedTask> {
        let queued = self.traits.role == Role::Task && self.job.claimed() == Claimed::No;
        queued.then(|| erase(self.clone()))
    }

    #[inline]
    fn base(&self) -> &Arc<Node> {
        self.group.shared.base(self.traits.role)
    }

    /// The node that a cancel of the task, and of nothing else, cancels.
    fn own(&self) -> Arc<Node> {
        let mut own = self.own.lock();
        own.get_or_insert_with(|| {
            self.job.set_tokened();
            Node::of_task(self.base())
        })
        .clone()
    }

    /// The innermost node that the task runs under, as far as one has been made.
    fn innermost(&self) -> Arc<Node> {
        let own = if self.job.is_tokened() {
            self.own.lock().clone()
        } else {
            None
        };
        own.unwrap_or_else(|| self.base().clone())
    }

    /// Whether `cancelled` came from the task's own token, its group or what that is in. In the
    /// frame of the task.
    fn is_own(&self, cancelled: &Cancelled) -> bool {
        context::made_own()
            .unwrap_or_else(|| self.innermost())
            .owner_of(cancelled)
            != OwnedBy::Foreign
    }

    /// Runs the closure; the result, or what it failed with, and the status.
    #[inline]
    fn execute(&self, claim: &Claim, begun: Stopwatch) -> (TaskStatus, Option<T>) {
        let Some(closure) = self.job.closure(claim) else {
            return (TaskStatus::NeverRan, None);
        };
        let recorded = current::begin(self.traits.identity(), self.group.shared.opened_in());
        let mut kept = None;
        let (status, value) = match catch(|| closure.run(&mut kept)) {
            Ok(Ok(value)) => (TaskStatus::Finished, Some(value)),
            Ok(Err(error)) => self.errored(error, begun.elapsed()),
            Err(payload) => self.panicked(payload, begun.elapsed()),
        };
        // After the outcome: an end of a channel in there must not look like a plain one.
        if let Some(belongings) = kept {
            if status != TaskStatus::Finished {
                recorded.turn_ill();
            }
            self.guard_drop(belongings);
        }
        (status, value)
    }

    #[cold]
    fn errored(&self, error: E, elapsed: Elapsed) -> (TaskStatus, Option<T>) {
        let item = item::take_failed();
        // The error is the user's, and so is what it says of itself.
        let own = match catch(|| {
            error
                .cancelled()
                .filter(|cancelled| self.is_own(cancelled))
                .cloned()
        }) {
            Ok(own) => own,
            Err(payload) => {
                self.guard_drop(error);
                return self.failed(
                    item,
                    FailureKind::Panic(PanicPayload::new(payload)),
                    TaskStatus::Panicked,
                    elapsed,
                );
            }
        };
        match own {
            Some(cancelled) => {
                if self.traits.role == Role::Task {
                    self.group.shared.note_cut(&cancelled);
                }
                self.watch.lock().get_or_insert_default().instead = Some(cancelled);
                self.guard_drop(error);
                (TaskStatus::Cancelled, None)
            }
            None => self.failed(item, FailureKind::Error(error), TaskStatus::Failed, elapsed),
        }
    }

    #[cold]
    fn panicked(&self, payload: Payload, elapsed: Elapsed) -> (TaskStatus, Option<T>) {
        self.failed(
            item::take_failed(),
            FailureKind::Panic(PanicPayload::new(payload)),
            TaskStatus::Panicked,
            elapsed,
        )
    }

    fn failed(
        &self,
        item: Option<usize>,
        kind: FailureKind<E>,
        status: TaskStatus,
        elapsed: Elapsed,
    ) -> (TaskStatus, Option<T>) {
        let origin = Origin::Task(self.traits.info_at(item));
        if let Some(isolation) = self.isolation.filter(|_| self.is_isolated()) {
            let after_cancel = self.base().is_flagged();
            let traces = kind.traces();
            return (
                status,
                Some((isolation.wrap)(
                    Failure::new(origin, kind, after_cancel, elapsed).with_traces(traces),
                )),
            );
        }
        let cancelled = self.group.fail(origin, kind, elapsed);
        self.watch.lock().get_or_insert_default().instead = Some(cancelled);
        (status, None)
    }

    /// Whether a task whose failures are its result is still so: one that has said that it is ready
    /// is not.
    fn is_isolated(&self) -> bool {
        let handshake = self
            .watch
            .lock()
            .as_ref()
            .and_then(|watch| watch.handshake.clone());
        handshake.is_none_or(|handshake| handshake.close())
    }

    /// Drops something of the user's, whose destructor may panic: that is a failure like any other.
    fn guard_drop<U>(&self, value: U) {
        if let Err(payload) = catch(move || drop(value)) {
            let kind = FailureKind::Panic(PanicPayload::new(payload));
            self.group
                .fail(Origin::Task(self.traits.info()), kind, Duration::ZERO);
        }
    }

    fn task_end(&self, status: TaskStatus) -> TaskEnd {
        TaskEnd {
            role: self.traits.role,
            status,
        }
    }

    /// Steps 3 to 6 of the end.
    #[inline]
    fn end(&self, claim: Claim, status: TaskStatus, before_end: Option<&dyn Fn()>) -> TaskEnd {
        // With a permit, under the lock of the watch list, so that no waiter gives its own up
        // between the two.
        let watch = before_end.map(|before_end| {
            let watch = self.watch.lock();
            if !self.job.is_watched() {
                before_end();
            }
            watch
        });
        let ended = match self.job.end_unwatched(claim, status) {
            Ok(ended) => ended,
            Err(claim) => {
                drop(watch);
                return self.end_watched(claim, status, before_end);
            }
        };
        drop(watch);
        if ended.detached && holds(Guard::DropBeforeEnd) {
            self.drop_result();
        }
        self.task_end(status)
    }

    #[cold]
    fn end_watched(
        &self,
        claim: Claim,
        status: TaskStatus,
        before_end: Option<&dyn Fn()>,
    ) -> TaskEnd {
        let mut guard = self.watch.lock();
        let watch = guard.get_or_insert_default();
        watch.ending = Some(status);
        watch
            .waiting
            .iter_mut()
            .filter_map(|waiter| waiter.given_up.as_mut())
            .for_each(GivenUp::is_owed);
        if let Some((completions, _)) = &watch.told {
            completions.is_coming();
        }
        if let Some(before_end) = before_end {
            before_end();
        }
        let callbacks = std::mem::take(&mut watch.callbacks);
        drop(guard);
        for callback in callbacks {
            self.call(callback, status);
        }
        let ended = self.job.end(claim, status);
        if ended.detached && holds(Guard::DropBeforeEnd) {
            self.drop_result();
        }
        let mut guard = self.watch.lock();
        let watch = guard.get_or_insert_default();
        let mut waiting = std::mem::take(&mut watch.waiting);
        // Under the lock: a waiter that is not asleep finds that it has been taken out, and goes
        // on.
        for given_up in waiting
            .iter_mut()
            .filter_map(|waiter| waiter.given_up.take())
        {
            if holds(Guard::EndGivesPermitBack) {
                given_up.take_back();
            }
        }
        let told = watch.told.take();
        drop(guard);
        waiting.iter().for_each(|waiter| waiter.thread.unpark());
        if let Some((completions, event)) = told {
            completions.push_coming(event);
        }
        self.task_end(status)
    }

    fn drop_result(&self) {
        if let Some(value) = self.job.take() {
            // The failure of an isolated task is nowhere else.
            if let Some(failure) = self
                .isolation
                .and_then(|isolation| (isolation.failure)(&value))
            {
                failure.log_untaken();
            }
            self.guard_drop(value);
        }
    }

    fn call(&self, callback: OnFinished<'scope>, status: TaskStatus) {
        if let Err(payload) = catch(|| callback(status)) {
            let kind = FailureKind::Panic(PanicPayload::new(payload));
            self.group
                .fail(Origin::Task(self.traits.info()), kind, Duration::ZERO);
        }
    }

    /// Drops the closure unrun, and ends the task with `status`.
    fn drop_unrun(
        &self,
        claim: Claim,
        status: TaskStatus,
        before_end: Option<&dyn Fn()>,
    ) -> TaskEnd {
        if let Some(closure) = self.job.closure(&claim) {
            let _recorded =
                current::begin_ill(self.traits.identity(), self.group.shared.opened_in());
            self.guard_drop(closure);
        }
        self.end(claim, status, before_end)
    }

    fn run_claimed(
        &self,
        claim: Claim,
        begun: Stopwatch,
        before_end: Option<&dyn Fn()>,
    ) -> TaskEnd {
        let (status, value) = self.execute(&claim, begun);
        if let Some(value) = value {
            self.job.store(&claim, value);
        }
        self.end(claim, status, before_end)
    }

    /// Runs the task in the frame it belongs in: one whose token a handle finds, while there is a
    /// handle.
    fn run_in_frame(
        &self,
        this: &ErasedTask,
        claim: Claim,
        begun: Stopwatch,
        before_end: Option<&dyn Fn()>,
    ) -> TaskEnd {
        // A handle may have cancelled the task after it was claimed, and have been dropped since.
        if self.job.is_detached() && !(self.job.is_tokened() && holds(Guard::CancelOutlivesHandle))
        {
            context::within_task(self.base().clone(), || {
                self.run_claimed(claim, begun, before_end)
            })
        } else {
            context::within_lazy(this.to_lazy(), || {
                self.run_claimed(claim, begun, before_end)
            })
        }
    }

    /// Runs the task on the thread that joins it, if it can begin now.
    #[inline]
    fn run_here(&self) -> Option<Option<T>> {
        let shared = &self.group.shared;
        let permit = shared.begin_in_place()?;
        let Some(claim) = self.job.claim() else {
            shared.free_permit(permit); // guard: give-back-a-late-joiners-permit
            return None;
        };
        #[cfg(debug_assertions)]
        let _errand = context::Errand::begin();
        if self.base().is_cancelled() {
            self.note_never_ran();
            let end = self.drop_unrun(claim, TaskStatus::NeverRan, None);
            shared.ended_in_place(end, permit);
            return Some(None);
        }
        let holding = shared.hold(permit);
        let (status, value) = self.execute(&claim, Stopwatch::start_coarse());
        // `join` has consumed the handle, and takes the result along.
        let end = match self.job.end_unshared(claim, status) {
            Ok(()) => self.task_end(status),
            Err(claim) => self.end_watched(claim, status, None),
        };
        drop(holding);
        shared.ended_in_place(end, permit);
        Some(value)
    }

    fn note_never_ran(&self) {
        if self.traits.role == Role::Daemon {
            return;
        }
        if let Some(cancelled) = self.innermost().cancelled() {
            self.group.shared.note_cut(&cancelled);
        }
    }
}

impl<'scope, T, F, E> Runnable<'scope> for Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    fn run(
        &self,
        this: &ErasedTask,
        precisely: bool,
        before_end: Option<&dyn Fn()>,
    ) -> Option<TaskEnd> {
        let claim = self.job.claim()?;
        #[cfg(debug_assertions)]
        let _errand = context::Errand::begin();
        // A cancel that came first means that the task never runs, also where the queue has not
        // been emptied yet.
        if self.base().is_cancelled() {
            self.note_never_ran();
            return Some(self.drop_unrun(claim, TaskStatus::NeverRan, before_end));
        }
        let begun = if precisely {
            Stopwatch::start()
        } else {
            Stopwatch::start_coarse()
        };
        Some(match self.traits.name() {
            Some(name) => workers::with_thread_name(name, || {
                self.run_in_frame(this, claim, begun, before_end)
            }),
            None => self.run_in_frame(this, claim, begun, before_end),
        })
    }

    fn discard(&self) -> Option<TaskEnd> {
        let claim = self.job.claim()?;
        self.note_never_ran();
        Some(self.drop_unrun(claim, TaskStatus::NeverRan, None))
    }

    fn refuse(&self, error: io::Error) -> Option<TaskEnd> {
        let claim = self.job.claim()?;
        // A task that would not have run has not lacked a thread.
        if self.base().is_cancelled() {
            self.note_never_ran();
            return Some(self.drop_unrun(claim, TaskStatus::NeverRan, None));
        }
        let (status, value) = self.failed(
            None,
            FailureKind::Spawn(error),
            TaskStatus::Failed,
            Duration::ZERO.into(),
        );
        if let Some(value) = value {
            self.job.store(&claim, value);
        }
        Some(self.drop_unrun(claim, status, None))
    }

    fn claimed(&self) -> Claimed {
        self.job.claimed()
    }

    fn runs_anywhere(&self) -> bool {
        self.traits.special.is_none() && self.traits.role == Role::Task
    }

    fn own_thread(&self) -> Option<(&str, Option<usize>)> {
        let stack_size = self.traits.dedicated()?;
        Some((self.traits.name().unwrap_or("taskgroup"), stack_size))
    }

    fn into_lazy(self: Arc<Self>) -> Arc<dyn OwnNode + 'scope> {
        self
    }
}

impl<'scope, T, F, E> OwnNode for Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    fn own_node(&self) -> Arc<Node> {
        self.own()
    }
}

impl<'scope, T, F, E> Joinable<'scope, T> for Task<'scope, T, F, E>
where
    T: Send + 'scope,
    F: Closure<T, E> + 'scope,
    E: TaskError,
{
    fn traits(&self) -> &Traits {
        &self.traits
    }

    fn status(&self) -> TaskStatus {
        self.job.status()
    }

    fn take(&self) -> Option<T> {
        self.job.take()
    }

    fn instead(&self) -> Cancelled {
        if let Some(cancelled) = self
            .watch
            .lock()
            .as_ref()
            .and_then(|watch| watch.instead.clone())
        {
            return cancelled;
        }
        // A task that was spawned too late is neither cancelled nor failed.
        self.innermost().cancelled().unwrap_or_else(|| {
            Cancelled::new(
                CancelCause::GroupFinished,
                self.traits.location,
                self.group.shared.node().id(),
            )
        })
    }

    #[inline]
    fn run_in_place(&self) -> Option<Option<T>> {
        if !self.runs_anywhere() || !self.job.is_plain() {
            return None;
        }
        context::in_place(self.base(), || self.run_here())
    }

    fn cancel(&self, location: &'static Location<'static>) {
        self.own()
            .cancel(CancelCause::Requested { reason: None }, location);
        if let Some(end) = self.discard() {
            self.group.shared.leave_unrun(end);
        }
    }

    fn detach(&self) {
        if self.job.detach() {
            self.drop_result();
        }
    }

    fn add_waiting(self: Arc<Self>, slot: &Arc<Slot>) -> Result<Leaves, Ended> {
        let shared = &self.group.shared;
        let mut guard = self.watch.lock();
        if self.job.watch() {
            return Err(Ended);
        }
        let watch = guard.get_or_insert_default();
        let (mut given_up, leave) = shared
            .give_up(Arc::as_ptr(slot).addr(), || self.queued())
            .unzip();
        if let Some(given_up) = given_up.as_mut().filter(|_| watch.ending.is_some()) {
            given_up.is_owed();
        }
        watch.waiting.push(Waiter {
            thread: slot.clone(),
            given_up,
        });
        drop(guard);
        if let Some(leave) = &leave {
            leave.offer();
        }
        Ok((leave, shared.wait_inside()))
    }

    fn remove_waiting(self: Arc<Self>, slot: &Arc<Slot>) {
        let mut guard = self.watch.lock();
        let Some(watch) = guard.as_mut() else { return };
        let Some(index) = watch
            .waiting
            .iter()
            .position(|waiter| Arc::ptr_eq(&waiter.thread, slot))
        else {
            return;
        };
        let given_up = watch
            .waiting
            .swap_remove(index)
            .given_up
            .filter(|_| holds(Guard::CutWaitTakesAPermit));
        let Some(given_up) = given_up else { return };
        let mut dead = Dead::default();
        // Under the lock: the end that comes next gives up a permit, and must find that this one is
        // taken.
        given_up.take_back();
        let removed = self
            .group
            .shared
            .not_awaited(Arc::as_ptr(slot).addr(), &mut dead);
        drop(guard);
        drop(removed);
    }

    fn tell(self: Arc<Self>, completions: Arc<Completions>, event: usize) {
        if self.group.shared.is_limited() {
            if let Some(task) = self.queued() {
                completions.await_queued(task);
            }
        }
        let mut guard = self.watch.lock();
        if self.job.watch() {
            drop(guard);
            return completions.push(event);
        }
        let watch = guard.get_or_insert_default();
        if watch.ending.is_some() {
            completions.is_coming();
        }
        watch.told = Some((completions, event));
    }

    fn on_finished(&self, callback: OnFinished<'scope>) {
        let mut guard = self.watch.lock();
        let watch = guard.get_or_insert_default();
        if watch.ending.is_none() && !self.job.watch() {
            watch.callbacks.push(callback);
            return;
        }
        let status = watch.ending.unwrap_or_else(|| Joinable::status(self));
        drop(guard);
        self.call(callback, status);
    }
}

impl<T, F, E> fmt::Debug for Task<'_, T, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.traits.id)
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}
