//! Commands from standard input, some at once, until the first that fails: like `xargs -P 8`, but
//! one failure stops the others.
//!
//! ```text
//! cargo run --release --example jobs [-- --at-once 4] < commands
//! printf 'sleep 60\nsleep 1; echo no >&2; exit 3\nsleep 60 | sort\n' | cargo run --release --example jobs
//! ```
//!
//! Each line is a command for `sh`, and leads a process group of its own. Look at the second
//! example: the failure ends the others with all that they have started, and the report has the
//! exit status and the words of the command that failed. Ctrl-C and SIGTERM end all of them too. A
//! command that ignores the SIGTERM which it then gets is killed when its grace is over.

use std::io;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, builder::RangedU64ValueParser};
use taskgroup::TaskGroup;
use taskgroup::process::{Command, Output};
use taskgroup_examples::{exit_code, left_behind, seconds, write_whole};

/// Runs the commands of standard input, a line each.
#[derive(Parser)]
struct Options {
    /// How many run at once
    #[arg(
        short = 'P',
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000),
    )]
    at_once: usize,
    /// How long a command may take to end after a SIGTERM
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    grace: Duration,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let signal = taskgroup::signal::termination()?;
    let group = TaskGroup::builder().name("jobs").limit(options.at_once);
    let outcome = group.parent(&signal).scope(|g| {
        for line in taskgroup::io::stdin().lines() {
            let line = line.context("cannot read the commands")?;
            if line.trim().is_empty() {
                continue;
            }
            let job = g.task().name(line.clone());
            job.spawn(move || run(&line, options.grace));
        }
        Ok(())
    });

    // Not `eprintln`, nor an error of `main`: if no one reads them, a signal does not end the wait.
    // If this cannot be written, there is no place left to say so.
    let say = |line: String| _ = signal.run(|| write_whole(&io::stderr(), line.as_bytes()));
    say(format!("threads left: {}\n", left_behind()));
    if let Some(cancelled) = signal.cancelled() {
        say(format!("all has ended: {cancelled}\n"));
        return Ok(exit_code(&cancelled));
    }

    let Err(error) = outcome else {
        return Ok(ExitCode::SUCCESS);
    };
    say(format!("Error: {:?}\n", anyhow::Error::from(error)));
    Ok(ExitCode::FAILURE)
}

/// Runs a command, and passes on its output in one piece when it has ended.
fn run(line: &str, grace: Duration) -> anyhow::Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", line]).stdin(Stdio::null());
    let Output {
        status,
        stdout,
        stderr,
    } = command.own_group().grace(grace).output()?;

    write_whole(&io::stdout(), &stdout).context("cannot pass its output on")?;
    let words = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{status}\n{}", words.trim_end());
    write_whole(&io::stderr(), &stderr).context("cannot pass its messages on")
}
