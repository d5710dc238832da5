//! Threads for what a thread of a runtime must not do itself.
//!
//! The workers of this crate cannot run it: a cancel would wait behind the tasks that it is to end.
//! Here each job gets a thread at once, and a job that blocks delays no other.
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

use crate::facade::{
    PlainMutex, Unparker, contained, park_timeout, per_process, start_thread, warn_event,
};
use crate::panics::log;

/// How long a thread stays without anything to do.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

per_process! {
    static ASIDE: PlainMutex<Aside> = PlainMutex::new(Aside::new());
}

type AsideJob = Box<dyn FnOnce() + Send>;

struct Aside {
    queue: VecDeque<AsideJob>,
    idle: Vec<Unparker>,
    coming: usize,
}

/// The thread that comes for the jobs that are queued.
enum NextThread {
    /// None is needed.
    None,
    Idle(Unparker),
    New,
}

impl Aside {
    const fn new() -> Self {
        Aside {
            queue: VecDeque::new(),
            idle: Vec::new(),
            coming: 0,
        }
    }

    /// Decides which thread comes to the queue (invariant 1), and counts it.
    fn next_thread(&mut self) -> NextThread {
        if self.queue.is_empty() || self.coming > 0 {
            return NextThread::None;
        }

        self.coming += 1;
        match self.idle.pop() {
            Some(thread) => NextThread::Idle(thread),
            None => NextThread::New,
        }
    }

    /// Lists a thread that has found no job as idle. Returns false if a job has come since then:
    /// the thread comes for it, and counts as such (invariant 2).
    fn lists_as_idle(&mut self, thread: &Unparker) -> bool {
        if !self.queue.is_empty() {
            self.coming += 1;
            return false;
        }
        self.idle.push(thread.clone());
        true
    }
}

/// Runs `job`, which does not panic, on a thread of its own. If the system refuses a thread, it
/// runs on this thread, with the jobs of other callers that have seen this one's thread coming.
pub(super) fn run_aside(job: impl FnOnce() + Send + 'static) {
    ASIDE.lock().queue.push_back(Box::new(job));

    if let Err(error) = send_thread() {
        log(|| warn_event!(%error, "no thread for a cancel: it runs on the caller's"));
        // Invariant 1: a job that was queued meanwhile counted on the thread that does not come. So
        // all of them run here, and not only the job of this call.
        run_queued(&ASIDE);
    }
}

/// Runs all jobs that are queued.
fn run_queued(aside: &PlainMutex<Aside>) {
    while let Some(job) = next_job(aside) {
        job();
    }
}

/// Sends a thread to the queue, if one is needed (invariant 1).
fn send_thread() -> io::Result<()> {
    // To start a thread takes long, and the thread that comes needs the lock.
    let next = ASIDE.lock().next_thread();

    match next {
        NextThread::None => {}
        NextThread::Idle(thread) => thread.unpark(),
        NextThread::New => start_thread("taskgroup-cancel", None, || contained(run))
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

fn next_job(aside: &PlainMutex<Aside>) -> Option<AsideJob> {
    aside.lock().queue.pop_front()
}

/// Takes a job, and makes sure that the next one is taken.
fn take() -> Option<AsideJob> {
    let job = next_job(&ASIDE)?;

    if let Err(error) = send_thread() {
        // This thread comes back for the others.
        log(|| warn_event!(%error, "no thread for a cancel: it waits for another"));
    }
    Some(job)
}

/// Waits to be woken. Returns false if the thread is no longer needed.
fn stay_idle() -> bool {
    let me = Unparker::current();
    let since = Instant::now();
    let mut aside = ASIDE.lock();

    if !aside.lists_as_idle(&me) {
        return true;
    }

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    fn with_a_job() -> Aside {
        let mut aside = Aside::new();
        aside.queue.push_back(Box::new(|| ()));
        aside
    }

    #[test]
    fn one_thread_at_a_time_comes_for_jobs_and_an_idle_one_first() {
        assert!(matches!(Aside::new().next_thread(), NextThread::None));

        let mut aside = with_a_job();
        assert!(aside.idle.is_empty());
        assert!(matches!(aside.next_thread(), NextThread::New));
        // It sends the next thread itself, when it takes its job.
        aside.queue.push_back(Box::new(|| ()));
        assert!(matches!(aside.next_thread(), NextThread::None));
        assert_eq!(aside.coming, 1);

        aside.coming = 0;
        aside.idle.push(Unparker::current());
        assert!(matches!(aside.next_thread(), NextThread::Idle(_)));
        assert!(aside.idle.is_empty());
        assert_eq!(aside.coming, 1);
    }

    #[test]
    fn a_thread_that_finds_a_job_after_all_is_coming_for_it() {
        let me = Unparker::current();
        let mut aside = with_a_job();
        assert!(!aside.lists_as_idle(&me));
        assert!(aside.idle.is_empty());
        assert_eq!(aside.coming, 1);

        let mut aside = Aside::new();
        assert!(aside.lists_as_idle(&me));
        assert_eq!((aside.idle.len(), aside.coming), (1, 0));
    }

    /// The job of another caller, which has seen the thread of this one coming, is there too.
    #[test]
    fn a_caller_without_a_thread_runs_all_that_is_queued() {
        let ran = Arc::new(AtomicUsize::new(0));
        let mut aside = Aside::new();
        for _ in 0..2 {
            let ran = ran.clone();
            let job = move || _ = ran.fetch_add(1, SeqCst);
            aside.queue.push_back(Box::new(job));
        }
        run_queued(&PlainMutex::new(aside));
        assert_eq!(ran.load(SeqCst), 2);
    }
}
