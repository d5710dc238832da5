//! The cache of worker threads.
//!
//! Sources (groups) list themselves while they have tasks that a worker may run; workers pick a
//! source and run its tasks. The machine has as many *places* as it runs threads at once, and a
//! worker that is at work takes one. It frees its place when it blocks in one of our blocking
//! points, or when the monitor finds it blocked in code that is not ours.
//!
//! # Invariants
//!
//! 1. While a source is listed and a place is free, a worker is on its way; it passes the wake on
//!    before it runs a task. So queued tasks get threads for as long as the ones before them block,
//!    and a burst of spawns costs one wake.
//! 2. While a source is listed and no place is free, and while a worker has tasks stashed, the
//!    monitor runs. So a task is not stuck behind one that blocks: a worker gives its stash back
//!    when it blocks in one of our blocking points, and the monitor gives it back when the worker
//!    has been at one task for a tick.
//! 3. A worker is in one of four states: on its way, at work (in a place or blocked), idle and
//!    listed, or retired. Whoever wakes an idle worker exchanges its status, and so does the worker
//!    when it retires: a wake is never given to a worker that leaves.
//! 4. A worker stays with a source for a bounded number of batches, and for a millisecond or so at
//!    most where its tasks take long, while others are listed; then it goes to the back. So a
//!    source whose tasks spawn more, and never runs dry, does not keep the others from their
//!    workers.
//! 5. A thread that is about to block in one of our blocking points, and the monitor, run no code
//!    of the user's: it could block itself, which would take a wake from the wait, or the monitor
//!    from all groups. So what is given back is not dropped there, and a task that has to fail
//!    since no thread is to be had does so elsewhere (see [`Refusal`]).
//!
//! # Lock order
//!
//! The lock of the pool is innermost: no other lock is taken while it is held. A source decides
//! under its own lock to list itself and does it after that, since a listing may start a thread; it
//! takes itself off under its own lock, when it sees that it has nothing to run. So one that has
//! something to run is listed, or about to be; one that has nothing may be listed for a while
//! longer, until a worker comes and sees.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;

use std::sync::atomic::{AtomicUsize as PlainUsize, Ordering::Relaxed};

use crossbeam_utils::CachePadded;
use slab::Slab;

use super::monitor;
use super::worker::{Place, Worker};
use crate::facade::{self, Mutex, MutexGuard, THREAD_FOR_EACH_TASK, global, parallelism};

/// Tasks that a worker has taken from a source and not begun. Joiners can still claim them, other
/// workers cannot find them.
pub(crate) trait Stash: Send + Sync {
    /// Gives them back to the source, because the worker is not coming to them. Runs nothing of the
    /// user's, and sends no worker: whoever calls sees to that.
    fn give_back(&self);
}

/// Something with tasks to run.
pub(crate) trait Source: Send + Sync {
    /// Runs tasks on this worker until there is none that it may run, or other sources have waited
    /// for their turn.
    fn work(self: Arc<Self>, worker: &Worker);

    /// Starts the threads of the tasks that may begin, where each has one of its own.
    fn start_apart(self: Arc<Self>);

    /// The system refused the thread that a task needed: one task fails with `error`.
    fn refuse(self: Arc<Self>, error: io::Error);
}

global! {
    /// The workers of this process.
    pub(super) static POOL: Pool = Pool::new();
}

pub(super) struct Pool {
    pub(super) places: usize,
    state: Mutex<State>,
    /// How many sources are listed, for workers that linger or have been with one for long. A hint:
    /// the lock decides.
    listed: CachePadded<PlainUsize>,
}

#[derive(Default)]
pub(super) struct State {
    ready: VecDeque<Arc<dyn Source>>,
    /// The idle, the one that became so last at the back; it is the warmest. Those that retire are
    /// at the front.
    idle: VecDeque<Arc<Worker>>,
    workers: Slab<Member>,
    /// The keys of the workers in a place, in no order. The monitor looks at these alone: thousands
    /// may be blocked.
    busy: Vec<usize>,
    /// A task has begun since the monitor asked.
    progress: bool,
    /// Where among the busy the monitor goes on.
    looks_from: usize,
    /// Workers woken or started that have not looked for a source yet.
    arriving: usize,
    pub(super) monitor: monitor::Standing,
    closing: Option<crate::facade::Unparker>,
}

