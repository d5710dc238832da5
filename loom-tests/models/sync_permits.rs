//! Models of semaphores and rates: permits against cancels and closes.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::support::{must_see, saw};
use super::{Model, Watched};
use crate::CancelToken;
use crate::facade::{pass, start_clock};
use crate::sync::{RateLimiter, Semaphore};

pub(super) const MODELS: &[Model] = &[
    holds!(
        sync_semaphore_grant_against_cancel,
        Preemptions(3),
        Preemptions(4),
        "a permit that is granted while its waiter is cancelled is acquired or returned"
    ),
    breaks!(
        broken_sync_semaphore_cancel_beats_grant,
        "cancel-beats-the-grant" in sync_semaphore_grant_against_cancel,
        Preemptions(3),
        "a permit was lost",
        "a cancelled waiter that does not check for its grant loses the permit"
    ),
    holds!(
        sync_semaphore_two_waiters_one_permit,
        Preemptions(2),
        Preemptions(3),
        "one permit serves two waiters in turn, and the first's work under it happens before \
             the second's"
    ),
    holds!(
        sync_semaphore_permits_of_two,
        Preemptions(3),
        Preemptions(4),
        "a thread that gets permits from two others sees the work of both before the release, \
             whichever grants them"
    ),
    holds!(
        sync_semaphore_cancelled_request_lets_a_smaller_pass,
        Preemptions(3),
        Preemptions(4),
        "a waiter that needs fewer permits than the one ahead of it continues when that one \
             is cancelled"
    ),
    holds!(
        sync_semaphore_close_against_acquire,
        Preemptions(3),
        Preemptions(4),
        "an acquire that races with the close is refused, and the work before the close \
             happens before the refusal"
    ),
    breaks!(
        broken_sync_semaphore_close_is_not_looked_for,
        "acquire-misses-the-close" in sync_semaphore_close_against_acquire,
        Preemptions(3),
        "deadlock",
        "a thread that does not check for the close under the lock waits for ever"
    ),
    breaks!(
        broken_sync_semaphore_close_tells_no_waiter,
        "close-refuses-no-waiter" in sync_semaphore_close_against_acquire,
        Preemptions(3),
        "deadlock",
        "a close that does not refuse the waiting threads leaves them waiting"
    ),
    holds!(
        sync_semaphore_close_that_is_seen_shows_what_came_before,
        Exhaustive,
        Exhaustive,
        "a thread that finds a semaphore closed sees the writes before the close"
    ),
    holds!(
        sync_semaphore_close_against_grant,
        Preemptions(2),
        Preemptions(3),
        "a permit that is granted while the semaphore is closed is acquired or stays, and its \
             waiter continues"
    ),
    holds!(
        sync_semaphore_close_against_cancel,
        Preemptions(2),
        Preemptions(3),
        "a waiter that is cancelled while the semaphore is closed continues and leaves \
             nothing in the queue"
    ),
    holds!(
        sync_rate_grant_against_cancel,
        Preemptions(3),
        Preemptions(4),
        "a permit of a rate that comes due while its waiter is cancelled goes to that waiter or \
             to the next call"
    ),
    breaks!(
        broken_sync_rate_cancel_beats_grant,
        "cancel-beats-the-grant" in sync_rate_grant_against_cancel,
        Preemptions(3),
        "a permit was lost",
        "a cancelled waiter that does not check for its grant loses the permit"
    ),
    breaks!(
        broken_sync_rate_cancelled_waiter_stays,
        "cancelled-waiter-stays" in sync_rate_grant_against_cancel,
        Preemptions(3),
        "a permit was lost",
        "a cancelled waiter that stays in the queue is given a permit that no thread uses"
    ),
    holds!(
        sync_rate_cancelled_first_lets_the_next,
        Preemptions(2),
        Preemptions(3),
        "if the first waiter of a rate is cancelled, the next one takes the permit when it \
             comes due"
    ),
    breaks!(
        broken_sync_rate_cancelled_first_tells_none,
        "rate-is-left-without-a-word" in sync_rate_cancelled_first_lets_the_next,
        Preemptions(2),
        "deadlock",
        "a first waiter that leaves without waking the next leaves no thread that looks at the \
         clock"
    ),
    holds!(
        sync_rate_serves_all_that_are_due,
        Preemptions(2),
        Preemptions(3),
        "permits of a rate that come due together go to all their waiters, whichever thread \
             gives them out"
    ),
    holds!(
        sync_rate_waiters_in_turn,
        Preemptions(2),
        Preemptions(3),
        "waiters of a rate whose permits come due one after the other all continue"
    ),
    breaks!(
        broken_sync_rate_served_waiter_tells_none,
        "rate-tells-no-waiter-that-it-is-first" in sync_rate_waiters_in_turn,
        Preemptions(2),
        "deadlock",
        "a waiter that becomes the first and is not woken does not look at the clock"
    ),
];

