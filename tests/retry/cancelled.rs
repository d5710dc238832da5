//! Retries that a cancel or a deadline ends.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use anyhow::anyhow;
use taskgroup::sync::Semaphore;
use taskgroup::{
    Backoff, CancelCause, CancelToken, Cancelled, Jitter, TaskError, TaskGroup, retry,
};

use super::{hasty, patient, refused, support};
use crate::blocked::cancelled_while_blocked;
use crate::support::{Gate, LONG};

/// Returns what the cancel in an error says of the retry.
fn story(error: &impl TaskError) -> Option<(u32, &str)> {
    let retried = error.cancelled()?.retried()?;
    Some((retried.attempts(), retried.last_error()))
}

#[test]
fn a_cancelled_scope_makes_no_attempt() {
    let token = CancelToken::new();
    token.cancel();
    let error = token.run(|| retry(hasty(), |_| -> io::Result<()> { panic!("an attempt") }));
    let error = error.unwrap_err();
    assert_eq!(Cancelled::find(&error), token.check().err().as_ref());
    assert_eq!(story(&error), None);
}

#[test]
fn a_cancel_ends_the_pause_and_no_attempt_follows() {
    let (token, failed) = (CancelToken::new(), Gate::default());
    let error = thread::scope(|threads| {
        let retrying = threads.spawn(|| {
            token.run(|| {
                retry(patient(), |attempt| {
                    assert_eq!(attempt.number(), 1);
                    failed.open();
                    Err::<(), _>(anyhow::Error::from(refused()).context("connecting"))
                })
            })
        });
        failed.wait();
        token.cancel_because("enough");
        retrying.join().unwrap().unwrap_err()
    });
    assert_eq!(error.cancelled(), token.check().err().as_ref());
    assert_eq!(story(&error), Some((1, "connecting: connection refused")));
    let text = error.to_string();
    assert!(text.starts_with("cancelled: enough (at "), "{text}");
    assert!(
        text.ends_with(", after 1 failed attempt: connecting: connection refused"),
        "{text}"
    );
}

#[test]
fn a_cancel_of_the_pause_itself_tells_of_the_attempts() {
    let error = cancelled_while_blocked(|| retry(patient(), |_| Err::<(), _>(refused())));
    assert_eq!(story(&error.unwrap_err()), Some((1, "connection refused")));
}

#[test]
fn a_scope_that_an_attempt_cancels_makes_no_pause_and_says_so() {
    let token = CancelToken::new();
    // The deadline is nearer than the end of the pause, and the cancel is there already.
    let error = taskgroup::timeout(LONG / 2, || {
        token.run(|| {
            retry(patient(), |_| {
                token.cancel();
                Err::<(), _>(refused())
            })
        })
    });
    let error = error.unwrap_err();
    assert_eq!(error.cancelled(), token.check().err().as_ref());
    assert_eq!(story(&error), Some((1, "connection refused")));
}

