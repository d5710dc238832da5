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
//! For threads it is from setting a flag, with a wake and a join for each. Look at the plot, which
//! is written beside the executable: most of a task's price is its thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, path::PathBuf, process::Command, thread};

use anyhow::{Context, anyhow, ensure};
use clap::{Parser, builder::RangedU64ValueParser};
use taskgroup::{TaskGroup, sync::Latch};
use taskgroup_examples::{LogChart, println, resident, save_svg, settled};

#[derive(Parser)]
struct Options {
    /// How many tasks block at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000, 10_000], value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    counts: Vec<usize>,
    /// The file for the plot [default: beside the executable].
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Measures the first of the counts in this process.
    #[arg(long, hide = true, value_parser = ["tasks", "threads"])]
    measure: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(kind) = options.measure {
        return measure_here(&kind, options.counts[0]);
    }
    println!("{:>8}{:>28}{:>28}", "", "taskgroup", "std::thread");
    println!(
        "{:>8}{:>14}{:>14}{:>14}{:>14}",
        "blocked", "bytes each", "cancel", "bytes each", "cancel"
    );
    let (mut lines, mut reports) = ([(); 4].map(|()| Vec::new()), Vec::new());
    for &count in &options.counts {
        let (tasks, threads) = (measure("tasks", count)?, measure("threads", count)?);
        println!(
            "{count:>8}{:>14.0}{:>14.1?}{:>14.0}{:>14.1?}",
            tasks.0, tasks.1, threads.0, threads.1
        );
        let values = [
            tasks.0,
            threads.0,
            tasks.1.as_secs_f64() * 1e3,
            threads.1.as_secs_f64() * 1e3,
        ];
        lines
            .iter_mut()
            .zip(values)
            .for_each(|(line, value)| line.push((count as f64, value)));
        reports.push(tasks.2);
    }
    println!("the cause, here of the first cancel:\n{}", reports[0]);
    let path = options.svg.map_or_else(
        || env::current_exe().map(|path| path.with_extension("svg")),
        Ok,
    )?;
    let [bytes, thread_bytes, cancel, thread_cancel] = lines;
    let charts = [
        ("resident bytes for each", bytes, thread_bytes),
        ("cancel all, ms", cancel, thread_cancel),
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

fn measure_here(kind: &str, count: usize) -> anyhow::Result<()> {
    // The end of the program, even by a kill, ends this process too.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let (bytes, cancel, report) = match kind {
        "tasks" => block_tasks(count)?,
        _ => block_threads(count)?,
    };
    println!("{bytes} {}\n{report}", cancel.as_nanos());
    Ok(())
}

/// Returns the bytes for each, the time to cancel all, and the report, from a new process.
fn measure(kind: &str, count: usize) -> anyhow::Result<(f64, Duration, String)> {
    let output = Command::new(env::current_exe()?)
        .args(["--measure", kind, "--counts", &count.to_string()])
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{count} {kind}: {}\n{errors}",
        output.status
    );
    let text = String::from_utf8(output.stdout)?;
    let (figures, report) = text.split_once('\n').context("no line")?;
    let (bytes, nanos) = figures
        .split_once(' ')
        .with_context(|| format!("not two figures: {figures:?}"))?;
    Ok((
        bytes.parse::<f64>()? / count as f64,
        Duration::from_nanos(nanos.parse()?),
        report.trim_end().to_owned(),
    ))
}

fn block_tasks(count: usize) -> anyhow::Result<(usize, Duration, String)> {
    let before = resident()?;
    let (blocked, stopped, failed) = (Latch::new(count), AtomicUsize::new(0), OnceLock::new());
    let mut bytes = 0;
    let outcome = TaskGroup::builder().name("blocked").scope(|g| {
        for _ in 0..count {
            g.spawn(|| {
                blocked.count_down();
                taskgroup::sleep(Duration::MAX)
                    .inspect_err(|_| _ = stopped.fetch_add(1, Relaxed))?;
                Ok(())
            });
        }
        blocked.wait()?;
        bytes = settled()?.saturating_sub(before);
        g.task().name("one more").spawn(|| {
            failed.get_or_init(Instant::now);
            Err::<(), _>(anyhow!("this one cannot sleep"))
        });
        Ok(())
    });
    let over = Instant::now();
    let report = outcome.err().context("a failure was lost")?;
    let Some(failed) = failed.get() else {
        return Err(report.into());
    };
    ensure!(stopped.into_inner() == count, "some tasks did not stop");
    Ok((bytes, over - *failed, format!("{report:#}")))
}

/// Threads can neither borrow nor be told to stop: if one cannot be started, only the end of the
/// process ends the others.
fn block_threads(count: usize) -> anyhow::Result<(usize, Duration, String)> {
    static STOP: AtomicBool = AtomicBool::new(false);
    let before = resident()?;
    let blocked: &Latch = Box::leak(Box::new(Latch::new(count)));
    let block = || {
        blocked.count_down();
        while !STOP.load(Relaxed) {
            thread::park();
        }
    };
    let threads: Vec<_> = (0..count).map(|_| thread::spawn(block)).collect();
    blocked.wait()?;
    let bytes = settled()?.saturating_sub(before);
    let cancel = Instant::now();
    STOP.store(true, Relaxed);
    threads.iter().for_each(|thread| thread.thread().unpark());
    for thread in threads {
        thread.join().ok().context("a thread panicked")?;
    }
    Ok((bytes, cancel.elapsed(), String::new()))
}
