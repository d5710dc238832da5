//! Cancelling in two steps: regions that wind down continue until the grace ends, everything else
//! wakes at once.

mod nested;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use taskgroup::{
    CancelCause, CancelToken, Cancelled, GroupError, TaskGroup, TaskStatus, checkpoint,
    current_token, shield, winding_down, with_cancel_hook,
};

use crate::support::{Gate, LONG, blocked};

/// Long enough for a thread to begin to wait, and no more.
const SHORT: Duration = Duration::from_millis(20);

fn reason(cancelled: &Cancelled) -> Option<&str> {
    match cancelled.cause() {
        CancelCause::Requested { reason } => reason.as_deref(),
        other => panic!("not a request: {other:?}"),
    }
}

#[test]
fn a_region_continues_and_everything_else_wakes_at_once() -> Result<(), GroupError> {
    let (outside, inside, finish) = (
        Gate::default(),
        Gate::default(),
        taskgroup::sync::Event::new(),
    );
    TaskGroup::scope(|g| {
        let woken = g.spawn(|| {
            outside.open();
            Ok(taskgroup::sleep(LONG)?)
        });
        let spared = g.spawn(|| {
            winding_down(|| {
                inside.open();
                finish.wait()?;
                taskgroup::sleep(Duration::from_millis(1))?;
                checkpoint()
            })?;
            assert!(
                checkpoint().is_err(),
                "outside of the region the cancel is seen"
            );
            Ok(5)
        });
        outside.wait();
        inside.wait();
        g.cancel_gracefully(LONG);
        assert!(g.token().is_cancelled() && checkpoint().is_err());
        shield(|| {
            assert_eq!(woken.wait()?, TaskStatus::Cancelled);
            assert_eq!(spared.wait_timeout(SHORT)?, None);
            finish.set();
            assert_eq!(spared.join()?, 5);
            Ok(())
        })
    })
}

#[test]
fn a_region_entered_after_the_cancel_continues_too() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        g.cancel_gracefully(LONG);
        assert!(checkpoint().is_err());
        for _ in 0..2 {
            winding_down(|| {
                assert!(!taskgroup::is_cancelled());
                taskgroup::sleep(Duration::from_millis(1))
            })?;
            assert!(checkpoint().is_err());
        }
        Ok(())
    })
}

#[test]
fn the_end_of_the_grace_wakes_a_blocked_region_with_the_cancel() -> Result<(), GroupError> {
    let inside = Gate::default();
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            winding_down(|| {
                inside.open();
                let cancelled = blocked();
                assert_eq!(
                    (reason(&cancelled), cancelled.origin()),
                    (Some("enough"), g.token().id())
                );
                assert!(
                    checkpoint().is_err() && taskgroup::sleep(LONG).is_err(),
                    "it stays cancelled"
                );
                Err::<(), _>(cancelled.into())
            })
        });
        inside.wait();
        g.cancel_gracefully_because(SHORT, "enough");
        assert_eq!(shield(|| task.wait())?, TaskStatus::Cancelled);
        Ok(())
    })
}

#[test]
fn a_region_entered_after_the_grace_is_cancelled() {
    let token = CancelToken::new();
    token.cancel_gracefully(Duration::from_millis(1));
    token.run(|| {
        winding_down(|| drop(blocked()));
        assert!(winding_down(checkpoint).is_err());
        assert!(winding_down(taskgroup::is_cancelled));
    });
}

#[test]
fn a_check_in_a_region_sees_the_end_of_the_grace() {
    let token = CancelToken::new();
    let started = Instant::now();
    token.cancel_gracefully(SHORT);
    token.run(|| winding_down(|| while checkpoint().is_ok() {}));
    assert!(started.elapsed() >= SHORT);
}

