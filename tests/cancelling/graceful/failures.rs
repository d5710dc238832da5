//! Failures and panics during the grace.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::{CancelToken, TaskGroup, TaskStatus, checkpoint, shield, winding_down};

use super::SHORT;
use super::reason;
use crate::support::{Gate, LONG, blocked};

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
fn a_panic_leaves_the_region() {
    let token = CancelToken::new();
    token.cancel_gracefully(LONG);
    token.run(|| {
        assert!(catch_unwind(|| winding_down(|| panic!("inside"))).is_err());
        assert!(checkpoint().is_err());
    });
}
