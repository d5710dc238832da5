//! Tasks that all block at once in a foreign primitive, so that each needs a thread of its own.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::TaskGroup;

use crate::process;
use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, millis};

const TASKS: usize = 2_000;

pub(crate) const COLD_TASKGROUP: &str = "blocked-cold-taskgroup";
pub(crate) const COLD_STD: &str = "blocked-cold-std";
pub(crate) const RESIDENT_TASKGROUP: &str = "blocked-resident-taskgroup";
pub(crate) const RESIDENT_STD: &str = "blocked-resident-std";

/// Runs `task` in `TASKS` tasks and `body` beside them.
pub(crate) type Contender =
    fn(task: &(dyn Fn() + Sync), body: &mut dyn FnMut()) -> anyhow::Result<()>;

pub(crate) fn blocked(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let case = |which: &str| format!("{TASKS} tasks on one barrier, {which}");
    let table =
        |report: &mut Report, which: &str, unit: &str, contestants: [Contestant<'_>; 2], rounds| {
            report.table(
                &Title {
                    row: "blocked",
                    case: &case(which),
                    unit,
                },
                contestants.into(),
                rounds,
            )
        };

    let cold = [
        Contestant::new("taskgroup", || process::in_child(COLD_TASKGROUP)),
        Contestant::new("std::thread::scope", || process::in_child(COLD_STD))
            .goal(Goal::Ratio(1.0)),
    ];
    table(
        report,
        "first run of a process",
        "ms",
        cold,
        effort.cold_rounds(9),
    )?;

    let warm = [
        Contestant::new("taskgroup", || to_the_barrier(taskgroup)),
        Contestant::new("std::thread::scope", || {
            process::until_threads_exit(|| to_the_barrier(std))
        })
        .goal(Goal::Ratio(1.0)),
    ];
    table(report, "later runs", "ms", warm, effort.rounds(9))?;

    if process::has_proc() {
        let resident = [
            Contestant::new("taskgroup", || process::in_child(RESIDENT_TASKGROUP)),
            Contestant::new("std::thread::scope", || process::in_child(RESIDENT_STD))
                .goal(Goal::Ratio(1.0)),
        ];
        table(
            report,
            "resident memory",
            "KiB per task",
            resident,
            effort.cold_rounds(9),
        )?;
    }
    Ok(())
}

pub(crate) fn taskgroup(task: &(dyn Fn() + Sync), body: &mut dyn FnMut()) -> anyhow::Result<()> {
    TaskGroup::scope(|g| {
        for _ in 0..TASKS {
            g.spawn(|| {
                task();
                Ok(())
            });
        }
        body();
        Ok(())
    })?;
    Ok(())
}

pub(crate) fn std(task: &(dyn Fn() + Sync), body: &mut dyn FnMut()) -> anyhow::Result<()> {
    thread::scope(|s| {
        for _ in 0..TASKS {
            s.spawn(task);
        }
        body();
    });
    Ok(())
}

/// Returns the milliseconds for a whole scope in which tasks and body meet at one barrier.
pub(crate) fn to_the_barrier(contender: Contender) -> anyhow::Result<f64> {
    let barrier = Barrier::new(TASKS + 1);
    let meet = || {
        barrier.wait();
    };
    let started = Instant::now();
    contender(&meet, &mut { meet })?;
    Ok(millis(started.elapsed()))
}

/// Returns the KiB that became resident for each task, read while all tasks are blocked.
pub(crate) fn resident_per_task(contender: Contender) -> anyhow::Result<f64> {
    let barrier = Barrier::new(TASKS + 1);
    let arrived = AtomicUsize::new(0);
    let before = process::resident_kib()?;
    let mut blocked = None;
    let task = || {
        arrived.fetch_add(1, Ordering::Relaxed);
        barrier.wait();
    };
    let mut body = || {
        while arrived.load(Ordering::Relaxed) < TASKS {
            thread::sleep(Duration::from_millis(1));
        }
        // The last tasks have counted down and still have to fall asleep.
        thread::sleep(Duration::from_millis(50));
        blocked = Some(process::resident_kib());
        barrier.wait();
    };
    contender(&task, &mut body)?;
    let blocked = blocked.expect("the body has run")?;
    Ok((blocked - before) / TASKS as f64)
}
