//! Signals that cancel: each test sends them to a process of its own, which runs the same test.
#![cfg(all(target_os = "linux", feature = "signal"))]

#[path = "../support/mod.rs"]
mod support;

mod dropped;
mod ignored;
mod refused;
mod second;
mod several;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::raise;
use taskgroup::signal::{ctrl_c, termination};
use taskgroup::{CancelCause, CancelToken, TaskGroup};

use support::{LONG, blocked, is_child, run_test, this_test, watch};

/// A process that runs one test, in its role as the child.
struct Process {
    process: std::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
    printed: String,
}

impl Process {
    /// Runs the test of the calling file that has this name.
    #[track_caller]
    fn start(test: &str) -> Self {
        Self::start_by(&[], test)
    }

    /// Like [`start`](Self::start), by a command that ends with the path of the program.
    #[track_caller]
    fn start_by(command: &[&str], test: &str) -> Self {
        // A signal that is ignored here, because this runs in the background, is not to be ignored
        // there.
        let ignored = mask("SigIgn:");
        let mut words = Vec::new();
        if [SIGHUP, SIGINT, SIGTERM]
            .iter()
            .any(|signal| ignored.contains(signal))
        {
            words.extend(["env", "--default-signal=HUP,INT,TERM"]);
        }
        words.extend(command);

        let mut line = words.iter().map(|word| (*word).into()).collect::<Vec<_>>();
        line.push(this_test().into_os_string());
        let mut process = run_test(Command::new(&line[0]).args(&line[1..]), test)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test binary starts");
        let stdout = process.stdout.take().unwrap();
        Process {
            process,
            lines: BufReader::new(stdout).lines(),
            printed: String::new(),
        }
    }

    /// Waits for a line with the text, and returns what comes after it.
    fn wait_for(&mut self, text: &str) -> String {
        for line in self.lines.by_ref() {
            let line = line.expect("a child prints text");
            self.printed += &format!("{line}\n");
            if let Some((_, rest)) = line.split_once(text) {
                return rest.trim().to_owned();
            }
        }
        let status = self.process.wait().unwrap();
        panic!("no {text:?} from the child, {status}:\n{}", self.printed)
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("the child is there");
    }

    /// Waits for the end.
    fn end(mut self) -> ExitStatus {
        for line in self.lines.by_ref() {
            self.printed += &format!("{}\n", line.expect("a child prints text"));
        }
        let status = self.process.wait().unwrap();
        print!("{}", self.printed);
        status
    }

    /// Waits for the end of a child that runs a test, which passes.
    #[track_caller]
    fn end_well(self) {
        let status = self.end();
        assert!(status.success(), "{status}");
    }

    /// Waits for the end of a child that a signal ends.
    #[track_caller]
    fn end_of(self, signal: Signal) {
        let status = self.end();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
    }
}

/// Returns the signals in a mask of this thread or process, without SIGPIPE, which every program of
/// Rust ignores, and without those that the library of C uses.
fn mask(label: &str) -> Vec<i32> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(label));
    let mask = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
    (1..32)
        .filter(|signal| mask >> (signal - 1) & 1 == 1 && *signal != 13)
        .collect()
}

/// Waits for the cancel of the token, and returns what its cause reads.
fn cause_of(token: &CancelToken) -> String {
    token.wait().unwrap();
    token.cancelled().unwrap().cause().to_string()
}

#[test]
fn the_first_signal_cancels_and_the_cause_names_it() {
    if is_child() {
        let _watch = watch();
        let line = line!() + 1;
        let stop = termination().unwrap();
        let signal = stop.run(|| {
            println!("ready");
            let cancelled = blocked();
            let CancelCause::Signal { signal, .. } = cancelled.cause() else {
                panic!("another cause: {cancelled}");
            };
            assert_eq!(cancelled.origin(), stop.id());
            assert_eq!(cancelled.location().line(), line);
            println!("read: {cancelled}");
            *signal
        });
        println!("number: {signal}");
        return;
    }

    for (signal, name) in [
        (Signal::TERM, "SIGTERM"),
        (Signal::INT, "SIGINT"),
        (Signal::HUP, "SIGHUP"),
    ] {
        let mut child = Process::start("the_first_signal_cancels_and_the_cause_names_it");
        child.wait_for("ready");
        child.send(signal);
        let read = child.wait_for("read: ");
        assert!(
            read.starts_with(&format!("cancelled: {name} (at ")),
            "{read}"
        );
        assert_eq!(child.wait_for("number: "), signal.as_raw().to_string());
        child.end_well();
    }
}

#[test]
fn ctrl_c_leaves_the_other_signals_alone() {
    if is_child() {
        let _stop = ctrl_c().unwrap();
        println!("ready");
        blocked();
    }
    for signal in [Signal::TERM, Signal::HUP] {
        let mut child = Process::start("ctrl_c_leaves_the_other_signals_alone");
        child.wait_for("ready");
        child.send(signal);
        child.end_of(signal);
    }
}

#[test]
fn signals_interrupt_no_other_wait() {
    if is_child() {
        let _watch = watch();
        let stop = ctrl_c().unwrap();
        let other = CancelToken::new();
        std::thread::scope(|threads| {
            let sleeper = threads.spawn(|| other.run(|| taskgroup::sleep(LONG)));
            raise(SIGINT).unwrap();
            stop.wait().unwrap();
            assert!(!other.is_cancelled());
            other.cancel_because("the end");
            let cause = sleeper.join().unwrap().unwrap_err().cause().to_string();
            assert_eq!(cause, "the end");
        });
        println!("over");
        return;
    }
    let mut child = Process::start("signals_interrupt_no_other_wait");
    child.wait_for("over");
    child.end_well();
}

#[test]
fn nothing_else_changes_a_disposition_or_a_mask() {
    if is_child() {
        let _watch = watch();
        let masks = || ["SigIgn:", "SigCgt:", "SigBlk:"].map(mask);
        let before = masks();
        let group = TaskGroup::builder().timeout(LONG).scope(|g| {
            let token = g.token();
            token.on_cancel(|| ()).forget();
            let tasks = g.map([1, 2, 3], |n| Ok(masks() == before && n > 0));
            Ok(tasks.collect::<Result<Vec<_>, _>>()?)
        });
        assert_eq!(group.unwrap(), [true; 3]);
        assert_eq!(masks(), before);
        println!("over");
        return;
    }
    let mut child = Process::start("nothing_else_changes_a_disposition_or_a_mask");
    child.wait_for("over");
    child.end_well();
}
