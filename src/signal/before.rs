//! The disposition of a signal before this crate handles it.

use super::disposition::Disposition;
#[cfg(target_os = "linux")]
use super::linux as system;
#[cfg(not(target_os = "linux"))]
use super::shell as system;
use super::signal::Signal;
use crate::facade::warn_event;
use crate::panics::log;

/// Returns what the signal does now. If the system does not tell, the default action is assumed.
pub(super) fn disposition_of(signal: Signal) -> Disposition {
    system::disposition(signal.number()).unwrap_or_else(|error| {
        log(|| warn_event!(%error, ?signal, "no way to see whether a signal is ignored"));
        Disposition::Default
    })
}
