//! The check for a cancel that has not come: the price that a loop pays for being cancellable.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::ensure;
use taskgroup::TaskGroup;
use tokio_util::sync::CancellationToken;

use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, nanos};

const CALLS: u32 = 10_000_000;

pub(crate) fn check(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let flag = AtomicBool::new(false);
    let flag = black_box(&flag);
    let tokio = CancellationToken::new();
    let tokio = black_box(&tokio);
    let beside = |ours: Contestant<'static>| {
        vec![
            ours,
            Contestant::new("relaxed load of an AtomicBool", || {
                in_task(move || flag.load(Ordering::Relaxed))
            }),
            Contestant::new("tokio-util's is_cancelled", || {
                in_task(move || tokio.is_cancelled())
            }),
        ]
    };
    let mut table = |case, contestants| {
        report.table(
            &Title {
                row: "check",
                case,
                unit: "ns per call",
            },
            contestants,
            effort.rounds(9),
        )
    };
    let checkpoint = Contestant::new("taskgroup::checkpoint", || {
        in_task(|| taskgroup::checkpoint().is_err())
    });
    table(
        "checkpoint() in a task",
        beside(checkpoint.goal(Goal::Median(1.5))),
    )?;
    let token = Contestant::new("CancelToken::is_cancelled", of_token);
    table(
        "is_cancelled() of a token",
        beside(token.goal(Goal::Median(1.0))),
    )
}

/// Asks a token below a group's, since a token without a parent might be cheaper.
fn of_token() -> anyhow::Result<f64> {
    let took = TaskGroup::scope(|g| {
        let token = g.token().child();
        let token = black_box(&token);
        in_task(move || token.is_cancelled())
    })?;
    Ok(took)
}

fn in_task(ask: impl Fn() -> bool + Send) -> anyhow::Result<f64> {
    let took = TaskGroup::scope(|g| {
        let task = g.spawn(move || {
            let started = Instant::now();
            let cancelled = (0..CALLS).filter(|_| black_box(ask())).count();
            let took = started.elapsed();
            ensure!(
                cancelled == 0,
                "{cancelled} calls found a cancel that never was"
            );
            Ok(nanos(took) / f64::from(CALLS))
        });
        Ok(task.join()?)
    })?;
    Ok(took)
}
