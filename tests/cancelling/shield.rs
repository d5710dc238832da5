//! Shields: clean-up blocks normally in a cancelled scope, for as long as the shield allows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::support::{Gate, LONG, blocked};
use taskgroup::{
    CancelToken, GroupError, TaskGroup, TaskStatus, checkpoint, shield, shield_for, timeout,
};

const SHORT: Duration = Duration::from_millis(5);

#[test]
fn a_shield_hides_the_cancel_and_its_end_shows_it_again() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        g.cancel();
        assert!(checkpoint().is_err());
        shield(|| {
            assert!(checkpoint().is_ok() && !taskgroup::is_cancelled());
            assert!(taskgroup::sleep(SHORT).is_ok() && taskgroup::yield_now().is_ok());
        });
        assert!(checkpoint().is_err() && taskgroup::is_cancelled());
        Ok(())
    })
}

#[test]
fn leaving_an_inner_shield_leaves_the_outer_one_standing() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        g.cancel();
        shield(|| {
            shield(|| assert!(checkpoint().is_ok()));
            assert!(checkpoint().is_ok());
            let inner = shield_for(Duration::ZERO, checkpoint);
            assert!(inner.is_ok(), "the outer shield has no bound");
            assert!(checkpoint().is_ok());
        });
        assert!(checkpoint().is_err());
        Ok(())
    })
}

#[test]
fn a_shield_does_not_hide_scopes_opened_inside_it() -> anyhow::Result<()> {
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        shield(|| {
            let own = timeout(SHORT, || {
                taskgroup::sleep(LONG)?;
                anyhow::Ok(())
            })?;
            assert!(own.is_none(), "a deadline inside the shield holds");
            let inside = CancelToken::new();
            inside.cancel();
            assert!(inside.run(checkpoint).is_err());
            assert!(
                token.run(checkpoint).is_err(),
                "made ambient inside, the cancelled token counts again"
            );
            Ok(())
        })
    })
}

#[test]
fn a_shield_hides_an_outer_deadline() -> anyhow::Result<()> {
    let value = timeout(SHORT, || {
        shield(|| {
            assert_eq!(taskgroup::remaining(), None);
            taskgroup::sleep(SHORT * 4)
        })?;
        assert!(checkpoint().is_err());
        anyhow::Ok(1)
    })?;
    assert_eq!(value, Some(1));
    Ok(())
}

#[test]
fn a_bounded_shield_holds_until_its_bound_and_then_wakes_the_sleeper() -> Result<(), GroupError> {
    let started = Barrier::new(2);
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            let since = Instant::now();
            shield_for(Duration::from_secs(2), || {
                started.wait();
                let cancelled = taskgroup::sleep(LONG);
                assert!(
                    since.elapsed() >= Duration::from_secs(2),
                    "the shield came down before its time"
                );
                assert!(since.elapsed() < LONG / 2);
                Ok(cancelled?)
            })
        });
        started.wait();
        g.cancel();
        assert_eq!(shield(|| task.wait_timeout(Duration::ZERO))?, None);
        assert_eq!(shield(|| task.wait())?, TaskStatus::Cancelled);
        Ok::<(), anyhow::Error>(())
    })
}

#[test]
fn a_bounded_shield_wakes_with_the_cancel_it_hid() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        g.cancel_because("hidden");
        let cancelled = shield_for(SHORT, blocked);
        assert_eq!(cancelled.origin(), g.token().id());
        assert!(cancelled.to_string().contains("hidden"));
        Ok(())
    })
}

#[test]
fn a_bound_that_passes_in_a_living_scope_cuts_nothing_short() -> anyhow::Result<()> {
    shield_for(Duration::from_millis(1), || {
        taskgroup::sleep(Duration::from_millis(20))
    })?;
    TaskGroup::scope(|_| {
        Ok(shield_for(Duration::from_millis(1), || {
            taskgroup::sleep(Duration::from_millis(20))
        })?)
    })?;
    Ok(())
}

#[test]
fn a_cancel_after_the_bound_is_seen_at_once() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        shield_for(Duration::ZERO, || {
            assert!(checkpoint().is_ok());
            g.cancel();
            assert!(checkpoint().is_err());
        });
        Ok(())
    })
}

#[test]
fn clean_up_in_a_shield_blocks_normally_after_the_cancel() -> Result<(), GroupError> {
    let started = Barrier::new(2);
    let flushed = Gate::default();
    let task = TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            started.wait();
            let cancelled = blocked();
            shield(|| taskgroup::sleep(SHORT))?;
            flushed.open();
            Err::<(), _>(cancelled.into())
        });
        started.wait();
        g.cancel();
        Ok(shield(|| task.wait())?)
    })?;
    assert_eq!(task, TaskStatus::Cancelled);
    assert!(flushed.is_open());
    Ok(())
}

#[test]
fn a_group_opened_inside_a_shield_is_clean() -> Result<(), GroupError> {
    TaskGroup::scope(|outer| {
        outer.cancel();
        let value = shield(|| {
            TaskGroup::scope(|inner| {
                assert!(!inner.token().is_cancelled());
                let task = inner.spawn(|| {
                    taskgroup::sleep(SHORT)?;
                    Ok(4)
                });
                Ok(task.join()?)
            })
        })?;
        assert_eq!(value, 4);
        Ok(())
    })
}

#[test]
fn a_shield_does_not_reopen_the_cancelled_group_around_it() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        g.cancel();
        let status = shield(|| g.spawn(|| Ok(())).status());
        assert_eq!(status, TaskStatus::NeverRan);
        Ok(())
    })
}

#[test]
fn a_panic_that_leaves_a_shield_takes_it_down() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        g.cancel();
        for bound in [None, Some(LONG)] {
            let panicked = catch_unwind(AssertUnwindSafe(|| match bound {
                None => shield(|| panic!("inside")),
                Some(bound) => shield_for(bound, || panic!("inside")),
            }));
            assert!(panicked.is_err());
            assert!(checkpoint().is_err(), "the shield stayed up");
        }
        Ok(())
    })
}
