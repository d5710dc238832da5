//! Twenty flags, three ways: one after the other, with `std::thread::scope`, and with a task group.
//!
//! A server inside this program takes its time over every flag. In the second part it fails for one
//! country and serves the others very slowly. Here a task group differs from threads: look how soon
//! the scope returns, and at the error. `src/fetch.rs` shows how a blocking request stops with its
//! scope.
//!
//! ```text
//! cargo run --release --example flags [-- --delay-ms N]
//! ```

use std::{
    fs,
    path::Path,
    process::ExitCode,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use taskgroup::{TaskGroup, TaskStatus};
use taskgroup_examples::{Answer, FlagServer, POPULOUS, fetch, println, until_ctrl_c};

const SLOW: Duration = Duration::from_secs(30);

type Style = fn(&FlagServer, &Path) -> anyhow::Result<()>;

/// Downloads twenty flags in three ways.
#[derive(Parser)]
struct Options {
    /// How long the server takes for a flag
    #[arg(long, value_name = "MS", default_value_t = 50)]
    delay_ms: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let delay = Duration::from_millis(Options::parse().delay_ms);
    until_ctrl_c(|| run(delay))
}

fn run(delay: Duration) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    println!("{} flags, {delay:?} each at the server", POPULOUS.len());
    let styles: [(&str, Style); 3] = [
        ("sequential", one_by_one),
        ("std::thread::scope", with_threads),
        ("taskgroup", with_group),
    ];

    let mut alone = None;
    for (style, download) in styles {
        let server = FlagServer::start(POPULOUS.len(), move |_| Answer::Flag(delay))?;
        let start = Instant::now();
        download(&server, folder.path())?;
        let took = start.elapsed();
        let ratio = alone.get_or_insert(took).div_duration_f64(took);
        println!(
            "  {style:<20}{:>9.1} ms {ratio:>6.1} x",
            took.as_secs_f64() * 1e3
        );
    }

    let answer = move |code: &str| {
        if code == "BR" {
            Answer::Error(delay)
        } else {
            Answer::Flag(SLOW)
        }
    };

    let server = FlagServer::start(POPULOUS.len(), answer)?;
    println!("\nBR fails while the other flags take {SLOW:?} each");
    one_fails(&server, folder.path())
}

fn one_by_one(server: &FlagServer, folder: &Path) -> anyhow::Result<()> {
    POPULOUS
        .into_iter()
        .try_for_each(|code| save(server, folder, code))
}

fn with_threads(server: &FlagServer, folder: &Path) -> anyhow::Result<()> {
    thread::scope(|s| {
        let threads = POPULOUS.map(|code| s.spawn(move || save(server, folder, code)));
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a download does not panic"))
    })
}

fn with_group(server: &FlagServer, folder: &Path) -> anyhow::Result<()> {
    Ok(TaskGroup::scope(|g| {
        for code in POPULOUS {
            g.task()
                .name(code)
                .spawn(move || save(server, folder, code));
        }
        Ok(())
    })?)
}

fn one_fails(server: &FlagServer, folder: &Path) -> anyhow::Result<()> {
    let failed_at = OnceLock::new();
    let stopped = AtomicUsize::new(0);
    let outcome = TaskGroup::scope(|g| {
        for code in POPULOUS {
            // The other downloads fail only after this one: the first instant is the failure.
            let first = |_: &anyhow::Error| _ = failed_at.get_or_init(Instant::now);
            let download = g
                .task()
                .name(code)
                .spawn(move || save(server, folder, code).inspect_err(first));
            download.on_finished(|status| {
                if matches!(status, TaskStatus::Cancelled | TaskStatus::NeverRan) {
                    stopped.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Ok(())
    });

    let returned = Instant::now();
    let error = outcome.err().context("the server was told to fail")?;
    let failed = *failed_at.get().context("no download failed")?;
    println!("{error:#}");
    println!(
        "{} others stopped; the scope returned {:.1?} after the failure",
        stopped.into_inner(),
        returned - failed
    );
    Ok(())
}

fn save(server: &FlagServer, folder: &Path, code: &str) -> anyhow::Result<()> {
    let image = fetch(&server.url(code)).with_context(|| format!("no flag for {code}"))?;
    fs::write(folder.join(code).with_extension("gif"), image)
        .with_context(|| format!("cannot save the flag of {code}"))
}
