//! `race` and `join`: whole scopes in one call.

use std::panic::Location;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Drops, Gate, blocked, panic_messages, traced_errors};
use taskgroup::{CancelCause, CancelToken, Cancelled, FailureKind, GroupError};

type Task<'a, T> = Box<dyn FnOnce() -> anyhow::Result<T> + Send + 'a>;

fn task<'a, T>(f: impl FnOnce() -> anyhow::Result<T> + Send + 'a) -> Task<'a, T> {
    Box::new(f)
}

fn texts(error: &GroupError) -> Vec<String> {
    error.errors().map(ToString::to_string).collect()
}

#[test]
fn the_first_value_wins_and_the_others_are_cancelled_and_waited_for() -> anyhow::Result<()> {
    let (both, cleaned) = (Barrier::new(3), AtomicUsize::new(0));
    let slow = || {
        task(|| {
            both.wait();
            let cancelled = blocked();
            assert!(
                cancelled.to_string().contains("won the race"),
                "{cancelled}"
            );
            cleaned.fetch_add(1, Ordering::SeqCst);
            Err(cancelled.into())
        })
    };
    let quick = task(|| {
        both.wait();
        Ok("quick")
    });
    assert_eq!(taskgroup::race([slow(), quick, slow()])?, "quick");
    assert_eq!(cleaned.into_inner(), 2);
    Ok(())
}

#[test]
fn a_failure_leaves_the_race_to_the_others() -> anyhow::Result<()> {
    let failed = Gate::default();
    let loser = task(|| {
        struct Open<'a>(&'a Gate);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.open();
            }
        }
        let _open = Open(&failed);
        anyhow::bail!("no route")
    });
    let winner = task(|| {
        failed.wait();
        taskgroup::checkpoint()?;
        Ok(2)
    });
    assert_eq!(taskgroup::race([loser, winner])?, 2);
    Ok(())
}

#[test]
fn all_errors_are_kept_if_no_task_wins() {
    let (first, second) = (Gate::default(), Gate::default());
    let chained = |wait: Option<&'static str>, text: &'static str| {
        let (first, second) = (&first, &second);
        task(move || -> anyhow::Result<()> {
            match wait {
                None => first.open(),
                Some("first") => {
                    first.wait();
                    second.open();
                }
                Some(_) => second.wait(),
            }
            anyhow::bail!(text)
        })
    };
    let line = line!() + 1;
    let error = taskgroup::race([
        chained(Some("second"), "c"),
        chained(Some("first"), "b"),
        chained(None, "a"),
    ])
    .unwrap_err();
    let mut sorted = texts(&error);
    sorted.sort();
    assert_eq!(sorted, ["a", "b", "c"]);
    assert!(
        error
            .failures()
            .iter()
            .all(|failure| !failure.after_cancel())
    );
    let location = error.failures()[0].task().expect("it was a task").location;
    assert_eq!(
        (location.file(), location.line()),
        (Location::caller().file(), line)
    );
    assert!(error.to_string().contains("race.rs"), "{error}");
}

#[test]
fn a_race_of_nothing_is_an_error_that_says_so() {
    let error = taskgroup::race(Vec::<fn() -> anyhow::Result<()>>::new()).unwrap_err();
    assert!(error.failures().is_empty() && error.cancelled().is_none());
    assert!(error.to_string().contains("no tasks"), "{error}");
    assert!(format!("{error:?}").contains("no tasks"), "{error:?}");
}

#[test]
fn a_panic_ends_the_race_at_once() {
    let (both, failing) = (Barrier::new(2), Gate::default());
    let slow = task(|| -> anyhow::Result<()> {
        both.wait();
        let cancelled = blocked();
        assert!(matches!(
            cancelled.cause(),
            CancelCause::TaskPanicked { message, .. } if message == "index 3 of 2"
        ));
        // It comes too late.
        Ok(())
    });
    let failed = task(|| {
        failing.open();
        anyhow::bail!("no route")
    });
    let panicking = task(|| {
        both.wait();
        failing.wait();
        panic!("index 3 of 2")
    });
    let error = taskgroup::race([failed, slow, panicking]).unwrap_err();
    assert_eq!(texts(&error), ["no route"]);
    assert_eq!(panic_messages(&error), ["index 3 of 2"]);
    assert!(
        error
            .primary()
            .is_some_and(|first| matches!(first.kind(), FailureKind::Panic(_)))
    );
}

#[test]
fn a_panic_after_the_race_is_won_is_logged() -> anyhow::Result<()> {
    let both = Barrier::new(2);
    let slow = task(|| {
        both.wait();
        blocked();
        panic!("in the clean-up")
    });
    let quick = task(|| {
        both.wait();
        Ok(1)
    });
    let (won, logged) = traced_errors(|| taskgroup::race([slow, quick]));
    assert_eq!(won?, 1);
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("in the clean-up"), "{logged:?}");
    Ok(())
}

#[test]
fn values_that_come_second_are_dropped_before_it_returns() -> anyhow::Result<()> {
    let drops = Drops::default();
    let both = Barrier::new(2);
    let runner = || {
        task(|| {
            both.wait();
            Ok(drops.counted())
        })
    };
    let won = taskgroup::race([runner(), runner()])?;
    assert_eq!(drops.count(), 1);
    drop(won);
    assert_eq!(drops.count(), 2);
    Ok(())
}

