//! Heartbeats beside a busy counter: naive, with a lock, and to the second.
//!
//! One side adds one to each of 100 000 numbers, round after round; the other looks once a second whether all are equal.
//!
//! ```text
//! cargo run --release --example heartbeat [-- --beats N --second-ms N]
//! ```
//!
//! See how far each beat is from its second. The naive heart looks in the middle of a round. With a lock the numbers agree, but each beat
//! waits for a counter that takes the lock again at once, and the next comes a second after *that*. A mutex that is handed over to
//! whoever has waited keeps the beats of a heart that sleeps *until* its second close to theirs; the counter is a daemon, and ends with the
//! last of them.

use std::{
    sync::{
        self,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use taskgroup::{sync::Mutex, GroupError, TaskGroup};
use taskgroup_examples::left_behind;

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

fn main() -> anyhow::Result<()> {
    let Options { beats, second_ms } = Options::parse();
    for (title, run) in [("naive", naive as fn(&mut Heart) -> _), ("with a lock", with_lock), ("as a task", as_task)] {
        println!("{title}");
        let second = Duration::from_millis(second_ms);
        let mut heart = Heart { start: Instant::now(), second, beats, felt: 0, latest: Duration::ZERO };
        run(&mut heart)?;
        println!("  at most {:.2?} late", heart.latest);
    }
    println!("threads left: {}", left_behind());
    Ok(())
}

fn naive(heart: &mut Heart) -> Result<(), GroupError> {
    let numbers: Vec<_> = (0..NUMBERS).map(|_| AtomicU64::new(0)).collect();
    let end = heart.end();
    // A second more than the heart, so that its last beat is not alone.
    let counted = end + heart.second;
    thread::scope(|s| {
        s.spawn(|| {
            while Instant::now() < counted {
                numbers.iter().for_each(|number| _ = number.fetch_add(1, Relaxed));
            }
        });
        while Instant::now() < end {
            thread::sleep(heart.second);
            // Backwards, so that it meets the counter wherever that is.
            heart.beat(range(numbers.iter().rev().map(|number| number.load(Relaxed))));
        }
    });
    Ok(())
}

fn with_lock(heart: &mut Heart) -> Result<(), GroupError> {
    let numbers = sync::Mutex::new(vec![0; NUMBERS]);
    let end = heart.end();
    let counted = end + heart.second;
    thread::scope(|s| {
        s.spawn(|| {
            while Instant::now() < counted {
                numbers.lock().unwrap().iter_mut().for_each(|number| *number += 1);
            }
        });
        while Instant::now() < end {
            thread::sleep(heart.second);
            let range = range(numbers.lock().unwrap().iter().copied());
            heart.beat(range);
        }
    });
    Ok(())
}

fn as_task(heart: &mut Heart) -> Result<(), GroupError> {
    let numbers = Mutex::new(vec![0; NUMBERS]);
    TaskGroup::scope(|g| {
        g.task().name("counter").spawn_daemon(|| loop {
            numbers.lock()?.iter_mut().for_each(|number| *number += 1);
        });
        for beat in 1..=heart.beats {
            taskgroup::sleep_until(heart.start + heart.second * beat)?;
            let range = range(numbers.lock()?.iter().copied());
            heart.beat(range);
        }
        Ok(())
    })
}

/// The least and the greatest.
fn range(numbers: impl Iterator<Item = u64>) -> (u64, u64) {
    numbers.fold((u64::MAX, 0), |(least, greatest), number| (least.min(number), greatest.max(number)))
}

struct Heart {
    start: Instant,
    second: Duration,
    beats: u32,
    felt: u32,
    latest: Duration,
}

impl Heart {
    fn end(&self) -> Instant {
        self.start + self.second * self.beats
    }

    fn beat(&mut self, (least, greatest): (u64, u64)) {
        let at = self.start.elapsed();
        self.felt += 1;
        self.latest = self.latest.max(at.saturating_sub(self.second * self.felt));
        match least == greatest {
            true => println!("  +{:.2}  all are {least}", at.as_secs_f64()),
            false => println!("  +{:.2}  INCONSISTENT: {least} to {greatest}", at.as_secs_f64()),
        }
    }
}
