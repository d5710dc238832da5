//! The abort of the process after the report of a stall.

use std::panic::Location;
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::report::StallReport;
use crate::facade::{error_event, start_thread, write_to_stderr};
use crate::panics::log;

/// How long hooks, the subscriber and stderr may delay the abort.
const REPORT_LIMIT: Duration = Duration::from_secs(2);

/// Aborts the process once `send` has sent a report, or when that takes too long.
pub(super) fn abort_after(report: &StallReport, send: impl FnOnce()) -> ! {
    let (reported, is_reported) = mpsc::channel::<()>();
    let location = report.location();
    let drawn = report.to_string();

    // A hook may wait for a lock of the scope that stalls. Without a thread, the abort waits for
    // it too.
    let _ = start_thread("taskgroup-stall-abort", None, move || {
        let is_late = is_reported.recv_timeout(REPORT_LIMIT) == Err(RecvTimeoutError::Timeout);
        if is_late {
            abort_late(location, &drawn);
        }
    });

    send();
    log(|| error_event!(%location, "a stalled scope aborts the process"));
    drop(reported);
    process::abort()
}

/// Aborts the process although the report has not been sent. It is written here, since a hook that
/// blocks may have written none of it.
fn abort_late(location: &Location<'_>, drawn: &str) -> ! {
    // The subscriber may be what keeps the report.
    write_to_stderr(&format!(
        "{drawn}\ntaskgroup: the stalled scope at {location} aborts the process: a hook or the \
         subscriber has kept its report for {REPORT_LIMIT:?}\n"
    ));
    process::abort()
}