#[test]
fn a_cancel_without_grace_spares_nothing() {
    let cancels: [fn(&CancelToken); 4] = [
        |token| assert!(token.cancel()),
        |token| assert!(token.cancel_gracefully(Duration::ZERO)),
        |token| token.cancel_at(Instant::now()),
        |token| drop(token.clone().drop_guard()),
    ];
    for cancel in cancels {
        let token = CancelToken::new();
        token.run(|| {
            winding_down(|| {
                assert!(checkpoint().is_ok());
                cancel(&token);
                assert!(checkpoint().is_err());
            });
            assert!(winding_down(checkpoint).is_err());
        });
    }
}

#[test]
fn a_second_cancel_ends_the_grace_and_leaves_the_cause() -> Result<(), GroupError> {
    let inside = Gate::default();
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            winding_down(|| {
                inside.open();
                let cancelled = blocked();
                assert_eq!(reason(&cancelled), Some("first"));
                Ok(())
            })
        });
        inside.wait();
        assert!(g.token().cancel_gracefully_because(LONG, "first"));
        shield(|| {
            assert_eq!(task.wait_timeout(SHORT)?, None);
            assert!(
                !g.token().cancel_because("second"),
                "it was cancelled already"
            );
            task.join()
        })?;
        assert!(winding_down(checkpoint).is_err());
        assert_eq!(reason(&blocked()), Some("first"));
        Ok(())
    })
}

#[test]
fn of_two_graces_the_earlier_end_holds() {
    for graces in [
        [LONG, SHORT],
        [SHORT, LONG],
        [Duration::MAX, SHORT],
        [SHORT, Duration::MAX],
    ] {
        let token = CancelToken::new();
        let started = Instant::now();
        let newly = graces.map(|grace| token.cancel_gracefully(grace));
        assert_eq!(newly, [true, false]);
        token.run(|| winding_down(|| drop(blocked())));
        assert!(started.elapsed() < LONG / 2, "{graces:?}");
    }
}

#[test]
fn a_grace_is_shortened_while_a_thread_blocks_in_a_region() {
    let (token, inside) = (CancelToken::new(), Gate::default());
    std::thread::scope(|threads| {
        threads.spawn(|| {
            token.run(|| {
                winding_down(|| {
                    inside.open();
                    blocked()
                })
            })
        });
        inside.wait();
        token.cancel_gracefully(LONG * 10);
        token.cancel_gracefully(SHORT);
    });
}

#[test]
fn an_endless_grace_ends_only_by_another_cancel() -> Result<(), GroupError> {
    let inside = Gate::default();
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            winding_down(|| {
                inside.open();
                Ok(taskgroup::sleep(LONG)?)
            })
        });
        inside.wait();
        g.cancel_gracefully(Duration::MAX);
        shield(|| {
            assert_eq!(task.wait_timeout(SHORT)?, None);
            assert_eq!(winding_down(taskgroup::remaining), None);
            g.cancel();
            assert_eq!(task.wait()?, TaskStatus::Cancelled);
            Ok(())
        })
    })
}

#[test]
fn a_spawn_into_the_cancelled_group_never_runs_in_a_region_either() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        g.cancel_gracefully(LONG);
        assert_eq!(
            winding_down(|| g.spawn(|| Ok(())).status()),
            TaskStatus::NeverRan
        );
        Ok(())
    })
}

#[test]
fn tasks_that_have_not_begun_never_do() -> Result<(), GroupError> {
    let (inside, finish) = (Gate::default(), taskgroup::sync::Event::new());
    TaskGroup::builder().limit(1).scope(|g| {
        let running = g.spawn(|| {
            winding_down(|| {
                inside.open();
                Ok(finish.wait()?)
            })
        });
        inside.wait();
        let queued = g.spawn(|| winding_down(|| Ok(())));
        g.cancel_gracefully(LONG);
        assert_eq!(shield(|| queued.wait())?, TaskStatus::NeverRan);
        finish.set();
        Ok(shield(|| running.join())?)
    })
}