fn sync_semaphore_grant_against_cancel() {
    let semaphore = Arc::new(Semaphore::new(0));
    let token = CancelToken::new();
    let waiter = thread::spawn({
        let (semaphore, token) = (semaphore.clone(), token.clone());
        move || drop(token.run(|| semaphore.acquire()))
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    semaphore.add_permits(1);
    waiter.join().unwrap();
    canceller.join().unwrap();
    assert_eq!(semaphore.available(), 1, "a permit was lost");
    assert!(
        semaphore.try_acquire().is_some(),
        "a thread that has left is still in the queue"
    );
}

fn sync_semaphore_two_waiters_one_permit() {
    let shared = Arc::new((Semaphore::new(0), Watched::new()));
    let waiters = [(); 2].map(|()| {
        let shared = shared.clone();
        thread::spawn(move || {
            let permit = shared.0.acquire().unwrap();
            shared.1.write();
            drop(permit);
        })
    });
    shared.1.write();
    shared.0.add_permits(1);
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert_eq!(shared.0.available(), 1);
}

fn sync_semaphore_permits_of_two() {
    let shared = Arc::new((Semaphore::new(0), Watched::new(), Watched::new()));
    let givers = [false, true].map(|second| {
        let shared = shared.clone();
        thread::spawn(move || {
            if second { &shared.2 } else { &shared.1 }.write();
            shared.0.add_permits(1);
        })
    });
    let both = shared.0.acquire_many(2).unwrap();
    shared.1.read();
    shared.2.read();
    drop(both);
    for giver in givers {
        giver.join().unwrap();
    }
}

fn sync_semaphore_cancelled_request_lets_a_smaller_pass() {
    let semaphore = Arc::new(Semaphore::new(2));
    let token = CancelToken::new();
    let held = semaphore.acquire().unwrap();
    let large = thread::spawn({
        let (semaphore, token) = (semaphore.clone(), token.clone());
        move || {
            assert!(
                token.run(|| semaphore.acquire_many(2).is_err()),
                "the semaphore has fewer permits"
            )
        }
    });
    let small = thread::spawn({
        let semaphore = semaphore.clone();
        move || drop(semaphore.acquire().unwrap())
    });
    token.cancel();
    large.join().unwrap();
    small.join().unwrap();
    drop(held);
    assert_eq!(semaphore.available(), 2, "a permit was lost");
}

fn sync_semaphore_close_against_acquire() {
    let shared = Arc::new((Semaphore::new(0), Watched::new()));
    let waiter = thread::spawn({
        let shared = shared.clone();
        move || {
            assert!(shared.0.acquire().is_err(), "there is no permit");
            shared.1.read();
        }
    });
    shared.1.write();
    shared.0.close();
    waiter.join().unwrap();
    assert!(shared.0.acquire().is_err());
}

fn sync_semaphore_close_that_is_seen_shows_what_came_before() {
    must_see(["closed", "open"]);
    let shared = Arc::new((Semaphore::new(0), Watched::new()));
    let closer = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            shared.0.close();
        }
    });
    if shared.0.is_closed() {
        shared.1.read();
        saw("closed");
    } else {
        saw("open");
    }
    closer.join().unwrap();
}

