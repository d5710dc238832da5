//! Groups in which a failure does not cancel the others, or is not alone to do so.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::{GroupError, OnFailure, TaskGroup, TaskStatus};

use super::{text, texts};
use crate::support::{Gate, blocked};

#[test]
fn collecting_keeps_siblings_running() {
    let mut status = None;
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            let failing = g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("one") });
            failing.wait()?;
            taskgroup::checkpoint()?;
            let sibling = g.spawn(|| Ok(taskgroup::checkpoint()?));
            status = Some(sibling.wait()?);
            Ok(())
        })
        .unwrap_err();
    assert_eq!(texts(&error), ["one"]);
    assert_eq!(status, Some(TaskStatus::Finished));
}

#[test]
fn a_policy_of_ones_own_tells_how_all_ended_in_the_order_of_their_spawn() {
    let failed = AtomicUsize::new(0);
    let mut ends = Vec::new();
    let error = TaskGroup::builder()
        .limit(1)
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            let tasks: Vec<_> = [true, false, true, false, true, false]
                .into_iter()
                .map(|good| {
                    let failed = &failed;
                    g.spawn(move || {
                        if good {
                            return Ok(());
                        }
                        if failed.fetch_add(1, Ordering::Relaxed) == 1 {
                            g.cancel_because("two failures are enough");
                        }
                        anyhow::bail!("bad")
                    })
                })
                .collect();
            for task in &tasks {
                ends.push(taskgroup::shield(|| task.wait())?);
            }
            Ok(())
        })
        .unwrap_err();
    assert_eq!(texts(&error), ["bad", "bad"]);
    use TaskStatus::{Failed, Finished, NeverRan};
    assert_eq!(
        ends,
        [Finished, Failed, Finished, Failed, NeverRan, NeverRan]
    );
}

#[test]
fn isolated_failures_do_not_cancel_the_group() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let failing = g.spawn_isolated(|| -> anyhow::Result<()> { anyhow::bail!("contained") });
        let failure = failing.join()?.expect_err("it failed");
        assert_eq!(text(&failure), "contained");
        let panicking = g.spawn_isolated(|| -> anyhow::Result<()> { panic!("contained too") });
        let failure = panicking.join()?.expect_err("it panicked");
        assert_eq!(text(&failure), "panic: contained too");
        Ok(taskgroup::checkpoint()?)
    })
}

#[test]
fn a_policy_of_ones_own_ends_the_others_when_one_has_ended() -> Result<(), GroupError> {
    let (running, first) = (Barrier::new(3), Gate::default());
    let ends = TaskGroup::builder().limit(3).scope(|g| {
        let others = |_: usize| {
            g.spawn(|| {
                running.wait();
                Err::<(), _>(blocked().into())
            })
        };
        let mut tasks = vec![others(0), others(1)];
        tasks.push(g.spawn(|| {
            running.wait();
            first.wait();
            Ok(())
        }));
        // It waits for a permit.
        tasks.push(g.spawn(|| Ok(())));
        for task in &tasks {
            task.on_finished(|status| {
                if status == TaskStatus::Finished {
                    g.cancel_because("one is enough");
                }
            });
        }
        first.open();
        tasks
            .iter()
            .map(|task| Ok(taskgroup::shield(|| task.wait())?))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    use TaskStatus::{Cancelled, Finished, NeverRan};
    assert_eq!(ends, [Cancelled, Cancelled, Finished, NeverRan]);
    Ok(())
}
