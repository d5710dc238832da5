//! The cost of a task, beside the cost of the same work with `rayon::scope`, `std::thread::scope`
//! or by hand.
//!
//! ```text
//! cargo bench --bench compare                          every row
//! cargo bench --bench compare -- --row fork-join       one row; may be given more than once
//! cargo bench --bench compare -- --quick               fewer rounds, for a first look
//! cargo bench --bench compare -- --json results.jsonl  the same figures, one JSON object a line
//! cargo bench --bench compare -- --report FILE         the same figures as a page, with curves
//! ```
//!
//! How to read it:
//!
//! - The contestants of a table take turns within a round, so that a noisy spell of the machine
//!   falls on all of them. The figure is the median over the rounds; `ratio` is the median of the
//!   first contestant over the median of this one.
//! - Waking an idle core costs 20 to 50 us on a small virtual machine, more than most figures here.
//!   Contestants that hand a task to a sleeping thread have it in their figures; contestants that
//!   run the task on the waiting thread do not. Scopes repeated back to back find threads that have
//!   only just gone idle, which favours every contestant that keeps threads.
//! - A table during which other programs used more than a twentieth of the machine is marked
//!   doubtful. Contention is not even fair: more threads get more of a contended core.
//! - `rayon::scope` called from a thread outside its pool moves the whole scope into the pool and
//!   back. Goals are set against that, since a program's own thread pays it; the line `in
//!   the pool` is the same scope without the move.
//! - Figures of a first run, of memory and of numbers of threads come from child processes, one
//!   contestant each: idle workers, allocator arenas and cached stacks stay in a process and would
//!   be counted for the wrong side.

mod blocked;
mod bridge;
mod busy;
mod cancel;
mod channel;
mod check;
mod child;
mod flood;
mod fork_join;
mod io_cancel;
#[allow(unreachable_pub, reason = "the examples export it")]
#[path = "../../examples/src/log_chart.rs"]
mod log_chart;
mod many_blocked;
mod map;
mod page;
mod process;
mod report;
mod sampling;
mod scoped;
mod server;
mod snapshot;
mod sockets;
mod sync;
mod wake;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use page::Page;
use report::Report;
use sampling::Effort;

type Row = fn(Effort, &mut Report) -> anyhow::Result<()>;

/// Rows that leave many idle workers come last: the others should not be measured on top of them.
const ROWS: [(&str, Row); 28] = [
    ("fork-join", fork_join::fork_join),
    ("fire-and-forget", fork_join::fire_and_forget),
    ("growth", fork_join::growth),
    ("empty", fork_join::empty),
    ("check", check::check),
    ("scoped", scoped::scoped),
    ("map", map::map),
    ("mutex", sync::mutex),
    ("rwlock", sync::rwlock),
    ("semaphore", sync::semaphore),
    ("event", sync::event),
    ("condvar", sync::condvar),
    ("overhead", sync::overhead),
    ("wake", wake::wake),
    ("channel", channel::channel),
    ("busy", busy::busy),
    ("flood", flood::flood),
    ("cancel", cancel::cancel),
    ("io-ready", sockets::ready),
    ("io-ping-pong", sockets::ping_pong),
    ("io-wake", io_cancel::io_wake),
    ("child", child::child),
    ("io-cancel", io_cancel::io_cancel),
    ("bridge", bridge::bridge),
    ("server", server::server),
    ("blocked", blocked::blocked),
    ("many-blocked", many_blocked::many_blocked),
    ("snapshot", snapshot::snapshot),
];

#[derive(Default)]
struct Options {
    rows: Vec<String>,
    json: Option<PathBuf>,
    page: Option<PathBuf>,
    quick: bool,
    child: Option<String>,
    run_by_cargo_bench: bool,
    unknown: Option<OsString>,
}

impl Options {
    fn parse(args: impl IntoIterator<Item = OsString>) -> anyhow::Result<Self> {
        let mut options = Options::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = |of: &str| args.next().with_context(|| format!("{of} needs a value"));
            match arg.to_str() {
                Some("--bench") => options.run_by_cargo_bench = true,
                Some("--quick") => options.quick = true,
                Some("--row") => options
                    .rows
                    .push(value("--row")?.to_string_lossy().into_owned()),
                Some("--json") => options.json = Some(value("--json")?.into()),
                Some("--report") => options.page = Some(value("--report")?.into()),
                Some("--child") => {
                    options.child = Some(value("--child")?.to_string_lossy().into_owned())
                }
                _ => options.unknown = Some(arg),
            }
        }
        Ok(options)
    }

    /// Fails for options that no run can have.
    fn check(&self) -> anyhow::Result<()> {
        if let Some(unknown) = &self.unknown {
            bail!(
                "unknown argument {unknown:?}; there are --row NAME, --json FILE, --report FILE and --quick"
            );
        }
        if let Some(unknown) = self
            .rows
            .iter()
            .find(|name| ROWS.iter().all(|(row, _)| row != name))
        {
            bail!(
                "no row {unknown:?}; there are {}",
                ROWS.map(|(row, _)| row).join(", ")
            );
        }

        if let Some(set) = ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"]
            .into_iter()
            .find(|name| std::env::var_os(name).is_some())
        {
            bail!(
                "unset {set}: with it, each error of a cancelled task costs a backtrace, which would be measured"
            );
        }
        if self.page.is_some() && !self.rows.is_empty() {
            bail!("a page is about all rows: --report cannot be had with --row");
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    // Cargo starts a benchmark in the folder of its package; paths are relative to the workspace.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
    let options = Options::parse(std::env::args_os().skip(1))?;
    if let Some(figure) = &options.child {
        println!("{}", child(figure)?);
        return Ok(());
    }

    // `cargo test --benches` starts this program too, with whatever flags the tests were given.
    if !options.run_by_cargo_bench && options.rows.is_empty() {
        println!("compare: nothing measured; `cargo bench --bench compare` does");
        return Ok(());
    }
    options.check()?;

    // Read before anything is measured, so that its faults show at once.
    let page = options.page.map(Page::new).transpose()?;
    let effort = Effort::new(options.quick);
    let mut report = Report::new(options.json.as_deref())?;
    let machine = process::machine();
    report.machine(&machine)?;
    if cfg!(debug_assertions) {
        println!("built without optimisation: these figures mean nothing");
    }
    for (name, row) in ROWS {
        if options.rows.is_empty() || options.rows.iter().any(|wanted| wanted == name) {
            row(effort, &mut report).with_context(|| format!("row {name}"))?;
        }
    }
    let tables = report.finish()?;
    match page {
        Some(page) => page.write(options.quick, &machine, &tables),
        None => Ok(()),
    }
}

/// Takes the one figure a child process was started for.
fn child(figure: &str) -> anyhow::Result<f64> {
    match figure {
        flood::THREADS_TASKGROUP => flood::threads_started(flood::taskgroup),
        flood::THREADS_RAYON => flood::threads_started(flood::rayon),
        blocked::COLD_TASKGROUP => blocked::to_the_barrier(blocked::taskgroup),
        blocked::COLD_STD => blocked::to_the_barrier(blocked::std),
        blocked::RESIDENT_TASKGROUP => blocked::resident_per_task(blocked::taskgroup),
        io_cancel::STDIN => io_cancel::of_stdin(),
        blocked::RESIDENT_STD => blocked::resident_per_task(blocked::std),
        _ => bail!("no figure {figure:?}"),
    }
}
