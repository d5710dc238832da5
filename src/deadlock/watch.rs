//! The thread that looks for deadlocks.
//!
//! A wait with known wakers calls [`expect_wait`] before it blocks: one load, on the path that is
//! about to sleep. The first such wait starts the thread. The thread looks at the lanes every half
//! second. Once threads have been asleep in such waits for a second, it searches. It ends when
//! there has been no such wait for a while, and the next one starts it again. So it costs nothing
//! to a program that does not wait, and nothing to a lock that is free.
//!
//! It is driven by time: a deadlock is found although nothing moves.
//!
//! # Invariants
//!
//! 1. While `WATCHED`, the thread runs, or is about to, or there is nothing that it should look
//!    for.
//! 2. The thread clears `WATCHED` before its last look, which comes a tick later. A wait that found
//!    it set is shown by then, and a wait that found it cleared has set it again.
//! 3. There is one thread: `RUNS` changes under its lock, together with the decision.

use std::sync::atomic::AtomicBool as PlainBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use super::confirm::search;
use super::graph::is_candidate;
use super::policy::DeadlockPolicy;
use super::{act, suspected};
use crate::facade::{
    InChild, PlainMutex, contained, park_timeout, per_process, start_thread, warn_event,
};
use crate::lanes;
use crate::panics::log;

/// Between two looks.
const TICK: Duration = Duration::from_millis(500);

/// How long threads are asleep before they are looked at.
const ASLEEP: Duration = Duration::from_secs(1);

/// How long the thread stays with nothing to look at.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

static WATCHED: PlainBool = PlainBool::new(false);

per_process! {
    /// The thread runs, or is about to.
    static RUNS: PlainMutex<bool> = PlainMutex::new(false);
}

/// Invariant 1, in a child of `fork`: the thread does not run there.
static IN_CHILD: InChild = InChild::new(|| WATCHED.store(false, Relaxed));

/// Says that this thread is about to wait, and that a deadlock could be the reason.
#[inline]
pub(crate) fn expect_wait() {
    if !WATCHED.load(Relaxed) {
        begin();
    }
}

/// Starts the thread, if there is something that it should look for.
#[cold]
pub(super) fn begin() {
    // Read before the lock is taken: the first call reads the environment.
    let has_work = DeadlockPolicy::current() != DeadlockPolicy::Ignore || suspected::is_wanted();
    IN_CHILD.ensure();
    let mut runs = RUNS.lock();

    // Invariant 1: the thread runs already, or is started below if it has something to look for.
    WATCHED.store(true, SeqCst);
    if *runs || !has_work {
        return;
    }

    *runs = true;
    drop(runs);

    // Outside the lock, since the system may take long to start a thread, or refuse it.
    if let Err(error) = start_thread("taskgroup-deadlock", None, || contained(run)) {
        // Invariant 1: the next wait tries again.
        let mut runs = RUNS.lock();
        *runs = false;
        WATCHED.store(false, SeqCst);
        drop(runs);
        log(|| warn_event!(%error, "no thread to look for deadlocks"));
    }
}

fn run() {
    let mut reported: Vec<Vec<(u64, u32)>> = Vec::new();
    let mut idle_since = Instant::now();
    loop {
        park_timeout(TICK);

        // The policy may be set at any time.
        let policy = DeadlockPolicy::current();
        if policy != DeadlockPolicy::Ignore {
            look(policy, &mut reported);
        }
        suspected::look();

        // A pause between two waits does not end the thread, which would start a thread each time.
        if is_needed(policy) {
            idle_since = Instant::now();
        } else if idle_since.elapsed() > IDLE_LIMIT {
            // Invariant 2: a wait that begins after this sets `WATCHED` again.
            WATCHED.store(false, SeqCst);
            park_timeout(TICK);
            let mut runs = RUNS.lock();
            if !WATCHED.swap(true, SeqCst) && !is_needed(DeadlockPolicy::current()) {
                // Invariant 3: the thread decides to end under the lock of `RUNS`.
                WATCHED.store(false, SeqCst);
                *runs = false;
                return;
            }
            idle_since = Instant::now();
        }
    }
}

fn is_needed(policy: DeadlockPolicy) -> bool {
    suspected::is_wanted() || (policy != DeadlockPolicy::Ignore && waits_since(Instant::now()))
}

/// Searches, if threads have been asleep for long, and reports new deadlocks.
fn look(policy: DeadlockPolicy, reported: &mut Vec<Vec<(u64, u32)>>) {
    let Some(before) = Instant::now().checked_sub(ASLEEP) else {
        return;
    };

    // Most of the time nothing has slept for that long, and the waits alone are read.
    let found = if waits_since(before) {
        search(before)
    } else {
        Vec::new()
    };

    // A deadlock that was not found again is over, or its threads were too busy to look.
    let keys: Vec<_> = found.iter().map(|deadlock| deadlock.key()).collect();
    for (deadlock, key) in found.into_iter().zip(&keys) {
        if !reported.contains(key) {
            reported.push(key.clone());
            act::act(deadlock, policy);
        }
    }

    // The list does not grow with deadlocks that are over.
    if reported.len() > 2 * keys.len() + 64 {
        reported.retain(|key| keys.contains(key));
    }
}

/// Returns whether a thread has been asleep since `before` in a wait with known wakers.
fn waits_since(before: Instant) -> bool {
    // Only the wait of each lane is read: no frames, no locks.
    let before = lanes::since_epoch(before);
    lanes::all().any(|lane| {
        let wait = lane.wait();
        wait.is_some_and(|wait| is_candidate(&wait) && wait.since <= before)
    })
}
