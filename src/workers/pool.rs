//! The pool: which sources are listed, which workers there are, and when one more is sent.
//!
//! Sources (usually groups) list themselves while they have tasks that a worker may run. Workers
//! pick a source and run its tasks. The machine has as many *places* as it runs threads at once,
//! and a worker that is at work takes one. It frees its place when it blocks in a blocking point of
//! this crate, or when the monitor finds it blocked in other code. `README.md` in this folder draws
//! how that plays together.
//!
//! # Invariants
//!
//! 1. While a source is listed and a place is free, a worker is on its way. It passes the wake on
//!    before it runs a task. So queued tasks get threads for as long as the ones before them block,
//!    and a burst of spawns costs one wake.
//! 2. The monitor runs while a source is listed and no place is free, and while a busy worker has
//!    tasks in its local batch. So a task is not stuck behind another that blocks: a worker gives
//!    its batch back when it blocks in a blocking point of this crate, and the monitor gives it
//!    back when the worker has been at one task for a tick.
//! 3. A worker is in one of four states: at work (in a place or blocked), idle and listed, on its
//!    way, or retired. A thread that wakes an idle worker exchanges its status, and so does the
//!    worker when it retires: a wake is never given to a worker that leaves.
//! 4. A worker stays with a source for a bounded number of batches, and for a millisecond or so at
//!    most where its tasks take long, while other sources are listed. Then it takes the next one in
//!    turn. So a source with tasks that spawn more, which never runs dry, does not keep the others
//!    from their workers.
//! 5. A thread that is about to block in a blocking point of this crate, and the monitor, run no
//!    user code. Such code could block itself, which would take a wake from the wait, or the
//!    monitor from all groups. So tasks that are given back are not dropped there, and a task that
//!    has to fail because the system has no thread fails elsewhere (see [`Refusal`]).
//!
//! # Lock order
//!
//! The lock of the pool is innermost: no other lock is taken while it is held. A source decides
//! under its own lock to list itself and does so after that, since a listing may start a thread. It
//! takes itself off under its own lock, when it sees that it has nothing to run. So a source that
//! has something to run is listed, or about to be. A source that has nothing may be listed for a
//! while longer, until a worker comes and sees.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as PlainUsize, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::idle_workers::IdleWorkers;
use super::members::Members;
use super::name::THREAD_NAME;
use super::source::{Refusal, Source};
use super::worker::{Activity, Worker};
use crate::facade::{
    self, Mutex, MutexGuard, TIME_PASSES, Unparker, contained, error_event, parallelism,
    start_thread,
};
use crate::panics::log;

/// The main function of a thread of the pool. The pool is given it, and so knows nothing of what
/// workers and the monitor do.
type Main = fn(&'static Pool);

pub(super) struct Pool {
    places: usize,
    worker_main: Main,
    monitor_main: Main,
    state: Mutex<PoolState>,
    /// How many sources are listed, for workers that linger or have been with one for long. A hint:
    /// the lock decides.
    listed: CachePadded<PlainUsize>,
}

#[derive(Default)]
pub(super) struct PoolState {
    /// The listed sources. The next in turn stands at the front.
    sources: VecDeque<Arc<dyn Source>>,
    pub(super) members: Members,
    idle: IdleWorkers,
    /// Workers woken or started that have not looked for a source yet.
    arriving: usize,
    pub(super) monitor: MonitorState,
    closing: Option<Unparker>,
}

/// The state of the monitor's thread.
#[derive(Default)]
pub(super) enum MonitorState {
    #[default]
    Absent,
    Parked(Unparker),
    Running,
}

/// How a worker comes to look for a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seeking {
    /// It was woken or started, and counts as arriving.
    Arriving,
    /// It has lingered, and counts as arriving.
    Lingered,
    /// It has just finished with a source.
    Finished,
}

/// The next step of a worker.
pub(super) enum Next {
    Source(Arc<dyn Source>),
    /// It is to look for a source for a while, and come back as `Seeking::Lingered`.
    Linger,
    /// It is idle, and listed as such.
    Idle,
}

/// A decision that was made under the lock, to be carried out outside of it.
enum Action {
    Nothing,
    Wake(Arc<Worker>),
    Start,
    Monitor,
}

impl Pool {
    pub(super) fn new(worker_main: Main, monitor_main: Main) -> Self {
        Pool {
            places: parallelism(),
            worker_main,
            monitor_main,
            state: Mutex::new(PoolState::default()),
            listed: CachePadded::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock()
    }

    /// Lists a source. The caller then makes sure that it gets a worker, under the lock that this
    /// returns.
    pub(super) fn list(&self, source: Arc<dyn Source>) -> MutexGuard<'_, PoolState> {
        let mut state = self.lock();
        state.sources.push_back(source);
        self.listed.store(state.sources.len(), Relaxed);
        state
    }

