//! Counting with several threads: wrong, with a lock, with a result for each thread, and in one
//! line.
//!
//! ```text
//! cargo run --release --example counter [-- --tasks N --count N]
//! ```
//!
//! Look at the increments that get lost in the first step. `counter += 1` itself does not compile:
//! to lose increments, a program has to read and write in two steps. In the last step the tasks
//! count for ever; one of them fails, and the others stop at their next lock.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use anyhow::bail;
use clap::Parser;
use taskgroup::{GroupError, TaskGroup, TaskHandle, sync::Mutex};
use taskgroup_examples::{left_behind, println};

/// Counts with several tasks.
#[derive(Parser)]
struct Options {
    /// How many tasks count
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u64).range(1..=1000),
    )]
    tasks: u64,
    /// How far each of them counts
    #[arg(
        long,
        value_name = "N",
        default_value_t = 500_000,
        value_parser = clap::value_parser!(u64).range(1..1 << 40),
    )]
    count: u64,
}

fn main() -> Result<(), GroupError> {
    let Options { tasks, count } = Options::parse();
    println!(
        "{tasks} tasks, each counts to {count}: {} in all",
        tasks * count
    );

    lose_increments(tasks, count)?;
    lock(tasks, count)?;

    let total = TaskGroup::scope(|g| {
        let handles: Vec<_> = (0..tasks).map(|_| g.spawn(|| count_to(count))).collect();
        let results = handles.into_iter().map(TaskHandle::join);
        Ok(results.sum::<Result<u64, _>>()?)
    })?;

    println!("a result of each: {total}");

    let totals = taskgroup::map(0..tasks, tasks as usize, |_| count_to(count))?;
    println!("in one line: {}", totals.iter().sum::<u64>());

    endless(tasks, count);
    Ok(())
}

fn lose_increments(tasks: u64, count: u64) -> Result<(), GroupError> {
    let counter = AtomicU64::new(0);
    TaskGroup::scope(|g| {
        for _ in 0..tasks {
            g.spawn(|| {
                for i in 0..count {
                    let read = counter.load(Relaxed);
                    if i % 1000 == 0 {
                        thread::yield_now();
                    }
                    counter.store(read + 1, Relaxed);
                }
                Ok(())
            });
        }
        Ok(())
    })?;

    let counted = counter.into_inner();
    let lost = tasks * count - counted;
    println!("read, then write: {counted}, {lost} lost");
    Ok(())
}

fn lock(tasks: u64, count: u64) -> Result<(), GroupError> {
    let counter = Mutex::new(0);
    TaskGroup::scope(|g| {
        for _ in 0..tasks {
            g.spawn(|| {
                for _ in 0..count {
                    *counter.lock()? += 1;
                }
                Ok(())
            });
        }
        Ok(())
    })?;

    println!("with a lock: {}", counter.into_inner());
    Ok(())
}

fn endless(tasks: u64, count: u64) {
    let counter = Mutex::new(0);
    let failed_at = OnceLock::new();
    let report = TaskGroup::builder().name("endless counters").scope(|g| {
        for n in 0..tasks {
            let (counter, failed_at) = (&counter, &failed_at);
            let task = g.task().name(format!("counter {n}"));
            task.spawn(move || -> anyhow::Result<()> {
                loop {
                    let mut counter = counter.lock()?;
                    *counter += 1;
                    if n == 0 && *counter >= count {
                        failed_at.get_or_init(Instant::now);
                        bail!("ran out of numbers");
                    }
                }
            });
        }
        Ok(())
    });

    println!("without an end, until one fails: {}", counter.into_inner());
    if let (Err(report), Some(failed_at)) = (report, failed_at.get()) {
        let after = failed_at.elapsed();
        println!("{report:#}\nall stopped after {after:.1?} more");
        println!("threads left: {}", left_behind());
    }
}

fn count_to(count: u64) -> anyhow::Result<u64> {
    let mut counter = 0;
    for _ in 0..count {
        counter += 1;
    }
    Ok(counter)
}
