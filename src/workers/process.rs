//! The pool of this process, and what sources and waits ask of it.

use std::sync::Arc;

use super::census::{self, Census};
use super::pool::Pool;
use super::source::{Refusal, Source};
use super::worker::{Activity, Worker};
use super::{monitor, thread};
use crate::facade::{THREAD_FOR_EACH_TASK, global};

global! {
    /// The workers of this process.
    static POOL: Pool = Pool::new(thread::run_worker, monitor::run);
}

/// Counts the threads that run tasks.
pub(crate) fn census() -> Census {
    let (workers, idle_workers) = POOL.size();
    let (threads, peak_threads) = census::threads();
    Census {
        workers,
        idle_workers,
        threads,
        peak_threads,
    }
}

/// Lists `source` and sends a worker to it. May run user code.
pub(crate) fn list(source: Arc<dyn Source>) {
    if THREAD_FOR_EACH_TASK {
        return source.start_apart();
    }
    POOL.ensure_worker_or_fail(POOL.list(source));
}

/// Lists `source`. The caller makes sure that it gets a worker.
pub(crate) fn list_without_worker(source: Arc<dyn Source>) {
    drop(POOL.list(source));
}

/// Takes `source` off the list.
pub(crate) fn unlist(source: &Arc<dyn Source>) {
    if !THREAD_FOR_EACH_TASK {
        POOL.unlist(source);
    }
}

/// Whether more than one source is listed. A hint, and one load.
#[inline]
pub(crate) fn others_wait() -> bool {
    POOL.listed() > 1
}

/// Makes sure that the local batches of workers are looked after (invariant 2 of the pool).
pub(crate) fn ensure_monitor() {
    POOL.ensure_monitor(POOL.lock());
}

/// Passes a wake on (invariant 1 of the pool). A worker that has taken a task calls it before it
/// runs the task.
pub(crate) fn pass_on() {
    POOL.ensure_worker_or_fail(POOL.lock());
}

/// Notes that a task begins on `worker`, which is the worker of this thread.
#[inline]
pub(crate) fn begin_task(worker: &Worker) {
    worker.count_task();

    // The monitor has taken its place away. The worker goes on now, so it takes one again.
    if worker.activity() == Activity::Stalled {
        POOL.unstall(worker);
    }
}

/// While it lives, this thread is blocked in a blocking point of this crate and has given its place
/// to another worker.
#[derive(Debug)]
#[must_use]
pub(crate) struct Blocking(Option<Arc<Worker>>);

/// Gives the place of this thread away, if it is a worker. Runs no user code, so a wait that has
/// published itself can call it (invariant 5 of the pool).
///
/// # Errors
///
/// A task has to fail before this thread blocks, since no other thread will come for it.
pub(crate) fn blocking() -> Result<Blocking, Refusal> {
    let Some(worker) = thread::this_worker() else {
        return Ok(Blocking(None));
    };

    // Invariant 2: the tasks that the worker has not begun are for others now.
    //
    // fault: blocking-worker-keeps-its-tasks
    worker.give_back();
    let refusal = POOL.block(&worker);

    // A refusal drops it, which takes the place back: this thread does not block yet.
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

/// Gives all local batches back, like the monitor does of workers that have been at one task for
/// too long. For models, in which no time passes.
#[cfg(taskgroup_models)]
pub(crate) fn give_back_batches() {
    let workers = POOL.lock().members.all();
    workers.iter().for_each(|worker| worker.give_back());
    pass_on();
}

/// Like [`give_back_batches`], of the workers that say that they have tasks in theirs.
#[cfg(taskgroup_models)]
pub(crate) fn give_back_flagged_batches() {
    let workers = POOL.lock().members.all();
    let flagged: Vec<_> = workers.iter().filter(|worker| worker.has_batch()).collect();
    flagged.iter().for_each(|worker| worker.give_back());
    pass_on();
}

/// Sends the idle workers away and waits until all have left. A model ends with it.
#[cfg(taskgroup_models)]
pub(crate) fn shut_down() {
    super::pool::shut_down(&POOL);
}
