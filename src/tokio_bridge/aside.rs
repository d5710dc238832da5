//! Threads for what a thread of a runtime must not do itself.
//!
//! The workers of this crate are no place for it: a cancel would wait behind the tasks that it is
//! to end. Here each job gets a thread at once, and a job that blocks delays no other.
//!
//! # Invariants
//!
//! 1. While jobs are queued, a thread is coming for them. A thread that takes a job sends the next
//!    thread before it runs the job. So the caller starts or wakes one thread at most.
//! 2. `coming` counts the threads that were started or woken and have not looked at the queue since
//!    then. A thread that is woken was taken off the list of the idle threads.
//!
//! Jobs run while the lock is free.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::facade::{PlainMutex, Unparker, contained, park_timeout, start_thread, warn_event};
use crate::panics::log;

/// How long a thread stays without anything to do.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

static ASIDE: PlainMutex<Aside> = PlainMutex::new(Aside {
    queue: VecDeque::new(),
    idle: Vec::new(),
    coming: 0,
});

type AsideJob = Box<dyn FnOnce() + Send>;

struct Aside {
    queue: VecDeque<AsideJob>,
    idle: Vec<Unparker>,
    coming: usize,
}

/// Runs `job`, which does not panic, on a thread of its own. If the system refuses a thread, it
/// runs on this thread, with the jobs of other callers that have seen this one's thread coming.
pub(super) fn run_aside(job: impl FnOnce() + Send + 'static) {
    ASIDE.lock().queue.push_back(Box::new(job));

    if let Err(error) = send_thread() {
        log(|| warn_event!(%error, "no thread for a cancel: it runs on the caller's"));
        // Invariant 1: a job that was queued meanwhile counted on the thread that does not come. So
        // all of them run here, and not only the job of this call.
        while let Some(job) = next_job() {
            job();
        }
    }
}

/// Sends a thread to the queue, if one is needed (invariant 1).
fn send_thread() -> io::Result<()> {
    let mut aside = ASIDE.lock();
    if aside.queue.is_empty() || aside.coming > 0 {
        return Ok(());
    }

    aside.coming += 1;
    let idle = aside.idle.pop();

    // To start a thread takes long, and the thread that comes needs the lock.
    drop(aside);

    match idle {
        Some(thread) => thread.unpark(),
        None => start_thread("taskgroup-cancel", None, || contained(run))
            .inspect_err(|_| ASIDE.lock().coming -= 1)?,
    }
    Ok(())
}

fn run() {
    loop {
        ASIDE.lock().coming -= 1;
        while let Some(job) = take() {
            job();
        }

        if !stay_idle() {
            return;
        }
    }
}

fn next_job() -> Option<AsideJob> {
    ASIDE.lock().queue.pop_front()
}

/// Takes a job, and sees to the next.
fn take() -> Option<AsideJob> {
    let job = next_job()?;

    if let Err(error) = send_thread() {
        // This thread comes back for the others.
        log(|| warn_event!(%error, "no thread for a cancel: it waits for another"));
    }
    Some(job)
}

/// Waits to be woken. Returns false if the thread is not needed any more.
fn stay_idle() -> bool {
    let me = Unparker::current();
    let since = Instant::now();
    let mut aside = ASIDE.lock();

    // A job that came since the last look is not left behind.
    if !aside.queue.is_empty() {
        aside.coming += 1;
        return true;
    }
    aside.idle.push(me.clone());

    loop {
        let left = IDLE_LIMIT.saturating_sub(since.elapsed());
        drop(aside);
        park_timeout(left);
        aside = ASIDE.lock();

        // Invariant 2: the thread that wakes this one has taken it off the list.
        let place = aside.idle.iter().position(|idle| idle.is_of_thread_of(&me));
        let Some(place) = place else { return true };
        if left.is_zero() {
            aside.idle.swap_remove(place);
            return false;
        }
    }
}
