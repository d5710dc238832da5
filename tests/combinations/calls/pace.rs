//! Pauses: of retries, of a rate, and of a program that waits for a signal.

use std::num::NonZeroU32;
use std::sync::mpsc;
use std::thread;

use taskgroup::sync::RateLimiter;
use taskgroup::{Backoff, CancelToken, Jitter, retry, signal};

use super::files::pipe;
use super::*;

pub(super) const CALLS: &[Named] = &[
    ("sleep", sleep),
    ("retry, in a pause", retry_in_a_pause),
    ("retry, in an attempt", retry_in_an_attempt),
    ("RateLimiter::acquire", acquire),
    ("RateLimiter::acquire_many", acquire_many),
    (
        "RateLimiter::acquire, behind another",
        acquire_behind_another,
    ),
    ("CancelToken::wait, of a signal", wait_for_a_signal),
];

fn sleep() -> World {
    World::new(|| Ok(taskgroup::sleep(LONG)?), || || {})
}

fn retry_in_a_pause() -> World {
    // No deadline around the call is as late as the end of the pause.
    let pause = 100 * LONG;
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let attempt = move || {
        let policy = Backoff::exponential(pause).max(pause).jitter(Jitter::None);
        let mut attempts = 0;
        let outcome = retry(policy, |_| {
            attempts += 1;
            Err::<(), _>(refused())
        });
        assert!(attempts <= 1, "no attempt follows a cancel");
        match outcome {
            // Where a deadline is known, a pause that is longer is not begun. That is no cut.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Ok(taskgroup::sleep(pause)?)
            }
            outcome => outcome,
        }
    };
    World::new(attempt, || || {})
}

fn retry_in_an_attempt() -> World {
    let (here, there) = pipe();
    read_world(here, there, |here, buf| {
        let policy = Backoff::exponential(Duration::ZERO);
        let mut here = here;
        retry(policy, |attempt| match attempt.number() {
            1 => Err(io::ErrorKind::ConnectionReset.into()),
            2 => here.read(buf),
            _ => panic!("a cancel is not retried"),
        })
    })
}

/// A limiter without a permit for longer than any test.
fn used_up() -> Arc<RateLimiter> {
    let burst = NonZeroU32::new(3).expect("it is not zero");
    let limiter = RateLimiter::new(1000 * LONG, NonZeroU32::MIN).burst(burst);
    limiter.acquire_many(3).expect("the burst is there");
    Arc::new(limiter)
}

fn limiter_world(count: u32) -> World {
    let limiter = used_up();
    let theirs = limiter.clone();
    World::new(
        move || Ok(theirs.acquire_many(count)?),
        || {
            move || {
                assert!(!limiter.try_acquire());
                let shown = format!("{limiter:?}");
                assert!(shown.contains("waiting: 0"), "{shown}");
            }
        },
    )
}

fn acquire() -> World {
    limiter_world(1)
}

fn acquire_many() -> World {
    limiter_world(3)
}

fn acquire_behind_another() -> World {
    let limiter = used_up();
    let (token, theirs) = (CancelToken::new(), limiter.clone());
    let (ends, ended) = mpsc::channel();
    let first = thread::spawn({
        let (token, limiter) = (token.clone(), limiter.clone());
        move || ends.send(token.run(|| limiter.acquire()).is_err())
    });
    crate::support::until_waiting(&*limiter, 1);
    World::new(
        move || Ok(theirs.acquire()?),
        || {
            move || {
                assert!(ended.try_recv().is_err(), "only one was cancelled");
                crate::support::until_waiting(&*limiter, 1);
                token.cancel();
                first
                    .join()
                    .expect("it does not panic")
                    .expect("the test waits");
                assert!(ended.recv().expect("it has sent"));
            }
        },
    )
}

fn wait_for_a_signal() -> World {
    let token = Arc::new(signal::termination().expect("it can be handled"));
    let theirs = token.clone();
    World::new(
        move || Ok(theirs.wait()?),
        || move || assert!(!token.is_cancelled()),
    )
}
