//! The effects of the policies on a scope that stalled.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Bomb, Drops, Gate, LONG, traced_errors};
use taskgroup::{OnPanic, StallPolicy, TaskGroup};

use super::{Reports, SOON, has};

#[test]
fn the_panic_policy_panics_once_all_has_ended_and_the_value_is_dropped() {
    let reports = Reports::of("panics");
    let drops = Drops::default();
    let gate = Gate::default();
    let begun = Gate::default();
    let builder = TaskGroup::builder().name("panics").stall_after(SOON);
    let builder = builder.stall_policy(StallPolicy::Panic);
    let ended = AtomicBool::new(false);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder.scope(|g| {
            g.spawn(|| {
                begun.open();
                gate.wait();
                ended.store(true, Ordering::SeqCst);
                Ok::<_, anyhow::Error>(())
            });
            begun.wait();
            g.cancel_because("it is late");
            reports.nth(0);
            gate.open();
            Ok(drops.counted())
        })
    }));
    let payload = outcome.expect_err("the policy panics");
    let text = payload.downcast_ref::<String>().expect("it is a text");
    has(text, &["the scope `panics`", "stalled", "it is late"]);
    assert!(ended.load(Ordering::SeqCst));
    assert_eq!(drops.count(), 1);
    reports.end();
}

#[test]
fn the_panic_policy_does_nothing_to_a_scope_that_ends_in_time() {
    fn builder() -> taskgroup::Builder {
        let builder = TaskGroup::builder().name("ends in time").stall_after(LONG);
        builder.stall_policy(StallPolicy::Panic)
    }

    let value = builder().scope(|g| {
        g.cancel();
        anyhow::Ok(7)
    });
    assert_eq!(value.unwrap(), 7);

    // Beside another panic the policy would log.
    let of_the_body = || builder().scope(|_| -> anyhow::Result<()> { panic!("of the body") });
    let of_a_task = || {
        builder().on_panic(OnPanic::Resume).scope(|g| {
            g.spawn(|| -> anyhow::Result<()> { panic!("of a task") });
            Ok(())
        })
    };
    for scope in [&of_the_body as &dyn Fn() -> _, &of_a_task] {
        let (panicked, errors) = traced_errors(|| catch_unwind(AssertUnwindSafe(scope)));
        assert!(panicked.is_err());
        assert_eq!(errors, Vec::<String>::new());
    }
}

/// Asserts that one of the errors that were traced contains `text`.
#[track_caller]
fn assert_logged(errors: &[String], text: &str) {
    assert!(
        errors.iter().any(|error| error.contains(text)),
        "{errors:?}"
    );
}

/// Returns nothing: the type is for a body that could have ended well.
fn panic_with(message: &'static str) -> anyhow::Result<()> {
    std::panic::panic_any(message)
}

#[test]
fn a_panic_of_the_body_comes_before_the_one_of_the_policy() {
    let reports = Reports::of("body panics");
    let builder = TaskGroup::builder().name("body panics").stall_after(SOON);
    let builder = builder.stall_policy(StallPolicy::Panic);
    let (outcome, errors) = traced_errors(|| {
        catch_unwind(AssertUnwindSafe(|| {
            builder.scope(|g| {
                g.cancel();
                reports.nth(0);
                panic_with("of the body")
            })
        }))
    });
    let payload = outcome.expect_err("the body panics");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"of the body"));
    assert_logged(&errors, "`body panics`");
}

#[test]
fn in_a_destructor_during_a_panic_the_policy_only_logs() {
    struct Stalls<'a>(&'a Reports);
    impl Drop for Stalls<'_> {
        fn drop(&mut self) {
            let builder = TaskGroup::builder().name("unwinds").stall_after(SOON);
            let builder = builder.stall_policy(StallPolicy::Panic);
            let outcome = builder.scope(|g| {
                g.cancel();
                self.0.nth(0);
                Ok::<_, anyhow::Error>(3)
            });
            assert_eq!(outcome.expect("the result is kept"), 3);
        }
    }

    let reports = Reports::of("unwinds");
    let (outcome, errors) = traced_errors(|| {
        catch_unwind(AssertUnwindSafe(|| {
            let _stalls = Stalls(&reports);
            panic!("the first");
        }))
    });
    let payload = outcome.expect_err("it panics");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"the first"));
    assert_logged(&errors, "`unwinds`");
}

#[test]
fn a_value_whose_drop_panics_does_not_hide_the_stall() {
    let reports = Reports::of("bomb");
    let builder = TaskGroup::builder().name("bomb").stall_after(SOON);
    let builder = builder.stall_policy(StallPolicy::Panic);
    let (outcome, errors) = traced_errors(|| {
        catch_unwind(AssertUnwindSafe(|| {
            builder.scope(|g| {
                g.cancel();
                reports.nth(0);
                Ok::<_, anyhow::Error>(Bomb("of the value"))
            })
        }))
    });
    let payload = outcome.map(drop).expect_err("the policy panics");
    let text = payload.downcast_ref::<String>().expect("it is a text");
    has(text, &["the scope `bomb`", "stalled"]);
    assert_logged(&errors, "of the value");
}
