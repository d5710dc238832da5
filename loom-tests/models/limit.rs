//! Models of limits in compositions: waits from a group inside of the limited group.

use super::Bound::Preemptions;
use super::support::with_pool;
use super::{Model, Watched};
use crate::TaskGroup;
use crate::sync::Event;

pub(super) const MODELS: &[Model] = &[
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
    holds!(
        limit_task_of_the_owner_gives_the_permit_up,
        Preemptions(1),
        Preemptions(2),
        "a task that the owner of an inner scope runs waits for one beside it, which waits \
             for a queued task of the limited group"
    ),
    breaks!(
        broken_limit_owner_keeps_its_permit,
        "owner-keeps-its-permits-for-a-task-in-place" in
            limit_task_of_the_owner_gives_the_permit_up,
        Preemptions(1),
        "deadlock",
        "if the owner of an inner scope keeps its permit while it runs a task of that scope, a \
         queued task that the others need never begins"
    ),
    holds!(
        limit_task_that_is_joined_gives_the_permit_up,
        Preemptions(1),
        Preemptions(2),
        "a task that a join in an inner scope runs waits for one beside it, which waits for a \
             queued task of the limited group"
    ),
    breaks!(
        broken_limit_joiner_keeps_its_permit,
        "joiner-keeps-its-permits-for-a-task-in-place" in
            limit_task_that_is_joined_gives_the_permit_up,
        Preemptions(1),
        "deadlock",
        "if a thread keeps its permit while it runs the inner task that it joins, a queued \
         task that the others need never begins"
    ),
];

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

fn limit_task_of_the_owner_gives_the_permit_up() {
    limit_task_in_place_gives_the_permit_up(false);
}

fn limit_task_that_is_joined_gives_the_permit_up() {
    limit_task_in_place_gives_the_permit_up(true);
}

fn limit_task_in_place_gives_the_permit_up(joins: bool) {
    with_pool(3, || {
        let (running, has_ended) = (Watched::new(), Event::new());
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    let queued = g.spawn(|| {
                        running.write();
                        Ok(())
                    });
                    TaskGroup::scope(|i| {
                        // The first that is queued is the first that the owner runs.
                        let waits = i.spawn(|| Ok(has_ended.wait()?));
                        i.spawn(|| {
                            queued.wait()?;
                            has_ended.set();
                            Ok(())
                        });
                        if joins {
                            waits.join()?;
                        }
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
