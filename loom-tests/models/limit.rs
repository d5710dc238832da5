//! Models of limits in compositions: waits from a group inside of the limited group.

use super::Bound::Preemptions;
use super::support::with_pool;
use super::{Model, Watched};
use crate::TaskGroup;

pub(super) fn models() -> Vec<Model> {
    vec![
        holds!(
            limit_wait_inside_gives_the_permit_up,
            Preemptions(1),
            Preemptions(2),
            "a task inside of the task with the only permit waits for a queued task, whichever of \
             the two waits first"
        ),
        breaks!(
            broken_limit_wait_inside_gives_nothing_up,
            "outer-tasks-keep-their-permits" in limit_wait_inside_gives_the_permit_up,
            Preemptions(1),
            "deadlock",
            "if an inner task does not give up the permit of the task around it, a queued task \
             never begins"
        ),
        breaks!(
            broken_limit_holder_finds_no_waiters,
            "thread-misses-early-waiters" in limit_wait_inside_gives_the_permit_up,
            Preemptions(1),
            "deadlock",
            "a task that begins to wait and does not check for inner tasks that wait already \
             keeps its permit for ever"
        ),
    ]
}

fn limit_wait_inside_gives_the_permit_up() {
    with_pool(3, || {
        let running = Watched::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    let queued = g.spawn(|| {
                        running.write();
                        Ok(())
                    });
                    TaskGroup::scope(|i| {
                        let inside = i.spawn(|| {
                            queued.wait()?;
                            running.write();
                            Ok(())
                        });
                        inside.wait()?;
                        Ok(())
                    })?;
                    running.write();
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
    });
}
