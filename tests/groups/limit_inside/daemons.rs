//! Daemons, and callbacks at the end of a task, that wait for tasks of the limited group.

use taskgroup::{TaskGroup, shield};

use super::in_a_task;
use crate::support::{Gate, MOMENT, Peak, blocked, until, watch};

#[test]
fn a_daemon_inside_waits_for_a_queued_task() -> anyhow::Result<()> {
    let _watch = watch();
    in_a_task(1, |g| {
        let (queued, served) = (g.spawn(|| Ok(())), Gate::default());
        TaskGroup::scope(|i| {
            i.spawn_daemon(|| {
                queued.wait()?;
                served.open();
                Err(blocked().into())
            });
            i.task().dedicated().spawn(|| Ok(served.wait()));
            Ok(())
        })?;
        Ok(())
    })
}

#[test]
fn a_daemon_inside_that_cleans_up_waits_for_a_queued_task() -> anyhow::Result<()> {
    let _watch = watch();
    in_a_task(1, |g| {
        let queued = g.spawn(|| Ok(()));
        TaskGroup::scope(|i| {
            i.spawn_daemon(|| {
                let cancelled = blocked();
                // The owner waits for the daemons alone now.
                shield(|| queued.wait())?;
                Err(cancelled.into())
            });
            Ok(())
        })?;
        Ok(())
    })
}

#[test]
fn a_daemon_of_the_limited_group_has_no_permit_to_give_for_its_tasks_inside() -> anyhow::Result<()>
{
    let _watch = watch();
    let (peak, leave, asked) = (Peak::default(), Gate::default(), &Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        let runs = g.spawn(|| Ok(peak.inside(|| leave.wait())));
        let queued = g.spawn(|| Ok(peak.inside(|| ())));
        let daemon = g.spawn_daemon(move || {
            TaskGroup::scope(|i| {
                i.task().dedicated().spawn(|| {
                    queued.wait_timeout(MOMENT)?;
                    asked.open();
                    Ok(queued.wait().map(drop)?)
                });
                Ok(())
            })?;
            Ok(())
        });
        asked.wait();
        leave.open();
        daemon.wait()?;
        runs.join()?;
        Ok(())
    })?;
    assert_eq!(peak.most(), 1);
    Ok(())
}

#[test]
fn a_callback_at_the_end_of_a_task_waits_for_an_inner_group() -> anyhow::Result<()> {
    let _watch = watch();
    let (peak, begin) = (&Peak::default(), &Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        let first = g.spawn(move || Ok(begin.wait()));
        first.on_finished(move |_| {
            let queued = g.spawn(move || Ok(peak.inside(|| ())));
            TaskGroup::scope(|i| {
                Ok(i.task()
                    .dedicated()
                    .spawn(|| Ok(queued.wait().map(drop)?))
                    .join()?)
            })
            .expect("the queued task has begun");
        });
        begin.open();
        first.wait()?;
        // The permit is back, and was given away once.
        until(|| g.stats().running == 0);
        let free = g.try_spawn(move || Ok(peak.inside(|| ())));
        assert!(free.is_ok_and(|task| task.join().is_ok()));
        Ok(())
    })?;
    assert_eq!(peak.most(), 1);
    Ok(())
}