    /// Takes a source off the list.
    pub(super) fn unlist(&self, source: &Arc<dyn Source>) {
        let mut state = self.lock();

        let mut sources = state.sources.iter();
        if let Some(index) = sources.position(|listed| Arc::ptr_eq(listed, source)) {
            let listed = state.sources.remove(index);
            self.listed.store(state.sources.len(), Relaxed);

            // The lock is released before a reference to a source is dropped.
            drop(state);
            drop(listed);
        }
    }

    /// Returns how many workers there are, and how many of them are idle.
    pub(super) fn size(&self) -> (usize, usize) {
        let state = self.lock();
        (state.members.len(), state.idle.len())
    }

    /// Returns how many sources are listed. A hint, and one load.
    #[inline]
    pub(super) fn listed(&self) -> usize {
        self.listed.load(Relaxed)
    }

    /// Keeps invariants 1 and 2: sends a worker, or the monitor, where one is needed.
    pub(super) fn ensure_worker(
        &'static self,
        mut state: MutexGuard<'_, PoolState>,
    ) -> Option<Refusal> {
        let action = state.decide(self.places);
        self.carry_out(action, state)
    }

    /// Like `ensure_worker`, on a thread that may run user code.
    pub(super) fn ensure_worker_or_fail(&'static self, state: MutexGuard<'_, PoolState>) {
        let mut refusal = self.ensure_worker(state);

        // The list is looked at again: the failed task may have been one of many.
        while let Some(refused) = refusal {
            refused.fail();
            refusal = self.ensure_worker(self.lock());
        }
    }

    /// Sends one more worker, whether a place is free or not. `None` if no source is listed.
    pub(super) fn send_extra_worker(&'static self) -> Option<Result<(), Refusal>> {
        let mut state = self.lock();
        if !state.has_source() {
            return None;
        }

        let action = state.send();
        Some(self.carry_out(action, state).map_or(Ok(()), Err))
    }

    /// Makes the monitor run.
    pub(super) fn ensure_monitor(&'static self, mut state: MutexGuard<'_, PoolState>) {
        if !TIME_PASSES {
            return;
        }

        // The state changes first, under the lock, so that one thread alone wakes or starts it.
        match mem::replace(&mut state.monitor, MonitorState::Running) {
            MonitorState::Running => {}
            MonitorState::Parked(thread) => {
                drop(state);
                thread.unpark();
            }
            MonitorState::Absent => {
                drop(state);
                // No other thread starts a second one: the state says that it runs.
                let main = move || contained(|| (self.monitor_main)(self));
                if let Err(error) = start_thread("taskgroup-monitor", None, main) {
                    self.lock().monitor = MonitorState::Absent;
                    log(
                        || error_event!(%error, "cannot start the thread that looks for blocked workers: queued tasks wait for running ones"),
                    );
                }
            }
        }
    }

    fn carry_out(
        &'static self,
        action: Action,
        state: MutexGuard<'_, PoolState>,
    ) -> Option<Refusal> {
        match action {
            Action::Nothing => {}
            Action::Wake(worker) => {
                drop(state);
                worker.unpark();
            }
            Action::Start => {
                // Starting a thread takes long, and the new thread needs the lock.
                drop(state);
                let started = start_thread(THREAD_NAME, None, move || (self.worker_main)(self));
                return started.err().and_then(|error| self.refused(error));
            }
            Action::Monitor => self.ensure_monitor(state),
        }
        None
    }

    /// Decides what follows where the system has refused a thread. If no worker is at work, none
    /// will come, so a task has to fail. Otherwise the task waits for its turn.
    fn refused(&'static self, error: io::Error) -> Option<Refusal> {
        let mut state = self.lock();

        // `send` has counted the worker that was not started.
        state.arriving -= 1;

        // A worker that is at work or on its way comes for the queued tasks later. It may block in
        // foreign code first, which the monitor then finds.
        if state.members.busy() + state.arriving > 0 {
            self.ensure_monitor(state);
            return None;
        }

        // No worker will ever come, so this source has to fail a task.
        state.rotate().map(|source| Refusal::new(source, error))
    }

    /// Returns a source for `worker`, or says that it lingers or is idle now.
    pub(super) fn next(&'static self, worker: &Arc<Worker>, seeking: Seeking) -> Next {
        let mut state = self.lock();
        let arriving = seeking != Seeking::Finished;
        if arriving {
            state.arriving -= 1;
        }

        // A worker that comes back from blocking to find every place taken leaves the work to the
        // others.
        state.members.set_activity(worker, Activity::Busy);
        if arriving || state.members.busy() <= self.places {
            if let Some(source) = state.rotate() {
                return Next::Source(source);
            }
        }
        state.members.set_activity(worker, Activity::Away);

        // A scope that follows this one often lists the next source a moment later, and a wake
        // costs more than a look. The worker counts as arriving, so no other is woken meanwhile.
        let may_linger = seeking != Seeking::Lingered
            && state.arriving == 0
            && state.members.busy() < self.places
            && state.closing.is_none();
        if may_linger {
            state.arriving += 1;
            return Next::Linger;
        }

        // Idle and listed under one lock: a wake that finds it listed takes it, or sees that it has
        // retired (invariant 3).
        worker.become_idle();
        state.idle.push(worker.clone());
        let closing = state.closing.clone();

        // Invariant 2: the worker leaves sources behind only where every place is taken.
        if state.has_source() {
            self.ensure_monitor(state);
        } else {
            drop(state);
        }

        if let Some(closing) = closing {
            closing.unpark();
        }
        Next::Idle
    }

