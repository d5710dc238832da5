//! Events that belong to the span that is current where they are sent.

use crate::facade::{debug_event, warn_event};
use std::fmt::Display;
use std::panic::Location;

use tracing::Level;

use super::is_on;
use super::site::Site;
use super::telling::{log, tell};

/// How a part of a group failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FailedHow {
    Error,
    Panic,
    /// The system refused the thread of a task.
    NoThread,
}

/// Sends the event of a failure that its group records. The caller is told of it too, so only what
/// is a fault of the program or of the system is a warning.
pub(crate) fn failed(how: FailedHow, cause: &dyn Display, after_cancel: bool) {
    // The cause is the error of the user. It is not formatted if no subscriber asks for it.
    if !is_on() {
        return;
    }
    tell(|| match how {
        // An error is a result like others, and the report has it. A panic is a fault of the
        // program, and a refused thread one of the system, so both are warnings.
        FailedHow::Error => debug_event!(%cause, after_cancel, "failed"),
        FailedHow::Panic => warn_event!(%cause, after_cancel, "panicked"),
        FailedHow::NoThread => {
            warn_event!(%cause, after_cancel, "spawn refused");
        }
    });
}

/// Whether the subscriber wants the failures of isolated tasks: their text is made for it alone.
pub(crate) fn wants_failures() -> bool {
    // The level of an error, the lowest of the three: a subscriber that wants errors gets the
    // panics as well.
    is_on() && tell(|| tracing::enabled!(target: "taskgroup", Level::DEBUG)) == Some(true)
}

/// Sends the event of a failure that is the result of its task.
pub(crate) fn isolated_failed(how: FailedHow, text: &str) {
    tell(|| match how {
        FailedHow::Error => {
            debug_event!(cause = text, isolated = true, "failed");
        }
        FailedHow::Panic => {
            warn_event!(cause = text, isolated = true, "panicked");
        }
        FailedHow::NoThread => {
            warn_event!(cause = text, isolated = true, "spawn refused");
        }
    });
}

/// Sends the event of a cancel through the handle of a task, which has begun.
pub(crate) fn task_cancelled(task: u64, location: &'static Location<'static>) {
    if is_on() {
        let site = Site(location);
        tell(|| debug_event!(task, %site, "cancelled"));
    }
}

/// Sends the event of a `try_spawn` that gave the closure back.
pub(crate) fn refused(reason: &dyn Display) {
    if is_on() {
        tell(|| debug_event!(cause = %reason, "spawn refused"));
    }
}

/// Logs the failure of an isolated task after the drop of its result.
pub(crate) fn untaken(text: &str) {
    log(|| {
        warn_event!("the failure of an isolated task was never taken out of its handle: {text}")
    });
}
