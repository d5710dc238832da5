//! A run as a picture, and as a trace that Perfetto opens.
//!
//! A group with a limit works on shards; one of them fails, and the others stop where they block.
//!
//! ```text
//! cargo run --release --example timeline                       writes timeline.svg and timeline.json
//! cargo run --release --example timeline -- --svg picture.svg --trace trace.json
//! ```
//!
//! Open the trace at <https://ui.perfetto.dev>.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use taskgroup::sync::Mutex;
use taskgroup::{TaskGroup, sleep};
use taskgroup_examples::println;
use taskgroup_examples::timeline::{Recorder, message_of, name_of_span};
use tracing_chrome::{ChromeLayerBuilder, EventOrSpan, TraceStyle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Draws a run as lanes of tasks.
#[derive(Parser)]
struct Options {
    /// Where the picture goes.
    #[arg(long, default_value = "timeline.svg")]
    svg: PathBuf,
    /// Where the trace for Perfetto goes.
    #[arg(long, default_value = "timeline.json")]
    trace: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let (recorder, recording) = Recorder::start()?;
    let (chrome, flush) = ChromeLayerBuilder::new()
        .file(&options.trace)
        .trace_style(TraceStyle::Threaded)
        .include_args(true)
        .name_fn(Box::new(|what| match what {
            EventOrSpan::Event(event) => message_of(event),
            EventOrSpan::Span(span) => name_of_span(span),
        }))
        .build();
    tracing_subscriber::registry()
        .with(recording)
        .with(chrome)
        .try_init()
        .context("another subscriber is there")?;

    let report = run();
    let timeline = recorder.finish()?;
    drop(flush);

    let title = "8 shards, at most 4 at once; shard 5 fails";
    timeline.save_svg(title, &options.svg)?;
    let (lanes, bars) = timeline.size();
    println!("{lanes} threads, {bars} tasks");
    println!("picture: {}", options.svg.display());
    println!("trace: {}", options.trace.display());
    match report {
        Ok(()) => bail!("no shard has failed"),
        Err(error) => println!("{error:?}"),
    }
    Ok(())
}

/// Works on all shards, until one of them fails.
fn run() -> Result<(), taskgroup::GroupError> {
    let table = Mutex::new(0);
    TaskGroup::builder().name("import").limit(4).scope(|g| {
        for shard in 0..8_u64 {
            let table = &table;
            g.task().name(format!("shard {shard}")).spawn(move || {
                // Read, in a group inside: two halves at once.
                TaskGroup::builder().name("read").scope(|halves| {
                    for half in 0..2 {
                        halves
                            .task()
                            .name(format!("half {shard}.{half}"))
                            .spawn(move || {
                                Ok(sleep(Duration::from_millis(15 + 9 * half + 4 * shard))?)
                            });
                    }
                    Ok::<_, anyhow::Error>(())
                })?;

                compute(Duration::from_millis(12 + 3 * (shard % 3)));
                if shard == 5 {
                    bail!("shard 5 is damaged");
                }

                // One at a time writes to the table.
                let mut rows = table.lock()?;
                sleep(Duration::from_millis(14))?;
                *rows += 1;
                Ok(())
            });
        }
        Ok(())
    })
}

/// Keeps a processor busy, and looks now and then whether it is to stop.
fn compute(length: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < length && !taskgroup::is_cancelled() {
        std::hint::black_box(begun);
    }
}
