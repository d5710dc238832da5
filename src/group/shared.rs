//! The part of a group that workers and cancels see: its queue and its counts.
//!
//! # Invariants
//!
//! 1. A task is counted, in `tasks` or `daemons`, from before it can be seen by another thread until everything of it that
//!    can borrow from the scope has been dropped. The owner leaves the scope only when it has seen both counts at zero.
//! 2. `closed` is set in the critical section that saw `tasks` at zero, and no task is counted after that. So no spawn comes
//!    between.
//! 3. A spawn looks whether the group is cancelled in the critical section in which it queues, and a cancel empties the
//!    queue after it has marked the group: a task that is queued late finds the mark, one that was queued before is found.
//! 4. At most `limit` tasks have a slot. One that waits for a queued task of its own group lends it its slot: the borrower
//!    goes to `express` and is not counted again. One that waits for the first of several events leaves its slot to whatever
//!    is queued, and gets one back with the event. Daemons need no slot.
//! 5. The group is listed with the workers while it has a task that a worker may begin.
//!
//! # Lock order
//!
//! The queue's lock is taken with no other lock held but that of a `Completions`, and inside it only that of the pool.
//! Tasks are run, dropped and cancelled outside it.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool as PlainBool, AtomicUsize as PlainUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use super::stats::GroupStats;
use super::status::TaskStatus;
use crate::cancel::context::Outcome;
use crate::cancel::{context, CancelCause, CancelToken, Cancelled, Node, Observer, OwnedBy};
use crate::facade::{holds, most_stashed, spin, Guard, Mutex, Payload};
use crate::waiting::{Point, Slot};
use crate::workers::{self, Departure, Source, Stash, Worker};

/// A task of any type, as the queue holds it.
pub(super) type Erased = workers::Erased<Arc<Node>>;

pub(super) struct Shared {
    token: CancelToken,
    limit: usize,
    /// The thread of the scope, by its identity: sound for as long as the scope lasts.
    owner: usize,
    /// A task has been counted, some time. For the owner, when the body has returned.
    used: PlainBool,
    queue: Mutex<Queue>,
    /// The node of the daemons, made with the first of them.
    daemon_node: OnceLock<Arc<Node>>,
    /// Tasks that the owner has run in place and not yet taken off the counts. Only the owner writes it.
    ended_in_place: PlainUsize,
    callback_panics: Mutex<Vec<Payload>>,
    /// Whether there are any. The end of the scope comes after those of all callbacks and hooks.
    any_callback_panicked: PlainBool,
}

#[derive(Default)]
struct Queue {
    /// Tasks in the order of their spawns. Some may have been claimed already by somebody who waits for them.
    tasks: VecDeque<Erased>,
    /// What needs no slot: daemons, and tasks that were lent one.
    express: VecDeque<Erased>,
    listed: bool,
    limited: bool,
    slots: usize,
    /// Those of tasks that have ended, as far as anybody can see, and not left yet.
    slots_ending: usize,
    live_tasks: usize,
    live_daemons: usize,
    closed: bool,
    /// The owner, while it waits for the counts.
    owner_waits: Option<Arc<Slot>>,
    spawned: usize,
    begun: usize,
    ended: GroupStats,
    /// The first cancel from outside the group that cut a task short.
    cut: Option<Cancelled>,
}

/// How a task takes part in its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Task,
    Daemon,
}

impl Role {
    /// What a task of this role leaves for the counts.
    pub(super) fn departure(self, status: TaskStatus) -> Departure {
        Departure { role: self as u8, status: status.code() }
    }
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
    Ended(Departure),
    /// Somebody else has it, or a thread of its own.
    Elsewhere,
}

/// What a task that leaves holds of the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    Nothing,
    Slot,
    /// A slot that is counted as ending.
    Ending,
}

impl Held {
    fn of(slot: bool) -> Self {
        if slot {
            Held::Slot
        } else {
            Held::Nothing
        }
    }
}

