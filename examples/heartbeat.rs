//! Heartbeats beside a busy counter: naive, with a lock, on the second, and with too many locks.
//!
//! One side adds one to each of 100 000 numbers, round after round; the other looks once a second
//! whether all are equal.
//!
//! ```text
//! cargo run --release --example heartbeat [-- --beats N --second-ms N]
//! ```
//!
//! Look how far each beat is from its second. The naive heart looks in the middle of a round. With
//! a lock the numbers agree, but each beat waits for a counter that takes the lock again at once,
//! and the next comes a second after *that*. A mutex that is handed over to a waiting thread, and a
//! heart that sleeps *until* its second, keep the beats close to their seconds. The counter is a
//! daemon, and ends with the last beat. In the last part each number has a lock of its own, but no
//! round has one: the heart fails, the counter stops at its next lock, and the report names the
//! failed task.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{sync, thread};

use anyhow::{Result, ensure};
use clap::Parser;
use taskgroup::{TaskGroup, sync::Mutex};
use taskgroup_examples::{left_behind, println};

const NUMBERS: usize = 100_000;

#[derive(Parser)]
struct Options {
    /// How many times to look.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    beats: u32,
    /// How long a second takes.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    second_ms: u64,
}

fn main() {
    let Options { beats, second_ms } = Options::parse();
    let parts = [
        ("naive", naive as fn(&mut Heart) -> _),
        ("with a lock", with_lock),
        ("as a task", as_task),
        ("with a lock for each number", with_many_locks),
    ];

    for (title, run) in parts {
        println!("{title}");
        let (start, second) = (Instant::now(), Duration::from_millis(second_ms));
        let mut heart = Heart {
            start,
            second,
            beats,
            felt: 0,
            latest: Duration::ZERO,
            last: start,
        };
        run(&mut heart);
        println!("  at most {:.2?} late", heart.latest);
    }
    println!("threads left: {}", left_behind());
}

fn naive(heart: &mut Heart) {
    let numbers: Vec<_> = (0..NUMBERS).map(|_| AtomicU64::new(0)).collect();
    let count = || {
        numbers
            .iter()
            .for_each(|number| _ = number.fetch_add(1, Relaxed))
    };

    // Backwards, so that it meets the counter wherever the counter is.
    beside_thread(heart, count, || {
        range(numbers.iter().rev().map(|number| number.load(Relaxed)))
    });
}

fn with_lock(heart: &mut Heart) {
    let numbers = sync::Mutex::new(vec![0; NUMBERS]);
    let count = || {
        numbers
            .lock()
            .unwrap()
            .iter_mut()
            .for_each(|number| *number += 1)
    };
    beside_thread(heart, count, || {
        range(numbers.lock().unwrap().iter().copied())
    });
}

/// Beats, and sleeps for a second after each beat.
fn beside_thread(heart: &mut Heart, count: impl Fn() + Sync, look: impl Fn() -> (u64, u64)) {
    let end = heart.start + heart.second * heart.beats;

    // A second more than the heart, so that its last beat is not alone.
    let counted = end + heart.second;
    thread::scope(|s| {
        s.spawn(|| {
            while Instant::now() < counted {
                count()
            }
        });
        while Instant::now() < end {
            thread::sleep(heart.second);
            let _ = heart.beat(look());
        }
    });
}

fn as_task(heart: &mut Heart) {
    let numbers = Mutex::new(vec![0; NUMBERS]);
    let count = || loop {
        numbers.lock()?.iter_mut().for_each(|number| *number += 1);
    };
    beside_task(heart, count, || Ok(range(numbers.lock()?.iter().copied())));
}

fn with_many_locks(heart: &mut Heart) {
    let numbers: Vec<_> = (0..NUMBERS).map(|_| Mutex::new(0)).collect();
    let count = || loop {
        numbers
            .iter()
            .try_for_each(|number| number.lock().map(|mut number| *number += 1))?;
    };

    let look = || {
        numbers
            .iter()
            .rev()
            .map(|number| Ok(*number.lock()?))
            .collect::<Result<Vec<_>>>()
    };
    beside_task(heart, count, || Ok(range(look()?.into_iter())));
}

/// Beats on each second.
fn beside_task(
    heart: &mut Heart,
    count: impl FnOnce() -> Result<()> + Send,
    look: impl Fn() -> Result<(u64, u64)> + Sync,
) {
    let outcome = TaskGroup::builder().name("numbers").scope(|g| {
        g.task().name("counter").spawn_daemon(count);
        g.task().name("heart").spawn(|| {
            for beat in 1..=heart.beats {
                taskgroup::sleep_until(heart.start + heart.second * beat)?;
                heart.beat(look()?)?;
            }
            Ok(())
        });
        Ok(())
    });

    if let Err(report) = outcome {
        println!(
            "{report:#}\n  the counter stopped within {:.1?} of the heart",
            heart.last.elapsed()
        );
    }
}

/// Returns the least and the greatest number.
fn range(numbers: impl Iterator<Item = u64>) -> (u64, u64) {
    numbers.fold((u64::MAX, 0), |(least, greatest), number| {
        (least.min(number), greatest.max(number))
    })
}

struct Heart {
    start: Instant,
    second: Duration,
    beats: u32,
    felt: u32,
    latest: Duration,
    last: Instant,
}

impl Heart {
    fn beat(&mut self, (least, greatest): (u64, u64)) -> Result<()> {
        let at = self.start.elapsed();
        self.felt += 1;
        self.latest = self.latest.max(at.saturating_sub(self.second * self.felt));
        let equal = least == greatest;
        let seen = if equal {
            format!("all are {least}")
        } else {
            format!("INCONSISTENT: {least} to {greatest}")
        };

        println!("  +{:.2}  {seen}", at.as_secs_f64());
        self.last = Instant::now();
        ensure!(equal, seen);
        Ok(())
    }
}
