//! Where reports go.

use super::hook;
use super::report::StallReport;
use crate::panics::log;

/// Hands a report to the hooks, or writes it where there is none.
pub(super) fn send(report: &StallReport) {
    if hook::call_all(report) {
        return;
    }

    // Stderr first: a subscriber may keep this thread, stderr only for a moment.
    write_to_stderr(&format!("{report}\n"));
    trace(report);
}

fn trace(report: &StallReport) {
    // A subscriber may write lines, so a name has no breaks.
    let group = report.name().map(crate::cancel::one_line);
    let group = group.as_deref().unwrap_or("");
    let location = report.location();
    let since = report.since();
    if report.has_ended() {
        let worst = Some(report.worst_latencies()).filter(|worst| worst.to_end().is_some());
        let latencies = worst.map(tracing::field::display);
        log(|| tracing::warn!(group, %location, ?since, latencies, "a stalled scope has ended"));
    } else {
        let laggards = report.laggards().len();
        log(|| {
            tracing::warn!(
                group,
                %location,
                ?since,
                laggards,
                first = report.laggards().first().map(tracing::field::display),
                cause = report.cancelled().map(tracing::field::display),
                "a cancelled scope does not end"
            )
        });
    }
}

/// How much is written at once. A pipe that is ready for writing takes this much without a block.
#[cfg(unix)]
const CHUNK: usize = 4096;

/// Writes a text to the standard error of the process, as far as it takes it soon. Whatever is wrong
/// with it, the report is given up: there is no better place to say so.
#[cfg(unix)]
fn write_to_stderr(text: &str) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    // A second at most for each chunk, and a report has few of them.
    let limit = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let stderr = rustix::stdio::stderr();
        let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
        let is_ready = match poll(&mut polled, Some(&limit)) {
            Ok(ready) => ready != 0 && polled[0].revents().contains(PollFlags::OUT),
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => false,
        };
        if !is_ready {
            return;
        }

        // A pipe that is ready takes a chunk of this size without a wait.
        match rustix::io::write(stderr, &rest[..rest.len().min(CHUNK)]) {
            Ok(0) => return,
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

#[cfg(not(unix))]
fn write_to_stderr(text: &str) {
    use std::io::Write as _;

    let _ = std::io::stderr().write_all(text.as_bytes());
}
