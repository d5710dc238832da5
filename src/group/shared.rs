//! The part of a group that workers and cancels see: its queue and its counts.
//!
//! # Invariants
//!
//! 1. A task is counted, in `tasks` or `daemons`, from before it can be seen by another thread
//!    until everything of it that can borrow from the scope has been dropped. The owner leaves the
//!    scope only when it has seen both counts at zero.
//! 2. `closed` is set in the critical section that saw `tasks` at zero, and no task is counted
//!    after that. So no spawn comes between.
//! 3. A spawn looks whether the group is cancelled in the critical section in which it queues, and
//!    a cancel empties the queue after it has marked the group: a task that is queued late finds
//!    the mark, one that was queued before is found. One that a worker had stashed meanwhile comes
//!    back to the queue of a group that is listed, and whoever takes it from there drops it unrun:
//!    not the thread that gives it back, which is about to block, or the monitor.
//! 4. A task begins only with a permit of the limit, if there is one: see [`limit`].
//! 5. The group is listed with the workers while it has a task that a worker may begin.
//!
//! # Lock order
//!
//! The queue's lock is taken with no other lock held but that of a task's watch list, that of a
//! `Completions` and that of a [`Holder`], or several of them in this order, and inside it only
//! that of the pool. Tasks are run, dropped and cancelled outside it, and so is what is left of a
//! task that somebody else has run, where its token, and with it a callback of the user's, may go
//! with it.

mod batches;
mod limit;
mod queue;

