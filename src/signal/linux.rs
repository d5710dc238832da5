//! Dispositions of signals on Linux, from `/proc`. The system call that tells them can change them
//! as well, so it is `unsafe` in every crate.

use std::fs;
use std::io::{self, ErrorKind};

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Number};

use super::disposition::Disposition;
use crate::facade::warn_event;
use crate::panics::log;

/// Returns what the signal does now.
pub(super) fn disposition(signal: i32) -> io::Result<Disposition> {
    let status = fs::read_to_string("/proc/self/status")?;
    if is_in("SigIgn:", &status, signal)? {
        Ok(Disposition::Ignored)
    } else if is_in("SigCgt:", &status, signal)? {
        Ok(Disposition::Handled)
    } else {
        Ok(Disposition::Default)
    }
}

/// Whether the mask in the line `label` has the signal. The signal n is the bit n - 1.
fn is_in(label: &str, status: &str, signal: i32) -> io::Result<bool> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok());
    let mask = mask.ok_or_else(|| {
        let text = format!("no mask of signals at {label} in /proc/self/status");
        io::Error::new(ErrorKind::InvalidData, text)
    })?;

    Ok(mask >> (signal - 1) & 1 == 1)
}

/// Calls `f`, which sets the handler up, while this thread does not take the signal.
///
/// The handler of `signal-hook` is installed a moment before its first action is, and a signal of
/// that moment is lost. This thread is the only one where a program begins with the signals, so
/// there the signal waits.
pub(super) fn held_back<T>(signal: i32, f: impl FnOnce() -> T) -> T {
    // Only this thread: other threads of the program keep their masks.
    let before = Number::try_from(signal)
        .and_then(|number| SigSet::from(number).thread_swap_mask(SigmaskHow::SIG_BLOCK));
    let value = f();

    // No mask that can be read back is refused. Without the first call there is none.
    if let Err(error) = before.and_then(|before| before.thread_set_mask()) {
        log(|| warn_event!(%error, "the mask of signals could not be changed for a moment"));
    }
    value
}
