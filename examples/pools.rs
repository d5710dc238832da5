//! RC4 and SHA-256 by one worker and by more: work that only computes, n times as fast on n cores,
//! and that ends when one task fails.
//!
//! ```text
//! cargo run --release --example pools [-- --workers N --rounds N]
//! ```
//!
//! A dozen arrays of 149 to 384 KB are encrypted and decrypted, and a dozen of 1 MB are hashed. The
//! tasks borrow them: nothing is copied to another process, and no interpreter makes them take
//! turns. Look at the last column. In the third part the work would never end, but one of the
//! arrays is decrypted with a wrong key: look how the tasks at work end, and the queued ones.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Parser, builder::RangedU64ValueParser};
use sha2::{Digest, Sha256};
use taskgroup::{CancellableExt, GroupError, TaskGroup, sync::Latch};
use taskgroup_examples::{left_behind, println, rc4};

const JOBS: usize = 12;
const KEY: &[u8] = b"a key of no importance";

#[derive(Parser)]
struct Options {
    /// The largest number of workers [default: one for each core, but 2 to 12].
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..=JOBS as u64))]
    workers: Option<usize>,
    /// How many times each array is worked through.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

fn main() -> anyhow::Result<()> {
    let Options { workers, rounds } = Options::parse();
    let workers = workers.unwrap_or(thread::available_parallelism()?.get().clamp(2, JOBS));

    // The largest first, so that no long job is left for the end.
    let texts: Vec<_> = (7..=18)
        .rev()
        .map(|twelfths| noise(twelfths * (1 << 18) / JOBS))
        .collect();
    table("RC4, 12 arrays of 149 to 384 KB", &texts, workers, |text| {
        for round in (0..rounds).cancellable() {
            round?;
            check(KEY, text)?;
        }
        Ok(())
    })?;

    let blocks = vec![noise(1 << 20); JOBS];
    let expected = Sha256::digest(&blocks[0]);
    table("SHA-256, 12 arrays of 1 MB", &blocks, workers, |text| {
        for round in (0..rounds).cancellable() {
            round?;
            ensure!(
                Sha256::digest(text) == expected,
                "two digests of the same text"
            );
        }
        Ok(())
    })?;

    println!("RC4 without an end, {workers} at once, and one with a wrong key");
    wrong_key(&texts, workers)?;
    println!("threads left: {}", left_behind());
    Ok(())
}

fn table(
    title: &str,
    texts: &[Vec<u8>],
    workers: usize,
    work: impl Fn(&[u8]) -> anyhow::Result<()> + Sync,
) -> Result<(), GroupError> {
    println!("{title}");
    let mut alone = Duration::ZERO;
    for workers in 1..=workers {
        let start = Instant::now();
        TaskGroup::builder().limit(workers).scope(|g| {
            for text in texts {
                g.task()
                    .name(format!("{} KB", text.len() >> 10))
                    .spawn(|| work(text));
            }
            Ok(())
        })?;
        let took = start.elapsed();
        if workers == 1 {
            alone = took;
        }
        println!(
            "{workers:>4} at once {:>8.3} s {:>6.2} x",
            took.as_secs_f64(),
            alone.as_secs_f64() / took.as_secs_f64()
        );
    }
    Ok(())
}

/// Fails the first job as soon as the limit allows no further job beside it.
fn wrong_key(texts: &[Vec<u8>], workers: usize) -> anyhow::Result<()> {
    let (begun, failed) = (&Latch::new(workers), &OnceLock::new());
    let report = TaskGroup::builder().name("RC4").limit(workers).scope(|g| {
        for (job, text) in texts.iter().enumerate() {
            let name = format!("{} KB", text.len() >> 10);
            let task = g
                .task()
                .name(name.clone())
                .spawn(move || -> anyhow::Result<()> {
                    begun.count_down();
                    if job == 0 {
                        begun.wait()?;
                        return check(b"a wrong key", text)
                            .inspect_err(|_| _ = failed.set(Instant::now()));
                    }
                    loop {
                        taskgroup::checkpoint()?;
                        check(KEY, text)?;
                    }
                });
            task.on_finished(move |status| println!("{name:>8}: {status:?}"));
        }
        Ok(())
    });

    let over = failed
        .get()
        .context("nothing was decrypted with a wrong key")?
        .elapsed();
    println!(
        "{:#}\nall over {over:.1?} after the failure",
        report.err().context("a wrong key did as well")?
    );
    Ok(())
}

/// Encrypts a text, and decrypts it with this key.
fn check(key: &[u8], text: &[u8]) -> anyhow::Result<()> {
    ensure!(
        rc4(key, &rc4(KEY, text)) == text,
        "decrypted to something else"
    );
    Ok(())
}

/// Bytes without a pattern, always the same.
fn noise(length: usize) -> Vec<u8> {
    rc4(b"noise", &vec![0; length])
}
