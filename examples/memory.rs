//! The cost of a blocked task: resident memory and the time to cancel, for 1 task to 10 000, beside
//! threads of std.
//!
//! ```text
//! cargo run --release --example memory [-- --counts 1,10,100 --svg PATH]
//! ```
//!
//! This program measures each figure in a process of its own, where so many tasks sleep for ever.
//! The bytes are the stacks and the heap of the process (`Anonymous` in `/proc/self/smaps_rollup`,
//! on Linux), divided by the number of tasks. The kernel's memory for a thread is not included. The
//! time is from the failure of one more task, which the report names, to the end of the last task.
//! For threads it is from the opening of the lock that all of them wait for, which is cheaper than
//! to wake them one by one. Look at the plot, which is written beside the executable: most of a
//! task's price is its thread.

use std::sync::{OnceLock, RwLock};
use std::time::{Duration, Instant};
use std::{env, path::PathBuf, thread};

use anyhow::{Context, bail, ensure};
use clap::{Parser, builder::RangedU64ValueParser};
use taskgroup::process::Command;
use taskgroup::{GroupError, TaskGroup};
use taskgroup_examples::{LogChart, println, resident, save_svg, settled};

#[derive(Parser)]
struct Options {
    /// How many tasks block at once.
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = [1, 10, 100, 1_000, 10_000],
        value_parser = RangedU64ValueParser::<usize>::new().range(1..),
    )]
    counts: Vec<usize>,
    /// The file for the plot [default: beside the executable].
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Measures the first of the counts in this process.
    #[arg(long, hide = true, value_parser = ["tasks", "threads"])]
    measure: Option<String>,
}

/// The bytes for each, the time to cancel all, and the report.
type Figures = (f64, Duration, String);

/// A count, and the figures for so many tasks and threads.
type Row = (usize, Figures, Figures);

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(kind) = options.measure {
        let count = options.counts[0];
        let (bytes, cancel, report) = match &*kind {
            "tasks" => block_tasks(count)?,
            _ => block_threads(count)?,
        };
        println!("{bytes} {}\n{report}", cancel.as_nanos());
        return Ok(());
    }

    let rows = table(&options.counts)?;
    println!("the cause, here of the first cancel:\n{}", rows[0].1.2);
    let beside = || env::current_exe().map(|path| path.with_extension("svg"));
    let path = options.svg.map_or_else(beside, Ok)?;
    let line = |value: &dyn Fn(&Row) -> f64| {
        let point = |row: &Row| (row.0 as f64, value(row));
        rows.iter().map(point).collect()
    };

    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let charts = [
        (
            "resident bytes for each",
            line(&|row| row.1.0),
            line(&|row| row.2.0),
        ),
        (
            "cancel all, ms",
            line(&|row| ms(row.1.1)),
            line(&|row| ms(row.2.1)),
        ),
    ];

    let charts = charts.map(|(title, tasks, threads)| LogChart {
        title,
        x: "blocked at once",
        lines: vec![("taskgroup", tasks), ("std::thread", threads)],
    });

    save_svg(&charts, &path)?;
    println!("plot: {}", path.display());
    Ok(())
}

fn table(counts: &[usize]) -> anyhow::Result<Vec<Row>> {
    println!("{:>8}{:>28}{:>28}", "", "taskgroup", "std::thread");
    println!(" blocked    bytes each        cancel    bytes each        cancel");
    let row = |&n| {
        let (a, b) = (measure("tasks", n)?, measure("threads", n)?);
        println!(
            "{n:>8}{:>14.0}{:>14.1?}{:>14.0}{:>14.1?}",
            a.0, a.1, b.0, b.1
        );
        Ok((n, a, b))
    };
    counts.iter().map(row).collect()
}

fn block_tasks(count: usize) -> anyhow::Result<Figures> {
    let (before, failed) = (resident()?, OnceLock::new());
    let mut bytes = 0;
    let outcome = TaskGroup::builder().name("blocked").scope(|g| {
        for _ in 0..count {
            g.spawn(|| Ok(taskgroup::sleep(Duration::MAX)?));
        }
        bytes = settled(count)?.saturating_sub(before);
        g.task().name("one more").spawn(|| fail(&failed));
        Ok(())
    });
    figures(bytes, count, failed.get(), outcome.err())
}

/// Threads cannot be told to stop. Each waits for something that can be made to happen.
fn block_threads(count: usize) -> anyhow::Result<Figures> {
    let (before, gate) = (resident()?, RwLock::new(()));
    let closed = gate.write();
    let (bytes, opened) = thread::scope(|s| {
        for _ in 0..count {
            s.spawn(|| drop(gate.read()));
        }
        let (bytes, opened) = (settled(count)?.saturating_sub(before), Instant::now());
        drop(closed);
        anyhow::Ok((bytes, opened))
    })?;
    figures(bytes, count, Some(&opened), None)
}

/// Fails, and notes when.
fn fail(failed: &OnceLock<Instant>) -> anyhow::Result<()> {
    failed.get_or_init(Instant::now);
    bail!("this one cannot sleep")
}

/// Returns the figures from the bytes of all and from the beginning of the cancel.
fn figures(
    bytes: usize,
    count: usize,
    cancelled: Option<&Instant>,
    outcome: Option<GroupError>,
) -> anyhow::Result<Figures> {
    let cancel = cancelled.context("nothing has failed")?.elapsed();
    let report = outcome.map_or_else(String::new, |report| format!("{report:#}"));
    Ok((bytes as f64 / count as f64, cancel, report))
}

/// Returns the figures from a new process.
fn measure(kind: &str, count: usize) -> anyhow::Result<Figures> {
    let output = Command::new(env::current_exe()?)
        .args(["--measure", kind, "--counts", &count.to_string()])
        .output()?;
    let (status, errors) = (output.status, String::from_utf8_lossy(&output.stderr));
    ensure!(status.success(), "{count} {kind}: {status}\n{errors}");
    let text = String::from_utf8(output.stdout)?;
    let (figures, report) = text.split_once('\n').context("no line")?;
    let (bytes, nanos) = figures.split_once(' ').context("not two figures")?;
    let cancel = Duration::from_nanos(nanos.parse()?);
    Ok((bytes.parse()?, cancel, report.trim_end().to_owned()))
}
