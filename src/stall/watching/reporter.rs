//! The thread that reports: user code may keep it, and nothing else waits for it then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::report::StallReport;
use super::{examine, hook, output};
use crate::facade::{Mutex, Unparker, contained, global, park_timeout, start_thread};
use crate::trace::GroupSpan;

/// How long a thread stays without a job.
const IDLE_LIMIT: Duration = Duration::from_secs(2);

/// How long a job may take before another thread takes over the rest.
const JOB_LIMIT: Duration = Duration::from_secs(1);

/// The reporter, and a second one while the subscriber keeps the first. The threads that hooks keep
/// come on top: each hook runs on one thread at a time, so they are no more than the hooks.
const MOST_THREADS: usize = 2;

/// Something for the reporter to do.
pub(super) enum ReporterJob {
    /// To examine the scopes with these numbers, and report those that stall.
    Examine(Vec<u64>),
    /// To say that a scope has ended at last.
    Ended(Box<StallReport>),
}

global! {
    static REPORTER: Mutex<Reporter> = Mutex::new(Reporter::default());
}

#[derive(Default)]
struct Reporter {
    jobs: VecDeque<ReporterJob>,
    threads: usize,
    /// The thread that takes the next job. A thread that is no longer in charge ends after its job.
    in_charge: Option<InCharge>,
    next_thread: u64,
}

struct InCharge {
    thread: u64,
    /// None until the thread has come.
    unparker: Option<Unparker>,
    /// When it began its job.
    busy_since: Option<Instant>,
}

impl Reporter {
    /// Puts a new thread in charge if none is, or if the present one has been busy for long.
    /// Hooks keep so many threads. Returns its number, for the caller to start it without the lock.
    fn appoint(&mut self, kept_by_hooks: usize) -> Option<u64> {
        // User code keeps it: a hook, the subscriber, or a full pipe.
        let is_stuck = |thread: &InCharge| {
            thread
                .busy_since
                .is_some_and(|since| since.elapsed() > JOB_LIMIT)
        };

        let needs_one = self.in_charge.as_ref().is_none_or(is_stuck);

        // Bounded: a subscriber that never returns must not take a thread for each report.
        let most = MOST_THREADS + kept_by_hooks;
        if self.jobs.is_empty() || !needs_one || self.threads >= most {
            return None;
        }

        self.next_thread += 1;
        self.threads += 1;
        self.in_charge = Some(InCharge {
            thread: self.next_thread,
            unparker: None,
            busy_since: None,
        });
        Some(self.next_thread)
    }

    fn is_in_charge(&self, thread: u64) -> bool {
        self.in_charge
            .as_ref()
            .is_some_and(|in_charge| in_charge.thread == thread)
    }
}

/// Hands a job to the reporter, which is started if there is none. Does not wait for it.
pub(super) fn submit(job: ReporterJob) {
    let mut reporter = REPORTER.lock();
    reporter.jobs.push_back(job);
    let appointed = reporter.appoint(hook::running());
    let thread = reporter
        .in_charge
        .as_ref()
        .and_then(|in_charge| in_charge.unparker.clone());
    drop(reporter);

    // Without the lock, which the woken thread takes.
    if let Some(thread) = thread {
        thread.unpark();
    }
    start(appointed);
}

/// Starts a second thread if there are jobs, and user code keeps the first.
pub(super) fn relieve() {
    let appointed = REPORTER.lock().appoint(hook::running());
    start(appointed);
}

fn start(appointed: Option<u64>) {
    let Some(number) = appointed else {
        return;
    };
    let started = start_thread("taskgroup-stall", None, move || contained(|| run(number)));
    if started.is_err() {
        // The jobs stay, and each look tries again.
        let mut reporter = REPORTER.lock();
        reporter.threads -= 1;
        if reporter.is_in_charge(number) {
            reporter.in_charge = None;
        }
    }
}

fn run(number: u64) {
    let mut idle_since = Instant::now();
    let mut reporter = REPORTER.lock();
    loop {
        // Another thread took over while a job kept this one.
        if !reporter.is_in_charge(number) {
            reporter.threads -= 1;
            return;
        }

        if let Some(job) = reporter.jobs.pop_front() {
            note_busy(&mut reporter, Some(Instant::now()));
            drop(reporter);

            // Invariant 4: without a lock.
            do_job(job);
            idle_since = Instant::now();

            reporter = REPORTER.lock();
            if reporter.is_in_charge(number) {
                note_busy(&mut reporter, None);
            }
            continue;
        }

        // It stays for a while: stalls come in series.
        let left = IDLE_LIMIT.saturating_sub(idle_since.elapsed());
        if left.is_zero() {
            reporter.threads -= 1;
            reporter.in_charge = None;
            return;
        }

        // Under the lock, so that a job that comes before the park wakes it.
        if let Some(in_charge) = &mut reporter.in_charge {
            in_charge.unparker = Some(Unparker::current());
        }
        drop(reporter);
        park_timeout(left);
        reporter = REPORTER.lock();
    }
}

fn note_busy(reporter: &mut Reporter, since: Option<Instant>) {
    if let Some(in_charge) = &mut reporter.in_charge {
        in_charge.busy_since = since;
    }
}

fn do_job(job: ReporterJob) {
    match job {
        ReporterJob::Examine(due) => examine::examine(&due),
        // The span has been closed.
        ReporterJob::Ended(report) => output::send(&report, &GroupSpan::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thread_relieves_a_busy_one_and_a_third_only_where_hooks_keep_them() {
        let mut reporter = Reporter::default();
        assert_eq!(reporter.appoint(0), None);
        reporter.jobs.push_back(ReporterJob::Examine(Vec::new()));
        assert_eq!(reporter.appoint(0), Some(1));
        assert_eq!(reporter.appoint(0), None);

        let long = Instant::now().checked_sub(2 * JOB_LIMIT);
        assert!(long.is_some(), "the clock has run for longer");
        note_busy(&mut reporter, long);
        assert_eq!(reporter.appoint(0), Some(2));

        // The subscriber keeps both.
        note_busy(&mut reporter, long);
        assert_eq!(reporter.appoint(0), None);
        assert_eq!(reporter.threads, MOST_THREADS);

        // A hook keeps one of them.
        assert_eq!(reporter.appoint(1), Some(3));
        note_busy(&mut reporter, long);
        assert_eq!((reporter.appoint(1), reporter.threads), (None, 3));
    }
}
