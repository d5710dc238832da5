//! Rate limiters: bounds, order, cancellation, permits that are never lost.

mod support;

use std::num::NonZeroU32;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::{LONG, MOMENT, until_waiting, watch};
use taskgroup::sync::RateLimiter;
use taskgroup::{CancelCause, CancelToken, TaskGroup};

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// One permit in a time that is longer than any test, and a burst that is used up.
fn used_up(burst: u32) -> RateLimiter {
    let limiter = RateLimiter::new(LONG, NonZeroU32::MIN).burst(number(burst));
    limiter.acquire_many(burst).unwrap();
    limiter
}

#[test]
fn the_burst_is_there_at_once_and_no_more() -> anyhow::Result<()> {
    let limiter = RateLimiter::new(LONG, number(5));
    limiter.acquire_many(3)?;
    limiter.acquire()?;
    assert!(limiter.try_acquire());
    assert!(!limiter.try_acquire());
    Ok(())
}

#[test]
fn a_request_for_nothing_takes_nothing() -> anyhow::Result<()> {
    let limiter = RateLimiter::new(LONG, NonZeroU32::MIN);
    limiter.acquire_many(0)?;
    limiter.acquire()?;
    limiter.acquire_many(0)?;
    assert!(!limiter.try_acquire());
    Ok(())
}

#[test]
fn a_limiter_stands_in_a_static() {
    static PACE: RateLimiter = RateLimiter::new(LONG, number_in_const(2)).burst(NonZeroU32::MIN);
    const fn number_in_const(n: u32) -> NonZeroU32 {
        match NonZeroU32::new(n) {
            Some(n) => n,
            None => panic!("it is not zero"),
        }
    }
    assert!(PACE.try_acquire() && !PACE.try_acquire());
    let shown = format!("{PACE:?}");
    assert!(
        shown.contains("permits: 2") && shown.contains("burst: 1"),
        "{shown}"
    );
}

#[test]
fn bad_rates_and_requests_are_refused_where_they_are_made() {
    support::alone(
        "bad_rates_and_requests_are_refused_where_they_are_made",
        || {
            let place = Arc::new(Mutex::new(None));
            let hook = place.clone();
            std::panic::set_hook(Box::new(move |panic| {
                *hook.lock().unwrap() =
                    panic.location().map(|at| (at.file().to_owned(), at.line()));
            }));
            let refusals: [(u32, fn(), &str); 2] = [
                (
                    line!() + 1,
                    || drop(RateLimiter::new(Duration::ZERO, NonZeroU32::MIN)),
                    "longer than zero",
                ),
                (
                    line!() + 1,
                    || drop(RateLimiter::new(LONG, number(3)).acquire_many(4)),
                    "4 permits are never due at once: the burst of the rate limiter is 3",
                ),
            ];
            for (line, refused, says) in refusals {
                let payload = catch_unwind(refused).unwrap_err();
                let message = payload
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or(payload.downcast_ref::<&str>().copied())
                    .unwrap();
                assert!(message.contains(says), "{message}");
                assert_eq!(
                    place.lock().unwrap().take(),
                    Some((file!().to_owned(), line))
                );
            }
            drop(std::panic::take_hook());
        },
    );
}

#[test]
fn a_cancelled_scope_gets_no_permit() {
    let limiter = RateLimiter::new(LONG, NonZeroU32::MIN);
    let token = CancelToken::new();
    token.cancel();
    for _ in 0..3 {
        let refused = token.run(|| limiter.acquire()).unwrap_err();
        assert_eq!(Err(refused), token.check());
    }
    assert!(
        token.run(|| limiter.try_acquire()),
        "it is still there, and a call that never blocks works"
    );
}

#[test]
fn a_cancel_wakes_a_waiter_and_takes_no_permit() {
    let _watch = watch();
    let limiter = used_up(1);
    let tokens = [(); 3].map(|()| CancelToken::new());
    thread::scope(|threads| {
        for (token, count) in tokens.iter().zip(1..) {
            threads.spawn(|| {
                let refused = token.run(|| limiter.acquire()).unwrap_err();
                assert_eq!(Err(refused), token.check());
            });
            until_waiting(&limiter, count);
        }
        // The second, the first, the last.
        for (index, left) in [(1, 2), (0, 1), (2, 0)] {
            tokens[index].cancel();
            until_waiting(&limiter, left);
        }
    });
}

