//! A running example: its output, signals to it, and its end.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{self, Child, Command, Stdio},
    sync::{
        Once,
        mpsc::{self, Receiver},
    },
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{PATIENCE, Run, example, group_members, wait};

/// A running example, in a process group of its own. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Live {
    child: Child,
    lines: Receiver<String>,
    stdout: String,
    stderr: Receiver<String>,
}

impl Live {
    /// Starts the example.
    pub(crate) fn start(name: &str, args: &[&str], stdin: Stdio) -> Self {
        Self::start_with(name, args, [stdin, Stdio::piped(), Stdio::piped()])
    }

    /// Starts the example with a stdout that the test reads itself, or leaves unread.
    pub(crate) fn start_into(name: &str, args: &[&str], stdin: Stdio, stdout: Stdio) -> Self {
        Self::start_with(name, args, [stdin, stdout, Stdio::piped()])
    }

    /// Starts the example with these streams. The test reads those itself that are not piped, or
    /// leaves them unread.
    pub(crate) fn start_with(name: &str, args: &[&str], streams: [Stdio; 3]) -> Self {
        // A shell that runs the tests in the background ignores SIGINT for them, and so it would
        // be for the examples. A handler ends with the `exec`.
        static HANDLED: Once = Once::new();
        HANDLED.call_once(|| ctrlc::set_handler(|| process::exit(130)).expect("it is the first"));
        let [stdin, stdout, stderr] = streams;
        let mut command = Command::new(example(name));
        command
            .args(args)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0);
        let mut child = command.spawn().expect("the example starts");
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());

        let (send_line, lines) = mpsc::channel();
        thread::spawn(move || {
            stdout
                .into_iter()
                .flat_map(|stdout| BufReader::new(stdout).lines())
                .map_while(Result::ok)
                .try_for_each(|line| send_line.send(line))
        });

        let (send_all, all) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut stderr) = stderr {
                let _ = stderr.read_to_string(&mut text);
            }
            send_all.send(text)
        });

        Live {
            child,
            lines,
            stdout: String::new(),
            stderr: all,
        }
    }

    /// Returns the rest of the first line from now on that begins with `start`.
    pub(crate) fn wait_for(&mut self, start: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line
                .unwrap_or_else(|error| panic!("no line {start:?} ({error}) in\n{}", self.stdout));
            self.stdout += &format!("{line}\n");
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Sends SIGINT to the example alone.
    pub(crate) fn interrupt(&self) {
        kill_process(self.id(), Signal::INT).expect("the example is there");
    }

    /// Sends SIGINT to the example and all its processes, as a terminal does at Ctrl-C.
    pub(crate) fn interrupt_group(&self) {
        kill_process_group(self.id(), Signal::INT).expect("the example is there");
    }

    /// Sends SIGTERM to the example alone, as a service manager does.
    pub(crate) fn terminate(&self) {
        kill_process(self.id(), Signal::TERM).expect("the example is there");
    }

    /// Returns the output of the example, and how it ended. Fails if it does not end, or if it
    /// leaves a process behind, dead or alive.
    pub(crate) fn end(mut self) -> Run {
        let status = wait(&mut self.child)
            .unwrap_or_else(|| panic!("it has not ended; it printed\n{}", self.stdout));
        let left = group_members(self.child.id());

        // With no process left, both pipes have an end.
        assert_eq!(
            left, [0; 0],
            "it left processes; it printed\n{}",
            self.stdout
        );

        self.lines
            .iter()
            .for_each(|line| self.stdout += &format!("{line}\n"));
        let stderr = self.stderr.recv().expect("its reader ends by itself");
        Run {
            status,
            stdout: std::mem::take(&mut self.stdout),
            stderr,
        }
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // There is no group left, if all went well.
        let _ = kill_process_group(self.id(), Signal::KILL);
        let _ = self.child.wait();
    }
}
