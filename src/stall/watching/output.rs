//! Where reports go.

use super::hook;
use super::report::StallReport;
use crate::facade::write_to_stderr;
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
