//! Child processes for tests, which say when they are ready.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

use std::io::{ErrorKind, Read};
use std::time::Duration;

use rustix::process::{WaitId, WaitIdOptions, waitid};
use taskgroup::Cancelled;
use taskgroup::process::{Child, Command, Partial, Stdio};

/// Longer than any test may take: a grace of this length is never over. The children sleep as long,
/// so that no end by itself is taken for an end by a cancel.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// Shorter than any test.
pub(crate) const SHORT: Duration = Duration::from_millis(20);

/// Returns a command that runs a script of the shell.
pub(crate) fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Starts a command with its output piped, and waits for its first line.
pub(crate) fn ready(command: &mut Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("sh starts");
    let stdout = child.stdout.as_mut().expect("it is piped");
    assert_eq!(line(stdout), "ready");
    child
}

/// Reads a line, and no further.
pub(crate) fn line(from: &mut impl Read) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        let read = from.read(&mut byte).expect("it can be read");
        assert_eq!(read, 1, "the stream ended after {line:?}");
        if byte == *b"\n" {
            return String::from_utf8(line).expect("the child writes UTF-8");
        }
        line.extend(byte);
    }
}

/// Whether an error is a cancel, as the crate's I/O returns it.
pub(crate) fn is_a_cancel(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::Other && Cancelled::find(error).is_some()
}

/// Returns what a cut `output` had read.
pub(crate) fn partial(error: &std::io::Error) -> &Partial {
    Partial::find(error).unwrap_or_else(|| panic!("{error:?} holds no output"))
}

/// Whether this process has children, zombies included.
pub(crate) fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::All, options) {
        Ok(_) => true,
        Err(rustix::io::Errno::CHILD) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Whether the child is a process of this one that nothing has reaped.
pub(crate) fn is_unreaped(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid.expect("a pid")), options).is_ok()
}

/// How many races a test runs. The variable asks for more than each run of the tests has time for.
pub(crate) fn races(usual: u32) -> u32 {
    let asked = std::env::var("TASKGROUP_RACES").ok();
    asked.map_or(usual, |races| races.parse().expect("a number of races"))
}