#[test]
fn a_failure_in_the_grace_is_reported_and_ends_nothing() {
    let (inside, failed, finish) = (
        Gate::default(),
        Gate::default(),
        taskgroup::sync::Event::new(),
    );
    let (begun, panic_now) = (Gate::default(), Gate::default());
    let mut served = None;
    let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
        let spared = g.spawn(|| {
            winding_down(|| {
                inside.open();
                Ok(finish.wait()?)
            })
        });
        let failing = g.spawn(|| -> anyhow::Result<()> {
            failed.open();
            blocked();
            anyhow::bail!("clean-up")
        });
        let panicking = g.spawn(|| -> anyhow::Result<()> {
            begun.open();
            panic_now.wait();
            panic!("clean-up, too")
        });
        inside.wait();
        failed.wait();
        begun.wait();
        g.cancel_gracefully_because(LONG, "first");
        shield(|| -> anyhow::Result<()> {
            assert_eq!(failing.wait()?, TaskStatus::Failed);
            panic_now.open();
            assert_eq!(panicking.wait()?, TaskStatus::Panicked);
            assert_eq!(
                spared.wait_timeout(SHORT)?,
                None,
                "a failure ended the grace"
            );
            finish.set();
            served = Some(spared.wait()?);
            Ok(())
        })?;
        assert_eq!(reason(&blocked()), Some("first"));
        anyhow::bail!("the body too")
    })
    .unwrap_err();
    assert_eq!(served, Some(TaskStatus::Finished));
    assert_eq!(error.failures().len(), 3);
    assert!(
        error
            .failures()
            .iter()
            .all(|failure| failure.after_cancel())
    );
}

#[test]
fn a_failure_of_the_body_in_the_grace_ends_nothing() {
    for panics in [false, true] {
        let (inside, left, served) = (Gate::default(), Gate::default(), AtomicUsize::new(0));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            TaskGroup::scope(|g| -> anyhow::Result<()> {
                g.spawn(|| {
                    winding_down(|| {
                        inside.open();
                        left.wait();
                        taskgroup::sleep(SHORT)
                    })?;
                    served.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                });
                inside.wait();
                g.cancel_gracefully(LONG);
                left.open();
                assert!(!panics, "the body panics");
                anyhow::bail!("the body fails")
            })
        }));
        assert_eq!(outcome.is_err(), panics);
        assert_eq!(served.into_inner(), 1, "the body panics: {panics}");
    }
}

