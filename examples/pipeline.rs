//! A pipeline of four stages, joined by channels: read lines, parse them, sign each by a worker,
//! write them in their order. Any stage may fail.
//!
//! ```text
//! cargo run --release --example pipeline [-- INPUT [--output FILE] [--workers N] [--fail-at STAGE]]
//! seq 9999 | sed 's/^/account /' | cargo run --release --example pipeline -- --fail-at sign
//! ```
//!
//! A line is a name and an amount, and gets a signature, which takes its time. A slow stage slows
//! down the stages before it, since the channels are bounded, so the input may be endless. If a
//! stage fails, the others stop where they block, in a read of a silent terminal or in a full pipe
//! too. Look how each of them ended, and at the report, which has the cause alone or above its
//! consequences. The output has only lines from before the failure.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::{num::NonZeroU8, os::fd::AsFd, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use sha2::{Digest, Sha256};
use taskgroup::channel::{Receiver, Sender, bounded};
use taskgroup::{TaskGroup, io::Cancellable, sync::Semaphore};
use taskgroup_examples::{exit_code, left_behind};

/// Signs lines of a name and an amount.
#[derive(Parser)]
struct Options {
    /// The file to read [default: standard input]
    input: Option<PathBuf>,
    /// The file to write [default: standard output]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// How many lines are signed at once
    #[arg(short, long, value_name = "N", default_value = "4")]
    workers: NonZeroU8,
    /// The stage that is to fail
    #[arg(long, value_name = "STAGE")]
    fail_at: Option<Stage>,
    /// The line at which it fails
    #[arg(long, value_name = "N", default_value_t = 50)]
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Stage {
    Read,
    Parse,
    Sign,
    Write,
}

struct Record {
    line: usize,
    name: String,
    amount: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let signal = taskgroup::signal::ctrl_c()?;
    let outcome = signal.run(|| run(&options));
    eprintln!("threads left: {}", left_behind());
    if let Some(cancelled) = signal.cancelled() {
        return Ok(exit_code(&cancelled));
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

fn run(options: &Options) -> anyhow::Result<()> {
    let output = options.output()?;
    let workers = &Semaphore::new(options.workers.get().into());

    Ok(TaskGroup::builder().name("pipeline").scope(|g| {
        let (to_parse, lines) = bounded(64);
        let (to_sign, records) = bounded(64);
        let (to_write, signed) = bounded(options.workers.get().into());
        let stages = [
            g.task()
                .name("read")
                .with(to_parse)
                .spawn(|to| options.read_each(to)),
            g.task()
                .name("parse")
                .with((lines, to_sign))
                .spawn(|(from, to)| options.parse_each(from, to)),
            g.task()
                .name("sign")
                .with((records, to_write))
                .spawn(|(records, to_write)| {
                    for record in records {
                        let record: Record = record?;
                        // The tasks are sent on in the order of the lines, ended or not.
                        let task = g.task().name(format!("sign line {}", record.line));
                        let signed = task.spawn(move || {
                            let _worker = workers.acquire()?;
                            options.trip(Stage::Sign, record.line)?;
                            Ok((record.line, sign(&record)))
                        });
                        let sent = to_write.send(signed);
                        sent.map_err(|error| error.without_message())?;
                    }
                    Ok(())
                }),
            g.task()
                .name("write")
                .with((signed, output))
                .spawn(|(signed, output)| {
                    for task in signed {
                        let (line, text) = task?.join()?;
                        options.trip(Stage::Write, line)?;
                        output.write_all(text.as_bytes()).context("cannot write")?;
                    }
                    Ok(())
                }),
        ];

        for (stage, name) in stages.iter().zip(["read", "parse", "sign", "write"]) {
            stage.on_finished(move |status| eprintln!("{name}: {status:?}"));
        }
        Ok(())
    })?)
}

impl Options {
    fn read_each(&self, to_parse: &Sender<(usize, String)>) -> anyhow::Result<()> {
        for (line, text) in (1..).zip(self.lines()?) {
            self.trip(Stage::Read, line)?;
            to_parse.send((line, text?))?;
        }
        Ok(())
    }

    fn parse_each(
        &self,
        lines: &Receiver<(usize, String)>,
        to_sign: &Sender<Record>,
    ) -> anyhow::Result<()> {
        for line in lines {
            let (line, text) = line?;
            self.trip(Stage::Parse, line)?;
            let record = parse(line, &text);
            to_sign.send(record.with_context(|| format!("line {line}"))?)?;
        }
        Ok(())
    }

    fn output(&self) -> anyhow::Result<Cancellable<File>> {
        let output = match &self.output {
            Some(path) => {
                File::create(path).with_context(|| format!("cannot write {}", path.display()))?
            }
            None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        };
        Ok(Cancellable::new(output)?)
    }

    fn lines(&self) -> anyhow::Result<Box<dyn Iterator<Item = io::Result<String>>>> {
        let Some(path) = &self.input else {
            return Ok(Box::new(taskgroup::io::stdin().lines()));
        };
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Box::new(BufReader::new(Cancellable::new(file)?).lines()))
    }

    fn trip(&self, stage: Stage, line: usize) -> anyhow::Result<()> {
        let is_told = self.fail_at == Some(stage) && self.line == line;
        ensure!(!is_told, "told to fail at line {line}");
        Ok(())
    }
}

fn parse(line: usize, text: &str) -> anyhow::Result<Record> {
    let (name, amount) = text.trim().rsplit_once(' ').context("no amount")?;
    let parsed = amount.parse();
    let amount = parsed.with_context(|| format!("no amount: {amount:?}"))?;
    let name = name.trim_end().to_owned();
    Ok(Record { line, name, amount })
}

fn sign(record: &Record) -> String {
    let line = format!("{} {}", record.name, record.amount);
    let signature = (0..100).fold(Sha256::digest(&line), |hash, _| Sha256::digest(hash));
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{line} {hex}\n")
}
