//! Stalled scopes in processes of their own: the default output, a policy that aborts, and
//! processes that were stopped or are traced.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use taskgroup::{GroupSnapshot, StallPolicy, TaskGroup, TaskState, on_stall, snapshot};

use crate::support::{
    Gate, LONG, Listener, is_child, run_in_child, run_in_child_with_stderr,
    run_in_child_with_stderr_by, test_in_child, this_test, unread_stderr, until,
};

trials![
    the_default_is_one_warning_and_one_block_on_stderr,
    a_closed_stderr_loses_the_block_and_nothing_else,
    a_stderr_that_nothing_reads_keeps_no_task,
    a_stderr_without_a_reader_ends_no_program_that_sigpipe_would_end,
    the_abort_policy_aborts_after_the_report,
    a_hook_that_blocks_delays_the_abort_but_does_not_prevent_it,
    a_process_that_was_stopped_gets_the_whole_delay_again,
    nothing_is_reported_while_a_debugger_has_the_process,
];

const SOON: Duration = Duration::from_millis(40);

/// Returns once the gate is open.
fn pass(gate: &Gate) -> anyhow::Result<()> {
    gate.wait();
    Ok(())
}

/// Returns the events of this process that are warnings or worse.
fn warnings() -> mpsc::Receiver<String> {
    let (hears, heard) = mpsc::channel();
    let listener = Listener {
        level: tracing::Level::WARN,
        hears: move |event| hears.send(event).unwrap_or(()),
    };
    tracing::subscriber::set_global_default(listener).expect("the process has no other");
    heard
}

/// Opens a scope with a task that ends when `until` returns, and cancels it.
fn stall(name: &'static str, until: impl FnOnce()) {
    let (gate, begun) = (Gate::default(), Gate::default());
    let builder = TaskGroup::builder().name(name).stall_after(SOON);
    let outcome = builder.scope(|g| {
        g.task().name("laggard").spawn(|| {
            begun.open();
            pass(&gate)
        });
        begun.wait();
        g.cancel_because("for a test");
        until();
        gate.open();
        Ok(())
    });
    outcome.expect("the task has ended well");
}

/// Stalls until the default output has named it, and waits for the end of the reports.
fn stall_with_the_default_output() {
    let events = warnings();
    let next = || events.recv_timeout(LONG).expect("a warning comes");
    stall("quiet", || {
        let event = next();
        assert!(event.contains("a cancelled scope does not end"), "{event}");
        assert!(event.contains("task `laggard`"), "{event}");
        assert!(event.contains("for a test"), "{event}");
    });
    // It comes once. There may have been more reports before it.
    while !next().contains("a stalled scope has ended") {}
    assert!(events.recv_timeout(SOON * 4).is_err());
}

fn the_default_is_one_warning_and_one_block_on_stderr() {
    const TEST: &str = "the_default_is_one_warning_and_one_block_on_stderr";
    if is_child() {
        return stall_with_the_default_output();
    }

    let output = run_in_child(TEST);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    let first = lines.iter().position(|line| line.contains("has not ended"));
    let first = first.unwrap_or_else(|| panic!("{stderr}"));
    assert!(
        lines[first].starts_with("scope `quiet` (tests/long_waits/stall_output.rs:"),
        "{stderr}"
    );
    assert!(
        lines[first + 1].contains("cancelled: for a test"),
        "{stderr}"
    );
    assert!(
        lines[first + 2].contains("waits for task `laggard`"),
        "{stderr}"
    );
    let ends = lines.iter().filter(|line| line.contains("ended after all"));
    assert_eq!(ends.count(), 1, "{stderr}");
}

fn a_closed_stderr_loses_the_block_and_nothing_else() {
    const TEST: &str = "a_closed_stderr_loses_the_block_and_nothing_else";
    if is_child() {
        return stall_with_the_default_output();
    }

    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec \"$0\" \"$@\" 2>&-"])
        .arg(this_test());
    run_in_child_with_stderr_by(&mut shell, TEST, Stdio::null());
}

fn a_stderr_that_nothing_reads_keeps_no_task() {
    const TEST: &str = "a_stderr_that_nothing_reads_keeps_no_task";
    if is_child() {
        return stall_with_the_default_output();
    }

    let (_unread, full) = unread_stderr();
    run_in_child_with_stderr(TEST, full);
}

fn a_stderr_without_a_reader_ends_no_program_that_sigpipe_would_end() {
    const TEST: &str = "a_stderr_without_a_reader_ends_no_program_that_sigpipe_would_end";
    if is_child() {
        // SAFETY: no handler is set.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.expect("it can be set");
        return stall_with_the_default_output();
    }

    let (reads, writes) = rustix::pipe::pipe().expect("there are descriptors");
    drop(reads);
    run_in_child_with_stderr(TEST, writes);
}

