//! What a signal does before this crate handles it.

use super::disposition::Disposition;
#[cfg(any(target_os = "linux", target_os = "android"))]
use super::linux as system;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use super::shell as system;
use super::signal::Signal;
use crate::panics::log;

/// Returns what the signal does now. If the system does not tell, the default action is assumed.
pub(super) fn disposition_of(signal: Signal) -> Disposition {
    system::disposition(signal.number()).unwrap_or_else(|error| {
        log(|| tracing::warn!(%error, ?signal, "no way to see whether a signal is ignored"));
        Disposition::Default
    })
}