fn sync_semaphore_close_against_grant() {
    must_see(["granted", "refused"]);
    let semaphore = Arc::new(Semaphore::new(0));
    let waiter = thread::spawn({
        let semaphore = semaphore.clone();
        move || {
            semaphore
                .acquire()
                .map(|permit| permit.count())
                .unwrap_or(0)
        }
    });
    let giver = thread::spawn({
        let semaphore = semaphore.clone();
        move || semaphore.add_permits(1)
    });
    semaphore.close();
    giver.join().unwrap();
    saw(if waiter.join().unwrap() == 1 {
        "granted"
    } else {
        "refused"
    });
    assert_eq!(semaphore.available(), 1, "a permit was lost");
    assert!(semaphore.try_acquire().is_none(), "it is closed");
}

fn sync_semaphore_close_against_cancel() {
    let semaphore = Arc::new(Semaphore::new(0));
    let token = CancelToken::new();
    let waiter = thread::spawn({
        let (semaphore, token) = (semaphore.clone(), token.clone());
        move || {
            assert!(
                token.run(|| semaphore.acquire()).is_err(),
                "there is no permit"
            )
        }
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    semaphore.close();
    waiter.join().unwrap();
    canceller.join().unwrap();
    assert!(
        format!("{semaphore:?}").contains("waiting: 0"),
        "a waiter is still in the queue"
    );
}

/// Much longer than a model takes.
const HOUR: Duration = Duration::from_secs(3_600);

/// Starts the clock, and returns a limiter of one permit an hour of which none is left.
fn used_up(burst: u32) -> Arc<RateLimiter> {
    start_clock();
    let limiter = RateLimiter::new(HOUR, NonZeroU32::MIN).burst(NonZeroU32::new(burst).unwrap());
    assert!(limiter.acquire_many(burst).is_ok());
    Arc::new(limiter)
}

fn sync_rate_grant_against_cancel() {
    must_see(["the permit", "the cancel"]);
    let limiter = used_up(1);
    let token = CancelToken::new();
    let waiter = thread::spawn({
        let (limiter, token) = (limiter.clone(), token.clone());
        move || token.run(|| limiter.acquire()).is_ok()
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    pass(2 * HOUR);
    let early = limiter.try_acquire();
    let waited = waiter.join().unwrap();
    canceller.join().unwrap();
    let late = limiter.try_acquire();
    saw(if waited { "the permit" } else { "the cancel" });
    assert_eq!(
        [early, waited, late].into_iter().filter(|got| *got).count(),
        1,
        "a permit was lost, or given twice"
    );
}

fn sync_rate_cancelled_first_lets_the_next() {
    let limiter = used_up(1);
    let token = CancelToken::new();
    let cancelled = thread::spawn({
        let (limiter, token) = (limiter.clone(), token.clone());
        move || token.run(|| limiter.acquire()).is_ok()
    });
    let next = thread::spawn({
        let limiter = limiter.clone();
        move || limiter.acquire().unwrap()
    });
    pass(2 * HOUR);
    token.cancel();
    if cancelled.join().unwrap() {
        // It was faster, and the next permit is the other's.
        pass(2 * HOUR);
    }
    next.join().unwrap();
    assert!(!limiter.try_acquire(), "a permit was given twice");
}

fn sync_rate_waiters_in_turn() {
    let limiter = used_up(1);
    let waiters = [(); 2].map(|()| {
        let limiter = limiter.clone();
        thread::spawn(move || {
            limiter.acquire().unwrap();
            // The permit of the other one comes due only now.
            pass(2 * HOUR);
        })
    });
    pass(2 * HOUR);
    for waiter in waiters {
        waiter.join().unwrap();
    }
}

fn sync_rate_serves_all_that_are_due() {
    let limiter = used_up(2);
    let waiters = [(); 2].map(|()| {
        let limiter = limiter.clone();
        thread::spawn(move || limiter.acquire().unwrap())
    });
    pass(3 * HOUR);
    if limiter.try_acquire() {
        // It came before one of them.
        pass(2 * HOUR);
    }
    for waiter in waiters {
        waiter.join().unwrap();
    }
}
