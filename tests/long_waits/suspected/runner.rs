//! Starts a process for each case, and compares its report.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use taskgroup::deadlock::{self, DeadlockPolicy};

use super::cases::Case;
use super::found::FOUND;
use super::silent::{A_LONG_QUIET_TIME, SILENT, UNWOKEN};

const CASE: &str = "TASKGROUP_TEST_CASE";

/// How long all threads sleep before a deadlock is suspected.
const QUIET: Duration = Duration::from_millis(200);

/// Returns a trial for each case.
pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    let all = FOUND.iter().map(|(name, _)| (*name, true));
    let all = all.chain(SILENT.iter().map(|(name, _)| (*name, false)));
    all.map(|(name, is_deadlock)| {
        let trial = move || Ok(watch_case(name, is_deadlock)?);
        Trial::test(format!("suspected::{name}"), trial)
    })
}

/// Runs a case on the main thread of this process, if it was started for one.
pub(crate) fn run_case() -> bool {
    let Ok(name) = env::var(CASE) else {
        return false;
    };
    run(&name);
    true
}

fn run(name: &str) {
    deadlock::set_policy(DeadlockPolicy::Ignore);
    let quiet_for = match name {
        A_LONG_QUIET_TIME => Duration::from_secs(60),
        _ => QUIET,
    };
    let _watch = deadlock::watch_suspected(quiet_for);
    let cases: Vec<&Case> = FOUND.iter().chain(SILENT).collect();
    let (_, case) = cases
        .into_iter()
        .find(|(of, _)| *of == name)
        .expect("there is such a case");
    println!("ended: {:?}", case());
}

/// Ends the process of a case, however the case goes.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It fails only if the process has ended, and then there is nothing to kill.
        let _ = self.0.kill();
        self.0.wait().expect("it is a child of this process");
    }
}

/// Starts a process for a case, and compares what it reports.
fn watch_case(name: &str, is_deadlock: bool) -> Result<(), String> {
    let this = env::current_exe().expect("a test binary knows its path");
    let mut child = Command::new(this)
        .env(CASE, name)
        .env_remove("RUST_BACKTRACE")
        // Nothing comes from there, and it does not end.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test binary starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let stderr = child.stderr.take().expect("it is piped");
    let child = Killed(child);

    let (line, lines) = mpsc::channel();
    let reads = thread::spawn(move || {
        for text in BufReader::new(stderr).lines() {
            let text = text.expect("the report is text");
            if line.send(text).is_err() {
                return;
            }
        }
    });
    let mut first = String::new();
    stdout
        .read_line(&mut first)
        .expect("it says that it has begun");
    let result = if first.trim() != "planted" {
        Err(format!("it began with {first:?}"))
    } else if is_deadlock {
        expect_report(&lines, name)
    } else {
        expect_silence(&lines, name, child.0.id())
    };

    drop(child);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("it is text");
    drop(lines);
    reads.join().expect("it reads to the end");
    match result {
        Ok(()) if !rest.is_empty() => Err(format!("the case ended: {rest}")),
        result => result,
    }
}

/// Waits several times as long as a report takes, in which none may come.
fn expect_silence(lines: &mpsc::Receiver<String>, name: &str, process: u32) -> Result<(), String> {
    let before = sleeps(process);
    match lines.recv_timeout(Duration::from_secs(3)) {
        Err(RecvTimeoutError::Timeout) => {}
        other => return Err(format!("{other:?}")),
    }
    // A search that wakes the threads does so 500 times a second.
    let now = sleeps(process);
    let slept: u64 = now
        .iter()
        .map(|(thread, sleeps)| sleeps.saturating_sub(*before.get(thread).unwrap_or(&0)))
        .sum();
    match name {
        UNWOKEN if slept > 200 => Err(format!("its threads went to sleep {slept} times")),
        _ => Ok(()),
    }
}

/// Returns how often each thread of a process has gone to sleep.
fn sleeps(pid: u32) -> HashMap<OsString, u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let sleeps = threads.filter_map(|thread| {
        let thread = thread.expect("the process runs");
        // A thread may end while they are listed.
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        let mut lines = status.lines();
        let sleeps = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let sleeps = sleeps.expect("the kernel counts them").trim();
        Some((thread.file_name(), sleeps.parse().expect("a number")))
    });
    sleeps.collect()
}

fn expect_report(lines: &mpsc::Receiver<String>, name: &str) -> Result<(), String> {
    let mut report = Vec::new();
    loop {
        let line = lines.recv_timeout(Duration::from_secs(60));
        report.push(line.map_err(|error| format!("{error}, after {report:?}"))?);
        // The last line of a report.
        if report.last().is_some_and(|line| line.contains("cancel")) {
            break;
        }
    }
    // Several more looks find the same, and report it no more.
    match lines.recv_timeout(Duration::from_secs(2)) {
        Err(RecvTimeoutError::Timeout) => {}
        other => return Err(format!("more than one report: {other:?}")),
    }

    let text = report.join("\n");
    // What the report has to say of how much is taken.
    let share = match name {
        "a_barrier_that_lacks_one" => "2 of 3 threads are at the barrier",
        "permits_that_are_held_one_by_one" => "2 of 2 permits were taken when the wait began",
        "an_event_that_a_queued_task_would_set" => "queued behind the limit of 1 of the group",
        _ => "",
    };
    let held = match name {
        "an_event_that_a_queued_task_would_set" => ": 1 of 1 permits are held",
        _ => "",
    };
    if !text.contains("taskgroup: suspected deadlock") {
        Err(text)
    } else if !text.contains(share) || !text.contains(held) {
        Err(format!("it does not say `{share}`: {text}"))
    } else {
        Ok(())
    }
}