    /// Looks for a source for about as long as a wake takes.
    ///
    /// A source counts if it is there at two looks. A source that its owner has emptied by the
    /// second look was not worth coming for.
    pub(super) fn linger(&self) {
        let mut before = false;
        facade::linger(|| {
            let now = self.listed() > 0;
            mem::replace(&mut before, now) && now
        });
    }

    /// Frees the place of a worker that blocks from now on, and sends another worker to it.
    pub(super) fn block(&'static self, worker: &Arc<Worker>) -> Option<Refusal> {
        let mut state = self.lock();
        state.members.set_activity(worker, Activity::Blocked);

        let action = match state.decide(self.places) {
            // A worker is on its way, but there are more places than it fills.
            Action::Nothing
                if state.has_source() && state.members.busy() + state.arriving < self.places =>
            {
                state.send()
            }
            action => action,
        };
        self.carry_out(action, state)
    }

    /// Gives a place to a worker that no longer blocks.
    pub(super) fn unblock(&self, worker: &Arc<Worker>) {
        self.lock().members.set_activity(worker, Activity::Busy);
    }

    /// Gives a worker that was found stalled its place back, since it begins a task.
    #[cold]
    pub(super) fn unstall(&'static self, worker: &Worker) {
        let mut state = self.lock();
        state.members.set_activity(worker, Activity::Busy);

        // Invariant 2: while it counted as stalled, the monitor did not look at its batch.
        if worker.has_batch() {
            self.ensure_monitor(state);
        }
    }

    /// Adds the worker that `make` makes for a key.
    pub(super) fn register(&self, make: impl FnOnce(usize) -> Worker) -> Arc<Worker> {
        self.lock().members.add(make)
    }

    /// Removes a worker that has retired.
    pub(super) fn remove(&self, worker: &Arc<Worker>) {
        let mut state = self.lock();
        state.idle.remove(worker);
        self.left(state, worker);
    }

    fn left(&self, mut state: MutexGuard<'_, PoolState>, worker: &Worker) {
        state.members.remove(worker);
        let all_left = state.members.is_empty();
        let closing = state.closing.clone().filter(|_| all_left);
        drop(state);

        if let Some(closing) = closing {
            closing.unpark();
        }
    }

    /// Removes a worker that has been woken if the pool is being shut down. Returns `false` if it
    /// is not.
    pub(super) fn leave_if_closing(&self, worker: &Worker) -> bool {
        let mut state = self.lock();
        if state.closing.is_none() {
            return false;
        }

        // Its wake has counted it as arriving.
        state.arriving -= 1;
        self.left(state, worker);
        true
    }
}

impl PoolState {
    fn decide(&mut self, places: usize) -> Action {
        if self.sources.is_empty() || self.arriving > 0 {
            Action::Nothing
        } else if self.members.busy() >= places {
            Action::Monitor
        } else {
            self.send()
        }
    }

    /// Takes an idle worker for a wake, or says that one is to be started.
    fn send(&mut self) -> Action {
        // Invariant 1: it counts at once, so a burst of spawns sends one worker.
        self.arriving += 1;
        while let Some(worker) = self.idle.next() {
            // Invariant 3: a worker that retires meanwhile is still listed, and is passed over.
            if worker.take() {
                return Action::Wake(worker);
            }
        }
        Action::Start
    }

    /// Returns the next source in turn, which stays listed.
    fn rotate(&mut self) -> Option<Arc<dyn Source>> {
        let source = self.sources.pop_front()?;
        // Invariant 4: the other sources have their turn first.
        self.sources.push_back(source.clone());
        Some(source)
    }

    fn has_source(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Whether there is anything for the monitor to look after (invariant 2).
    ///
    /// Only a busy worker has tasks in its local batch: a worker that blocks gives them back first,
    /// and the monitor does so for a worker that it finds blocked.
    pub(super) fn needs_monitor(&self) -> bool {
        self.has_source() || self.members.has_batch()
    }
}

/// Sends the idle workers away and waits until all have left. A model ends with it.
#[cfg(taskgroup_models)]
pub(super) fn shut_down(pool: &Pool) {
    pool.lock().closing = Some(Unparker::current());
    loop {
        let mut state = pool.lock();
        let idle = mem::take(&mut state.idle).into_workers();
        let woken: Vec<_> = idle.filter(|worker| worker.take()).collect();
        state.arriving += woken.len();

        // A worker that has been started registers itself later, and counts as arriving until then.
        let all_left = state.members.is_empty() && state.arriving == 0;
        drop(state);
        if all_left {
            return;
        }

        woken.iter().for_each(|worker| worker.unpark());
        facade::park();
    }
}
