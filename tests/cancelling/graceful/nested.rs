//! Graces of nested scopes, of deadlines and of shields.

use std::time::{Duration, Instant};

use taskgroup::{
    CancelToken, Cancelled, GroupError, TaskGroup, TaskStatus, checkpoint, shield, shield_for,
    timeout, winding_down,
};

use super::SHORT;
use super::reason;
use crate::support::{Gate, LONG, blocked};

#[test]
fn the_cancel_of_one_task_ends_its_grace_and_no_others() -> Result<(), GroupError> {
    let (one, other, finish) = (
        Gate::default(),
        Gate::default(),
        taskgroup::sync::Event::new(),
    );
    TaskGroup::scope(|g| {
        let cut = g.spawn(|| {
            winding_down(|| {
                one.open();
                Ok(taskgroup::sleep(LONG)?)
            })
        });
        let spared = g.spawn(|| {
            winding_down(|| {
                other.open();
                Ok(finish.wait()?)
            })
        });
        one.wait();
        other.wait();
        g.cancel_gracefully(LONG);
        cut.cancel();
        shield(|| {
            assert_eq!(cut.wait()?, TaskStatus::Cancelled);
            assert_eq!(spared.wait_timeout(SHORT)?, None);
            finish.set();
            Ok(spared.join()?)
        })
    })
}

#[test]
fn a_cancel_of_an_outer_scope_ends_the_grace_of_an_inner_scope() {
    let (outer, inside) = (CancelToken::new(), Gate::default());
    let inner = outer.child();
    std::thread::scope(|threads| {
        let cut = threads.spawn(|| {
            inner.run(|| {
                winding_down(|| {
                    inside.open();
                    blocked()
                })
            })
        });
        inside.wait();
        inner.cancel_gracefully_because(LONG, "inner");
        outer.cancel_because("outer");
        assert_eq!(
            reason(&cut.join().unwrap()),
            Some("inner"),
            "the first cancel is the cause"
        );
    });
}

#[test]
fn a_graceful_cancel_from_above_reaches_regions_of_all_scopes_below() -> Result<(), GroupError> {
    let (inside, finish) = (Gate::default(), taskgroup::sync::Event::new());
    TaskGroup::scope(|top| {
        let task = top.spawn(|| {
            let inner = TaskGroup::scope(|g| {
                let leaf = g.spawn(|| {
                    winding_down(|| {
                        inside.open();
                        finish.wait()
                    })?;
                    assert!(checkpoint().is_err());
                    Ok(7)
                });
                Ok(shield(|| leaf.join())?)
            });
            Ok(inner?)
        });
        inside.wait();
        top.cancel_gracefully(LONG);
        finish.set();
        assert_eq!(shield(|| task.join())?, 7);
        Ok(())
    })
}

#[test]
fn scopes_opened_in_a_region_belong_to_it() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        g.cancel_gracefully(LONG);
        let sum = winding_down(|| {
            TaskGroup::scope(|inner| {
                assert!(!inner.token().is_cancelled());
                let task = inner.spawn(|| {
                    taskgroup::sleep(Duration::from_millis(1))?;
                    Ok(3)
                });
                assert_eq!(
                    timeout(LONG, || winding_down(|| Ok::<_, Cancelled>(4)))?,
                    Some(4)
                );
                Ok(task.join()? + 1)
            })
        })?;
        assert_eq!(sum, 4);
        Ok(())
    })
}

#[test]
fn a_group_opened_in_a_region_ends_with_the_grace() {
    let token = CancelToken::new();
    token.cancel_gracefully_because(SHORT, "that is all");
    let error = token
        .run(|| {
            winding_down(|| {
                TaskGroup::scope(|g| {
                    g.spawn(|| winding_down(|| Ok(taskgroup::sleep(LONG)?)));
                    Ok(taskgroup::sleep(LONG)?)
                })
            })
        })
        .unwrap_err();
    assert!(error.failures().is_empty());
    assert_eq!(
        error
            .cancelled()
            .map(|cancelled| (reason(cancelled), cancelled.origin())),
        Some((Some("that is all"), token.id()))
    );
}

#[test]
fn a_deadline_around_the_region_ends_the_grace() {
    let token = CancelToken::new();
    token.cancel_after(SHORT);
    token.cancel_gracefully_because(LONG, "first");
    let cancelled = token.run(|| winding_down(blocked));
    assert_eq!(reason(&cancelled), Some("first"));
    assert!(token.run(|| winding_down(checkpoint)).is_err());
}

#[test]
fn a_deadline_set_in_the_grace_ends_it() {
    let (token, inside) = (CancelToken::new(), Gate::default());
    token.cancel_gracefully_because(LONG, "first");
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let cancelled = token.run(|| {
                winding_down(|| {
                    inside.open();
                    blocked()
                })
            });
            assert_eq!(reason(&cancelled), Some("first"));
        });
        inside.wait();
        token.cancel_at(Instant::now() + SHORT);
    });
}

#[test]
fn a_timeout_around_a_region_is_no_timeout_in_the_grace() {
    let token = CancelToken::new();
    let outcome = token.run(|| {
        timeout(SHORT, || {
            token.cancel_gracefully(LONG);
            winding_down(|| taskgroup::sleep(LONG))
        })
    });
    assert_eq!(
        outcome.map_err(|cancelled| cancelled.origin()),
        Err(token.id())
    );
}

#[test]
fn a_timeout_inside_a_region_works_as_usual() -> anyhow::Result<()> {
    let token = CancelToken::new();
    token.cancel_gracefully(LONG);
    token.run(|| {
        winding_down(|| {
            assert_eq!(timeout(SHORT, || taskgroup::sleep(LONG))?, None);
            assert_eq!(timeout(LONG, || Ok::<_, Cancelled>(1))?, Some(1));
            checkpoint()
        })
    })?;
    Ok(())
}

#[test]
fn the_time_left_in_a_region_is_the_rest_of_the_grace() {
    let token = CancelToken::new();
    token.run(|| {
        winding_down(|| {
            assert_eq!(taskgroup::remaining(), None);
            token.cancel_gracefully(LONG);
            assert!(taskgroup::remaining().is_some_and(|left| left <= LONG));
            let near = timeout(LONG / 2, || Ok::<_, Cancelled>(taskgroup::remaining()));
            assert!(near.is_ok_and(|left| left.flatten().is_some_and(|left| left <= LONG / 2)));
            let far = timeout(LONG * 2, || Ok::<_, Cancelled>(taskgroup::remaining()));
            assert!(far.is_ok_and(|left| left.flatten().is_some_and(|left| left <= LONG)));
        });
    });
}

#[test]
fn shields_and_regions_nest() {
    let token = CancelToken::new();
    token.cancel_gracefully(Duration::from_millis(1));
    token.run(|| {
        winding_down(|| {
            blocked();
            assert!(shield(checkpoint).is_ok() && shield_for(LONG, checkpoint).is_ok());
            assert!(shield(|| winding_down(checkpoint)).is_ok());
            assert!(
                winding_down(checkpoint).is_err(),
                "a region in a region that is cancelled is"
            );
        });
    });
}

#[test]
fn a_shield_that_is_lifted_in_the_grace_hides_no_more_than_a_region_inside() {
    let token = CancelToken::new();
    token.cancel_gracefully(LONG);
    token.run(|| {
        shield_for(Duration::from_millis(1), || {
            blocked();
            assert!(winding_down(|| taskgroup::sleep(Duration::from_millis(1))).is_ok());
            token.cancel();
            assert!(winding_down(checkpoint).is_err());
        });
    });
}
