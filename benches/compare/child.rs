//! Child processes: one after the other, and many short ones eight at a time.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, ensure};
use taskgroup::TaskGroup;
use taskgroup::process::Command;

use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, millis, repeated};

/// The shortest job.
const TRUE: &str = "/bin/true";
const JOBS: usize = 400;

pub(crate) fn child(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let mut ours = repeated(1, || {
        ensure!(Command::new(TRUE).status()?.success());
        Ok(())
    });
    let mut std = repeated(1, || {
        ensure!(std::process::Command::new(TRUE).status()?.success());
        Ok(())
    });
    let one = vec![
        Contestant::new("taskgroup", || Ok(TaskGroup::scope(|_| ours())? / 1e3)),
        Contestant::new("std", || Ok(std()? / 1e3)).goal(Goal::Ratio(1.05)),
    ];
    let title = Title {
        row: "child",
        case: "spawn, wait for and reap one child",
        unit: "us",
    };
    report.table(&title, one, effort.rounds(61))?;

    let many = vec![
        Contestant::new("taskgroup, limit(8)", jobs),
        Contestant::new("xargs -P 8", xargs).goal(Goal::Ratio(1.0)),
    ];
    let title = Title {
        row: "child",
        case: "400 short jobs, 8 at once",
        unit: "ms",
    };
    report.table(&title, many, effort.rounds(15))
}

fn jobs() -> anyhow::Result<f64> {
    let started = Instant::now();
    TaskGroup::builder().limit(8).scope(|g| {
        for job in 0..JOBS {
            g.spawn(move || {
                let status = Command::new(TRUE).arg(job.to_string()).status()?;
                ensure!(status.success());
                Ok(())
            });
        }
        Ok(())
    })?;
    Ok(millis(started.elapsed()))
}

fn xargs() -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut xargs = std::process::Command::new("xargs")
        .args(["-n", "1", "-P", "8", TRUE])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = xargs.stdin.take().context("it was piped")?;
    for job in 0..JOBS {
        std::io::Write::write_all(&mut input, format!("{job}\n").as_bytes())?;
    }
    drop(input);
    ensure!(xargs.wait()?.success());
    Ok(millis(started.elapsed()))
}
