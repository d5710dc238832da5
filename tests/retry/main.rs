//! Retries: attempts, pauses, and how cancels and deadlines end them.

#[path = "../support/blocked.rs"]
mod blocked;
mod cancelled;
#[path = "../support/mod.rs"]
mod support;

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use support::{Counted, Drops, LONG, traced};
use taskgroup::{Backoff, CancelToken, Cancelled, Jitter, TaskError, TaskGroup, retry};

/// A policy with pauses that are longer than any test.
fn patient<E>() -> Backoff<E> {
    Backoff::exponential(LONG)
        .max(LONG)
        .attempts(u32::MAX)
        .jitter(Jitter::None)
}

/// A policy without pauses.
fn hasty<E>() -> Backoff<E> {
    Backoff::exponential(Duration::ZERO).attempts(u32::MAX)
}

fn refused() -> io::Error {
    io::Error::from(ErrorKind::ConnectionRefused)
}

#[test]
fn the_first_success_ends_it() -> anyhow::Result<()> {
    let numbers = Cell::new(Vec::new());
    let made = retry(hasty(), |attempt| {
        let mut all = numbers.take();
        all.push(attempt.number());
        numbers.set(all);
        anyhow::ensure!(attempt.number() == 4, "not yet");
        Ok("made")
    })?;
    assert_eq!((made, numbers.take()), ("made", vec![1, 2, 3, 4]));
    Ok(())
}

#[test]
fn the_last_error_ends_it_and_only_the_pauses_between_are_made() {
    for most in 1..=5 {
        let pauses = Arc::new(AtomicU32::new(0));
        let counted = pauses.clone();
        let policy = Backoff::exponential(LONG).attempts(most).after(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Some(Duration::ZERO)
        });
        let error = retry(policy, |attempt| {
            assert_eq!(attempt.is_last(), attempt.number() == most);
            Err::<(), _>(anyhow!("attempt {}", attempt.number()))
        });
        assert_eq!(error.unwrap_err().to_string(), format!("attempt {most}"));
        assert_eq!(pauses.load(Ordering::SeqCst), most - 1);
    }
}

#[test]
fn by_default_there_are_five_attempts() {
    let mut attempts = 0;
    let error = retry(Backoff::exponential(Duration::ZERO), |_| {
        attempts += 1;
        Err::<(), _>(refused())
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(attempts, 5);
}

#[test]
fn an_error_that_is_not_worth_it_ends_it() {
    let policy = patient().when(|error: &io::Error| error.kind() != ErrorKind::NotFound);
    let error = retry(policy, |_| Err::<(), _>(ErrorKind::NotFound.into()));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_policy_is_used_by_many_threads() {
    let policy = hasty().when(|error: &io::Error| error.kind() == ErrorKind::ConnectionRefused);
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let number = retry(policy.clone(), |attempt| match attempt.number() {
                    3 => Ok(3),
                    _ => Err(refused()),
                });
                assert_eq!(number.unwrap(), 3);
            });
        }
    });
}

#[test]
fn zero_attempts_are_refused_where_they_are_asked_for() {
    support::alone("zero_attempts_are_refused_where_they_are_asked_for", || {
        let place = Arc::new(Mutex::new(None));
        let hook = place.clone();
        std::panic::set_hook(Box::new(move |panic| {
            *hook.lock().unwrap() = panic.location().map(|at| (at.file().to_owned(), at.line()));
        }));

        let line = line!() + 1;
        let refused = catch_unwind(|| Backoff::<io::Error>::exponential(LONG).attempts(0));
        drop(std::panic::take_hook());
        let message = *refused.unwrap_err().downcast::<&str>().unwrap();
        assert!(message.contains("attempts(0)"), "{message}");
        assert_eq!(
            place.lock().unwrap().take(),
            Some((file!().to_owned(), line))
        );
    });
}

#[test]
fn errors_that_are_retried_are_traced() {
    let (made, events) = traced(tracing::Level::DEBUG, || {
        retry(hasty(), |attempt| match attempt.number() {
            3 => Ok(3),
            _ => Err(refused()),
        })
    });
    assert_eq!(made.unwrap(), 3);
    let ours: Vec<_> = events
        .iter()
        .filter(|event| event.contains("an attempt failed and is retried"))
        .collect();
    for (event, number) in ours.iter().zip(1..) {
        assert!(event.contains(&format!("attempt={number} ")), "{event}");
        assert!(event.contains("connection refused"), "{event}");
    }
    assert_eq!(ours.len(), 2, "{events:?}");
}

#[test]
fn an_error_that_the_deadline_returns_is_not_traced_as_retried() {
    let (error, events) = traced(tracing::Level::DEBUG, || {
        let policy = hasty().after(|_: &io::Error| Some(2 * LONG));
        taskgroup::timeout(LONG, || retry(policy, |_| Err::<(), _>(refused())))
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(
        !events.iter().any(|event| event.contains("is retried")),
        "{events:?}"
    );
}

#[test]
fn a_panic_is_not_retried() {
    let attempts = AtomicU32::new(0);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        retry(hasty(), |_| -> anyhow::Result<()> {
            attempts.fetch_add(1, Ordering::SeqCst);
            std::panic::resume_unwind(Box::new("on purpose"));
        })
    }));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"on purpose"));
    assert_eq!(attempts.into_inner(), 1);
}

/// An error that holds what the next attempt may need.
#[derive(Debug)]
enum Holding {
    Failed { _held: Counted },
    Cancelled(Cancelled),
}

impl From<Cancelled> for Holding {
    fn from(cancelled: Cancelled) -> Self {
        Holding::Cancelled(cancelled)
    }
}

impl std::fmt::Display for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it holds something")
    }
}

impl TaskError for Holding {
    fn cancelled(&self) -> Option<&Cancelled> {
        match self {
            Holding::Cancelled(cancelled) => Some(cancelled),
            Holding::Failed { .. } => None,
        }
    }
}

#[test]
fn an_error_is_dropped_before_the_pause() {
    let (drops, token) = (Drops::default(), CancelToken::new());
    thread::scope(|threads| {
        let retrying = blocked::when_blocked(threads, || {
            let fail = |_| {
                let _held = drops.counted();
                Err::<(), _>(Holding::Failed { _held })
            };
            token.run(|| retry(patient(), fail))
        });
        let dropped = drops.count();
        token.cancel();
        assert!(retrying.join().unwrap().is_err());
        assert_eq!(dropped, 1);
    });
}

#[test]
fn a_group_with_failures_is_retried() {
    let mut attempts = 0;
    let made = retry(hasty(), |_| {
        attempts += 1;
        TaskGroup::scope(|g| {
            g.spawn(|| Ok(taskgroup::sleep(LONG)?));
            anyhow::ensure!(attempts > 2, "not yet");
            g.cancel();
            Ok(attempts)
        })
    });
    assert_eq!(made.unwrap(), 3);
}

#[test]
fn many_attempts_end() {
    let policy = Backoff::exponential(Duration::from_secs(1))
        .max(Duration::ZERO)
        .attempts(200);
    let mut attempts = 0;
    let error = retry(policy, |_| {
        attempts += 1;
        Err::<(), _>(refused())
    });
    assert_eq!((error.is_err(), attempts), (true, 200));
}