/// A task taken from the queue, and whether it holds a slot.
struct Taken {
    task: Erased,
    slot: bool,
    /// It is worth a look at the precise clock: the queue is not long.
    precisely: bool,
}

impl Shared {
    pub(super) fn new(node: Arc<Node>, limit: Option<usize>) -> Arc<Self> {
        let shared = Arc::new(Shared {
            token: CancelToken::from_node(node),
            limit: limit.unwrap_or(usize::MAX),
            owner: context::identity(),
            used: PlainBool::new(false),
            queue: Mutex::new(Queue { limited: limit.is_some(), ..Queue::default() }),
            daemon_node: OnceLock::new(),
            ended_in_place: PlainUsize::new(0),
            callback_panics: Mutex::new(Vec::new()),
            any_callback_panicked: PlainBool::new(false),
        });
        let observer: Weak<dyn Observer> = Arc::<Shared>::downgrade(&shared);
        shared.node().observe(observer);
        shared
    }

    pub(super) fn token(&self) -> &CancelToken {
        &self.token
    }

    #[inline]
    pub(super) fn node(&self) -> &Arc<Node> {
        self.token.node()
    }

    /// The node that tasks of a role run under.
    #[inline]
    pub(super) fn base(&self, role: Role) -> &Arc<Node> {
        match role {
            Role::Task => self.node(),
            Role::Daemon => self.daemon_node(),
        }
    }

    /// The node of the daemons: made before the first of them is counted, so that the end of the scope finds it.
    fn daemon_node(&self) -> &Arc<Node> {
        if let Some(node) = self.daemon_node.get() {
            return node;
        }
        // Outside the cell: making a node takes locks. Of two that are made at once, one is dropped.
        let node = Node::of_task(self.node());
        self.daemon_node.get_or_init(|| node)
    }

