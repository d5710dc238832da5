//! One worker thread.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool as PlainBool, AtomicU32 as PlainU32, Ordering::Relaxed};
use std::time::Duration;

use super::monitor;
use super::pool::{Next, POOL, Refusal, Stash};
use super::{stack, start_hook};
use crossbeam_utils::atomic::AtomicCell;

use crate::facade::{
    AtomicU8, Guard, Mutex, Ordering, Unparker, contained, holds, local, park_idle, start_thread,
};

/// How long an idle worker stays.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

const AT_WORK: u8 = 0;
const IDLE: u8 = 1;
const WOKEN: u8 = 2;
const RETIRED: u8 = 3;

local! {
    static WORKER: RefCell<Option<Arc<Worker>>> = RefCell::new(None);
}

/// Whether a worker takes one of the places of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Place {
    /// No: it is idle, on its way, or gone.
    Away,
    /// Yes: it is at work.
    Busy,
    /// No: it is blocked in one of our blocking points.
    Blocked,
    /// No: the monitor found it blocked in foreign code.
    Stalled,
}

/// A worker thread, as the pool and the monitor see it.
///
/// `status` says who may decide over it: an idle worker is woken, or retires, by an exchange from
/// `IDLE`, so of a wake and a retirement one is seen to fail. It orders nothing: all that a worker
/// is woken for is under the lock of the pool.
pub(crate) struct Worker {
    key: usize,
    unparker: Unparker,
    status: AtomicU8,
    /// How many tasks it has begun: the monitor looks whether this changes.
    tasks: PlainU32,
    /// Changes under the lock of the pool.
    place: AtomicCell<Place>,
    stash: Mutex<Option<Arc<dyn Stash>>>,
    /// There are tasks in the stash, perhaps: set after they have been put there, cleared before
    /// they are taken back. So tasks that stay in a stash are never without the flag.
    stashing: PlainBool,
    thread: ThreadId,
}

#[cfg(target_os = "linux")]
pub(super) type ThreadId = nix::unistd::Pid;
#[cfg(not(target_os = "linux"))]
pub(super) type ThreadId = ();

#[cfg(target_os = "linux")]
fn thread_id() -> ThreadId {
    nix::unistd::gettid()
}
#[cfg(not(target_os = "linux"))]
fn thread_id() -> ThreadId {}

impl Worker {
    /// The worker of this thread.
    pub(super) fn new(key: usize) -> Self {
        Worker {
            key,
            unparker: Unparker::current(),
            status: AtomicU8::new(AT_WORK),
            tasks: PlainU32::new(0),
            place: AtomicCell::new(Place::Away),
            stash: Mutex::new(None),
            stashing: PlainBool::new(false),
            thread: thread_id(),
        }
    }

    pub(super) fn start() -> io::Result<()> {
        start_thread("taskgroup", None, || {
            stack::begin_thread(None);
            start_hook::run();
            let worker = POOL.register(Worker::new);
            WORKER.with(|own| own.replace(Some(worker.clone())));
            // Tasks contain their panics. A worker that died of one would leave a scope that waits
            // for ever.
            contained(|| worker.run());
            WORKER.with(|own| own.take());
        })
    }

    fn run(self: &Arc<Self>) {
        loop {
            let (mut arriving, mut lingered) = (true, false);
            loop {
                match POOL.next(self, arriving, lingered) {
                    Next::Source(source) => {
                        (arriving, lingered) = (false, false);
                        source.work(self);
                    }
                    Next::Linger => {
                        POOL.linger();
                        (arriving, lingered) = (true, true);
                    }
                    Next::Idle => break,
                }
            }
            if !self.stay_idle() || (cfg!(taskgroup_models) && POOL.leave_if_closing(self)) {
                return;
            }
        }
    }

    /// Parks until somebody wakes the worker; false if it retires.
    fn stay_idle(self: &Arc<Self>) -> bool {
        loop {
            let expired = park_idle(IDLE_LIMIT);
            if self.status.load(Ordering::Relaxed) == WOKEN {
                return true;
            }
            if expired && self.try_retire() {
                POOL.retire(self);
                return false;
            }
        }
    }