#[test]
fn a_failure_that_comes_first_is_a_cancel_without_grace() {
    let inside = Gate::default();
    let error = TaskGroup::scope(|g| {
        g.spawn(|| {
            winding_down(|| {
                inside.open();
                Ok(taskgroup::sleep(LONG)?)
            })
        });
        g.spawn(|| -> anyhow::Result<()> {
            inside.wait();
            anyhow::bail!("first")
        });
        let cancelled = blocked();
        g.cancel_gracefully(LONG);
        assert!(
            winding_down(checkpoint).is_err(),
            "a grace that comes too late changes nothing"
        );
        Err::<(), _>(cancelled.into())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
}

#[test]
fn outside_of_any_scope_winding_down_is_a_plain_call() {
    assert_eq!(
        winding_down(|| (current_token(), checkpoint().is_ok())),
        (None, true)
    );
}

#[test]
fn a_panic_leaves_the_region() {
    let token = CancelToken::new();
    token.cancel_gracefully(LONG);
    token.run(|| {
        assert!(catch_unwind(|| winding_down(|| panic!("inside"))).is_err());
        assert!(checkpoint().is_err());
    });
}

#[test]
fn the_token_of_a_region_can_be_cancelled_by_itself() {
    let token = CancelToken::new();
    token.cancel_gracefully_because(LONG, "all");
    token.run(|| {
        winding_down(|| {
            let region = current_token().expect("a region has one");
            assert!(region.cancel_gracefully_because(LONG, "this one"));
            assert_eq!(reason(&blocked()), Some("this one"));
            assert!(winding_down(checkpoint).is_ok());
        });
        assert!(winding_down(checkpoint).is_ok());
    });
}

#[test]
fn callbacks_run_with_the_cancel_and_in_a_region_at_its_end() {
    let (token, runs) = (CancelToken::new(), mpsc::channel());
    let (outer, inner) = (runs.0.clone(), runs.0);
    let _outer = token.on_cancel(move || outer.send("outer").expect("the test waits"));
    token.run(|| {
        winding_down(|| {
            let region = current_token().expect("a region has one");
            let _inner = region.on_cancel(move || inner.send("region").expect("the test waits"));
            token.cancel_gracefully(LONG);
            assert_eq!(runs.1.try_recv(), Ok("outer"));
            assert!(runs.1.try_recv().is_err(), "the grace is not over");
            // No thread checks the clock here.
            token.cancel_gracefully(SHORT);
            assert_eq!(runs.1.recv_timeout(LONG), Ok("region"));
            assert!(!token.cancel(), "it was cancelled already");
        });
    });
    assert!(runs.1.try_recv().is_err(), "each runs once");
}

#[test]
fn a_hook_in_a_region_fires_when_the_grace_ends() {
    for second in [None, Some(())] {
        let token = CancelToken::new();
        let (wake, asleep) = mpsc::channel();
        let fired = AtomicUsize::new(0);
        token.run(|| {
            winding_down(|| {
                let hook = || {
                    fired.fetch_add(1, Ordering::Relaxed);
                    wake.send(()).expect("the region waits");
                };
                with_cancel_hook(hook, || {
                    token.cancel_gracefully(if second.is_some() { LONG } else { SHORT });
                    second.map(|()| token.cancel());
                    assert_eq!(asleep.recv_timeout(LONG), Ok(()));
                });
            });
        });
        assert_eq!(fired.into_inner(), 1);
    }
}

#[test]
fn a_daemon_that_winds_down_serves_until_the_others_have_ended() -> Result<(), GroupError> {
    let (inside, served, finish) = (
        Gate::default(),
        AtomicUsize::new(0),
        taskgroup::sync::Event::new(),
    );
    TaskGroup::scope(|g| {
        g.spawn_daemon(|| {
            winding_down(|| {
                inside.open();
                finish.wait()?;
                served.fetch_add(1, Ordering::Relaxed);
                let cancelled = blocked();
                assert_eq!(reason(&cancelled), Some("first"));
                Err(cancelled.into())
            })
        });
        inside.wait();
        g.cancel_gracefully_because(Duration::MAX, "first");
        finish.set();
        crate::support::until(|| served.load(Ordering::Relaxed) == 1);
        Ok(())
    })?;
    assert_eq!(served.into_inner(), 1);
    Ok(())
}

#[test]
fn a_group_that_winds_down_and_finishes_is_no_error() -> Result<(), GroupError> {
    let value = TaskGroup::scope(|g| {
        g.spawn(|| Ok(taskgroup::sleep(LONG)?));
        g.cancel_gracefully(SHORT);
        Ok(winding_down(|| 3))
    })?;
    assert_eq!(value, 3);
    Ok(())
}

#[test]
fn cancels_that_cross_regions_leave_none_uncancelled() {
    for round in 0..300 {
        let token = CancelToken::new();
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    token.run(|| {
                        loop {
                            if winding_down(|| taskgroup::sleep(Duration::from_micros(50))).is_err()
                            {
                                assert!(winding_down(checkpoint).is_err() && checkpoint().is_err());
                                return;
                            }
                        }
                    })
                });
            }
            threads.spawn(|| token.cancel_gracefully(Duration::from_micros(round)));
            threads.spawn(|| token.cancel_gracefully(LONG));
            if round % 2 == 0 {
                threads.spawn(|| token.cancel());
            }
        });
    }
}