/// An error of the user's own.
#[derive(Debug, thiserror::Error)]
enum Own {
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
    #[error("stopped in {1}")]
    CancelledIn(#[source] Cancelled, &'static str),
    #[error("failed")]
    Failed,
    #[error("it counts as a failure")]
    Hidden(#[source] Cancelled),
}

impl TaskError for Own {
    fn cancelled(&self) -> Option<&Cancelled> {
        match self {
            Own::Cancelled(cancelled) | Own::CancelledIn(cancelled, _) => Some(cancelled),
            Own::Failed | Own::Hidden(_) => None,
        }
    }

    fn as_error(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self)
    }
}

/// Retries twice, and is cancelled in the third attempt, which returns the error of `end`.
fn cut_in_the_third<E: TaskError>(fail: impl Fn() -> E, end: impl Fn(Cancelled) -> E) -> E {
    let token = CancelToken::new();
    let error = token.run(|| {
        retry(hasty(), |attempt| {
            if attempt.number() < 3 {
                return Err(fail());
            }
            assert_eq!(attempt.number(), 3, "an attempt followed the cancel");
            token.cancel();
            Err::<(), _>(end(taskgroup::sleep(LONG).unwrap_err()))
        })
    });
    let error = error.unwrap_err();
    if let Some(cancelled) = error.cancelled() {
        assert_eq!(Err(cancelled), token.check().as_ref());
    }
    error
}

#[test]
fn a_cancel_in_an_attempt_tells_of_the_attempts_before() {
    let told = Some((2, "connection refused"));
    let io = cut_in_the_third(refused, io::Error::from);
    assert_eq!(story(&io), told);
    assert_eq!(io.kind(), ErrorKind::Other);

    let fail = || anyhow::Error::from(refused());
    let any = cut_in_the_third(fail, anyhow::Error::from);
    assert_eq!(story(&any), told);
    let nested = cut_in_the_third(fail, |cancelled| io::Error::from(cancelled).into());
    assert_eq!(story(&nested), told);

    let own = cut_in_the_third(|| Own::Failed, Own::from);
    assert_eq!(story(&own), Some((2, "failed")));
    assert!(matches!(own, Own::Cancelled(_)));
}

/// Two errors that are alike have different texts then.
#[test]
fn a_cancel_in_an_attempt_is_known_by_its_type_where_errors_have_backtraces() {
    const TEST: &str = "a_cancel_in_an_attempt_is_known_by_its_type_where_errors_have_backtraces";
    if !support::is_child() {
        let output = support::run_in_child_by(&["env", "RUST_LIB_BACKTRACE=1"], TEST);
        assert!(output.status.success(), "{output:?}");
        return;
    }

    let fail = || anyhow::Error::from(refused());
    assert!(format!("{:?}", fail()).contains("Stack backtrace"));
    let told = Some((2, "connection refused"));
    let any = cut_in_the_third(fail, anyhow::Error::from);
    assert_eq!(story(&any), told);
    let nested = cut_in_the_third(fail, |cancelled| io::Error::from(cancelled).into());
    assert_eq!(story(&nested), told);
}

#[test]
fn the_cancel_of_a_retry_in_an_attempt_keeps_its_own_story() {
    let inner = |cancelled: Cancelled| {
        // The scope is cancelled by now, and a retry in a shield goes on.
        let error = taskgroup::shield(|| {
            retry(hasty(), |attempt| match attempt.number() {
                5 => Err::<(), _>(io::Error::from(cancelled.clone())),
                _ => Err(io::Error::other("inside")),
            })
        });
        error.unwrap_err()
    };
    let error = cut_in_the_third(|| io::Error::other("outside"), inner);
    assert_eq!(story(&error), Some((4, "inside")));
}

#[test]
fn an_error_that_says_more_than_the_cancel_is_returned_as_it_is() {
    let fail = || anyhow::Error::from(refused());
    let context = cut_in_the_third(fail, |cancelled| {
        anyhow::Error::from(cancelled).context("while it reads")
    });
    assert_eq!(context.to_string(), "while it reads");
    assert!(context.cancelled().is_some_and(|c| c.retried().is_none()));

    let own = cut_in_the_third(|| Own::Failed, |c| Own::CancelledIn(c, "the kitchen"));
    assert!(matches!(own, Own::CancelledIn(_, "the kitchen")));
}

/// An error without sources.
#[derive(Debug, thiserror::Error)]
enum Brief {
    #[error("stopped")]
    Cancelled(Cancelled),
    #[error("failed")]
    Failed(Own),
}

impl From<Cancelled> for Brief {
    fn from(cancelled: Cancelled) -> Self {
        Brief::Cancelled(cancelled)
    }
}

taskgroup::task_error!(Brief { Cancelled, Failed });

#[test]
fn a_cancel_is_not_retried_wherever_it_stands() {
    fn made<E: TaskError>(error: impl Fn(Cancelled) -> E) -> (u32, E) {
        let token = CancelToken::new();
        token.cancel();
        let foreign = token.check().unwrap_err();
        let mut attempts = 0;
        let policy = hasty().attempts(2).when(|_| true);
        let error = retry(policy, |_| {
            attempts += 1;
            Err::<(), _>(error(foreign.clone()))
        });
        (attempts, error.unwrap_err())
    }

    assert_eq!(made(|cancelled| cancelled).0, 1);
    assert_eq!(made(io::Error::from).0, 1);
    assert_eq!(made(Own::Hidden).0, 1);
    // One that says it by this method alone.
    assert_eq!(made(super::Holding::Cancelled).0, 1);
    // One whose sources leave out the error that it holds.
    assert_eq!(made(|cancelled| Brief::Failed(Own::Hidden(cancelled))).0, 1);
    let (attempts, error) = made(|cancelled| {
        let io = io::Error::other(Own::Hidden(cancelled));
        anyhow::Error::from(io)
            .context("reading")
            .context("serving")
    });
    assert_eq!((attempts, error.to_string()), (1, "serving".to_owned()));

    // The close of a semaphore is a `Cancelled` too.
    let semaphore = Semaphore::new(1);
    semaphore.close();
    let closed = retry(patient(), |_| semaphore.acquire().map(drop));
    assert!(matches!(
        closed.unwrap_err().cause(),
        CancelCause::SemaphoreClosed
    ));
}

#[test]
fn a_pause_beyond_the_deadline_is_not_begun() {
    let begun = Instant::now();
    let attempts = Cell::new(0);
    let error = taskgroup::timeout(LONG - Duration::from_secs(1), || {
        retry(patient(), |attempt| {
            attempts.set(attempt.number());
            Err::<(), _>(anyhow!("attempt {}", attempt.number()))
        })
    });
    assert_eq!(error.unwrap_err().to_string(), "attempt 1");
    assert_eq!(attempts.get(), 1);
    assert!(begun.elapsed() < LONG / 2, "it slept");
}

#[test]
fn an_error_that_asks_for_more_time_than_is_left_ends_it() {
    let policy = hasty().after(|_: &io::Error| Some(2 * LONG));
    let error = taskgroup::timeout(LONG, || retry(policy, |_| Err::<(), _>(refused())));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_deadline_that_a_shield_hides_ends_nothing() -> anyhow::Result<()> {
    let pause = Duration::from_millis(20);
    let policy = Backoff::exponential(pause).attempts(2).jitter(Jitter::None);
    let made = taskgroup::timeout(pause / 2, || {
        taskgroup::shield(|| {
            retry(policy, |attempt| {
                anyhow::ensure!(attempt.is_last(), "not yet");
                Ok(attempt.elapsed())
            })
        })
    })?;
    assert!(made.is_some_and(|elapsed| elapsed >= pause), "{made:?}");
    Ok(())
}

#[test]
fn a_deadline_in_an_attempt_is_a_timeout() -> anyhow::Result<()> {
    let cut = taskgroup::timeout(Duration::from_millis(5), || {
        retry(hasty(), |attempt| {
            anyhow::ensure!(attempt.number() > 1, "once");
            Ok(taskgroup::sleep(LONG)?)
        })
    })?;
    assert_eq!(cut, None);
    Ok(())
}

#[test]
fn a_retry_that_its_group_cancels_is_no_failure() {
    let retries = Gate::default();
    let report = TaskGroup::scope(|g| {
        g.spawn(|| {
            retry(patient(), |_| {
                retries.open();
                Err::<(), _>(anyhow!("for now"))
            })
        });
        g.spawn(|| -> anyhow::Result<()> {
            retries.wait();
            Err(refused()).context("for good")
        });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(report.failures().len(), 1, "{report:#}");
    assert_eq!(
        report.primary().unwrap().to_string().rsplit(": ").next(),
        Some("for good")
    );
}
