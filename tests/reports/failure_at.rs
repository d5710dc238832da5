//! When a failure happened, counted from the beginning of its scope.

use std::time::{Duration, Instant};

use anyhow::bail;
use taskgroup::{Failure, GroupError, OnFailure, TaskGroup, sleep};

/// Longer than many steps of the coarse clock.
const PAUSE: Duration = Duration::from_millis(100);
/// The rest of the pause if the clock takes two steps less than it should.
const AT_LEAST: Duration = Duration::from_millis(50);

fn fail() -> anyhow::Result<()> {
    bail!("no data")
}

#[test]
fn it_counts_from_the_beginning_of_the_scope_and_not_of_the_task() {
    let error = TaskGroup::scope(|g| {
        sleep(PAUSE)?;
        g.spawn(fail);
        Ok(())
    })
    .unwrap_err();
    let failure = &error.failures()[0];
    assert!(failure.at() >= AT_LEAST, "{:?}", failure.at());
    // The task ran within the scope, and began after the pause.
    assert!(failure.at() >= failure.elapsed() + AT_LEAST, "{failure:?}");
}

#[test]
fn failures_of_task_body_hook_and_callback_are_in_the_order_of_their_times() {
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            g.on_release(|| {
                sleep(PAUSE)?;
                bail!("cannot flush")
            });
            for _ in 0..2 {
                sleep(PAUSE)?;
                assert!(g.spawn(fail).join().is_err());
            }
            sleep(PAUSE)?;
            fail()
        })
        .unwrap_err();
    let times: Vec<_> = error.failures().iter().map(Failure::at).collect();
    assert_eq!(times.len(), 4);
    for (index, pair) in times.windows(2).enumerate() {
        assert!(pair[1] >= pair[0] + AT_LEAST, "{index}: {times:?}");
    }
}

#[test]
fn a_panic_of_a_callback_has_the_time_of_the_callback_and_not_of_the_end() {
    let begun = Instant::now();
    let mut cancelled_by = Duration::ZERO;
    let error = TaskGroup::scope(|g| {
        g.token()
            .on_cancel(|| panic!("no place to write to"))
            .forget();
        sleep(PAUSE)?;
        g.cancel();
        // The callback has run on this thread, and the scope ends long after it.
        cancelled_by = begun.elapsed();
        taskgroup::shield(|| sleep(4 * PAUSE))?;
        Ok(())
    })
    .unwrap_err();
    let failures = error.failures();
    assert_eq!(failures.len(), 1);
    let at = failures[0].at();
    assert!(at >= AT_LEAST && at < cancelled_by + PAUSE, "{at:?}");
}

#[test]
fn a_nested_scope_counts_from_its_own_beginning() {
    let error = TaskGroup::scope(|_| {
        sleep(PAUSE)?;
        let inner = TaskGroup::scope(|_| fail());
        inner?;
        Ok(())
    })
    .unwrap_err();
    let outer = &error.failures()[0];
    let taskgroup::FailureKind::Error(kind) = outer.kind() else {
        panic!("{outer:?}");
    };
    let inner = kind.downcast_ref::<GroupError>().expect("the inner report");
    let inner = &inner.failures()[0];
    // The inner failure came first, and its scope began a pause later.
    assert!(outer.at() >= inner.at() + AT_LEAST, "{outer:?}");
}

#[test]
fn an_isolated_failure_knows_its_time() -> anyhow::Result<()> {
    TaskGroup::scope(|g| {
        sleep(PAUSE)?;
        let failure = g.spawn_isolated(fail).join()?.unwrap_err();
        assert!(failure.at() >= AT_LEAST, "{:?}", failure.at());
        Ok(())
    })?;
    Ok(())
}