#[test]
fn a_deadline_before_the_permit_ends_the_wait() {
    let limiter = used_up(1);
    let token = CancelToken::new();
    let begun = Instant::now();
    token.cancel_after(MOMENT);
    let refused = token.run(|| limiter.acquire()).unwrap_err();
    assert!(matches!(refused.cause(), CancelCause::Deadline { .. }));
    let waited = begun.elapsed();
    assert!(waited >= MOMENT, "it ended before the deadline: {waited:?}");
    assert!(waited < LONG / 2, "it waited for the permit: {waited:?}");
}

#[test]
fn a_smaller_request_goes_on_when_a_large_one_ahead_is_cancelled() {
    let _watch = watch();
    let limiter =
        RateLimiter::new(Duration::from_millis(1), NonZeroU32::MIN).burst(number(u32::MAX));
    limiter.acquire_many(u32::MAX).unwrap();
    let token = CancelToken::new();
    thread::scope(|threads| {
        let large = threads.spawn(|| token.run(|| limiter.acquire_many(u32::MAX)));
        until_waiting(&limiter, 1);
        let small = threads.spawn(|| limiter.acquire());
        until_waiting(&limiter, 2);
        token.cancel();
        assert!(large.join().unwrap().is_err());
        assert!(small.join().unwrap().is_ok());
    });
}

#[test]
fn a_rate_bounds_many_threads() -> anyhow::Result<()> {
    let _watch = watch();
    const BURST: u32 = 10;
    const THREADS: u32 = 16;
    let per = Duration::from_millis(1);
    let limiter = RateLimiter::new(per, NonZeroU32::MIN).burst(number(BURST));
    let admitted = AtomicU32::new(0);
    let begun = Instant::now();
    let token = CancelToken::new();
    token.cancel_after(Duration::from_secs(2));

    // Some give up again and again, so that their places change hands.
    TaskGroup::scope(|g| {
        for n in 0..THREADS {
            let (limiter, admitted, token) = (&limiter, &admitted, &token);
            g.task().dedicated().spawn(move || {
                while !token.is_cancelled() {
                    let patience = token.child();
                    if n % 4 == 0 {
                        patience.cancel_after(per * n / 2);
                    }
                    if patience.run(|| limiter.acquire()).is_ok() {
                        admitted.fetch_add(1, Ordering::SeqCst);
                    }
                }
                Ok(())
            });
        }
        Ok(())
    })?;

    let passed = begun.elapsed();
    let admitted = admitted.into_inner();
    let most = u128::from(BURST) + passed.as_nanos() / per.as_nanos();
    assert!(
        u128::from(admitted) <= most,
        "{admitted} in {passed:?}, where at most {most} may be"
    );
    assert!(admitted > 2 * BURST, "{admitted}: none came at the rate");
    Ok(())
}

#[test]
fn no_permit_is_lost_however_waiters_come_and_go() -> anyhow::Result<()> {
    let _watch = watch();
    const PERMITS: u32 = 200;
    let per = Duration::from_millis(2);
    let limiter = RateLimiter::new(per, NonZeroU32::MIN).burst(NonZeroU32::MIN);
    let begun = Instant::now();
    let over = AtomicBool::new(false);
    let taken = AtomicU32::new(0);
    thread::scope(|threads| {
        for n in 0..4 {
            let (limiter, over, taken) = (&limiter, &over, &taken);
            threads.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let token = CancelToken::new();
                    token.cancel_after(per / (n + 1));
                    if token.run(|| limiter.acquire()).is_ok() {
                        taken.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        while taken.load(Ordering::SeqCst) < PERMITS {
            limiter.acquire().unwrap();
            taken.fetch_add(1, Ordering::SeqCst);
        }
        over.store(true, Ordering::SeqCst);
    });
    let passed = begun.elapsed();
    let taken = taken.into_inner();
    assert!(
        passed >= per * (taken - 1),
        "{taken} permits in {passed:?} are more than one in {per:?}"
    );
    assert!(passed < LONG, "permits were lost: {taken} in {passed:?}");
    Ok(())
}
