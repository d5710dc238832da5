//! A spinner beside a computation: a daemon, which the program need not stop.
//!
//! ```text
//! cargo run --release --example spinner [-- NUMBER...]
//! ```
//!
//! Look at the line of the spinner, which is clean before a result is printed, and how soon after
//! the result it was gone. The second number is no prime, which is an error here. The spinner stops
//! then too; a thread that waits for its flag would spin for ever.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use taskgroup::TaskGroup;
use taskgroup_examples::{left_behind, println};

#[derive(Parser)]
struct Options {
    /// Numbers that may be prime. The default numbers take a second or more each: a prime, and the
    /// square of a prime.
    #[arg(
        default_values_t = [999_999_999_999_999_989, 999_999_874_000_003_969],
        value_parser = clap::value_parser!(u64).range(2..1 << 62),
    )]
    numbers: Vec<u64>,
}

fn main() {
    for number in Options::parse().numbers {
        let proved = TaskGroup::scope(|g| {
            g.task()
                .name("spinner")
                .spawn_daemon(|| Ok(spin("thinking")?));
            prove_prime(number)?;
            Ok(Instant::now())
        });
        match proved {
            Ok(at) => println!(
                "{number} is a prime; the spinner stopped within {:.1?}",
                at.elapsed()
            ),
            Err(error) => println!("{error:#}"),
        }
    }
    println!("threads left: {}", left_behind());
}

fn spin(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    let may_go_on = |_: &char| taskgroup::sleep(Duration::from_millis(100)).is_ok();
    for frame in r"|/-\".chars().cycle().take_while(may_go_on) {
        write!(out, "\r{frame} {text}")?;
        out.flush()?;
    }
    write!(out, "\r{:width$}\r", "", width = text.len() + 2)?;
    out.flush()
}

fn prove_prime(number: u64) -> anyhow::Result<()> {
    for factor in (2..).take_while(|factor| factor * factor <= number) {
        ensure!(number % factor != 0, "{number} is divisible by {factor}");
    }
    Ok(())
}
