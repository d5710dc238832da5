//! Models of the blocking primitives: grants against cancels, wakes that must not be lost, and the
//! happens-before edges that the docs promise.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::support::{Note, must_see, saw};
use super::{Model, Watched};
use crate::CancelToken;
use crate::facade::{pass, set_paces_are_due, start_clock};
use crate::sync::{
    Barrier, BarrierError, Condvar, Event, Latch, Mutex, OnceCell, Promise, RateLimiter, RwLock,
    Semaphore, WaitGroup, WriteGuard,
};

pub(super) fn models() -> Vec<Model> {
    vec![
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
        holds!(
            sync_wait_group_last_drop_against_wait,
            Preemptions(3),
            Preemptions(4),
            "the last drop wakes a waiter, and the work before each drop happens before its return"
        ),
        breaks!(
            broken_sync_wait_group_enters_late,
            "wait-group-enters-after-it-leaves" in sync_wait_group_last_drop_against_wait,
            Preemptions(3),
            "deadlock",
            "a waiter that gives up its reference before it is in the queue misses the last drop"
        ),
        holds!(
            sync_wait_group_waits_meet,
            Preemptions(3),
            Preemptions(4),
            "two references that wait for each other both continue, and the work of each before \
             its wait happens before that"
        ),
        breaks!(
            broken_sync_wait_group_waits_miss,
            "wait-group-enters-after-it-leaves" in sync_wait_group_waits_meet,
            Preemptions(3),
            "deadlock",
            "of two waits for each other, the one not in the queue when the other continues waits \
             for ever"
        ),
        holds!(
            sync_wait_group_last_drop_against_cancel,
            Preemptions(2),
            Preemptions(4),
            "a wait that is cancelled while the last reference is dropped has no effect, or \
             succeeds"
        ),
        breaks!(
            broken_sync_wait_group_cancel_beats_grant,
            "cancel-beats-the-grant" in sync_wait_group_last_drop_against_cancel,
            Preemptions(2),
            "the wait had an effect",
            "a cancelled waiter that does not look for its grant does not count again"
        ),
        holds!(
            sync_event_set_against_wait,
            Exhaustive,
            Exhaustive,
            "an event that is set while a thread begins to wait lets it through, and the work \
             before the set happens before that"
        ),
        breaks!(
            broken_sync_event_unlocked_look,
            "wait-set-enters-unseeing" in sync_event_set_against_wait,
            Exhaustive,
            "deadlock",
            "a waiter that does not check again under the lock sleeps through the event"
        ),
        holds!(
            sync_event_reset_lets_through,
            Preemptions(3),
            Preemptions(4),
            "a thread that waits when the event is set continues, even if the event is reset at \
             once"
        ),
        breaks!(
            broken_sync_event_cancel_stays_in_queue,
            "cancelled-waiter-stays" in sync_event_reset_lets_through,
            Preemptions(3),
            "a waiter is still in the queue",
            "a cancelled waiter that does not leave the queue stays in it"
        ),
        holds!(
            sync_latch_counts_happen_before,
            Preemptions(3),
            Preemptions(4),
            "all work before the counts happens before the return of the wait"
        ),
        breaks!(
            broken_sync_latch_unlocked_look,
            "wait-set-enters-unseeing" in sync_latch_counts_happen_before,
            Preemptions(3),
            "deadlock",
            "a waiter that does not check again under the lock sleeps through the last count"
        ),
        holds!(
            sync_promise_set_against_wait,
            Exhaustive,
            Exhaustive,
            "a promise that is kept while a thread begins to wait is seen, and the work before it \
             happens before the return"
        ),
        breaks!(
            broken_sync_promise_unlocked_look,
            "wait-set-enters-unseeing" in sync_promise_set_against_wait,
            Exhaustive,
            "deadlock",
            "a waiter that does not check again under the lock sleeps through the promise"
        ),
        holds!(
            sync_promise_set_against_cancel,
            Preemptions(3),
            Preemptions(4),
            "a wait that is cancelled while the promise is kept returns the value or the cancel, \
             and leaves nothing in the queue"
        ),
        breaks!(
            broken_sync_promise_looks_before_it_leaves,
            "wait-settles-after-the-look" in sync_promise_set_against_cancel,
            Preemptions(3),
            "invalid key",
            "a cancelled waiter that looks in one critical section and leaves in another is not \
             in the queue any more"
        ),
        holds!(
            sync_mutex_excludes,
            Preemptions(3),
            Preemptions(4),
            "one thread at a time holds the mutex, and an unlock wakes a waiter"
        ),
        breaks!(
            broken_sync_mutex_without_fence,
            "unlock-without-fence" in sync_mutex_excludes,
            Preemptions(3),
            "deadlock",
            "an unlock that looks for waiters before it is visible misses one"
        ),
        holds!(
            sync_mutex_cancel_passes_wake_on,
            Preemptions(2),
            Preemptions(3),
            "a waiter that is cancelled when it is woken to try wakes the next"
        ),
        breaks!(
            broken_sync_mutex_cancel_keeps_wake,
            "cancelled-waiter-keeps-its-wake" in sync_mutex_cancel_passes_wake_on,
            Preemptions(2),
            "deadlock",
            "a cancelled waiter that does not pass its wake on leaves the mutex free and the next \
             waiter asleep"
        ),
        holds!(
            sync_mutex_hand_over_against_relock,
            Preemptions(3),
            Preemptions(4),
            "a thread that locks again at once gets the mutex after the waiter that it was handed \
             to"
        ),
        breaks!(
            broken_sync_mutex_hand_over_bars_no_thread,
            "hand-over-bars-no-thread" in sync_mutex_hand_over_against_relock,
            Preemptions(3),
            "overtaken",
            "a mutex that is handed over without keeping other threads out goes to the fastest one"
        ),
        holds!(
            sync_mutex_hand_over_against_cancel,
            Preemptions(2),
            Preemptions(3),
            "a mutex that is handed to a cancelled waiter goes to the next waiter, or to any thread"
        ),
        breaks!(
            broken_sync_mutex_hand_over_to_an_empty_queue,
            "empty-queue-bars" in sync_mutex_hand_over_against_cancel,
            Preemptions(2),
            "the mutex is kept for a waiter that has left",
            "a cancelled waiter that leaves the mutex handed to an empty queue keeps every thread \
             out"
        ),
        breaks!(
            broken_sync_mutex_hand_over_is_dropped,
            "cancelled-waiter-keeps-its-wake" in sync_mutex_hand_over_against_cancel,
            Preemptions(2),
            "deadlock",
            "a cancelled waiter that does not pass a hand-over on leaves the mutex free and the \
             next waiter asleep"
        ),
        holds!(
            sync_mutex_hand_over_in_order,
            Preemptions(2),
            Preemptions(3),
            "a mutex that is handed over at each unlock goes to the waiters in the order of the \
             queue"
        ),
        holds!(
            sync_rwlock_excludes,
            Preemptions(2),
            Preemptions(3),
            "a writer excludes all others, and its writes happen before the reads"
        ),
        holds!(
            sync_rwlock_hand_over_to_readers,
            Preemptions(1),
            Preemptions(3),
            "a lock that is handed to readers lets all of them read, and then a writer write"
        ),
        holds!(
            sync_rwlock_hand_over_against_relock,
            Preemptions(3),
            Preemptions(4),
            "a writer that locks again at once gets the lock after the reader that it was handed to"
        ),
        holds!(
            sync_rwlock_hand_over_against_cancel,
            Preemptions(2),
            Preemptions(3),
            "a lock that is handed to a cancelled writer goes to the readers behind it"
        ),
        holds!(
            sync_rwlock_last_reader_wakes_the_writer,
            Preemptions(1),
            Preemptions(3),
            "of two readers that unlock at the same time, one sees the waiting writer"
        ),
        breaks!(
            broken_sync_rwlock_without_fence,
            "unlock-without-fence" in sync_rwlock_last_reader_wakes_the_writer,
            Preemptions(1),
            "deadlock",
            "a reader that looks for waiters before its unlock is visible misses the writer"
        ),
        holds!(
            sync_rwlock_cancelled_writer_lets_readers_pass,
            Preemptions(3),
            Preemptions(4),
            "a reader behind a cancelled writer reads beside the readers that hold the lock"
        ),
        breaks!(
            broken_sync_rwlock_cancelled_writer_bars_readers,
            "cancelled-writer-bars-readers" in sync_rwlock_cancelled_writer_lets_readers_pass,
            Preemptions(3),
            "deadlock",
            "a cancelled writer that does not wake the readers behind it leaves a reader waiting \
             for readers"
        ),
        holds!(
            sync_rwlock_readers_read_together,
            Preemptions(1),
            Preemptions(3),
            "two readers that waited for a writer hold the lock together, whichever was woken by \
             its unlock"
        ),
        breaks!(
            broken_sync_rwlock_reader_tells_no_reader,
            "reader-tells-no-reader" in sync_rwlock_readers_read_together,
            Preemptions(1),
            "deadlock",
            "a reader that gets the lock by itself and wakes no reader leaves the reader behind \
             it waiting for its unlock"
        ),
        holds!(
            sync_rwlock_downgrade_lets_readers_in,
            Preemptions(3),
            Preemptions(4),
            "a reader that waits for a writer reads beside it once the writer is downgraded, and \
             the write happens before the read"
        ),
        breaks!(
            broken_sync_rwlock_downgrade_tells_no_reader,
            "downgrade-tells-no-reader" in sync_rwlock_downgrade_lets_readers_in,
            Preemptions(3),
            "deadlock",
            "a writer that downgrades and wakes no reader leaves a reader waiting for its unlock"
        ),
        breaks!(
            broken_sync_rwlock_downgrade_without_fence,
            "downgrade-without-fence" in sync_rwlock_downgrade_lets_readers_in,
            Preemptions(3),
            "deadlock",
            "a writer that looks for waiters before its downgrade is visible misses a reader"
        ),
        holds!(
            sync_rwlock_downgrade_against_writer_and_reader,
            Preemptions(2),
            Preemptions(3),
            "no writer gets in between a downgrade and the unlock, and a waiting writer and \
             reader get the lock after it"
        ),
        holds!(
            sync_rwlock_downgrade_hands_over,
            Preemptions(3),
            Preemptions(4),
            "a lock that is handed over at a downgrade goes to the reader, and then to any thread"
        ),
        holds!(
            sync_condvar_notify_between_predicate_and_wait,
            Exhaustive,
            Exhaustive,
            "a notification between the check of the condition and the wait is not lost"
        ),
        breaks!(
            broken_sync_condvar_enters_after_unlock,
            "condvar-enters-after-the-unlock" in sync_condvar_notify_between_predicate_and_wait,
            Preemptions(3),
            "deadlock",
            "a waiter that unlocks before it is in the queue misses the notification"
        ),
        holds!(
            sync_condvar_cancel_against_notify,
            Preemptions(2),
            Preemptions(3),
            "a notification for a cancelled waiter is received by it or by the next"
        ),
        breaks!(
            broken_sync_condvar_cancel_eats_notification,
            "cancel-beats-the-grant" in sync_condvar_cancel_against_notify,
            Preemptions(2),
            "deadlock",
            "a cancelled waiter that does not check for its notification loses it"
        ),
        holds!(
            sync_condvar_cancelled_waiter_is_not_notified,
            Preemptions(2),
            Preemptions(3),
            "a notification that comes after a waiter was cancelled is received by another waiter"
        ),
        breaks!(
            broken_sync_condvar_cancelled_waiter_stays,
            "cancelled-waiter-stays" in sync_condvar_cancelled_waiter_is_not_notified,
            Preemptions(2),
            "deadlock",
            "a cancelled waiter that stays in the queue takes a notification that no thread sees"
        ),
        holds!(
            sync_condvar_answer_against_cancel,
            Preemptions(3),
            Preemptions(4),
            "a notification that reports a woken thread was received, although that thread was \
             being cancelled"
        ),
        breaks!(
            broken_sync_condvar_answer_before_cancel,
            "cancel-beats-the-grant" in sync_condvar_answer_against_cancel,
            Preemptions(3),
            "the answer is wrong",
            "a cancelled waiter that does not check for its notification makes the answer of \
             notify wrong"
        ),
        holds!(
            sync_barrier_breaks_while_it_completes,
            Preemptions(3),
            Preemptions(4),
            "all threads pass a barrier or none does"
        ),
        breaks!(
            broken_sync_barrier_cancel_beats_grant,
            "cancel-beats-the-grant" in sync_barrier_breaks_while_it_completes,
            Preemptions(3),
            "one passed alone",
            "a cancelled waiter that does not check for its grant fails while the others pass"
        ),
        holds!(
            sync_barrier_cancel_lets_the_others_go,
            Preemptions(3),
            Preemptions(4),
            "a thread that waits at a barrier continues if another is cancelled there"
        ),
        holds!(
            sync_barrier_break_reaches_a_late_thread,
            Preemptions(3),
            Preemptions(4),
            "a thread that comes to a barrier while it breaks is refused or woken, and does not \
             wait for a thread that has left"
        ),
        breaks!(
            broken_sync_barrier_forgets_its_break,
            "barrier-forgets-its-break" in sync_barrier_break_reaches_a_late_thread,
            Preemptions(3),
            "deadlock",
            "a barrier that does not stay broken makes later threads wait for ever"
        ),
        holds!(
            sync_barrier_last_wakes_the_others,
            Preemptions(3),
            Preemptions(4),
            "all threads come to a barrier before one continues, and the work of each happens \
             before that"
        ),
        holds!(
            sync_barrier_reset_lets_go,
            Preemptions(3),
            Preemptions(4),
            "a thread that waits at a barrier continues when the barrier is reset"
        ),
        holds!(
            sync_once_cell_failure_hands_over,
            Exhaustive,
            Exhaustive,
            "when an initialiser fails, one of the waiters runs its own"
        ),
        breaks!(
            broken_sync_once_cell_failure_keeps_turn,
            "failure-keeps-the-turn" in sync_once_cell_failure_hands_over,
            Preemptions(3),
            "deadlock",
            "an initialiser that fails and wakes no waiter leaves the others waiting"
        ),
        holds!(
            sync_once_cell_is_made_once,
            Exhaustive,
            Exhaustive,
            "of two threads that find no value, one makes it and the other gets the same value"
        ),
        breaks!(
            broken_sync_once_cell_is_made_twice,
            "turn-misses-the-value" in sync_once_cell_is_made_once,
            Preemptions(3),
            "made twice",
            "a thread that has found no value and does not check again makes another"
        ),
        holds!(
            sync_once_cell_cancelled_waiter_makes_nothing,
            Preemptions(3),
            Preemptions(4),
            "a waiter that gets the turn after it was cancelled makes no value"
        ),
        breaks!(
            broken_sync_once_cell_cancelled_waiter_makes,
            "turn-is-not-checked" in sync_once_cell_cancelled_waiter_makes_nothing,
            Preemptions(3),
            "made in a cancelled scope",
            "a waiter that finds its turn first and does not check for the cancel makes the value"
        ),
        holds!(
            sync_once_cell_cancelled_waiter_hands_on,
            Preemptions(3),
            Preemptions(4),
            "a turn that was handed to a waiter while it was cancelled goes to the next"
        ),
        breaks!(
            broken_sync_once_cell_cancel_keeps_turn,
            "cancelled-waiter-keeps-the-turn" in sync_once_cell_cancelled_waiter_hands_on,
            Preemptions(3),
            "deadlock",
            "a cancelled waiter that keeps the turn leaves the others waiting"
        ),
    ]
}

fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> thread::JoinHandle<T> {
    thread::spawn(f)
}

fn sync_semaphore_grant_against_cancel() {
    let semaphore = Arc::new(Semaphore::new(0));
    let token = CancelToken::new();
    let waiter = spawn({
        let (semaphore, token) = (semaphore.clone(), token.clone());
        move || drop(token.run(|| semaphore.acquire()))
    });
    let canceller = spawn(move || {
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
        spawn(move || {
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
        spawn(move || {
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
    let large = spawn({
        let (semaphore, token) = (semaphore.clone(), token.clone());
        move || {
            assert!(
                token.run(|| semaphore.acquire_many(2).is_err()),
                "the semaphore has fewer permits"
            )
        }
    });
    let small = spawn({
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
    let waiter = spawn({
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
    let closer = spawn({
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
    let waiter = spawn({
        let semaphore = semaphore.clone();
        move || {
            semaphore
                .acquire()
                .map(|permit| permit.count())
                .unwrap_or(0)
        }
    });
    let giver = spawn({
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
    let waiter = spawn({
        let (semaphore, token) = (semaphore.clone(), token.clone());
        move || {
            assert!(
                token.run(|| semaphore.acquire()).is_err(),
                "there is no permit"
            )
        }
    });
    let canceller = spawn(move || {
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
    let waiter = spawn({
        let (limiter, token) = (limiter.clone(), token.clone());
        move || token.run(|| limiter.acquire()).is_ok()
    });
    let canceller = spawn(move || {
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
    let cancelled = spawn({
        let (limiter, token) = (limiter.clone(), token.clone());
        move || token.run(|| limiter.acquire()).is_ok()
    });
    let next = spawn({
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
        spawn(move || {
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
        spawn(move || limiter.acquire().unwrap())
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

fn sync_wait_group_last_drop_against_wait() {
    let group = WaitGroup::new();
    let done = Arc::new([Watched::new(), Watched::new()]);
    let pieces = [0, 1].map(|at| {
        let (piece, done) = (group.clone(), done.clone());
        spawn(move || {
            done[at].write();
            drop(piece);
        })
    });
    group.wait().unwrap();
    done.iter().for_each(Watched::read);
    for piece in pieces {
        piece.join().unwrap();
    }
    assert_eq!(group.count(), 1);
}

fn sync_wait_group_waits_meet() {
    let (group, done) = (WaitGroup::new(), Arc::new([Watched::new(), Watched::new()]));
    let other = spawn({
        let (group, done) = (group.clone(), done.clone());
        move || {
            done[0].write();
            group.wait().unwrap();
            done[1].read();
            group
        }
    });
    done[1].write();
    group.wait().unwrap();
    done[0].read();
    // This wait continues although the other reference counts again.
    let other = other.join().unwrap();
    assert_eq!(group.count(), 2);
    drop(other);
    group.wait().unwrap();
}

fn sync_wait_group_last_drop_against_cancel() {
    must_see(["it ended well", "it was cancelled"]);
    let (group, token) = (WaitGroup::new(), CancelToken::new());
    let piece = group.clone();
    let last = spawn(move || drop(piece));
    let canceller = spawn({
        let token = token.clone();
        move || {
            token.cancel();
        }
    });
    let waited = token.run(|| group.wait());
    saw(if waited.is_ok() {
        "it ended well"
    } else {
        "it was cancelled"
    });
    last.join().unwrap();
    canceller.join().unwrap();
    assert_eq!(group.count(), 1, "the wait had an effect");
    group.wait().unwrap();
}

fn sync_event_set_against_wait() {
    let shared = Arc::new((Event::new(), Watched::new()));
    let waiter = spawn({
        let shared = shared.clone();
        move || {
            shared.0.wait().unwrap();
            shared.1.read();
        }
    });
    shared.1.write();
    shared.0.set();
    waiter.join().unwrap();
}

fn sync_event_reset_lets_through() {
    let event = Arc::new(Event::new());
    let token = CancelToken::new();
    let waiter = spawn({
        let (event, token) = (event.clone(), token.clone());
        move || token.run(|| event.wait()).is_ok()
    });
    event.set();
    event.reset();
    // Lets a thread go that came after the reset.
    token.cancel();
    waiter.join().unwrap();
    assert!(
        format!("{event:?}").contains("waiting: 0"),
        "a waiter is still in the queue"
    );
}

fn sync_latch_counts_happen_before() {
    let shared = Arc::new((Latch::new(2), Watched::new(), Watched::new()));
    let counter = spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            shared.0.count_down();
        }
    });
    let waiter = spawn({
        let shared = shared.clone();
        move || {
            shared.0.wait().unwrap();
            shared.1.read();
            shared.2.read();
        }
    });
    shared.2.write();
    shared.0.count_down();
    counter.join().unwrap();
    waiter.join().unwrap();
}

fn sync_promise_set_against_wait() {
    let shared = Arc::new((Promise::new(), Watched::new()));
    let waiter = spawn({
        let shared = shared.clone();
        move || {
            assert_eq!(*shared.0.wait().unwrap(), 7);
            shared.1.read();
        }
    });
    shared.1.write();
    shared.0.set(7).unwrap();
    waiter.join().unwrap();
}

fn sync_promise_set_against_cancel() {
    let promise = Arc::new(Promise::new());
    let token = CancelToken::new();
    let waiter = spawn({
        let (promise, token) = (promise.clone(), token.clone());
        move || token.run(|| promise.wait().copied().ok())
    });
    let canceller = spawn(move || {
        token.cancel();
    });
    promise.set(7).unwrap();
    assert!([None, Some(7)].contains(&waiter.join().unwrap()));
    canceller.join().unwrap();
    assert!(
        format!("{promise:?}").contains("waiting: 0"),
        "a waiter is still in the queue"
    );
}

fn sync_mutex_excludes() {
    let mutex = Arc::new(Mutex::new(Watched::new()));
    let others = [(); 2].map(|()| {
        let mutex = mutex.clone();
        spawn(move || mutex.lock().unwrap().write())
    });
    mutex.lock().unwrap().write();
    for other in others {
        other.join().unwrap();
    }
}

fn sync_mutex_cancel_passes_wake_on() {
    let mutex = Arc::new(Mutex::new(()));
    let token = CancelToken::new();
    let held = mutex.lock().unwrap();
    let cancelled = spawn({
        let (mutex, token) = (mutex.clone(), token.clone());
        move || drop(token.run(|| mutex.lock()))
    });
    let next = spawn({
        let mutex = mutex.clone();
        move || drop(mutex.lock().unwrap())
    });
    drop(held);
    token.cancel();
    cancelled.join().unwrap();
    next.join().unwrap();
    assert!(
        mutex.try_lock().is_some(),
        "the mutex is kept for a waiter that has left"
    );
}

fn until_waiting(primitive: &impl std::fmt::Debug, count: usize) {
    while !format!("{primitive:?}").contains(&format!("waiting: {count}")) {
        thread::yield_now();
    }
}

fn sync_mutex_hand_over_against_relock() {
    set_paces_are_due(true);
    let mutex = Arc::new(Mutex::new(false));
    let mut held = mutex.lock().unwrap();
    let waiter = spawn({
        let mutex = mutex.clone();
        move || *mutex.lock().unwrap() = true
    });
    until_waiting(&mutex, 1);
    drop(held);
    held = mutex.lock().unwrap();
    assert!(*held, "overtaken");
    drop(held);
    waiter.join().unwrap();
    assert!(
        mutex.try_lock().is_some(),
        "the mutex is kept for a waiter that has left"
    );
}

fn sync_mutex_hand_over_against_cancel() {
    set_paces_are_due(true);
    sync_mutex_cancel_passes_wake_on();
}

fn sync_mutex_hand_over_in_order() {
    set_paces_are_due(true);
    let mutex = Arc::new(Mutex::new(Vec::new()));
    let held = mutex.lock().unwrap();
    let waiters = [1, 2].map(|n| {
        let waiter = spawn({
            let mutex = mutex.clone();
            move || mutex.lock().unwrap().push(n)
        });
        until_waiting(&mutex, n);
        waiter
    });
    drop(held);
    mutex.lock().unwrap().push(3);
    for waiter in waiters {
        waiter.join().unwrap();
    }
    let order = mutex.lock().unwrap();
    let at = |n| order.iter().position(|thread| *thread == n);
    assert!(order.len() == 3 && at(1) < at(2), "{order:?}");
}

fn sync_rwlock_hand_over_to_readers() {
    set_paces_are_due(true);
    sync_rwlock_last_reader_wakes_the_writer();
}

fn sync_rwlock_hand_over_against_relock() {
    set_paces_are_due(true);
    let lock = Arc::new(RwLock::new(Watched::new()));
    let reader = spawn({
        let lock = lock.clone();
        move || lock.read().unwrap().read()
    });
    for _ in 0..2 {
        lock.write().unwrap().write();
    }
    reader.join().unwrap();
    assert!(
        lock.try_write().is_some(),
        "the lock is kept for a waiter that has left"
    );
}

fn sync_rwlock_hand_over_against_cancel() {
    set_paces_are_due(true);
    let lock = Arc::new(RwLock::new(()));
    let token = CancelToken::new();
    let writing = lock.write().unwrap();
    let writer = spawn({
        let (lock, token) = (lock.clone(), token.clone());
        move || drop(token.run(|| lock.write()))
    });
    let reader = spawn({
        let lock = lock.clone();
        move || drop(lock.read().unwrap())
    });
    drop(writing);
    token.cancel();
    writer.join().unwrap();
    reader.join().unwrap();
    assert!(
        lock.try_write().is_some(),
        "the lock is kept for a waiter that has left"
    );
}

fn sync_rwlock_excludes() {
    let lock = Arc::new(RwLock::new(Watched::new()));
    let writer = spawn({
        let lock = lock.clone();
        move || lock.write().unwrap().write()
    });
    let reader = spawn({
        let lock = lock.clone();
        move || lock.read().unwrap().read()
    });
    lock.write().unwrap().write();
    writer.join().unwrap();
    reader.join().unwrap();
}

fn sync_rwlock_last_reader_wakes_the_writer() {
    let lock = Arc::new(RwLock::new(Watched::new()));
    let readers = [(); 2].map(|()| {
        let lock = lock.clone();
        spawn(move || lock.read().unwrap().read())
    });
    lock.write().unwrap().write();
    for reader in readers {
        reader.join().unwrap();
    }
}

fn sync_rwlock_cancelled_writer_lets_readers_pass() {
    let lock = Arc::new(RwLock::new(()));
    let token = CancelToken::new();
    let reading = lock.read().unwrap();
    let writer = spawn({
        let (lock, token) = (lock.clone(), token.clone());
        move || assert!(token.run(|| lock.write().is_err()), "wrote beside a reader")
    });
    let reader = spawn({
        let lock = lock.clone();
        move || drop(lock.read().unwrap())
    });
    token.cancel();
    writer.join().unwrap();
    reader.join().unwrap();
    drop(reading);
}

fn sync_rwlock_readers_read_together() {
    let shared = Arc::new((RwLock::new(()), Latch::new(2)));
    let writing = shared.0.write().unwrap();
    let readers = [(); 2].map(|()| {
        let shared = shared.clone();
        spawn(move || {
            let _reading = shared.0.read().unwrap();
            shared.1.count_down();
            shared.1.wait().unwrap();
        })
    });
    drop(writing);
    for reader in readers {
        reader.join().unwrap();
    }
}

fn sync_rwlock_downgrade_lets_readers_in() {
    let shared = Arc::new((RwLock::new(Watched::new()), Latch::new(1)));
    let writing = shared.0.write().unwrap();
    let reader = spawn({
        let shared = shared.clone();
        move || {
            shared.0.read().unwrap().read();
            shared.1.count_down();
        }
    });
    writing.write();
    let reading = WriteGuard::downgrade(writing);
    // The reader does not depend on the unlock.
    shared.1.wait().unwrap();
    reading.read();
    drop(reading);
    reader.join().unwrap();
    assert!(
        shared.0.try_write().is_some(),
        "the lock is kept for a waiter that has left"
    );
}

fn sync_rwlock_downgrade_against_writer_and_reader() {
    let lock = Arc::new(RwLock::new((Watched::new(), 0)));
    let mut writing = lock.write().unwrap();
    let writer = spawn({
        let lock = lock.clone();
        move || {
            let mut writing = lock.write().unwrap();
            writing.0.write();
            writing.1 += 1;
        }
    });
    let reader = spawn({
        let lock = lock.clone();
        move || lock.read().unwrap().0.read()
    });
    writing.0.write();
    writing.1 = 10;
    let reading = WriteGuard::downgrade(writing);
    reading.0.read();
    assert_eq!(reading.1, 10, "a writer came in between");
    drop(reading);
    writer.join().unwrap();
    reader.join().unwrap();
    assert_eq!(lock.read().unwrap().1, 11);
}

fn sync_rwlock_downgrade_hands_over() {
    set_paces_are_due(true);
    sync_rwlock_downgrade_lets_readers_in();
}

fn sync_condvar_notify_between_predicate_and_wait() {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let waiter = spawn({
        let shared = shared.clone();
        move || {
            let mut open = shared.0.lock().unwrap();
            shared.1.wait_while(&mut open, |open| !*open).unwrap();
        }
    });
    *shared.0.lock().unwrap() = true;
    shared.1.notify_one();
    waiter.join().unwrap();
}

/// Sends one notification to two waiters, one of which is cancelled. The notified thread takes care
/// of the other.
fn sync_condvar_cancel_against_notify() {
    struct Jobs {
        open: bool,
    }
    fn take(shared: &(Mutex<Jobs>, Condvar)) -> Result<(), crate::Cancelled> {
        let mut jobs = shared.0.lock()?;
        while !jobs.open {
            shared.1.wait(&mut jobs)?;
        }
        drop(jobs);
        shared.1.notify_one();
        Ok(())
    }
    let shared = Arc::new((Mutex::new(Jobs { open: false }), Condvar::new()));
    let token = CancelToken::new();
    let cancelled = spawn({
        let (shared, token) = (shared.clone(), token.clone());
        move || drop(token.run(|| take(&shared)))
    });
    let other = spawn({
        let shared = shared.clone();
        move || take(&shared).unwrap()
    });
    shared.0.lock().unwrap().open = true;
    shared.1.notify_one();
    token.cancel();
    cancelled.join().unwrap();
    other.join().unwrap();
}

fn sync_condvar_cancelled_waiter_is_not_notified() {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let token = CancelToken::new();
    let wait = |shared: &(Mutex<bool>, Condvar)| {
        let mut open = shared.0.lock()?;
        shared.1.wait_while(&mut open, |open| !*open)
    };
    let cancelled = spawn({
        let (shared, token) = (shared.clone(), token.clone());
        move || assert!(token.run(|| wait(&shared)).is_err(), "it was not opened")
    });
    let other = spawn({
        let shared = shared.clone();
        move || wait(&shared).unwrap()
    });
    token.cancel();
    cancelled.join().unwrap();
    *shared.0.lock().unwrap() = true;
    shared.1.notify_one();
    other.join().unwrap();
}

fn sync_condvar_answer_against_cancel() {
    must_see(["a thread was woken", "no thread waited"]);
    let shared = Arc::new((Mutex::new(()), Condvar::new()));
    let token = CancelToken::new();
    let waiter = spawn({
        let (shared, token) = (shared.clone(), token.clone());
        move || token.run(|| shared.1.wait(&mut shared.0.lock()?)).is_ok()
    });
    let canceller = spawn(move || {
        token.cancel();
    });
    let woke = shared.1.notify_one();
    saw(if woke {
        "a thread was woken"
    } else {
        "no thread waited"
    });
    canceller.join().unwrap();
    assert_eq!(waiter.join().unwrap(), woke, "the answer is wrong");
}

fn sync_barrier_breaks_while_it_completes() {
    let barrier = Arc::new(Barrier::new(2));
    let (token, alone) = (CancelToken::new(), CancelToken::new());
    let cancelled = spawn({
        let (barrier, token, alone) = (barrier.clone(), token.clone(), alone.clone());
        move || {
            let passed = token.run(|| barrier.wait());
            if passed.is_err() && !barrier.is_broken() {
                // It never waited, so no thread may wait for it.
                alone.cancel();
            }
            passed
        }
    });
    let canceller = spawn(move || {
        token.cancel();
    });
    let other = alone.run(|| barrier.wait());
    canceller.join().unwrap();
    match (cancelled.join().unwrap(), other) {
        (Ok(a), Ok(b)) => assert!(a != b, "exactly one thread came last"),
        (Err(BarrierError::Cancelled(_)), Err(_)) => {}
        ends => panic!("one passed alone: {ends:?}"),
    }
}

fn sync_barrier_cancel_lets_the_others_go() {
    let barrier = Arc::new(Barrier::new(3));
    let (token, alone) = (CancelToken::new(), CancelToken::new());
    let cancelled = spawn({
        let (barrier, token, alone) = (barrier.clone(), token.clone(), alone.clone());
        move || {
            assert!(
                token.run(|| barrier.wait()).is_err(),
                "the third never comes"
            );
            if !barrier.is_broken() {
                // It never waited, so no thread may wait for it.
                alone.cancel();
            }
        }
    });
    let canceller = spawn(move || {
        token.cancel();
    });
    assert!(
        alone.run(|| barrier.wait()).is_err(),
        "the third never comes"
    );
    canceller.join().unwrap();
    cancelled.join().unwrap();
}

fn sync_barrier_break_reaches_a_late_thread() {
    let barrier = Arc::new(Barrier::new(3));
    let token = CancelToken::new();
    let cancelled = spawn({
        let (barrier, token) = (barrier.clone(), token.clone());
        move || token.run(|| barrier.wait())
    });
    until_waiting(&*barrier, 1);
    let late = spawn({
        let barrier = barrier.clone();
        move || barrier.wait()
    });
    token.cancel();
    assert!(matches!(
        cancelled.join().unwrap(),
        Err(BarrierError::Cancelled(_))
    ));
    assert!(matches!(late.join().unwrap(), Err(BarrierError::Broken(_))));
}

fn sync_barrier_last_wakes_the_others() {
    let shared = Arc::new((Barrier::new(2), Watched::new(), Watched::new()));
    let other = spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            let last = shared.0.wait().unwrap();
            shared.2.read();
            last
        }
    });
    shared.2.write();
    let last = shared.0.wait().unwrap();
    shared.1.read();
    assert!(
        other.join().unwrap() != last,
        "exactly one thread came last"
    );
}

fn sync_barrier_reset_lets_go() {
    let barrier = Arc::new(Barrier::new(2));
    let waiter = spawn({
        let barrier = barrier.clone();
        move || barrier.wait()
    });
    until_waiting(&*barrier, 1);
    barrier.reset();
    assert!(matches!(
        waiter.join().unwrap(),
        Err(BarrierError::Broken(_))
    ));
}

fn sync_once_cell_failure_hands_over() {
    let cell = Arc::new(OnceCell::new());
    let fails = spawn({
        let cell = cell.clone();
        move || {
            drop(cell.get_or_try_init(|| Err::<u8, Box<dyn std::error::Error>>("not today".into())))
        }
    });
    assert_eq!(*cell.get_or_init(|| 7).unwrap(), 7);
    fails.join().unwrap();
}

fn sync_once_cell_is_made_once() {
    let (cell, made) = (Arc::new(OnceCell::new()), Note::default());
    let make = {
        let made = made.clone();
        move || made.set()
    };
    let other = spawn({
        let (cell, make) = (cell.clone(), make.clone());
        move || assert!(cell.get_or_init(make).is_ok())
    });
    cell.get_or_init(make).unwrap();
    other.join().unwrap();
    assert!(made.times() == 1, "made twice");
}

fn sync_once_cell_cancelled_waiter_makes_nothing() {
    let (cell, token) = (Arc::new(OnceCell::new()), CancelToken::new());
    let mut waiter = None;
    let failed = cell.get_or_try_init(|| {
        waiter = Some(spawn({
            let (cell, token) = (cell.clone(), token.clone());
            move || {
                let made = token.run(|| {
                    cell.get_or_init(|| panic!("made in a cancelled scope"))
                        .map(drop)
                });
                assert!(made.is_err());
            }
        }));
        token.cancel();
        Err::<u8, Box<dyn std::error::Error>>("not today".into())
    });
    assert!(failed.is_err());
    waiter.unwrap().join().unwrap();
}

fn sync_once_cell_cancelled_waiter_hands_on() {
    let cell = Arc::new(OnceCell::new());
    let token = CancelToken::new();
    let fails = spawn({
        let cell = cell.clone();
        move || {
            drop(cell.get_or_try_init(|| Err::<u8, Box<dyn std::error::Error>>("not today".into())))
        }
    });
    let cancelled = spawn({
        let (cell, token) = (cell.clone(), token.clone());
        move || drop(token.run(|| cell.get_or_init(|| 7)))
    });
    token.cancel();
    assert_eq!(*cell.get_or_init(|| 7).unwrap(), 7);
    fails.join().unwrap();
    cancelled.join().unwrap();
}