    fn try_retire(&self) -> bool {
        if holds(Guard::RetireByExchange) {
            // A wake that comes first is seen by the failure of the exchange.
            return self
                .status
                .compare_exchange(IDLE, RETIRED, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        }
        if self.status.load(Ordering::Relaxed) != IDLE {
            return false;
        }
        self.status.store(RETIRED, Ordering::Relaxed);
        true
    }

    /// Takes an idle worker for a wake; false if it has retired.
    pub(super) fn take(&self) -> bool {
        self.status
            .compare_exchange(IDLE, WOKEN, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    pub(super) fn become_idle(&self) {
        // Under the lock of the pool, before the worker is listed.
        self.status.store(IDLE, Ordering::Relaxed);
    }

    pub(super) fn unpark(&self) {
        self.unparker.unpark();
    }

    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// A task begins on this worker.
    #[inline]
    pub(crate) fn begin_task(self: &Worker) {
        self.count_task();
        if self.place.load() == Place::Stalled {
            let mut state = POOL.lock();
            state.set_place(self, Place::Busy);
            // What it has stashed while it counted as stalled was not looked for.
            if self.has_stash() {
                monitor::rouse(state);
            }
        }
    }

    #[inline]
    pub(super) fn count_task(&self) {
        self.tasks
            .store(self.tasks.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Says where the worker keeps the tasks that it has taken and not begun.
    pub(crate) fn set_stash(&self, stash: Option<Arc<dyn Stash>>) {
        let old = std::mem::replace(&mut *self.stash.lock(), stash);
        drop(old);
    }

    /// Says whether there are any, to the monitor. After they have been put there.
    pub(crate) fn set_stashing(&self, stashing: bool) {
        self.stashing.store(stashing, Relaxed);
    }

    pub(super) fn has_stash(&self) -> bool {
        self.stashing.load(Relaxed)
    }

    /// Gives what is stashed back to its source, which may have to be supplied with a worker then.
    pub(super) fn give_back(&self) {
        self.set_stashing(false);
        let stash = self.stash.lock().clone();
        if let Some(stash) = stash {
            stash.give_back();
        }
    }

    pub(super) fn tasks(&self) -> u32 {
        self.tasks.load(Relaxed)
    }

    pub(super) fn place(&self) -> Place {
        self.place.load()
    }

    /// Under the lock of the pool, which counts.
    pub(super) fn swap_place(&self, place: Place) -> Place {
        self.place.swap(place)
    }

    pub(super) fn thread(&self) -> ThreadId {
        self.thread
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("key", &self.key)
            .field("thread", &self.thread)
            .finish_non_exhaustive()
    }
}

/// While it lives, this thread is blocked in one of our blocking points and has given its place to
/// another worker.
#[derive(Debug)]
#[must_use]
pub(crate) struct Blocking(Option<Arc<Worker>>);

/// Gives the place of this thread away, if it is a worker. Runs no code of the user's, so a wait
/// that has published itself can call it.
///
/// # Errors
///
/// A task has to fail before this thread blocks, since no other will come for it.
pub(crate) fn blocking() -> Result<Blocking, Refusal> {
    let Some(worker) = WORKER
        .try_with(|worker| worker.borrow().clone())
        .ok()
        .flatten()
    else {
        return Ok(Blocking(None));
    };
    if holds(Guard::StashIsGivenBack) {
        worker.give_back();
    }
    let refusal = POOL.block(&worker);
    let blocking = Blocking(Some(worker));
    refusal.map_or(Ok(blocking), Err)
}

impl Drop for Blocking {
    fn drop(&mut self) {
        if let Some(worker) = &self.0 {
            POOL.unblock(worker);
        }
    }
}

/// Starts a thread of its own for `f`.
pub(crate) fn start_dedicated(
    name: &str,
    stack_size: Option<usize>,
    f: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    start_thread(name, stack_size, move || {
        stack::begin_thread(stack_size);
        start_hook::run();
        contained(f);
    })
}
