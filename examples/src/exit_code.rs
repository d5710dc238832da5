use std::process::ExitCode;

use taskgroup::{CancelCause, Cancelled};

/// Returns the exit code that shells have for a program that a signal has ended: 128 and the number
/// of the signal. So it is 130 after Ctrl-C and 143 after SIGTERM.
///
/// # Panics
///
/// If no signal has caused the cancel.
pub fn exit_code(cancelled: &Cancelled) -> ExitCode {
    let CancelCause::Signal { signal, .. } = cancelled.cause() else {
        panic!("not a signal: {cancelled}");
    };
    ExitCode::from(128 + u8::try_from(*signal).expect("signals have small numbers"))
}
