//! Twenty flags, three ways: one after the other, with `std::thread::scope`, and with a task group.
//!
//! A server inside this program takes its time over every flag. The second part makes it fail for one country while the others are being
//! served very slowly, which is where a task group differs from threads: see how soon the scope returns, and what the error says. How a
//! blocking request is made to stop with its scope is in `src/fetch.rs`.
//!
//! ```text
//! cargo run --release --example flags [-- --delay-ms N]
//! ```

use std::{
    fs,
    path::Path,
    sync::{
        atomic::{AtomicUsize, Ordering},
        OnceLock,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use taskgroup::{GroupError, TaskGroup, TaskStatus};
use taskgroup_examples::{fetch, Answer, FlagServer, POPULOUS};

const SLOW: Duration = Duration::from_secs(30);

fn main() -> anyhow::Result<()> {
    let delay = delay_from_args()?;
    let folder = tempfile::tempdir()?;

    let server = FlagServer::start(POPULOUS.len(), move |_| Answer::Flag(delay))?;
    println!("{} flags, {delay:?} each at the server", POPULOUS.len());
    let alone = timed(|| one_by_one(&server, folder.path()))?;
    let threads = timed(|| with_threads(&server, folder.path()))?;
    let group = timed(|| Ok(with_group(&server, folder.path())?))?;
    for (style, took) in [("sequential", alone), ("std::thread::scope", threads), ("taskgroup", group)] {
        let ratio = alone.as_secs_f64() / took.as_secs_f64();
        println!("  {style:<20}{:>9.1} ms {ratio:>6.1} x", took.as_secs_f64() * 1e3);
    }

    let answer = move |code: &str| if code == "BR" { Answer::Error(delay) } else { Answer::Flag(SLOW) };
    let server = FlagServer::start(POPULOUS.len(), answer)?;
    println!("\nBR fails while the other flags take {SLOW:?} each");
    one_fails(&server, folder.path())
}

fn one_by_one(server: &FlagServer, folder: &Path) -> anyhow::Result<()> {
    POPULOUS.into_iter().try_for_each(|code| save(server, folder, code))
}

fn with_threads(server: &FlagServer, folder: &Path) -> anyhow::Result<()> {
    thread::scope(|s| {
        let threads = POPULOUS.map(|code| s.spawn(move || save(server, folder, code)));
        threads.into_iter().try_for_each(|thread| thread.join().expect("a download does not panic"))
    })
}

fn with_group(server: &FlagServer, folder: &Path) -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        for code in POPULOUS {
            g.task().name(code).spawn(move || save(server, folder, code));
        }
        Ok(())
    })
}

fn one_fails(server: &FlagServer, folder: &Path) -> anyhow::Result<()> {
    let failed_at = OnceLock::new();
    let stopped = AtomicUsize::new(0);
    let outcome = TaskGroup::scope(|g| {
        for code in POPULOUS {
            // The others err only once this one has: the first instant is that of the failure.
            let first = |_: &anyhow::Error| _ = failed_at.get_or_init(Instant::now);
            let download = g.task().name(code).spawn(move || save(server, folder, code).inspect_err(first));
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
    println!("{} others stopped; the scope returned {:.1?} after the failure", stopped.into_inner(), returned - failed);
    Ok(())
}

fn save(server: &FlagServer, folder: &Path, code: &str) -> anyhow::Result<()> {
    let image = fetch(&server.url(code)).with_context(|| format!("no flag for {code}"))?;
    Ok(fs::write(folder.join(code).with_extension("gif"), image)?)
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn delay_from_args() -> anyhow::Result<Duration> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let millis = match &args[..] {
        [] => 50,
        [option, n] if option == "--delay-ms" => n.parse().with_context(|| format!("not a number of milliseconds: {n}"))?,
        _ => anyhow::bail!("usage: flags [--delay-ms N]"),
    };
    Ok(Duration::from_millis(millis))
}
