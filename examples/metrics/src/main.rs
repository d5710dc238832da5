//! Checksums of all files of a folder, four files at once, with the stats of the program served to
//! Prometheus.
//!
//! ```text
//! cargo run --release -p taskgroup-metrics -- /usr/share/doc [127.0.0.1:9100]
//! curl http://127.0.0.1:9100/metrics
//! ```
//!
//! Look how the numbers fit together while it works: the tasks that wait for one of the four
//! permits, the time that they have waited, the outcomes, and the threads. After a Ctrl-C or a
//! SIGTERM, the last line says how soon the tasks that were cut short have ended.
//!
//! `export.rs` hands the stats to the crate `metrics`. It may be used as it is in other programs.

mod export;
mod output;
mod serve;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use sha2::{Digest, Sha256};
use taskgroup::net::TcpListener;
use taskgroup::sync::Mutex;
use taskgroup::{TaskGroup, io, timeout};

use crate::export::{Exporter, LATENCIES};
use crate::output::{print, report};

/// How many files are read at once.
const AT_ONCE: usize = 4;

/// How long the reader of the output has to take the last line.
const MOMENT: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().context("give it a folder")?;
    let address = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());

    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Suffix("_cancel_latency_seconds".into()),
            &LATENCIES,
        )?
        .install_recorder()?;
    let signal = taskgroup::signal::termination()?;
    let listener = TcpListener::bind(&*address)?;
    println!("listening on {}", listener.local_addr()?);

    let last = Mutex::new(None);
    let scope = TaskGroup::builder().name("checksums").limit(AT_ONCE);
    scope.scope(|g| {
        // All tasks have ended here.
        g.on_release(|| {
            *last.lock_uncancellable() = Some(g.stats().cancel_latency);
            Ok(())
        });

        // A daemon needs no permit, so the page is there when all four are taken.
        g.task().name("metrics").spawn_daemon(|| {
            let mut exporters = [Exporter::new("taskgroup"), Exporter::new("checksums")];
            serve::pages(&listener, || {
                exporters[0].export(taskgroup::stats().into());
                exporters[1].export(g.stats().into());
                metrics.render()
            })
        });

        for path in files(Path::new(&folder))? {
            // The failure of one file is counted and printed, and the others go on.
            drop(g.spawn_isolated(move || {
                let sum = checksum(&path).inspect_err(report)?;
                Ok(print(format_args!("{sum}  {}", path.display()))?)
            }));
        }
        signal.wait()?;
        g.cancel_because("a signal");
        Ok(())
    })?;

    let latency = last.into_inner().unwrap_or_default();
    let (count, longest) = (latency.count(), latency.longest());
    let line = format!("cancelled: {count}, the longest for {longest:?}");
    // None if the reader does not take the line in time.
    let _: Option<()> = timeout(MOMENT, || print(line))?;
    Ok(())
}

/// Returns the files of a folder and of the folders below it, links not followed.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            taskgroup::checkpoint()?;
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

/// A cancel ends it between two pieces of 64 KiB.
fn checksum(path: &Path) -> anyhow::Result<String> {
    let name = || path.display().to_string();
    let mut text = Vec::new();
    let mut file = File::open(path).with_context(name)?;
    io::read_to_end(&mut file, &mut text).with_context(name)?;
    let sum = Sha256::digest(&text);
    Ok(sum.iter().map(|byte| format!("{byte:02x}")).collect())
}