    pub(super) fn is_owner(&self) -> bool {
        context::identity() == self.owner
    }

    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.limit != usize::MAX
    }

    /// How many tasks may run at once, if that is limited.
    pub(super) fn limit(&self) -> Option<usize> {
        self.is_limited().then_some(self.limit)
    }

    /// Counts a task and queues it.
    pub(super) fn enqueue(self: &Arc<Self>, task: Erased, role: Role, only_if_free: bool) -> Result<(), Refused> {
        let cancelled_before = !holds(Guard::SpawnChecksUnderLock) && self.node().is_flagged();
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(Refused::Closed);
        }
        if cancelled_before || (holds(Guard::SpawnChecksUnderLock) && self.node().is_flagged()) {
            return Err(Refused::Cancelled);
        }
        if only_if_free && queue.slots - queue.slots_ending + queue.tasks.len() >= self.limit {
            return Err(Refused::Full);
        }
        queue.spawned += 1;
        self.used.store(true, Relaxed);
        match role {
            Role::Task => {
                queue.live_tasks += 1;
                queue.tasks.push_back(task);
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

    /// Counts a task that wants a thread of its own and starts the thread, if a slot is free; else queues the task.
    pub(super) fn start_or_enqueue(
        self: &Arc<Self>,
        task: Erased,
        role: Role,
        only_if_free: bool,
    ) -> Result<(), (Refused, Option<io::Error>)> {
        let mut queue = self.queue.lock();
        let slot = role == Role::Task;
        if queue.closed || self.node().is_flagged() || (slot && queue.slots >= self.limit) {
            drop(queue);
            return self.enqueue(task, role, only_if_free).map_err(|refused| (refused, None));
        }
        queue.spawned += 1;
        self.used.store(true, Relaxed);
        queue.begun += 1;
        match role {
            Role::Task => {
                queue.live_tasks += 1;
                queue.slots += 1;
            }
            Role::Daemon => queue.live_daemons += 1,
        }
        drop(queue);
        self.start_thread(Taken { task: task.clone(), slot, precisely: true }).map_err(|error| {
            // Off the counts again; what the spawn failed with is the caller's to say.
            self.leave(role.departure(TaskStatus::Failed), Held::of(slot));
            (Refused::NoThread, Some(error))
        })
    }

    fn start_thread(self: &Arc<Self>, taken: Taken) -> io::Result<()> {
        let task = taken.task.clone();
        let (name, stack_size) = task.own_thread().unwrap_or(("taskgroup", None));
        let shared = self.clone();
        workers::start_dedicated(name, stack_size, move || shared.run(taken))
    }

    /// Runs a task that a worker has taken, or starts the thread of its own that it asks for.
    fn dispatch(self: &Arc<Self>, taken: Taken) -> Dispatched {
        if taken.task.own_thread().is_none() {
            let slot = taken.slot;
            let ending = || self.slot_is_ending();
            return match taken.task.run(taken.precisely, if slot { Some(&ending) } else { None }) {
                Some(departure) if slot => {
                    self.leave(departure, Held::Ending);
                    Dispatched::Elsewhere
                }
                Some(departure) => Dispatched::Ended(departure),
                None => {
                    self.not_begun(taken.slot);
                    Dispatched::Elsewhere
                }
            };
        }
        let (task, slot) = (taken.task.clone(), taken.slot);
        match self.start_thread(taken) {
            Ok(()) => Dispatched::Elsewhere,
            Err(error) => {
                self.free_slot(slot);
                task.refuse(error).map_or(Dispatched::Elsewhere, Dispatched::Ended)
            }
        }
    }

    /// Takes the next tasks that a worker may begin, the one to begin with apart, and reports `tally`. Takes the group off
    /// the list if it has none left.
    fn take_batch(self: &Arc<Self>, size: usize, tally: Tally) -> Option<(Taken, Vec<Erased>)> {
        let mut queue = self.queue.lock();
        let wake = queue.enter(tally);
        let taken = queue.take(self.limit).map(|first| {
            let size = if self.is_limited() { 1 } else { size.min(queue.tasks.len() / 4 + 1) };
            // While the owner runs tasks from the front, workers take theirs from the back, out of its way.
            let from = if self.ended_in_place.load(Relaxed) == 0 { 0 } else { queue.tasks.len() + 1 - size };
            let rest = if size > 1 { queue.tasks.drain(from..from + size - 1).collect() } else { Vec::new() };
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

    /// Takes an ended task off the counts.
    fn leave(self: &Arc<Self>, departure: Departure, held: Held) {
        let mut tally = Tally::default();
        tally.add(departure);
        let mut queue = self.queue.lock();
        queue.slots -= usize::from(held != Held::Nothing);
        queue.slots_ending -= usize::from(held == Held::Ending);
        let wake = queue.enter(tally);
        let list = held != Held::Nothing && queue.must_list(self.limit);
        drop(queue);
        if let Some(owner) = wake {
            owner.unpark();
        }
        if list {
            workers::list(self.clone());
        }
    }

    /// Takes a task that was claimed outside the queue, and dropped unrun, off the counts.
    pub(super) fn leave_unrun(self: &Arc<Self>, departure: Departure) {
        self.queue.lock().begun += 1;
        self.leave(departure, Held::Nothing);
    }

    /// The right to begin a queued task here, for whoever waits for nothing else; the task holds a slot if true.
    #[inline]
    pub(super) fn begin_in_place(&self) -> Option<bool> {
        if !self.is_limited() {
            return Some(false);
        }
        if context::is_in_task_of(self.node()) {
            // The waiting task lends its slot.
            return Some(false);
        }
        let mut queue = self.queue.lock();
        let free = queue.slots < self.limit;
        queue.slots += usize::from(free);
        free.then_some(true)
    }

    /// Says that a slot is about to be free, before anybody can see that its task has ended.
    fn slot_is_ending(&self) {
        self.queue.lock().slots_ending += 1;
    }

    /// Gives a slot back whose task was claimed by somebody else, or has no thread.
    pub(super) fn free_slot(self: &Arc<Self>, slot: bool) {
        if !slot {
            return;
        }
        let mut queue = self.queue.lock();
        queue.slots -= 1;
        let list = queue.must_list(self.limit);
        drop(queue);
        if list {
            workers::list(self.clone());
        }
    }

    /// Counts a task that has been run in place.
    #[inline]
    pub(super) fn ended_in_place(self: &Arc<Self>, departure: Departure, slot: bool) {
        let plain = departure.status == TaskStatus::Finished.code() && departure.role == Role::Task as u8;
        if plain && !slot && self.is_owner() {
            // Only the owner waits for the counts, so what it does itself it need not tell anybody.
            self.ended_in_place.store(self.ended_in_place.load(Relaxed) + 1, Relaxed);
            return;
        }
        self.queue.lock().begun += 1;
        self.leave(departure, Held::of(slot));
    }

    /// Lends the slot of the task that this thread runs, which waits, to a queued task of the same group.
    pub(super) fn lend(self: &Arc<Self>, task: impl FnOnce() -> Erased) {
        if !self.is_limited() || !context::is_in_task_of(self.node()) || !holds(Guard::WaitLendsSlot) {
            return;
        }
        let mut queue = self.queue.lock();
        queue.express.push_back(task());
        let list = queue.must_list(self.limit);
        drop(queue);
        if list {
            workers::list(self.clone());
        }
    }

    /// Gives up the slot of the task that this thread runs, until `rejoin_limit`; false if there is no limit, or this thread
    /// runs no task of the group. `offer` then lets a queued task have it.
    pub(super) fn leave_limit(&self) -> bool {
        let leave = self.is_limited() && context::is_in_task_of(self.node());
        if leave {
            self.queue.lock().slots -= 1;
        }
        leave
    }

    /// Lists the group, if a slot has become free for a queued task.
    pub(super) fn offer(self: &Arc<Self>) {
        let list = self.queue.lock().must_list(self.limit);
        if list {
            workers::list(self.clone());
        }
    }

    /// Takes the slot back. Does not wait for one: a task that has been woken goes on, and what is queued has to wait.
    pub(super) fn rejoin_limit(&self) {
        self.queue.lock().slots += 1;
    }

    /// Notes a cancel that cut a task or the body short, if it makes the whole scope count as cancelled: one that came from
    /// above, or the group's own deadline. The group absorbs what it asked for itself.
    pub(super) fn note_cut(&self, cancelled: &Cancelled) {
        let counts = match self.node().owner_of(cancelled) {
            OwnedBy::Node => matches!(cancelled.cause(), CancelCause::Deadline { .. }),
            OwnedBy::Ancestor => true,
            OwnedBy::Foreign => false,
        };
        if counts {
            self.queue.lock().cut.get_or_insert_with(|| cancelled.clone());
        }
    }

    pub(super) fn cut(&self) -> Option<Cancelled> {
        if !self.node().is_flagged() {
            return None;
        }
        self.queue.lock().cut.clone()
    }

    /// Runs what has not begun, on the owner's thread, and waits until all tasks have ended; closes the group; ends the
    /// daemons.
    pub(super) fn finish(self: &Arc<Self>, location: &'static std::panic::Location<'static>) {
        // With no task there is nobody else who could know of the group: what is cheap here is the price of an empty scope.
        if !self.used.load(Relaxed) && !self.node().is_flagged() {
            return;
        }
        while let Some(taken) = self.take_for_owner() {
            self.run(taken);
        }
        self.wait_for_end(|queue| {
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
            self.wait_for_end(|queue| queue.live_daemons == 0);
        }
        self.node().quiesce();
        if let Some(node) = self.daemon_node.get() {
            node.quiesce();
        }
    }

    /// Takes no more tasks, from hooks that run after the end of the scope.
    pub(super) fn close(&self) {
        self.queue.lock().closed = true;
    }

    #[track_caller]
    fn wait_for_end(self: &Arc<Self>, mut done: impl FnMut(&mut Queue) -> bool) {
        let mut poll = || {
            let mut queue = self.queue.lock();
            queue.live_tasks -= self.ended_in_place.swap(0, Relaxed).min(queue.live_tasks);
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
        // The owner has nothing else to do than to see that deadlines are kept.
        while context::wait_uncancellable(Point::ScopeEnd, || self.node().next_limit(), &mut poll) == Outcome::TimedOut {
            self.node().expire();
        }
    }

    /// A task that the owner may run while it waits for all of them. One that needs a thread of its own, or its name on
    /// the thread, is left to the workers, and so are daemons.
    fn take_for_owner(self: &Arc<Self>) -> Option<Taken> {
        let mut queue = self.queue.lock();
        while queue.tasks.front().is_some_and(|task| task.is_claimed()) {
            queue.tasks.pop_front();
        }
        if queue.slots >= self.limit || !queue.tasks.front().is_some_and(|task| task.runs_anywhere()) {
            if !queue.has_work(self.limit) && queue.listed {
                queue.listed = false;
                let source: Arc<dyn Source> = self.clone();
                workers::unlist(&source);
            }
            return None;
        }
        queue.take_task()
    }

    fn run(self: &Arc<Self>, taken: Taken) {
        let ending = || self.slot_is_ending();
        match taken.task.run(taken.precisely, if taken.slot { Some(&ending) } else { None }) {
            Some(departure) => self.leave(departure, if taken.slot { Held::Ending } else { Held::Nothing }),
            None => self.not_begun(taken.slot),
        }
    }

    /// Takes back that a task was begun, which somebody else had claimed.
    fn not_begun(self: &Arc<Self>, slot: bool) {
        self.queue.lock().begun -= 1;
        self.free_slot(slot);
    }

    /// Empties the queue: what has not begun never will.
    fn empty(self: &Arc<Self>) {
        loop {
            let mut queue = self.queue.lock();
            let Some(task) = queue.express.pop_front().or_else(|| queue.tasks.pop_front()) else { return };
            drop(queue);
            if let Some(departure) = task.discard() {
                self.leave_unrun(departure);
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
        stats.finished += in_place;
        let begun = queue.begun + in_place;
        stats.queued = queue.spawned.saturating_sub(begun);
        stats.running = begun.saturating_sub(stats.finished + stats.failed + stats.cancelled);
        stats
    }
}

impl Queue {
    /// Takes ended tasks off the counts; the owner, if it is to be woken.
    fn enter(&mut self, tally: Tally) -> Option<Arc<Slot>> {
        self.live_tasks -= tally.tasks;
        self.live_daemons -= tally.daemons;
        self.begun += tally.begun;
        self.ended.finished += tally.ended.finished;
        self.ended.failed += tally.ended.failed;
        self.ended.cancelled += tally.ended.cancelled;
        if self.live_tasks == 0 && (!self.closed || self.live_daemons == 0) {
            self.owner_waits.take()
        } else {
            None
        }
    }

    fn has_work(&self, limit: usize) -> bool {
        !self.express.is_empty() || (!self.tasks.is_empty() && (self.slots < limit || !holds(Guard::LimitIsKept)))
    }

    /// Whether the group has to be listed, which it then counts as.
    fn must_list(&mut self, limit: usize) -> bool {
        let list = !self.listed && self.has_work(limit);
        self.listed |= list;
        list
    }

    fn take(&mut self, limit: usize) -> Option<Taken> {
        if let Some(task) = self.express.pop_front() {
            self.begun += 1;
            return Some(Taken { task, slot: false, precisely: true });
        }
        if self.slots < limit || !holds(Guard::LimitIsKept) {
            self.take_task()
        } else {
            None
        }
    }

    fn take_task(&mut self) -> Option<Taken> {
        let task = loop {
            let task = self.tasks.pop_front()?;
            if !task.is_claimed() {
                break task;
            }
        };
        self.begun += 1;
        // Without a limit, nobody looks at the slots.
        let slot = self.limited;
        self.slots += usize::from(slot);
        Some(Taken { task, slot, precisely: true })
    }
}

/// Ended tasks that are still on the counts.
#[derive(Default)]
struct Tally {
    tasks: usize,
    daemons: usize,
    begun: usize,
    ended: GroupStats,
}

impl Tally {
    fn add(&mut self, departure: Departure) {
        if departure.role == Role::Daemon as u8 {
            self.daemons += 1;
        } else {
            self.tasks += 1;
        }
        match TaskStatus::from_code(departure.status) {
            TaskStatus::Failed | TaskStatus::Panicked => self.ended.failed += 1,
            TaskStatus::Cancelled | TaskStatus::NeverRan => self.ended.cancelled += 1,
            _ => self.ended.finished += 1,
        }
    }
}

/// What a worker has taken and not begun, and what it has ended and not reported: both reach the group when the worker comes
/// for more, when it blocks, and when somebody finds that it has not come for too long.
struct TaskStash {
    shared: Arc<Shared>,
    stashed: Mutex<Stashed>,
}

#[derive(Default)]
struct Stashed {
    tasks: VecDeque<Erased>,
    tally: Tally,
}

impl TaskStash {
    fn new(shared: Arc<Shared>) -> Self {
        TaskStash { shared, stashed: Mutex::new(Stashed::default()) }
    }

    fn put(&self, tasks: Vec<Erased>) {
        self.stashed.lock().tasks.extend(tasks);
    }

    fn next(&self) -> Option<Erased> {
        let mut stashed = self.stashed.lock();
        loop {
            let task = stashed.tasks.pop_front()?;
            if !task.is_claimed() {
                stashed.tally.begun += 1;
                return Some(task);
            }
        }
    }

    fn note(&self, departure: Departure) {
        self.stashed.lock().tally.add(departure);
    }

    fn tally(&self) -> Tally {
        std::mem::take(&mut self.stashed.lock().tally)
    }
}

impl Stash for TaskStash {
    fn give_back(&self) {
        let stashed = std::mem::take(&mut *self.stashed.lock());
        let mut queue = self.shared.queue.lock();
        for task in stashed.tasks.into_iter().rev() {
            queue.tasks.push_front(task);
        }
        let wake = queue.enter(stashed.tally);
        let list = queue.must_list(self.shared.limit);
        drop(queue);
        if let Some(owner) = wake {
            owner.unpark();
        }
        if list {
            workers::list(self.shared.clone());
        }
        if self.shared.node().is_flagged() {
            self.shared.empty();
        }
    }
}

impl Source for Shared {
    fn work(self: Arc<Self>, worker: &Worker) {
        let stash = Arc::new(TaskStash::new(self.clone()));
        worker.set_stash(Some(stash.clone()));
        let mut size = 1;
        let mut passed_on = false;
        loop {
            let taken = match stash.next() {
                Some(task) => Taken { task, slot: false, precisely: false },
                None => {
                    let Some((first, rest)) = self.take_batch(size, stash.tally()) else { break };
                    worker.set_stashing(!rest.is_empty());
                    if !rest.is_empty() {
                        stash.put(rest);
                        workers::watch_stash();
                    }
                    // A first task that blocks, as most do that block at all, has nothing stashed behind it.
                    size = (size * 2).min(most_stashed());
                    first
                }
            };
            if !passed_on && holds(Guard::WakeIsPassedOn) {
                workers::pass_on();
                passed_on = true;
            }
            worker.begin_task();
            match self.dispatch(taken) {
                Dispatched::Ended(departure) => stash.note(departure),
                Dispatched::Elsewhere => {}
            }
        }
        worker.set_stash(None);
    }

    fn refuse(self: Arc<Self>, error: io::Error) {
        let Some((taken, _)) = self.take_batch(1, Tally::default()) else { return };
        if let Some(departure) = taken.task.refuse(error) {
            self.leave(departure, Held::of(taken.slot));
        }
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
