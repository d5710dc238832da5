//! Dispositions of signals where the system has no safe way to ask for them: a child inherits which
//! signals are ignored, so a shell sends the signal to itself and survives if it is ignored.
//!
//! A handler of the program is not seen, since a child does not inherit it. A signal that the
//! calling thread blocks counts as ignored, because the child blocks it too.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::disposition::Disposition;

/// Returns whether the signal is ignored now.
pub(super) fn disposition(signal: i32) -> io::Result<Disposition> {
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("kill -{signal} $$"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;

    // A shell that is killed by another signal says nothing about this one.
    match status.signal() {
        None => Ok(Disposition::Ignored),
        Some(ended_by) if ended_by == signal => Ok(Disposition::Default),
        Some(other) => Err(io::Error::other(format!(
            "the shell that looks was ended by signal {other}"
        ))),
    }
}

/// Calls `f`, which sets the handler up. A signal in the moment before the first action is there
/// can be lost: no safe call blocks it.
#[cfg(not(target_os = "linux"))]
pub(super) fn held_back<T>(_signal: i32, f: impl FnOnce() -> T) -> T {
    f()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::linux;
    use super::super::signal::Signal;
    use super::*;

    #[test]
    fn the_shell_sees_the_same_as_the_system_tells() {
        for signal in Signal::ALL.map(Signal::number) {
            let told = linux::disposition(signal).unwrap();
            assert_eq!(disposition(signal).unwrap(), told, "{signal}");
        }
    }
}