#[test]
fn a_cancel_from_outside_ends_the_race_and_a_value_in_spite_of_it_wins() -> anyhow::Result<()> {
    let token = CancelToken::new();
    let stopped = token.run(|| {
        let canceller = task(|| {
            token.cancel();
            Err(blocked().into())
        });
        taskgroup::race([
            canceller,
            task(|| -> anyhow::Result<()> { Err(blocked().into()) }),
        ])
    });
    let error = stopped.unwrap_err();
    assert!(error.failures().is_empty());
    assert_eq!(error.cancelled().map(Cancelled::origin), Some(token.id()));

    let token = CancelToken::new();
    let value = token.run(|| {
        taskgroup::race([task(|| {
            token.cancel();
            Ok(3)
        })])
    })?;
    assert_eq!(value, 3);
    Ok(())
}

#[test]
fn tasks_cancelled_from_inside_give_an_error_and_no_value() {
    let cancel = || {
        let token = taskgroup::current_token().expect("it is a task");
        token.cancel();
        taskgroup::checkpoint()?;
        anyhow::Ok(1)
    };
    let whole = || {
        let (send, receive) = std::sync::mpsc::channel();
        let inner = taskgroup::race([task(move || {
            let _ = send.send(taskgroup::current_token());
            cancel()
        })]);
        drop(receive);
        inner
    };
    let error = whole().unwrap_err();
    assert!(error.failures().is_empty());
}

#[test]
fn no_task_is_pulled_after_the_race_is_won() -> anyhow::Result<()> {
    let won = Gate::default();
    let mut pulled = 0;
    let tasks = std::iter::from_fn(|| {
        pulled += 1;
        match pulled {
            1 => Some(task(|| Ok(1))),
            2 => {
                // Until the winner has cancelled the race.
                while !taskgroup::is_cancelled() {
                    std::thread::yield_now();
                }
                won.open();
                Some(task(|| Ok(2)))
            }
            _ => panic!("pulled after the race was won"),
        }
    });
    assert_eq!(taskgroup::race(tasks)?, 1);
    assert!(won.is_open());
    Ok(())
}

#[test]
fn join_runs_both_at_once_and_returns_both() -> anyhow::Result<()> {
    let both = Barrier::new(2);
    let text = String::from("borrowed");
    let (length, doubled) = taskgroup::join(
        || {
            both.wait();
            anyhow::Ok(text.len())
        },
        || {
            both.wait();
            Ok(text.repeat(2))
        },
    )?;
    assert_eq!((length, doubled.as_str()), (8, "borrowedborrowed"));
    Ok(())
}

#[test]
fn join_cancels_the_other_at_the_first_failure() {
    for first in [true, false] {
        let (error, seen) = (Gate::default(), AtomicUsize::new(0));
        let failing = || -> anyhow::Result<()> {
            error.wait();
            anyhow::bail!("disk full")
        };
        let waiting = || -> anyhow::Result<()> {
            error.open();
            let cancelled = blocked();
            seen.fetch_add(1, Ordering::SeqCst);
            Err(cancelled.into())
        };
        let error = if first {
            taskgroup::join(failing, waiting)
        } else {
            taskgroup::join(waiting, failing)
        }
        .unwrap_err();
        assert_eq!(texts(&error), ["disk full"]);
        assert_eq!(seen.into_inner(), 1);
    }
}

#[test]
fn join_reports_both_failures() {
    let both = Barrier::new(2);
    let error = taskgroup::join(
        || -> anyhow::Result<()> {
            both.wait();
            anyhow::bail!("disk full")
        },
        || -> anyhow::Result<()> {
            both.wait();
            panic!("index 3 of 2")
        },
    )
    .unwrap_err();
    assert_eq!(texts(&error), ["disk full"]);
    assert_eq!(panic_messages(&error), ["index 3 of 2"]);
}

#[test]
fn join_returns_values_that_were_produced_in_spite_of_a_cancel() -> anyhow::Result<()> {
    let token = CancelToken::new();
    let both = Barrier::new(2);
    let pair = token.run(|| {
        taskgroup::join(
            || {
                both.wait();
                token.cancel();
                anyhow::Ok(1)
            },
            || {
                both.wait();
                Ok(2)
            },
        )
    })?;
    assert_eq!(pair, (1, 2));
    let cut = token
        .run(|| taskgroup::join(|| anyhow::Ok(1), || Ok(2)))
        .unwrap_err();
    assert_eq!(cut.cancelled().map(Cancelled::origin), Some(token.id()));
    Ok(())
}

#[test]
fn a_join_cancelled_from_inside_has_no_result() {
    let cancel = || -> anyhow::Result<()> {
        taskgroup::current_token().expect("it is a task").cancel();
        Ok(taskgroup::checkpoint()?)
    };
    let error = taskgroup::join(cancel, || anyhow::Ok(1)).expect_err("one of the two has no value");
    assert!(error.failures().is_empty(), "{error:#}");
}
