//! Cancelling in two steps: regions that wind down continue until the grace ends, everything else
//! wakes at once.

mod callbacks;
mod failures;
mod nested;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use taskgroup::{
    CancelCause, CancelToken, Cancelled, GroupError, TaskGroup, TaskStatus, checkpoint,
    current_token, shield, winding_down,
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
fn outside_of_any_scope_winding_down_is_a_plain_call() {
    assert_eq!(
        winding_down(|| (current_token(), checkpoint().is_ok())),
        (None, true)
    );
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
