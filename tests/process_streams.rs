//! The streams of a child: which of them a call sets, lends and closes, and the group that holds
//! them.
#![cfg(all(unix, feature = "process"))]

#[path = "support/blocked.rs"]
mod blocked;
#[path = "support/children.rs"]
mod children;
#[cfg(target_os = "linux")]
#[path = "support/program.rs"]
mod program;
mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use children::{LONG, SHORT, line, ready, sh};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
#[cfg(target_os = "linux")]
use support::is_child;
use support::{alone, until, watch};
use taskgroup::process::{Command, Stdio};

/// Whether the call panics.
fn panics<T>(call: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(call()))).is_err()
}

#[test]
fn a_start_after_an_output_inherits_again() {
    let _watch = watch();
    let mut command = sh("echo out; echo err >&2; cat");
    for _ in 0..2 {
        let output = command.output().unwrap();
        assert_eq!(
            (&*output.stdout, &*output.stderr),
            (&b"out\n"[..], &b"err\n"[..])
        );
    }
    command.stdin(Stdio::null());
    let child = command.spawn().unwrap();
    assert!(child.stdout.is_none() && child.stderr.is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_output_captures_what_this_type_has_not_chosen() {
    let _watch = watch();
    let converted = || {
        let mut std = std::process::Command::new("sh");
        std.args(["-c", "echo out; echo err >&2"]);
        std.stdout(Stdio::null()).stderr(Stdio::null());
        Command::from(std)
    };
    let output = converted().output().unwrap();
    assert_eq!(
        (&*output.stdout, &*output.stderr),
        (&b"out\n"[..], &b"err\n"[..])
    );
    let output = converted().stderr(Stdio::null()).output().unwrap();
    assert_eq!(
        (&*output.stdout, &*output.stderr),
        (&b"out\n"[..], &b""[..])
    );
    let output = converted().stdout(Stdio::null()).output().unwrap();
    assert_eq!(
        (&*output.stdout, &*output.stderr),
        (&b""[..], &b"err\n"[..])
    );
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_reads_a_standard_input_that_was_chosen_and_no_other() {
    const TEST: &str = "an_output_reads_a_standard_input_that_was_chosen_and_no_other";
    let _watch = watch();
    let (reader, mut writer) = taskgroup::io::pipe().unwrap();
    if !is_child() {
        // The input of the process is open, and silent.
        program::Program::start(TEST, OwnedFd::from(reader), "").succeeds();
        return drop(writer);
    }

    assert_eq!(Command::new("cat").output().unwrap().stdout, b"");
    writer.write_all(b"chosen").unwrap();
    drop(writer);
    let mut cat = Command::new("cat");
    let output = cat.stdin(OwnedFd::from(reader)).output().unwrap();
    assert_eq!(output.stdout, b"chosen");
}

#[test]
fn a_stop_closes_the_standard_input() {
    let _watch = watch();
    let mut command = sh("trap '' TERM; echo ready; cat; exit 3");
    let child = ready(command.stdin(Stdio::piped()).grace(LONG));
    // Neither the shell nor `cat` ends by the signal.
    assert_eq!(child.stop().unwrap().code(), Some(3));
}

#[test]
fn a_standard_input_that_was_lent_stays_open() {
    let _watch = watch();
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let lent = child.stdin.as_ref().unwrap().as_raw_fd();
    // So the child does not end by itself.
    let waited = taskgroup::timeout(SHORT, || child.wait());
    assert_eq!(waited.unwrap(), None);
    assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(15));

    let stdin = child.stdin.take().unwrap();
    assert_eq!(stdin.as_raw_fd(), lent);
    assert!(rustix::io::fcntl_getfd(stdin.as_fd()).is_ok());
}

#[test]
fn a_standard_input_that_was_lent_can_be_written_to_during_a_wait() {
    let _watch = watch();
    let mut command = sh("read line; test \"$line\" = hello");
    let child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.as_ref().unwrap();
    assert!(stdin.as_raw_fd() > 2);
    std::thread::scope(|threads| {
        let waiter = blocked::when_blocked(threads, || child.wait());
        stdin.write_all(b"hello\n").unwrap();
        assert!(waiter.join().unwrap().unwrap().success());
    });
}

#[test]
fn a_standard_input_that_a_wait_closed_has_no_descriptor() {
    let _watch = watch();
    let closed = || {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        child.stdin.take().unwrap()
    };
    assert!(format!("{:?}", closed()).contains("None"));
    assert!(panics(|| closed().as_raw_fd()));
    assert!(panics(|| OwnedFd::from(closed())));
    assert!(panics(|| Stdio::from(closed())));
}

#[test]
fn a_standard_input_becomes_the_output_of_another_child() {
    let _watch = watch();
    for is_lent in [false, true] {
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = cat.stdin.take().unwrap();
        if is_lent {
            assert!(stdin.as_raw_fd() > 2);
        }
        assert!(sh("echo hello").stdout(stdin).status().unwrap().success());

        let mut text = String::new();
        cat.stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "hello\n");
        assert!(cat.wait().unwrap().success());
    }
}

#[test]
fn a_group_that_is_not_its_own_outlives_the_child() {
    let _watch = watch();
    let mut command = sh("exec 3<&0; (read line <&3; echo $line) & echo ready; wait");
    command.stdin(Stdio::piped()).own_group().process_group(0);
    let mut child = ready(&mut command);
    let mut stdin = child.stdin.take().unwrap();
    assert_eq!(child.stop().unwrap().signal(), Some(15));

    // Its helper is in the same group, and answers.
    stdin.write_all(b"alive\n").unwrap();
    assert_eq!(line(child.stdout.as_mut().unwrap()), "alive");
}

/// A wait closes the standard input while another thread writes to it. Until that write has ended,
/// no other file gets the number, so that the rest of the bytes cannot come into it.
#[test]
fn a_write_keeps_the_number_of_a_standard_input_that_a_wait_closes() {
    const BYTES: usize = 1 << 20;

    alone(
        "a_write_keeps_the_number_of_a_standard_input_that_a_wait_closes",
        || {
            let _watch = watch();
            let mut command = Command::new("wc");
            command.arg("-c").stdin(Stdio::piped());
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let mut stdout = child.stdout.take().unwrap();

            // A child that is stopped reads nothing.
            let pid = Pid::from_raw(child.id() as i32).unwrap();
            kill_process(pid, Signal::STOP).unwrap();
            waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();

            let stdin = child.stdin.as_ref().unwrap();
            // Not `as_raw_fd`: a standard input that was lent is not closed.
            let shown = || format!("{stdin:?}");
            let before = shown();
            std::thread::scope(|threads| {
                let writer = blocked::when_blocked(threads, || {
                    let mut stdin = stdin;
                    stdin.write_all(&vec![b'x'; BYTES])
                });
                let waiter = threads.spawn(|| child.wait());
                until(|| shown() == "ChildStdin { fd: None }");

                let others = [(); 16].map(|()| File::open("/dev/null").unwrap());
                let numbers = others.each_ref().map(AsRawFd::as_raw_fd);
                let numbers = numbers.map(|fd| format!("ChildStdin {{ fd: Some({fd}) }}"));

                // Before the check: if it fails, the threads end too.
                kill_process(pid, Signal::CONT).unwrap();
                assert!(!numbers.contains(&before), "{before} is another file's");
                writer.join().unwrap().unwrap();
                assert!(waiter.join().unwrap().unwrap().success());
            });
            assert_eq!(line(&mut stdout), BYTES.to_string());
        },
    );
}
