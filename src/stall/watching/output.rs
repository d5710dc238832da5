//! Where reports go.

use super::hook;
use super::report::StallReport;
use crate::cancel::Name;
use crate::facade::{warn_event, write_to_stderr};
use crate::panics::log;
use crate::trace::GroupSpan;

/// Hands a report to the hooks, or writes it where there is none: on stderr, and as an event in the
/// span of the scope.
pub(super) fn send(report: &StallReport, span: &GroupSpan) {
    if hook::call_all(report) {
        return;
    }

    // Stderr first: a subscriber may keep this thread, stderr only for a moment.
    write_to_stderr(&format!("{report}\n"));
    span.within(|| trace(report));
}

fn trace(report: &StallReport) {
    // A subscriber may write lines, so a name has no breaks.
    let group = Name(report.name().unwrap_or("")).to_string();
    let (file, line) = (report.location().file(), report.location().line());
    let site = format!("{file}:{line}");
    let since = report.since().as_secs_f64();

    // Two events, since a subscriber filters and counts by their names.
    if report.has_ended() {
        let worst = Some(report.worst_latencies()).filter(|worst| worst.to_end().is_some());
        let latencies = worst.map(tracing::field::display);
        log(|| warn_event!(group, %site, since, latencies, "a stalled scope has ended"));
    } else {
        let laggards = report.laggards().len();
        log(|| {
            warn_event!(
                group,
                %site,
                since,
                report = report.count(),
                laggards,
                first = report.laggards().first().map(tracing::field::display),
                cause = report.cancelled().map(tracing::field::display),
                "a cancelled scope does not end"
            )
        });
    }
}
