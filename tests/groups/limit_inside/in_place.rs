//! Tasks that run in place of a wait inside.

use taskgroup::TaskGroup;
use taskgroup::sync::Event;

use super::in_a_task;
use crate::support::watch;

#[test]
fn a_task_that_runs_in_place_inside_counts_for_the_permit_outside() -> anyhow::Result<()> {
    let _watch = watch();
    in_a_task(1, |g| {
        let first = g.spawn(move || {
            let second = g.spawn(|| Ok(1));
            Ok(second.join()? + 1)
        });
        let sum = TaskGroup::scope(|i| {
            // Joined by a task without a permit: it runs on a worker or here, with the permit
            // of the outer task.
            let joins = i.task().dedicated().spawn(move || Ok(first.join()?));
            Ok(joins.join()?)
        })?;
        assert_eq!(sum, 2);
        Ok(())
    })
}

#[test]
fn a_task_that_runs_in_place_of_a_wait_holds_up_no_task_of_the_limited_group() -> anyhow::Result<()>
{
    let _watch = watch();
    for joins in [true, false].repeat(20) {
        in_a_task(1, |g| {
            let (queued, has_ended) = (g.spawn(|| Ok(())), Event::new());
            TaskGroup::scope(|i| {
                i.task().dedicated().spawn(|| {
                    queued.wait()?;
                    Ok(has_ended.set())
                });
                // It runs on this thread, which has the only permit, unless a worker is faster.
                let waits = i.spawn(|| Ok(has_ended.wait()?));
                if joins {
                    waits.join()?;
                }
                Ok(())
            })?;
            Ok(())
        })?;
    }
    Ok(())
}