fn the_abort_policy_aborts_after_the_report() {
    const TEST: &str = "the_abort_policy_aborts_after_the_report";
    if is_child() {
        let builder = TaskGroup::builder().name("aborts").stall_after(SOON);
        let outcome = builder.stall_policy(StallPolicy::Abort).scope(|g| {
            // The report says what the body does, so it has to sleep before the cancel.
            let is_asleep = |seen: &GroupSnapshot| seen.body().state() == TaskState::Foreign;
            g.task().dedicated().spawn(move || {
                until(|| snapshot().all_groups().any(is_asleep));
                g.cancel();
                Ok(())
            });
            thread::sleep(LONG);
            Ok::<_, anyhow::Error>(())
        });
        panic!("it was not aborted: {outcome:?}");
    }

    let output = run_in_child(TEST);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.signal(),
        Some(Signal::SIGABRT as i32),
        "{stderr}"
    );
    assert!(stderr.contains("scope `aborts`"), "{stderr}");
    assert!(stderr.contains("blocked in clock_nanosleep"), "{stderr}");
}

fn a_hook_that_blocks_delays_the_abort_but_does_not_prevent_it() {
    const TEST: &str = "a_hook_that_blocks_delays_the_abort_but_does_not_prevent_it";
    /// Much longer than a hook may delay the abort: the second report comes after that much more.
    const DELAY: Duration = Duration::from_secs(8);
    if is_child() {
        let gate = Gate::default();
        let _blocks = on_stall(move |_| {
            println!("blocks");
            gate.wait();
        });
        let _is_next = on_stall(|report| panic!("told of report {}", report.count()));
        let builder = TaskGroup::builder().name("aborts").stall_after(DELAY);
        let outcome = builder.stall_policy(StallPolicy::Abort).scope(|g| {
            g.cancel();
            thread::sleep(LONG);
            Ok::<_, anyhow::Error>(())
        });
        panic!("it was not aborted: {outcome:?}");
    }

    let output = run_in_child(TEST);
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(
        output.status.signal(),
        Some(Signal::SIGABRT as i32),
        "{stderr}"
    );
    assert!(stdout.contains("blocks"), "{stdout}");
    assert!(stderr.contains("has kept its report"), "{stderr}");
    assert!(stderr.contains("has not ended"), "the report: {stderr}");
    assert!(!stderr.contains("told of report"), "{stderr}");
}

fn a_process_that_was_stopped_gets_the_whole_delay_again() {
    const TEST: &str = "a_process_that_was_stopped_gets_the_whole_delay_again";
    const DELAY: Duration = Duration::from_secs(2);
    const STOPPED: Duration = Duration::from_secs(4);
    if is_child() {
        let (reports, reported) = mpsc::channel();
        let _hook = on_stall(move |report| reports.send(report.since()).unwrap_or(()));
        let outcome = TaskGroup::builder().stall_after(DELAY).scope(|g| {
            g.cancel();
            println!("cancelled");
            Ok::<_, anyhow::Error>(reported.recv_timeout(LONG)?)
        });
        let first = outcome.expect("there is a report");
        // Without a new delay it comes as soon as the process goes on.
        assert!(
            first > STOPPED + DELAY / 2,
            "the report came after {first:?}"
        );
        return;
    }

    let (mut child, mut said) = start(TEST);
    said.wait_for("cancelled");
    let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
    kill(pid, Signal::SIGSTOP).expect("it is a child");
    thread::sleep(STOPPED);
    kill(pid, Signal::SIGCONT).expect("it is a child");
    let said = said.rest();
    assert!(child.wait().expect("it is a child").success(), "{said}");
}

fn nothing_is_reported_while_a_debugger_has_the_process() {
    const TEST: &str = "nothing_is_reported_while_a_debugger_has_the_process";
    if is_child() {
        let (reports, reported) = mpsc::channel();
        let _hook = on_stall(move |report| reports.send(report.count()).unwrap_or(()));
        stall("not yet traced", || {
            assert_eq!(reported.recv_timeout(LONG), Ok(1));
        });
        while reported.recv_timeout(SOON * 4).is_ok() {}

        println!("trace me");
        std::io::stdin()
            .read_exact(&mut [0])
            .expect("the parent writes");
        stall("traced", || {
            // A silence, so there is nothing to wait for but the time.
            let report = reported.recv_timeout(SOON * 20);
            assert_eq!(report, Err(mpsc::RecvTimeoutError::Timeout));
        });
        return;
    }

    let (mut child, mut said) = start(TEST);
    said.wait_for("trace me");
    let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
    ptrace::seize(pid, ptrace::Options::empty()).expect("a process may trace its child");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"x").expect("the child reads");
    let said = said.rest();
    assert!(child.wait().expect("it is a child").success(), "{said}");
}

/// Starts a test in a child, with pipes for its standard input and output.
fn start(test: &str) -> (Child, Said) {
    let mut child = test_in_child(test)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary starts");
    let stdout = child.stdout.take().expect("it is piped");
    (
        child,
        Said {
            stdout,
            text: String::new(),
        },
    )
}

/// The output of a child.
struct Said {
    stdout: ChildStdout,
    text: String,
}

impl Said {
    fn wait_for(&mut self, text: &str) {
        while !self.text.contains(text) {
            let mut byte = [0];
            self.stdout.read_exact(&mut byte).expect("the child lives");
            self.text.push(char::from(byte[0]));
        }
    }

    /// Returns all of it, once the child has ended.
    fn rest(mut self) -> String {
        self.stdout
            .read_to_string(&mut self.text)
            .expect("the child writes UTF-8");
        self.text
    }
}