/// A worker, and what is known of it under the lock of the pool.
struct Member {
    worker: Arc<Worker>,
    /// Its index among the busy, if it is one.
    busy: Option<usize>,
    /// How many tasks it had begun when that was last looked at.
    seen: u32,
    /// It has been busy since the monitor looked at it.
    watched: bool,
}

/// The system refused a thread, and nobody is at work who could come for what is queued: a task has
/// to fail.
///
/// That runs code of the user's, and is left to whoever can do so: the thread of a spawn at once, a
/// thread that blocks outside of its wait, and the monitor when it has handed its duty over.
#[must_use = "a queued task waits for ever"]
pub(crate) struct Refusal {
    source: Arc<dyn Source>,
    error: io::Error,
}

impl Refusal {
    pub(crate) fn fail(self) {
        self.source.refuse(self.error);
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// What a worker is to do next.
pub(super) enum Next {
    Source(Arc<dyn Source>),
    /// Look for a source for a while, and come back as one that arrives.
    Linger,
    /// It is idle, and listed as such.
    Idle,
}

/// What `Pool::supply` decided under the lock and has to do outside it.
enum Supply {
    Nothing,
    Wake(Arc<Worker>),
    Start,
    Monitor,
}

impl Pool {
    fn new() -> Self {
        Pool {
            places: parallelism(),
            state: Mutex::new(State::default()),
            listed: CachePadded::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Sees to invariants 1 and 2.
    pub(super) fn supply(&self, mut state: MutexGuard<'_, State>) -> Option<Refusal> {
        let supply = state.decide(self.places);
        self.carry_out(supply, state)
    }

    /// As `supply`, on a thread that may run code of the user's.
    fn supply_or_fail(&self, state: MutexGuard<'_, State>) {
        let mut refusal = self.supply(state);
        // What is still listed is looked at again: the failed task may have been one of many.
        while let Some(refused) = refusal {
            refused.fail();
            refusal = self.supply(self.lock());
        }
    }

    /// Sends one worker more, whether a place is free or not; none if nothing is listed.
    pub(super) fn supply_beyond(&self) -> Option<Result<(), Refusal>> {
        let mut state = self.lock();
        if !state.is_waiting() {
            return None;
        }
        let supply = state.send();
        Some(self.carry_out(supply, state).map_or(Ok(()), Err))
    }

    fn carry_out(&self, supply: Supply, state: MutexGuard<'_, State>) -> Option<Refusal> {
        match supply {
            Supply::Nothing => {}
            Supply::Wake(worker) => {
                drop(state);
                worker.unpark();
            }
            Supply::Start => {
                drop(state);
                return Worker::start().err().and_then(|error| self.refused(error));
            }
            Supply::Monitor => monitor::rouse(state),
        }
        None
    }

    /// No thread is to be had. If nobody is at work, nobody will come: a task has to fail. Else it
    /// waits for its turn.
    fn refused(&self, error: io::Error) -> Option<Refusal> {
        let mut state = self.lock();
        state.arriving -= 1;
        if state.busy.len() + state.arriving > 0 {
            monitor::rouse(state);
            return None;
        }
        state.rotate().map(|source| Refusal { source, error })
    }

    /// A source for `worker`, which is on its way or has just finished with one; none if it is to
    /// go idle, or to leave.
    pub(super) fn next(&self, worker: &Arc<Worker>, arriving: bool, lingered: bool) -> Next {
        let mut state = self.lock();
        if arriving {
            state.arriving -= 1;
        }
        state.set_place(worker, Place::Busy);
        // One that came back from blocking into a full house leaves the work to the others.
        if arriving || state.busy.len() <= self.places {
            if let Some(source) = state.rotate() {
                return Next::Source(source);
            }
        }
        state.set_place(worker, Place::Away);
        if !lingered
            && state.arriving == 0
            && state.busy.len() < self.places
            && state.closing.is_none()
        {
            // On its way, and so nobody else is woken: the next source is often listed a moment
            // later, by a scope that follows this one, and a wake costs more than a look.
            state.arriving += 1;
            return Next::Linger;
        }
        worker.become_idle();
        state.idle.push_back(worker.clone());
        let closing = state.closing.clone();
        // It leaves sources only to a full house, for which the monitor looks.
        if state.is_waiting() {
            monitor::rouse(state);
        } else {
            drop(state);
        }
        if let Some(closing) = closing {
            closing.unpark();
        }
        Next::Idle
    }

    /// Looks for a source for as long as a wake would take. It must be there at two looks: one that
    /// its owner has emptied by the second was not worth coming for.
    pub(super) fn linger(&self) {
        let mut before = false;
        facade::linger(|| {
            let now = self.listed.load(Relaxed) > 0;
            std::mem::replace(&mut before, now) && now
        });
    }

    /// The worker blocks from now on.
    pub(super) fn block(&self, worker: &Arc<Worker>) -> Option<Refusal> {
        let mut state = self.lock();
        state.set_place(worker, Place::Blocked);
        let supply = match state.decide(self.places) {
            // The place is free at once, and the one on its way fills another.
            Supply::Nothing
                if state.is_waiting() && state.busy.len() + state.arriving < self.places =>
            {
                state.send()
            }
            supply => supply,
        };
        self.carry_out(supply, state)
    }

    /// The worker does not block any more.
    pub(super) fn unblock(&self, worker: &Arc<Worker>) {
        self.lock().set_place(worker, Place::Busy);
    }

    /// Takes a worker that leaves off the list of idle ones.
    pub(super) fn retire(&self, worker: &Arc<Worker>) {
        let mut state = self.lock();
        if let Some(index) = state.idle.iter().position(|idle| Arc::ptr_eq(idle, worker)) {
            state.idle.remove(index);
        }
        self.left(state, worker);
    }

    fn enlist(&self, source: Arc<dyn Source>) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.ready.push_back(source);
        self.listed.store(state.ready.len(), Relaxed);
        state
    }

    fn left(&self, mut state: MutexGuard<'_, State>, worker: &Worker) {
        state.workers.try_remove(worker.key());
        let closing = state.closing.clone().filter(|_| state.workers.is_empty());
        drop(state);
        if let Some(closing) = closing {
            closing.unpark();
        }
    }

    /// Whether the pool is being shut down; a worker that has been woken then leaves.
    pub(super) fn leave_if_closing(&self, worker: &Worker) -> bool {
        let mut state = self.lock();
        if state.closing.is_none() {
            return false;
        }
        state.arriving -= 1;
        self.left(state, worker);
        true
    }

    pub(super) fn register(&self, make: impl FnOnce(usize) -> Worker) -> Arc<Worker> {
        let mut state = self.lock();
        let entry = state.workers.vacant_entry();
        let worker = Arc::new(make(entry.key()));
        entry.insert(Member {
            worker: worker.clone(),
            busy: None,
            seen: 0,
            watched: false,
        });
        worker
    }
}

impl State {
    fn decide(&mut self, places: usize) -> Supply {
        if self.ready.is_empty() || self.arriving > 0 {
            Supply::Nothing
        } else if self.busy.len() >= places {
            Supply::Monitor
        } else {
            self.send()
        }
    }

    fn send(&mut self) -> Supply {
        self.arriving += 1;
        while let Some(worker) = self.idle.pop_back() {
            if worker.take() {
                return Supply::Wake(worker);
            }
        }
        Supply::Start
    }

    /// The source whose turn it is; it stays listed.
    fn rotate(&mut self) -> Option<Arc<dyn Source>> {
        let source = self.ready.pop_front()?;
        self.ready.push_back(source.clone());
        Some(source)
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether there is anything for the monitor to look after. Only a busy worker has a stash: one
    /// that blocks gives its own back first, and so does the monitor for one that it finds blocked.
    pub(super) fn needs_monitor(&self) -> bool {
        self.is_waiting()
            || self
                .busy
                .iter()
                .any(|&key| self.workers[key].worker.has_stash())
    }

    /// Of the busy workers, the next `most`: those that have been at one task since the look
    /// before.
    pub(super) fn look(&mut self, most: usize) -> Vec<Arc<Worker>> {
        let (count, from) = (self.busy.len(), self.looks_from);
        let mut suspects = Vec::new();
        for step in 0..count.min(most) {
            let member = &mut self.workers[self.busy[(from + step) % count]];
            let has_begun = member.has_begun();
            self.progress |= has_begun;
            if std::mem::replace(&mut member.watched, true) && !has_begun {
                suspects.push(member.worker.clone());
            }
        }
        self.looks_from = if count > most {
            (from + most) % count
        } else {
            0
        };
        suspects
    }

    /// Whether a task has begun since this was asked, as far as the looks and the moves of workers
    /// tell.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// Says where `worker` is; the places taken are counted here and nowhere else.
    pub(super) fn set_place(&mut self, worker: &Worker, place: Place) {
        let (key, before) = (worker.key(), worker.swap_place(place));
        match (before == Place::Busy, place == Place::Busy) {
            (false, true) => {
                let member = &mut self.workers[key];
                member.busy = Some(self.busy.len());
                member.watched = false;
                self.busy.push(key);
            }
            (true, false) => {
                let member = &mut self.workers[key];
                self.progress |= member.has_begun();
                if let Some(index) = member.busy.take() {
                    self.busy.swap_remove(index);
                    if let Some(&moved) = self.busy.get(index) {
                        self.workers[moved].busy = Some(index);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Member {
    /// Whether the worker has begun a task since this was asked.
    fn has_begun(&mut self) -> bool {
        let tasks = self.worker.tasks();
        std::mem::replace(&mut self.seen, tasks) != tasks
    }
}

/// Lists `source`: a worker comes for it. May run code of the user's.
pub(crate) fn list(source: Arc<dyn Source>) {
    if THREAD_FOR_EACH_TASK {
        return source.start_apart();
    }
    POOL.supply_or_fail(POOL.enlist(source));
}

/// Lists `source` for a worker that somebody else sends.
pub(crate) fn list_unsupplied(source: Arc<dyn Source>) {
    drop(POOL.enlist(source));
}

/// Takes `source` off the list.
pub(crate) fn unlist(source: &Arc<dyn Source>) {
    if THREAD_FOR_EACH_TASK {
        return;
    }
    let mut state = POOL.lock();
    if let Some(index) = state
        .ready
        .iter()
        .position(|listed| Arc::ptr_eq(listed, source))
    {
        let listed = state.ready.remove(index);
        POOL.listed.store(state.ready.len(), Relaxed);
        drop(state);
        drop(listed);
    }
}

/// Whether a source more than one is listed. A hint, and one load.
#[inline]
pub(crate) fn others_wait() -> bool {
    POOL.listed.load(Relaxed) > 1
}

/// Makes sure that stashes are looked after.
pub(crate) fn watch_stash() {
    monitor::rouse(POOL.lock());
}

/// Passes a wake on: a worker that has taken a task calls it before it runs the task.
pub(crate) fn pass_on() {
    POOL.supply_or_fail(POOL.lock());
}

/// Gives all that is stashed back, as the monitor does of workers that have been at one task for
/// too long; for models, in which no time passes.
#[cfg(taskgroup_models)]
pub(crate) fn give_back_stashes() {
    let workers: Vec<_> = POOL
        .lock()
        .workers
        .iter()
        .map(|(_, member)| member.worker.clone())
        .collect();
    workers.iter().for_each(|worker| worker.give_back());
    pass_on();
}

/// As [`give_back_stashes`], of the workers that say that they have something stashed.
#[cfg(taskgroup_models)]
pub(crate) fn give_back_flagged_stashes() {
    let workers: Vec<_> = POOL
        .lock()
        .workers
        .iter()
        .map(|(_, member)| member.worker.clone())
        .collect();
    let flagged: Vec<_> = workers
        .into_iter()
        .filter(|worker| worker.has_stash())
        .collect();
    flagged.iter().for_each(|worker| worker.give_back());
    pass_on();
}

/// Sends the idle workers away and waits until all have left; a model ends with it.
#[cfg(taskgroup_models)]
pub(crate) fn shut_down() {
    POOL.lock().closing = Some(crate::facade::Unparker::current());
    loop {
        let mut state = POOL.lock();
        let idle = std::mem::take(&mut state.idle);
        let woken: Vec<_> = idle.into_iter().filter(|worker| worker.take()).collect();
        state.arriving += woken.len();
        // One that has been started registers itself later, and counts as arriving until then.
        let all_left = state.workers.is_empty() && state.arriving == 0;
        drop(state);
        if all_left {
            return;
        }
        woken.iter().for_each(|worker| worker.unpark());
        crate::facade::park();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn places(state: &State) -> Vec<usize> {
        let mut busy = state.busy.clone();
        busy.sort_unstable();
        for (index, key) in state.busy.iter().enumerate() {
            assert_eq!(state.workers[*key].busy, Some(index));
        }
        busy
    }

    #[test]
    fn the_busy_are_those_in_a_place_whatever_the_order_of_their_moves() {
        let pool = Pool::new();
        let workers: Vec<_> = (0..7).map(|_| pool.register(Worker::new)).collect();
        let mut expected = std::collections::BTreeSet::new();
        let mut state = pool.lock();
        for step in 0..500_usize {
            // Each worker in turn, to a place that is another one each time round.
            let index = step * 5 % 7;
            let place = [
                Place::Busy,
                Place::Blocked,
                Place::Busy,
                Place::Stalled,
                Place::Away,
            ][step % 5];
            state.set_place(&workers[index], place);
            if place == Place::Busy {
                expected.insert(workers[index].key());
            } else {
                expected.remove(&workers[index].key());
            }
            assert_eq!(places(&state), expected.iter().copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_worker_is_suspected_at_the_second_look_in_one_task_and_one_look_costs_no_more_than_it_says()
     {
        let pool = Pool::new();
        let workers: Vec<_> = (0..10).map(|_| pool.register(Worker::new)).collect();
        let mut state = pool.lock();
        workers
            .iter()
            .for_each(|worker| state.set_place(worker, Place::Busy));
        let keys = |suspects: Vec<Arc<Worker>>| {
            suspects
                .iter()
                .map(|worker| worker.key())
                .collect::<Vec<_>>()
        };
        // All are looked at within three looks at four, and none is suspected before its second.
        for _ in 0..2 {
            assert_eq!(keys(state.look(4)), []);
        }
        assert_eq!(keys(state.look(4)), [workers[0].key(), workers[1].key()]);
        // One that has begun a task since, and one that has left its place and come back, are not.
        workers[2].count_task();
        state.set_place(&workers[3], Place::Blocked);
        state.set_place(&workers[3], Place::Busy);
        let seen: Vec<_> = (0..2).flat_map(|_| keys(state.look(4))).collect();
        assert!(
            !seen.is_empty()
                && !seen.contains(&workers[2].key())
                && !seen.contains(&workers[3].key()),
            "{seen:?}"
        );
        assert!(state.take_progress() && !state.take_progress());
    }

    #[test]
    fn a_task_begun_by_a_worker_that_has_blocked_since_is_progress() {
        let pool = Pool::new();
        let worker = pool.register(Worker::new);
        let mut state = pool.lock();
        state.set_place(&worker, Place::Busy);
        worker.count_task();
        state.set_place(&worker, Place::Blocked);
        assert!(state.take_progress());
        assert_eq!(state.look(64).len(), 0);
        // The same task goes on, and is none.
        state.set_place(&worker, Place::Busy);
        state.set_place(&worker, Place::Blocked);
        assert!(!state.take_progress());
    }
}
