//! A child process that prints dumps when it is asked for them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Watch, run_test, this_test, watch};

/// A process that runs one test, in its role as the child, until its standard input is closed.
pub(crate) struct Process {
    pub(crate) process: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stderr: Option<BufReader<ChildStderr>>,
    /// Not in the child: a thread that begins late takes memory there, and descriptors.
    _watch: Watch,
}

impl Process {
    /// Runs the test of this name, and waits until it says that it is ready.
    #[track_caller]
    pub(crate) fn start(test: &str) -> Self {
        Self::start_by(&mut Command::new(this_test()), test)
    }

    /// Runs it by a command that ends with the path of this test binary.
    #[track_caller]
    pub(crate) fn start_by(command: &mut Command, test: &str) -> Self {
        let mut process = run_test(command, test)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test binary starts");
        let mut started = Process {
            stdin: process.stdin.take(),
            stderr: process.stderr.take().map(BufReader::new),
            process,
            _watch: watch(),
        };
        started.lines_until("ready");
        started
    }

    pub(crate) fn send(&self) {
        let process = Pid::from_child(&self.process);
        kill_process(process, Signal::QUIT).expect("the child is there");
    }

    /// Returns what the child prints up to a line with this text.
    pub(crate) fn lines_until(&mut self, text: &str) -> String {
        let mut printed = String::new();
        let stderr = self.stderr.as_mut().expect("it is kept");
        loop {
            let from = printed.len();
            let read = stderr.read_line(&mut printed).expect("a child prints text");
            assert_ne!(read, 0, "no {text:?} from the child:\n{printed}");
            if printed[from..].contains(text) {
                return printed;
            }
        }
    }

    /// Asks for a dump, and returns it.
    pub(crate) fn dump(&mut self) -> String {
        self.send();
        self.lines_until("end of the dump")
    }

    /// Lets the child end, and checks that its test has passed.
    #[track_caller]
    pub(crate) fn end_well(mut self) {
        drop(self.stdin.take());
        let rest = self.stderr.take().map(|mut stderr| {
            let mut rest = String::new();
            stderr.read_to_string(&mut rest).map(|_| rest)
        });
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}: {rest:?}");
    }
}

/// Fails unless a dump has these parts.
#[track_caller]
pub(crate) fn assert_has(dump: &str, parts: &[&str]) {
    for part in parts {
        assert!(dump.contains(part), "no {part:?} in:\n{dump}");
    }
}
