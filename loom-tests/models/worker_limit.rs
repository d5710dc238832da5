//! Models of limited groups on workers: permits, and the waits that give them away.

use std::time::Duration;

use super::Bound::Preemptions;
use super::support::{Gate, Note, must_see, saw, with_pool};
use super::{Model, Watched};
use crate::facade;
use crate::{TaskGroup, TaskStatus};

pub(super) const MODELS: &[Model] = &[
    holds!(
        worker_join_in_a_task_gives_its_permit_up,
        Preemptions(2),
        Preemptions(3),
        "a task that joins a task of its own group at the limit gives up its permit"
    ),
    holds!(
        worker_wait_in_a_task_gives_its_permit_up,
        Preemptions(1),
        Preemptions(3),
        "a task that waits for a task of its own group at the limit gives up its permit"
    ),
    breaks!(
        broken_worker_keeps_its_permit,
        "waiting-task-keeps-its-permit" in worker_wait_in_a_task_gives_its_permit_up,
        Preemptions(1),
        "deadlock",
        "a task that keeps its permit while it waits for a queued one waits for ever"
    ),
    breaks!(
        broken_worker_end_keeps_the_permit_of_its_waiter,
        "end-keeps-the-permit" in worker_wait_in_a_task_gives_its_permit_up,
        Preemptions(1),
        "attempt to subtract with overflow",
        "a waiter that gets no permit at the end of its task gives up a permit that it does \
         not hold"
    ),
    holds!(
        worker_limit_waits_of_both_kinds_in_one_another,
        Preemptions(1),
        Preemptions(2),
        "a task that joins a running task, which waits for the first of several, leaves its \
             permit to those"
    ),
    holds!(
        worker_limit_try_spawn_at_the_end_takes_no_permit,
        Preemptions(1),
        Preemptions(3),
        "at the end of a task that another task waits for, try_spawn takes no task beside the \
             waiter"
    ),
    breaks!(
        broken_worker_end_owes_nothing,
        "end-owes-no-permit" in worker_limit_try_spawn_at_the_end_takes_no_permit,
        Preemptions(1),
        "taken beside the waiter",
        "if the permit of an ending task counts as free although a waiter takes it over, \
         try_spawn takes a task"
    ),
    holds!(
        worker_limit_wait_that_is_cut_short_takes_a_permit,
        Preemptions(2),
        Preemptions(3),
        "a wait that ends before its task takes a permit, and then the waiter and the task \
             give up one each"
    ),
    breaks!(
        broken_worker_goes_on_without_a_permit,
        "cut-wait-takes-no-permit" in worker_limit_wait_that_is_cut_short_takes_a_permit,
        Preemptions(2),
        "attempt to subtract with overflow",
        "a task that takes no permit after a wait that is cut short gives up a permit that it \
         does not hold"
    ),
    holds!(
        worker_limit_permits_come_back_from_late_threads,
        Preemptions(1),
        Preemptions(3),
        "if a joiner and a worker both come for a task, each with a permit, the later one \
             gives up its permit"
    ),
    holds!(
        worker_limit_freed_permit_lets_a_task_begin,
        Preemptions(1),
        Preemptions(2),
        "a permit that a joining thread took for a task which a worker has begun goes to the \
             next queued task"
    ),
    breaks!(
        broken_worker_limit_freed_permit_is_not_offered,
        "freed-permit-is-not-offered" in worker_limit_freed_permit_lets_a_task_begin,
        Preemptions(1),
        "deadlock",
        "a permit that comes back from a late thread and is not offered leaves a queued task \
         waiting"
    ),
    holds!(
        worker_limit_has_room_after_a_wait,
        Preemptions(1),
        Preemptions(2),
        "once a task that has waited for another one has ended, there is room for a new task"
    ),
    breaks!(
        broken_worker_limit_owes_a_permit_for_ever,
        "owed-permit-stays-owed" in worker_limit_has_room_after_a_wait,
        Preemptions(1),
        "there is no room",
        "a permit that was taken back and still counts as owed takes the room of a new task"
    ),
    holds!(
        worker_limit_awaited_task_comes_first,
        Preemptions(1),
        Preemptions(2),
        "a queued task that another task waits for begins before one that was queued earlier"
    ),
    breaks!(
        broken_worker_limit_awaited_task_is_not_first,
        "awaited-task-is-not-first" in worker_limit_awaited_task_comes_first,
        Preemptions(1),
        "deadlock",
        "a task that needs the effect of an awaited one, and begins before it, takes its permit"
    ),
    holds!(
        worker_limit_awaited_task_comes_before_one_in_place,
        Preemptions(1),
        Preemptions(2),
        "a queued task that another task waits for begins before one that its joiner could run"
    ),
    breaks!(
        broken_worker_limit_task_in_place_overtakes,
        "task-in-place-overtakes-an-awaited-one"
            in worker_limit_awaited_task_comes_before_one_in_place,
        Preemptions(1),
        "deadlock",
        "a task that runs in place before an awaited one takes its permit"
    ),
    holds!(
        worker_limit_is_kept_by_joining_threads,
        Preemptions(2),
        Preemptions(3),
        "a task that the body runs in place takes a permit, like on a worker"
    ),
    holds!(
        worker_limit_is_kept,
        Preemptions(2),
        Preemptions(3),
        "two tasks of a group with a limit of one never run at once, whichever thread runs them"
    ),
    holds!(
        worker_limit_is_kept_by_sole_tasks,
        Preemptions(1),
        Preemptions(2),
        "the same for tasks that are found to have one reference"
    ),
    breaks!(
        broken_worker_ignores_the_limit,
        "limit-is-ignored" in worker_limit_is_kept,
        Preemptions(2),
        "Causality violation",
        "a worker that begins a task without a free permit runs two at once"
    ),
];

