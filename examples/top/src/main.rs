//! Shows what the tasks of a process do, like `top`.
//!
//! ```text
//! cargo run --release -p taskgroup-top                      a demo in this process
//! cargo run --release -p taskgroup-top -- --serve SOCKET    the demo alone, to be seen at a socket
//! cargo run --release -p taskgroup-top -- SOCKET            the process that is to be seen there
//! ```
//!
//! In the demo, move to a group and press `c`: its tasks end, and it starts again. The shards of
//! the report are in shields, so their group stalls. A process of your own is to be seen if it has
//! the module `server.rs`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use taskgroup::net::UnixStream;
use taskgroup::sync::Event;
use taskgroup::{CancelCause, CancelToken, TaskGroup, on_stall, signal};
use taskgroup_top::server::{self, Offered, Server};
use taskgroup_top::{Client, Screen, demo, view};

const USAGE: &str = "\
usage: taskgroup-top [--every SECONDS]            shows a demo
       taskgroup-top [--every SECONDS] SOCKET     shows the process that serves there
       taskgroup-top --serve SOCKET               runs the demo, and serves there";

enum Mode {
    Help,
    Demo,
    View(PathBuf),
    Serve(PathBuf),
}

struct Options {
    mode: Mode,
    every: Duration,
}

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("taskgroup-top: {error:#}\n{USAGE}");
            return ExitCode::from(2);
        }
    };

    match run(&options) {
        Ok(code) => code,
        Err(error) => {
            // The terminal may have gone.
            let _ = writeln!(std::io::stderr(), "taskgroup-top: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let stop = signal::termination()?;

    // Not all users want colours: see no-color.org.
    let has_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if let Mode::Demo | Mode::View(_) = options.mode {
        Screen::check()?;
    }

    let closing = Arc::new(Event::new());
    let close = closing.clone();
    let _close = stop.on_cancel(move || close.set());
    let outcome = stop.run(|| match &options.mode {
        Mode::Help => {
            println!("{USAGE}");
            Ok(())
        }
        Mode::Demo => in_this_process(&closing, options.every, has_colour),
        Mode::View(path) => view(Client::connect(path)?, options.every, has_colour),
        Mode::Serve(path) => serve(path, &closing),
    });

    match stopped_by(&stop) {
        // What a shell says of a program that a signal has ended.
        Some(signal) => Ok(ExitCode::from(128 + signal)),
        None => outcome.map(|()| ExitCode::SUCCESS),
    }
}

fn stopped_by(stop: &CancelToken) -> Option<u8> {
    match stop.cancelled()?.cause() {
        CancelCause::Signal { signal, .. } => u8::try_from(*signal).ok(),
        _ => None,
    }
}

/// Shows the demo, over a pair of sockets that have no name.
fn in_this_process(closing: &Event, every: Duration, has_colour: bool) -> anyhow::Result<()> {
    // The screen shows a stall, and a report on it would spoil it.
    let _silent = on_stall(|_| {});
    let offered = Offered::default();
    let (near, far) = UnixStream::pair()?;
    TaskGroup::builder().name("top").scope(|g| {
        g.task()
            .name("server")
            .spawn_daemon(|| server::attend(&far, &offered));
        g.task().name("demo").spawn(|| demo::run(&offered, closing));
        let viewed = view(Client::new(near), every, has_colour);
        closing.set();
        g.cancel_because("the view has ended");
        Ok(viewed)
    })?
}

fn serve(path: &Path, closing: &Event) -> anyhow::Result<()> {
    let server = Server::bind(path)?;
    println!("serving at {}", path.display());
    let offered = Offered::default();
    TaskGroup::builder().name("served").scope(|g| {
        g.task()
            .name("server")
            .spawn_daemon(|| server.serve(&offered));
        demo::run(&offered, closing)
    })?;
    Ok(())
}

impl Options {
    fn parse() -> anyhow::Result<Self> {
        let mut options = Options {
            mode: Mode::Demo,
            every: Duration::from_secs(1),
        };

        let mut arguments = std::env::args_os().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--help" | "-h") => options.mode = Mode::Help,
                Some("--every") => {
                    let seconds = arguments.next().and_then(|text| text.into_string().ok());
                    let seconds = seconds.context("--every needs a number of seconds")?;
                    options.every = parse_seconds(&seconds)
                        .with_context(|| format!("--every {seconds}: no number of seconds"))?;
                }
                Some("--serve") => {
                    let path = arguments.next().context("--serve needs a path")?;
                    options.mode = Mode::Serve(path.into());
                }
                Some(option) if option.starts_with('-') => anyhow::bail!("{option} is unknown"),
                _ if matches!(options.mode, Mode::Demo) => {
                    options.mode = Mode::View(argument.into());
                }
                _ => anyhow::bail!("{} is too much", argument.to_string_lossy()),
            }
        }
        Ok(options)
    }
}

fn parse_seconds(text: &str) -> Option<Duration> {
    let seconds = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
    (seconds >= Duration::from_millis(10)).then_some(seconds)
}
