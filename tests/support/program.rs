//! Tests that run again in a process of their own, with a standard input that is given to it.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A child process that runs one test, and its two ways to talk.
pub(crate) struct Program {
    pub(crate) child: Child,
    says: BufReader<ChildStdout>,
}

impl Program {
    /// Starts the test of this name with this standard input.
    pub(crate) fn start(test: &str, stdin: impl Into<Stdio>, argument: &str) -> Self {
        // A signal that is ignored here, because this runs in the background of a shell, is not to
        // be ignored there.
        let mut command = Command::new("env");
        let mut child = command
            .args(["--default-signal=INT", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env("TASKGROUP_TEST_CHILD", "1")
            .env("TASKGROUP_TEST_ARGUMENT", argument)
            .env_remove("RUST_BACKTRACE")
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        Program { child, says }
    }

    /// Waits until the program says this line.
    #[track_caller]
    pub(crate) fn says(&mut self, expected: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.says.read_line(&mut line).unwrap();
            assert_ne!(length, 0, "the program ended and did not say `{expected}`");
            if line.trim_end().ends_with(expected) {
                return;
            }
        }
    }

    /// Waits until it ends.
    #[track_caller]
    pub(crate) fn succeeds(mut self) {
        let mut rest = String::new();
        self.says.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        assert!(rest.contains("1 passed"), "{rest}");
    }
}

pub(crate) fn argument() -> String {
    std::env::var("TASKGROUP_TEST_ARGUMENT").unwrap()
}

/// Says a line to the test that has started this program.
pub(crate) fn say(line: &str) {
    // Past the capture of the tests, and in one piece.
    rustix::io::write(std::io::stdout(), format!("\n{line}\n").as_bytes()).unwrap();
}