use std::io;
use std::panic::Location;
use std::sync::atomic::{AtomicBool as PlainBool, AtomicUsize as PlainUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use super::erased::ErasedTask;
use super::held_permits;
use super::holder::Holder;
use super::stats::GroupStats;
use super::status::TaskStatus;
use super::task_end::{Role, TaskEnd};
use crate::cancel::actor::Actor;
use crate::cancel::context::Outcome;
use crate::cancel::{CancelCause, CancelToken, Cancelled, Node, Observer, OwnedBy, context};
use crate::facade::{Guard, Mutex, Payload, holds, preset, spin};
use crate::waiting::Point;
use crate::workers::{self, Source};
pub(super) use limit::{GivenUp, Leave, Permit, Share};
pub(super) use queue::Dead;
use queue::{Queue, Taken, Tally};

/// A limit that no group comes to.
const UNLIMITED: usize = usize::MAX;

/// While so many tasks are queued, the owner times those that it runs by the cheap clock.
const LONG_QUEUE: usize = 8;

pub(super) struct Shared {
    token: CancelToken,
    limit: usize,
    /// What the group was opened in.
    opened_in: Option<Arc<Actor>>,
    /// The innermost permit that was held where the group was opened.
    around: Option<Arc<Holder>>,
    /// The thread of the scope, by its identity: sound for as long as the scope lasts.
    owner: usize,
    /// A task has been counted, some time. For the owner, when the body has returned.
    used: PlainBool,
    queue: Mutex<Queue>,
    /// The node of the daemons, made with the first of them.
    daemon_node: OnceLock<Arc<Node>>,
    /// Tasks that the owner has run in place and not yet taken off the counts. Only the owner
    /// writes it.
    ended_in_place: PlainUsize,
    /// As that, of tasks that it took from the queue, which count as begun.
    ended_from_queue: PlainUsize,
    /// Whether a task, or the body, was cut short. For the owner, when all have ended.
    any_cut: PlainBool,
    callback_panics: Mutex<Vec<Payload>>,
    /// Whether there are any. The end of the scope comes after those of all callbacks and hooks.
    any_callback_panicked: PlainBool,
}

/// What a spawn was refused for.
#[derive(Debug)]
pub(super) enum Refused {
    Cancelled,
    Closed,
    Full,
    NoThread,
}

/// What became of a task that a worker took.
enum Dispatched {
    Ended(TaskEnd),
    /// Another thread had claimed it. The caller takes it off the count of begun tasks, in the
    /// tally that it reports next.
    NotBegun,
    /// Somebody else has it, or a thread of its own.
    Elsewhere,
}

impl Shared {
    /// A group whose node `node` makes, with the observer that it is to have.
    pub(super) fn new(
        limit: Option<usize>,
        opened_in: Option<Arc<Actor>>,
        node: impl FnOnce(Weak<dyn Observer>) -> Arc<Node>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|shared: &Weak<Shared>| Shared {
            token: CancelToken::from_node(node(shared.clone())),
            limit: limit.unwrap_or(UNLIMITED),
            opened_in,
            around: held_permits::around(),
            owner: context::identity(),
            used: PlainBool::new(false),
            queue: preset!(Mutex::new(Queue::new())),
            daemon_node: preset!(OnceLock::new()),
            ended_in_place: PlainUsize::new(0),
            ended_from_queue: PlainUsize::new(0),
            any_cut: PlainBool::new(false),
            callback_panics: preset!(Mutex::new(Vec::new())),
            any_callback_panicked: PlainBool::new(false),
        })
    }

    pub(super) fn token(&self) -> &CancelToken {
        &self.token
    }

    #[inline]
    pub(super) fn node(&self) -> &Arc<Node> {
        self.token.node()
    }

    /// What the group was opened in: a task or a body of another group.
    #[inline]
    pub(super) fn opened_in(&self) -> Option<Arc<Actor>> {
        self.opened_in.clone()
    }

    /// The node that tasks of a role run under.
    #[inline]
    pub(super) fn base(&self, role: Role) -> &Arc<Node> {
        match role {
            Role::Task => self.node(),
            Role::Daemon => self.daemon_node(),
        }
    }

    /// The node of the daemons: made before the first of them is counted, so that the end of the
    /// scope finds it.
    fn daemon_node(&self) -> &Arc<Node> {
        if let Some(node) = self.daemon_node.get() {
            return node;
        }
        // Outside the cell: making a node takes locks. Of two that are made at once, one is
        // dropped.
        let node = Node::of_task(self.node());
        self.daemon_node.get_or_init(|| node)
    }

    pub(super) fn is_owner(&self) -> bool {
        context::identity() == self.owner
    }

    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.limit != UNLIMITED
    }

    /// How many tasks may run at once, if that is limited.
    pub(super) fn limit(&self) -> Option<usize> {
        self.is_limited().then_some(self.limit)
    }

    /// Counts a task and queues it.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        task: ErasedTask,
        role: Role,
        only_if_free: bool,
    ) -> Result<(), Refused> {
        let cancelled_before = !holds(Guard::SpawnChecksUnderLock) && self.node().is_flagged();
        let mut dead = Dead::default();
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(Refused::Closed);
        }
        if cancelled_before || (holds(Guard::SpawnChecksUnderLock) && self.node().is_flagged()) {
            return Err(Refused::Cancelled);
        }
        if only_if_free && self.is_limited() && !queue.has_room(self.limit, &mut dead) {
            return Err(Refused::Full);
        }
        queue.spawned += 1;
        self.used.store(true, Relaxed);
        match role {
            Role::Task => {
                queue.live_tasks += 1;
                queue.push(task, &mut dead);
            }
            Role::Daemon => {
                queue.live_daemons += 1;
                queue.express.push_back(task);
            }
        }
        let list = queue.must_list(self.limit);
        drop(queue);
        if list {
            workers::list(self.clone());
        }
        Ok(())
    }

    /// Counts a task that wants a thread of its own and starts the thread, if a permit is free;
    /// else queues the task.
    pub(super) fn start_or_enqueue(
        self: &Arc<Self>,
        task: ErasedTask,
        role: Role,
        only_if_free: bool,
    ) -> Result<(), (Refused, Option<io::Error>)> {
        let mut dead = Dead::default();
        let mut queue = self.queue.lock();
        let permit = if role == Role::Task {
            Permit::Own
        } else {
            Permit::Nothing
        };
        // Under a limit it is not to overtake what is queued.
        let waits = permit.is_some()
            && self.is_limited()
            && (queue.permits >= self.limit || queue.next_task(&mut dead).is_some());
        if queue.closed || self.node().is_flagged() || waits {
            drop(queue);
            return self
                .enqueue(task, role, only_if_free)
                .map_err(|refused| (refused, None));
        }
        queue.spawned += 1;
        self.used.store(true, Relaxed);
        queue.begun += 1;
        match role {
            Role::Task => {
                queue.live_tasks += 1;
                queue.permits += 1;
            }
            Role::Daemon => queue.live_daemons += 1,
        }
        drop(queue);
        self.start_thread(Taken {
            task: task.clone(),
            permit,
            precisely: true,
        })
        .map_err(|error| {
            // Off the counts again; what the spawn failed with is the caller's to say.
            let status = TaskStatus::Failed;
            self.leave(TaskEnd { role, status }, permit, false);
            (Refused::NoThread, Some(error))
        })
    }

    fn start_thread(self: &Arc<Self>, taken: Taken) -> io::Result<()> {
        let task = taken.task.clone();
        let (name, stack_size) = task.own_thread().unwrap_or(("taskgroup", None));
        let shared = self.clone();
        workers::start_dedicated(name, stack_size, move || {
            let _within = shared.around.as_ref().map(held_permits::within);
            shared.run(taken);
        })
    }

    /// Runs a task that a worker has taken, or starts the thread of its own that it asks for.
    fn dispatch(self: &Arc<Self>, taken: Taken) -> Dispatched {
        if taken.task.own_thread().is_none() {
            if taken.permit.is_some() {
                self.run(taken);
                return Dispatched::Elsewhere;
            }
            return match taken.task.run(taken.precisely, None) {
                Some(end) => Dispatched::Ended(end),
                None => Dispatched::NotBegun,
            };
        }
        let (task, permit) = (taken.task.clone(), taken.permit);
        match self.start_thread(taken) {
            Ok(()) => Dispatched::Elsewhere,
            Err(error) => {
                self.free_permit(permit);
                task.refuse(error)
                    .map_or(Dispatched::Elsewhere, Dispatched::Ended)
            }
        }
    }

    /// Takes the next tasks that a worker may begin, the one to begin with apart, and reports
    /// `tally`. Takes the group off the list if it has none left.
    fn take_batch(self: &Arc<Self>, size: usize, tally: Tally) -> Option<(Taken, Vec<ErasedTask>)> {
        let mut dead = Dead::default();
        let mut queue = self.queue.lock();
        let wake = queue.enter(tally);
        let taken = queue.take(self.limit, &mut dead).map(|first| {
            let size = if self.is_limited() {
                1
            } else {
                size.min(queue.tasks.len() / 4 + 1)
            };
            // While the owner runs tasks from the front, workers take theirs from the back, out of
            // its way.
            let from = if self.has_busy_owner() {
                queue.tasks.len() + 1 - size
            } else {
                0
            };
            let rest = if size > 1 {
                queue.tasks.drain(from..from + size - 1).collect()
            } else {
                Vec::new()
            };
            (first, rest)
        });
        if !queue.has_work(self.limit) {
            queue.listed = false;
            let source: Arc<dyn Source> = self.clone();
            workers::unlist(&source);
        }
        drop(queue);
        if let Some(owner) = wake {
            owner.unpark();
        }
        taken
    }

    /// Takes an ended task off the counts, whose permit may count as ending.
    fn leave(self: &Arc<Self>, end: TaskEnd, permit: Permit, ending: bool) {
        let mut tally = Tally::default();
        tally.add(end);
        let mut queue = self.queue.lock();
        queue.give_back(permit);
        queue.permits_ending -= usize::from(ending);
        let wake = queue.enter(tally);
        let list = permit.is_some() && queue.must_list(self.limit);
        drop(queue);
        if let Some(owner) = wake {
            owner.unpark();
        }
        if list {
            workers::list(self.clone());
        }
    }

    /// Takes a task that was claimed outside the queue, and dropped unrun, off the counts.
    pub(super) fn leave_unrun(self: &Arc<Self>, end: TaskEnd) {
        self.queue.lock().begun += 1;
        self.leave(end, Permit::Nothing, false);
    }

    /// Counts a task that has been run in place.
    #[inline]
    pub(super) fn ended_in_place(self: &Arc<Self>, end: TaskEnd, permit: Permit) {
        if end.is_plain() && permit == Permit::Nothing && self.is_owner() {
            // Only the owner waits for the counts, so what it does itself it need not tell anybody.
            self.ended_in_place
                .store(self.ended_in_place.load(Relaxed) + 1, Relaxed);
            return;
        }
        self.queue.lock().begun += 1;
        self.leave(end, permit, false);
    }

    /// Whether the owner runs tasks itself. A hint.
    fn has_busy_owner(&self) -> bool {
        self.ended_in_place.load(Relaxed) + self.ended_from_queue.load(Relaxed) > 0
    }

    /// Notes a cancel that cut a task or the body short, if it makes the whole scope count as
    /// cancelled: one that came from above, or the group's own deadline. The group absorbs what it
    /// asked for itself.
    pub(super) fn note_cut(&self, cancelled: &Cancelled) {
        let counts = match self.node().owner_of(cancelled) {
            OwnedBy::Node => matches!(cancelled.cause(), CancelCause::Deadline { .. }),
            OwnedBy::Ancestor => true,
            OwnedBy::Foreign => false,
        };
        if counts {
            self.queue
                .lock()
                .cut
                .get_or_insert_with(|| cancelled.clone());
            self.any_cut.store(true, Relaxed);
        }
    }

    pub(super) fn cut(&self) -> Option<Cancelled> {
        // The flag of the node tells nothing: whoever asks a token above finds a cancel that has
        // not come down yet.
        if !self.any_cut.load(Relaxed) {
            return None;
        }
        self.queue.lock().cut.clone()
    }

    /// Runs what has not begun, on the owner's thread, and waits until all tasks have ended; closes
    /// the group; ends the daemons.
    pub(super) fn finish(self: &Arc<Self>, location: &'static Location<'static>) {
        // With no task there is nobody else who could know of the group: what is cheap here is the
        // price of an empty scope.
        if !self.used.load(Relaxed) && !self.node().is_flagged() {
            return;
        }
        // Where the stack is used up, the workers run what is queued: a group with queued tasks is
        // listed.
        if let Some(_in_place) = workers::InPlace::begin() {
            while let Some(taken) = self.take_for_owner() {
                self.run_for_owner(taken);
            }
        }
        self.wait_for_end(location, |queue| {
            let done = queue.live_tasks == 0;
            if done && holds(Guard::CloseUnderLock) {
                queue.closed = true;
            }
            done
        });
        if !holds(Guard::CloseUnderLock) {
            self.queue.lock().closed = true;
        }
        if let Some(node) = self.daemon_node.get() {
            node.cancel(CancelCause::GroupFinished, location);
            self.wait_for_end(location, |queue| queue.live_daemons == 0);
        }
        // The node of the daemons is one of a task, below that of the group, and is waited for with
        // it.
        self.node().quiesce(location);
    }

    /// Takes no more tasks, from hooks that run after the end of the scope.
    pub(super) fn close(&self) {
        self.queue.lock().closed = true;
    }

    fn wait_for_end(
        self: &Arc<Self>,
        location: &'static Location<'static>,
        mut done: impl FnMut(&mut Queue) -> bool,
    ) {
        let mut poll = || {
            let mut queue = self.queue.lock();
            queue.enter_in_place(
                self.ended_in_place.swap(0, Relaxed),
                self.ended_from_queue.swap(0, Relaxed),
            );
            let done = done(&mut queue);
            if !done && !holds(Guard::OwnerSaysItWaits) {
                queue.owner_waits = None;
                drop(queue);
                queue = self.queue.lock();
            }
            if done {
                queue.owner_waits = None;
            } else if queue.owner_waits.is_none() {
                queue.owner_waits = Some(context::slot());
            }
            done
        };
        if spin(&mut poll) {
            return;
        }
        let _inside = self.wait_inside();
        // The owner has nothing else to do than to see that deadlines are kept.
        let next_limit = || self.node().next_limit();
        while context::wait_uncancellable_at(location, Point::ScopeEnd, next_limit, &mut poll)
            == Outcome::TimedOut
        {
            self.node().expire();
        }
    }

    /// A task that the owner may run while it waits for all of them. One that needs a thread of its
    /// own, or its name on the thread, is left to the workers, and so are daemons.
    fn take_for_owner(self: &Arc<Self>) -> Option<Taken> {
        let mut dead = Dead::default();
        let mut queue = self.queue.lock();
        if queue.permits >= self.limit
            || !queue
                .next_task(&mut dead)
                .is_some_and(|task| task.runs_anywhere())
        {
            if !queue.has_work(self.limit) && queue.listed {
                queue.listed = false;
                let source: Arc<dyn Source> = self.clone();
                workers::unlist(&source);
            }
            return None;
        }
        let taken = queue.pop_next(self.limit)?;
        Some(Taken {
            precisely: queue.tasks.len() < LONG_QUEUE,
            ..taken
        })
    }

    /// Runs a task on the owner's thread, at the end of the scope. Most are told to nobody, as
    /// those that are run in place.
    fn run_for_owner(self: &Arc<Self>, taken: Taken) {
        if taken.permit.is_some() {
            return self.run(taken);
        }
        match taken.task.run(taken.precisely, None) {
            Some(end) if end.is_plain() => {
                self.ended_from_queue
                    .store(self.ended_from_queue.load(Relaxed) + 1, Relaxed);
            }
            Some(end) => self.leave(end, Permit::Nothing, false),
            None => self.not_begun(Permit::Nothing),
        }
    }

    fn run(self: &Arc<Self>, taken: Taken) {
        let permit = taken.permit;
        let holding = self.hold(permit);
        let ending = || self.permit_is_ending(holding.as_ref());
        let end = taken.task.run(
            taken.precisely,
            if permit.is_some() {
                Some(&ending)
            } else {
                None
            },
        );
        drop(holding);
        match end {
            Some(end) => self.leave(end, permit, permit.is_some()),
            None => self.not_begun(permit),
        }
    }

    /// Takes back that a task was begun: another thread had claimed it. The task was counted under
    /// the lock, not in a tally.
    fn not_begun(self: &Arc<Self>, permit: Permit) {
        self.queue.lock().begun -= 1;
        self.free_permit(permit); // guard: give-back-a-late-workers-permit
    }

    /// Empties the queue: what has not begun never will.
    fn empty(self: &Arc<Self>) {
        loop {
            let mut queue = self.queue.lock();
            let next = queue.express.pop_front();
            let next = next.or_else(|| queue.awaited.pop_front().map(|awaited| awaited.task));
            let next = next.or_else(|| queue.tasks.pop_front());
            let Some(task) = next else { return };
            drop(queue);
            if let Some(end) = task.discard() {
                self.leave_unrun(end);
            }
        }
    }

    pub(super) fn take_callback_panics(&self) -> Vec<Payload> {
        if !self.any_callback_panicked.load(Relaxed) {
            return Vec::new();
        }
        std::mem::take(&mut *self.callback_panics.lock())
    }

    pub(super) fn stats(&self) -> GroupStats {
        let queue = self.queue.lock();
        let in_place = self.ended_in_place.load(Relaxed);
        let mut stats = queue.ended.clone();
        stats.finished += in_place + self.ended_from_queue.load(Relaxed);
        let ended = stats.finished + stats.failed + stats.cancelled;
        // Workers report in tallies, which can arrive in another order than what they count:
        // `begun` may be behind `ended`, or ahead of `spawned`, until the next. Clamped, the states
        // always add up to the tasks that were spawned.
        let begun = usize::try_from(queue.begun + in_place as isize)
            .unwrap_or(0)
            .max(ended)
            .min(queue.spawned);
        stats.queued = queue.spawned - begun;
        stats.running = begun - ended;
        stats
    }
}

impl Observer for Shared {
    fn cancelled(self: Arc<Self>) {
        if holds(Guard::CancelEmptiesQueue) {
            self.empty();
        }
    }

    fn callback_panicked(self: Arc<Self>, payload: Payload) {
        self.callback_panics.lock().push(payload);
        self.any_callback_panicked.store(true, Relaxed);
    }
}
