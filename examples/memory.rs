//! What a blocked task costs: resident memory and the time to cancel, for 1 task to 10 000, beside threads of std.
//!
//! ```text
//! cargo run --release --example memory [-- --counts 1,10,100 --svg PATH]
//! ```
//!
//! Each figure is measured by this program in a process of its own, where so many tasks sleep for ever. The bytes are those of stacks and
//! heap that the process uses (`Anonymous` in `/proc/self/smaps_rollup`: this is for Linux), shared out among the tasks; what the kernel keeps
//! for a thread is not in them. The time is from the cancel until the last has ended; for threads, from setting a flag, with a wake and a join
//! for each. See the plot, which is written beside the executable: how much of a task's price is its thread's.

use std::{
    env,
    path::PathBuf,
    process::Command,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        Arc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{ensure, Context};
use clap::{builder::RangedU64ValueParser, Parser, ValueEnum};
use taskgroup::{sync::Latch, TaskGroup};
use taskgroup_examples::{resident, save_svg, settled, LogChart};

#[derive(Parser)]
struct Options {
    /// How many tasks block at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000, 10_000], value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    counts: Vec<usize>,
    /// Where the plot goes [default: beside the executable].
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Measures the first of the counts in this process.
    #[arg(long, hide = true)]
    measure: Option<Kind>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Tasks,
    Threads,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(kind) = options.measure {
        // Who ends the program ends the measurement.
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        let (bytes, cancel) = match kind {
            Kind::Tasks => block_tasks(options.counts[0])?,
            Kind::Threads => block_threads(options.counts[0])?,
        };
        println!("{bytes} {}", cancel.as_nanos());
        return Ok(());
    }
    println!("{:>8}{:>28}{:>28}", "", "taskgroup", "std::thread");
    println!("{:>8}{:>14}{:>14}{:>14}{:>14}", "blocked", "bytes each", "cancel", "bytes each", "cancel");
    let mut lines = [(); 4].map(|()| Vec::new());
    for &count in &options.counts {
        let (tasks, threads) = (measure(Kind::Tasks, count)?, measure(Kind::Threads, count)?);
        println!("{count:>8}{:>14.0}{:>14.1?}{:>14.0}{:>14.1?}", tasks.0, tasks.1, threads.0, threads.1);
        let values = [tasks.0, threads.0, tasks.1.as_secs_f64() * 1e3, threads.1.as_secs_f64() * 1e3];
        lines.iter_mut().zip(values).for_each(|(line, value)| line.push((count as f64, value)));
    }
    let path = options.svg.map_or_else(|| env::current_exe().map(|path| path.with_extension("svg")), Ok)?;
    let [bytes, thread_bytes, cancel, thread_cancel] = lines;
    let chart = |title: &str, tasks, threads| LogChart {
        title: title.into(),
        x: "blocked at once".into(),
        lines: vec![("taskgroup".into(), tasks), ("std::thread".into(), threads)],
    };
    save_svg(&[chart("resident bytes for each", bytes, thread_bytes), chart("cancel all, ms", cancel, thread_cancel)], &path)?;
    println!("plot: {}", path.display());
    Ok(())
}

/// Bytes for each and the time to cancel all, from a fresh process.
fn measure(kind: Kind, count: usize) -> anyhow::Result<(f64, Duration)> {
    let name = kind.to_possible_value().context("no name")?;
    let output =
        Command::new(env::current_exe()?).args(["--measure", name.get_name(), "--counts", &count.to_string()]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{count} {}: {}\n{errors}", name.get_name(), output.status);
    let text = String::from_utf8(output.stdout)?;
    let (bytes, nanos) = text.trim().split_once(' ').with_context(|| format!("not two figures: {text:?}"))?;
    Ok((bytes.parse::<f64>()? / count as f64, Duration::from_nanos(nanos.parse()?)))
}

fn block_tasks(count: usize) -> anyhow::Result<(usize, Duration)> {
    let before = resident()?;
    let (blocked, stopped) = (Latch::new(count), AtomicUsize::new(0));
    let (bytes, cancel) = TaskGroup::scope(|g| {
        for _ in 0..count {
            g.spawn(|| {
                blocked.count_down();
                taskgroup::sleep(Duration::MAX).inspect_err(|_| _ = stopped.fetch_add(1, Ordering::Relaxed))?;
                Ok(())
            });
        }
        blocked.wait()?;
        let bytes = settled()?.saturating_sub(before);
        let cancel = Instant::now();
        g.cancel();
        Ok((bytes, cancel))
    })?;
    let took = cancel.elapsed();
    ensure!(stopped.into_inner() == count, "some tasks did not stop");
    Ok((bytes, took))
}

/// Threads can neither borrow nor be told to stop: if one cannot be started, only the end of the process ends the others.
fn block_threads(count: usize) -> anyhow::Result<(usize, Duration)> {
    let before = resident()?;
    let (blocked, stop) = (Arc::new(Latch::new(count)), Arc::new(AtomicBool::new(false)));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let (blocked, stop) = (blocked.clone(), stop.clone());
            thread::spawn(move || {
                blocked.count_down();
                while !stop.load(Ordering::Relaxed) {
                    thread::park();
                }
            })
        })
        .collect();
    blocked.wait()?;
    let bytes = settled()?.saturating_sub(before);
    let cancel = Instant::now();
    stop.store(true, Ordering::Relaxed);
    threads.iter().for_each(|thread| thread.thread().unpark());
    for thread in threads {
        thread.join().ok().context("a thread panicked")?;
    }
    Ok((bytes, cancel.elapsed()))
}
