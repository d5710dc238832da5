//! Flags again, with a command line, a progress bar, and errors that are counted instead of fatal.
//!
//! A server inside this program is quick (LOCAL), slow (DELAY), or slow and wrong one time in four
//! (ERROR): the same for the same seed.
//!
//! ```text
//! cargo run --release --example flags2 -- -a -l 100 -s ERROR -v     errors, counted
//! cargo run --release --example flags2 -- -e -s DELAY --compare     676 codes, 30 at once and one by one
//! cargo run --release --example flags2 -- -a -s ERROR --fail-fast   the first error stops the others
//! ```
//!
//! Look at the tally, and press Ctrl-C half-way: requests in flight are cut where they block, and
//! saved flags are counted. The second command takes a minute. `src/fetch.rs` and
//! `src/until_ctrl_c.rs` tie these requests and Ctrl-C to the scope, and the server is in
//! `src/flag_server.rs`.

use std::{fmt, fs, path::Path, process::ExitCode, time::Instant};

use clap::{Parser, builder::RangedU64ValueParser};
use indicatif::{ProgressBar, ProgressFinish, ProgressIterator};
use taskgroup::{Failure, GroupError, TaskGroup};
use taskgroup_examples::{FlagServer, Selection, Site, fetch, println, until_ctrl_c};

/// Downloads flags of countries.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    site: Site,
    /// Requests at once
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 30,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=200),
    )]
    max_requests: usize,
    /// Print the outcome of each flag
    #[arg(short, long)]
    verbose: bool,
    /// Stop at the first error
    #[arg(long)]
    fail_fast: bool,
    /// Download them one by one, too
    #[arg(long)]
    compare: bool,
}

enum Download {
    Saved,
    NotFound,
}

#[derive(Default)]
struct Tally {
    saved: usize,
    not_found: usize,
    errors: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    until_ctrl_c(|| run(&options))
}

fn run(options: &Options) -> anyhow::Result<()> {
    let codes = options.selection.codes();
    let folder = tempfile::tempdir()?;
    let site = options.site.clone();
    let server = FlagServer::start(options.max_requests, move |code| site.answer(code))?;
    let save = |code: &str| {
        save(
            &server.url(code),
            &folder.path().join(code).with_extension("gif"),
        )
    };

    println!(
        "{} site: {} flags, {} at once",
        options.site,
        codes.len(),
        options.max_requests
    );

    let mut tally = Tally::default();
    let start = Instant::now();
    let outcome = download(options, &codes, save, &mut tally);
    let took = start.elapsed();
    println!("{tally}\nElapsed time: {took:.2?}");
    outcome?;

    if options.compare {
        let start = Instant::now();
        for code in codes.iter().progress_with(options.bar(codes.len())) {
            let _ = save(code);
            taskgroup::checkpoint()?;
        }
        println!(
            "One by one: {:.2?}, {:.1} times as long",
            start.elapsed(),
            start.elapsed().div_duration_f64(took)
        );
    }
    Ok(())
}

/// Downloads the flags of `codes` by `save`, and counts the outcomes.
fn download<F>(
    options: &Options,
    codes: &[String],
    save: F,
    tally: &mut Tally,
) -> Result<(), GroupError>
where
    F: Fn(&str) -> anyhow::Result<Download> + Sync,
{
    let save = |code| Ok((code, save(code)?));
    TaskGroup::builder()
        .name("flags")
        .limit(options.max_requests)
        .scope(|g| {
            let tasks = codes.iter().map(|code| {
                let task = g.task().name(code.clone());
                if options.fail_fast {
                    task.spawn(|| Ok(Ok(save(code)?)))
                } else {
                    task.spawn_isolated(|| save(code))
                }
            });
            // Tasks that a cancel cut short have no result. Quicker tasks have one, which counts,
            // so a shield lets it through.
            taskgroup::shield(|| {
                let results = g
                    .as_completed(tasks)
                    .filter_map(|task| task.ok()?.join().ok());
                results
                    .progress_with(options.bar(codes.len()))
                    .for_each(|result| tally.count(result, options.verbose));
            });
            Ok(())
        })
}

fn save(url: &str, path: &Path) -> anyhow::Result<Download> {
    match fetch(url) {
        Err(error) if matches!(error.downcast_ref(), Some(ureq::Error::StatusCode(404))) => {
            Ok(Download::NotFound)
        }
        image => Ok(fs::write(path, image?).map(|()| Download::Saved)?),
    }
}

impl Tally {
    fn count(&mut self, result: Result<(&str, Download), Failure>, verbose: bool) {
        let (count, line) = match result {
            Ok((code, Download::Saved)) => (&mut self.saved, format!("{code} saved")),
            Ok((code, Download::NotFound)) => (&mut self.not_found, format!("{code} not found")),
            Err(failure) => (&mut self.errors, format!("{failure}")),
        };
        *count += 1;
        if verbose {
            println!("{line}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} flags downloaded.", self.saved)?;
        let others = [(self.not_found, "not found"), (self.errors, "errors")];
        others
            .iter()
            .filter(|(count, _)| *count > 0)
            .try_for_each(|(count, what)| write!(f, " {count} {what}."))
    }
}

impl Options {
    /// It is drawn only on a terminal.
    fn bar(&self, len: usize) -> ProgressBar {
        let bar = if self.verbose {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(len as u64)
        };
        bar.with_finish(ProgressFinish::Abandon)
    }
}
