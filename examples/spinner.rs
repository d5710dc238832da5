//! A spinner beside a computation: a daemon, which nobody has to stop.
//!
//! ```text
//! cargo run --release --example spinner [-- NUMBER]
//! ```
//!
//! See that the line of the spinner is clean before the answer is printed, and how soon after the answer that was. The second computation
//! fails: the spinner stops then too, where a thread that waits for a flag would spin for ever.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Parser;
use taskgroup::{GroupError, TaskGroup};
use taskgroup_examples::left_behind;

#[derive(Parser)]
struct Options {
    /// What to find the smallest factor of. The default, a prime, takes some seconds.
    #[arg(default_value_t = 999_999_999_999_999_989)]
    number: u64,
}

fn main() -> anyhow::Result<()> {
    let number = Options::parse().number;
    let (factor, stopped) = beside_spinner("thinking", || smallest_factor(number))?;
    println!("the smallest factor of {number} is {factor}; the spinner stopped within {stopped:.1?}");
    if let Err(error) = beside_spinner("thinking again", || smallest_factor(number).and_then(|_| smallest_factor(1))) {
        println!("{error:#}");
    }
    println!("threads left: {}", left_behind());
    Ok(())
}

/// The value of `compute`, and how long after it the spinner was gone.
fn beside_spinner<T>(text: &str, compute: impl FnOnce() -> anyhow::Result<T>) -> Result<(T, Duration), GroupError> {
    let (value, computed) = TaskGroup::scope(|g| {
        g.task().name("spinner").spawn_daemon(|| Ok(spin(text)?));
        Ok((compute()?, Instant::now()))
    })?;
    Ok((value, computed.elapsed()))
}

fn spin(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    for frame in r"|/-\".chars().cycle() {
        write!(out, "\r{frame} {text}")?;
        out.flush()?;
        if taskgroup::sleep(Duration::from_millis(100)).is_err() {
            break;
        }
    }
    write!(out, "\r{:width$}\r", "", width = text.len() + 2)?;
    out.flush()
}

fn smallest_factor(number: u64) -> anyhow::Result<u64> {
    ensure!(number > 1, "{number} has no factors");
    let small = [2].into_iter().chain((3..).step_by(2)).take_while(|factor| factor * factor <= number);
    Ok(small.into_iter().find(|factor| number % factor == 0).unwrap_or(number))
}