/// Runs a task of a group with a limit of one, which waits for a second task by `wait`.
fn nested(wait: impl Fn(crate::TaskHandle<'_, u8>) -> anyhow::Result<()> + Send + Sync) {
    with_pool(2, || {
        let (wait, ran) = (&wait, Note::default());
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    wait(g.spawn(|| {
                        ran.set();
                        Ok(7)
                    }))
                });
                Ok(())
            })
            .unwrap();
        assert_eq!(ran.times(), 1);
    });
}

fn worker_join_in_a_task_gives_its_permit_up() {
    nested(|task| {
        assert_eq!(task.join()?, 7);
        Ok(())
    });
}

fn worker_wait_in_a_task_gives_its_permit_up() {
    nested(|task| {
        assert_eq!(task.wait()?, TaskStatus::Finished);
        Ok(())
    });
}

fn worker_limit_waits_of_both_kinds_in_one_another() {
    must_see(["it had begun", "it had not"]);
    with_pool(2, || {
        let running = Watched::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    let middle = g.spawn(|| {
                        let inner = g.spawn(|| {
                            running.write();
                            Ok(())
                        });
                        for task in g.as_completed([inner]) {
                            task?.join()?;
                        }
                        running.write();
                        Ok(())
                    });
                    middle.wait_timeout(Duration::ZERO)?;
                    saw(if middle.status() == TaskStatus::Running {
                        "it had begun"
                    } else {
                        "it had not"
                    });
                    middle.wait()?;
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_try_spawn_at_the_end_takes_no_permit() {
    with_pool(2, || {
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    // The task begins when this one waits for it.
                    let task = g.spawn(|| Ok(()));
                    task.on_finished(|_| {
                        assert!(
                            g.try_spawn(|| Ok(())).is_err(),
                            "a task was taken beside the waiter"
                        )
                    });
                    task.wait()?;
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_wait_that_is_cut_short_takes_a_permit() {
    must_see(["it had ended", "it had not"]);
    with_pool(2, || {
        let ran = Note::default();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    let task = g.spawn(|| {
                        ran.set();
                        Ok(())
                    });
                    saw(match task.wait_timeout(Duration::ZERO)? {
                        Some(_) => "it had ended",
                        None => "it had not",
                    });
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
        assert_eq!(ran.times(), 1);
    });
}

fn worker_limit_permits_come_back_from_late_threads() {
    must_see(["in place", "on a worker"]);
    with_pool(1, || {
        let gate = Gate::new();
        TaskGroup::builder()
            .limit(2)
            .scope(|g| {
                let body = loom::thread::current().id();
                let by = g.spawn(|| Ok(loom::thread::current().id())).join()?;
                saw(if by == body {
                    "in place"
                } else {
                    "on a worker"
                });
                // The next two tasks need both permits.
                let waits = g.spawn(|| Ok(gate.wait()?));
                g.spawn(|| {
                    gate.open();
                    Ok(())
                });
                waits.wait()?;
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_is_kept_by_sole_tasks() {
    facade::set_sees_counts(true);
    worker_limit_is_kept();
}

fn worker_limit_freed_permit_lets_a_task_begin() {
    with_pool(1, || {
        let gate = Gate::new();
        TaskGroup::builder()
            .limit(2)
            .scope(|g| {
                // Its joiner takes a permit for it, and may find that a worker has begun it.
                let waits = g.spawn(|| Ok(gate.wait()?));
                g.spawn(|| {
                    gate.open();
                    Ok(())
                });
                waits.join()?;
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_has_room_after_a_wait() {
    with_pool(2, || {
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                let waits = g.spawn(|| {
                    g.spawn(|| Ok(())).wait()?;
                    Ok(())
                });
                waits.wait()?;
                assert!(g.try_spawn(|| Ok(())).is_ok(), "there is no room");
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_awaited_task_comes_first() {
    with_pool(2, || {
        let gate = Gate::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    g.spawn(|| Ok(gate.wait()?));
                    let opens = g.spawn(|| {
                        gate.open();
                        Ok(())
                    });
                    opens.wait()?;
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_awaited_task_comes_before_one_in_place() {
    with_pool(2, || {
        let (begun, gate) = (Gate::new(), Gate::new());
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    begun.open();
                    let opens = g.spawn(|| {
                        gate.open();
                        Ok(())
                    });
                    opens.wait()?;
                    Ok(())
                });
                let waits = g.spawn(|| Ok(gate.wait()?));
                // The first task has the permit now, until it waits.
                begun.wait()?;
                waits.join()?;
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_is_kept_by_joining_threads() {
    with_pool(1, || {
        let running = Watched::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                let task = || {
                    running.write();
                    Ok(())
                };
                let (first, second) = (g.spawn(task), g.spawn(task));
                second.join()?;
                first.join()?;
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_is_kept() {
    with_pool(2, || {
        let running = Watched::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                for _ in 0..2 {
                    // Loom reports two concurrent writes, and also two writes of which neither
                    // happens before the other.
                    g.spawn(|| {
                        running.write();
                        Ok(())
                    });
                }
                Ok(())
            })
            .unwrap();
    });
}
