//! The output of child processes, whole and cut short.
#![cfg(unix)]

#[path = "support/children.rs"]
mod children;
mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use children::{LONG, SHORT, is_a_cancel, line, partial, ready, sh};
use rustix::process::Signal;
use support::watch;
use taskgroup::process::{Child, Command, Output, Stdio};
use taskgroup::{CancelToken, Cancelled, TaskGroup};

/// Starts a command with all its output piped. Its first line says that it is ready.
fn piped(command: &mut Command) -> Child {
    ready(command.stderr(Stdio::piped()))
}

/// Waits for the output, and cancels the wait when `when` returns.
fn cancelled_output(child: Child, when: impl FnOnce()) -> std::io::Result<Output> {
    let token = CancelToken::new();
    std::thread::scope(|threads| {
        let theirs = token.clone();
        let waiter = threads.spawn(move || theirs.run(|| child.wait_with_output()));
        when();
        token.cancel();
        waiter.join().unwrap()
    })
}

#[test]
fn an_output_is_whole() {
    let mut command = sh("echo out; echo err >&2; exit 3");
    for _ in 0..2 {
        let output = command.output().unwrap();
        assert_eq!(
            (&*output.stdout, &*output.stderr),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert_eq!(output.status.code(), Some(3));
    }
    // The streams are the ones of this process again.
    let child = command.spawn().unwrap();
    assert!(child.stdout.is_none() && child.stdin.is_none() && child.stderr.is_none());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0));
}

#[test]
fn an_output_has_no_standard_input() {
    let _watch = watch();
    assert_eq!(Command::new("cat").output().unwrap().stdout, b"");
    let mut command = Command::new("cat");
    let output = command.stdin(Stdio::piped()).output().unwrap();
    assert_eq!(output.stdout, b"", "the pipe is closed");
}

#[test]
fn both_streams_are_read_while_a_task_feeds_the_third() {
    let _watch = watch();
    let mut child = sh("tee /dev/stderr")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = (0..1 << 20)
        .map(|byte| (byte % 251) as u8)
        .collect::<Vec<_>>();
    let (mut stdin, input) = (child.stdin.take().unwrap(), &bytes);
    let output = TaskGroup::scope(|g| {
        g.spawn(move || Ok(stdin.write_all(input)?));
        Ok(child.wait_with_output()?)
    })
    .unwrap();
    assert!(output.status.success());
    assert!(output.stdout == bytes && output.stderr == bytes);
}

#[test]
fn a_cancelled_output_holds_what_was_read() {
    let _watch = watch();
    let script = "echo ready; echo error >&2; trap 'echo bye; exit 4' TERM; \
                  while :; do sleep 0.01; done";
    let mut child = piped(sh(script).grace(LONG));
    assert_eq!(line(child.stderr.as_mut().unwrap()), "error");
    let error = cancelled_output(child, || ()).unwrap_err();
    assert!(is_a_cancel(&error), "{error:?}");
    let partial = partial(&error);
    assert_eq!(partial.stderr(), b"");
    // Its last words were read, if the shell had set its trap.
    let status = partial.status().unwrap();
    match status.signal() {
        None => assert_eq!((status.code(), partial.stdout()), (Some(4), &b"bye\n"[..])),
        signal => assert_eq!(signal, Some(Signal::TERM.as_raw())),
    }
    assert!(partial.cancelled().is_some());
    assert!(Cancelled::find(&error) == partial.cancelled());
    let text = anyhow::Error::from(error);
    assert!(
        format!("{text:#}").contains("cancelled: cancel was requested"),
        "{text:#}"
    );
}

#[test]
fn of_a_flood_after_the_cancel_the_first_mebibyte_is_kept_and_the_child_goes_on() {
    let _watch = watch();
    let script = "trap 'head -c 5000000 /dev/zero; exit 4' TERM; echo ready; \
                  while :; do sleep 0.01; done";
    let child = piped(sh(script).grace(LONG));
    let error = cancelled_output(child, || ()).unwrap_err();
    assert!(is_a_cancel(&error), "{error:?}");
    let partial = partial(&error);
    assert_eq!(partial.status().unwrap().code(), Some(4));
    assert_eq!(partial.stdout().len(), 1 << 20);
}

/// Asserts that `error` is a cancel, and that its child was ended by `signal`.
#[track_caller]
fn assert_ended_by(error: &io::Error, signal: Signal) {
    assert!(is_a_cancel(error));
    let status = partial(error).status().unwrap();
    assert_eq!(status.signal(), Some(signal.as_raw()));
}

#[test]
fn an_output_in_a_cancelled_scope_ends_the_child() {
    let _watch = watch();
    let child = piped(&mut sh("echo ready; echo more; exec sleep 600"));
    let token = CancelToken::new();
    token.cancel();
    let error = token.run(|| child.wait_with_output()).unwrap_err();
    assert_ended_by(&error, Signal::TERM);
}

#[test]
fn an_output_in_a_cancelled_scope_is_the_cancel_also_of_a_child_that_has_ended() {
    let _watch = watch();
    let child = piped(&mut sh("echo ready"));
    until_ended(child.id());
    let token = CancelToken::new();
    token.cancel();
    let error = token.run(|| child.wait_with_output()).unwrap_err();
    assert!(is_a_cancel(&error));
    assert!(partial(&error).status().unwrap().success());
}

#[test]
fn a_standard_input_that_was_not_taken_is_closed() {
    let _watch = watch();
    let mut cat = Command::new("cat");
    let child = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    assert!(child.unwrap().wait_with_output().unwrap().status.success());
}

/// A helper writes after the end of the child, within the delay.
#[test]
fn a_cancelled_output_is_read_until_all_have_closed_the_pipes() {
    let _watch = watch();
    let script = "(trap '' TERM; sleep 0.05; echo late) & echo ready; exec sleep 600";
    let child = piped(sh(script).grace(LONG).pipe_delay(LONG));
    let error = cancelled_output(child, || ()).unwrap_err();
    assert_eq!(partial(&error).stdout(), b"late\n");
}

/// A child that writes more than the pipe holds can end by itself.
#[test]
fn output_is_read_while_the_child_ends() {
    let _watch = watch();
    let script = "trap 'head -c 300000 /dev/zero; exit 6' TERM; echo ready; \
                  while :; do sleep 0.01; done";
    let child = piped(sh(script).grace(LONG));
    let error = cancelled_output(child, || ()).unwrap_err();
    let partial = partial(&error);
    assert_eq!(partial.status().unwrap().code(), Some(6));
    assert_eq!(partial.stdout().len(), 300_000);
}

#[test]
fn a_child_that_ignores_its_signal_is_killed_after_its_grace() {
    let _watch = watch();
    let child = piped(sh("trap '' TERM; echo ready; exec sleep 600").grace(SHORT));
    let error = cancelled_output(child, || ()).unwrap_err();
    assert_ended_by(&error, Signal::KILL);
}

#[test]
fn processes_that_hold_the_pipes_do_not_hold_up_a_cancel() {
    let _watch = watch();
    let mut command = sh("sleep 600 & echo ready; wait");
    let child = piped(command.grace(LONG).pipe_delay(SHORT));
    let begun = Instant::now();
    let error = cancelled_output(child, || ()).unwrap_err();
    assert!(is_a_cancel(&error));
    assert!(begun.elapsed() < LONG / 2);
    assert_eq!(
        partial(&error).status().unwrap().signal(),
        Some(Signal::TERM.as_raw())
    );

    // Without a delay of its own it is a second.
    let child = piped(sh("sleep 600 & echo ready; wait").grace(LONG));
    let begun = Instant::now();
    assert!(is_a_cancel(&cancelled_output(child, || ()).unwrap_err()));
    assert!(begun.elapsed() < LONG / 2);
}

#[test]
fn a_cut_stream_is_an_error_even_if_the_child_succeeded() {
    let _watch = watch();
    let child = piped(sh("sleep 600 & echo ready; echo more").pipe_delay(SHORT));
    let error = child.wait_with_output().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(Cancelled::find(&error).is_none());
    let partial = partial(&error);
    assert!(partial.status().unwrap().success());
    assert_eq!(partial.stdout(), b"more\n");
    assert!(partial.cancelled().is_none());
    assert!(error.to_string().contains("20ms after its end"), "{error}");
}

#[test]
fn a_cut_stream_ends_the_group() {
    let _watch = watch();
    let (theirs, mut ours) = UnixStream::pair().unwrap();
    let mut command = sh("exec 3<&0; sleep 600 <&3 & echo ready");
    let child = piped(
        command
            .stdin(OwnedFd::from(theirs))
            .own_group()
            .pipe_delay(SHORT),
    );
    drop(command);
    let error = child.wait_with_output().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(partial(&error).status().unwrap().success());
    // The last process that held the socket has ended.
    assert_eq!(ours.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_group_that_holds_the_pipes_ends_with_a_cancel() {
    let _watch = watch();
    let script = "(trap '' TERM; exec sleep 600) & echo ready";
    let child = piped(sh(script).own_group().grace(LONG).pipe_delay(LONG));
    let error = cancelled_output(child, || ()).unwrap_err();
    assert!(is_a_cancel(&error));
    // The shell had ended by itself, or was about to.
    assert!(partial(&error).status().is_some());
}

#[test]
fn without_a_delay_an_output_waits_for_all_that_hold_the_pipes() {
    let _watch = watch();
    let (theirs, ours) = UnixStream::pair().unwrap();
    let mut command = sh("exec 3<&0; cat <&3 & echo ready; exit 2");
    let child = piped(command.stdin(OwnedFd::from(theirs)));
    drop(command);
    let pid = child.id();
    let output = std::thread::scope(|threads| {
        let waiter = threads.spawn(|| child.wait_with_output());
        until_ended(pid);
        (&ours).write_all(b"late\n").unwrap();
        drop(ours);
        waiter.join().unwrap().unwrap()
    });
    assert_eq!(
        (output.status.code(), &*output.stdout),
        (Some(2), &b"late\n"[..])
    );
}

#[test]
fn an_output_waits_for_each_of_its_two_streams() {
    let _watch = watch();
    for (helper, late) in [("cat 2>/dev/null", ["late", ""]), ("cat >&2", ["", "late"])] {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let mut command = sh(&format!("exec 3<&0; {helper} <&3 & echo ready"));
        let child = piped(command.stdin(OwnedFd::from(theirs)));
        drop(command);
        let pid = child.id();
        let output = std::thread::scope(|threads| {
            let waiter = threads.spawn(|| child.wait_with_output());
            until_ended(pid);
            // In its wait for the helper: without that it would have returned.
            std::thread::sleep(SHORT);
            (&ours).write_all(b"late").unwrap();
            drop(ours);
            waiter.join().unwrap().unwrap()
        });
        assert_eq!(
            [&*output.stdout, &*output.stderr],
            late.map(|text| text.as_bytes())
        );
    }
}

/// Waits until the child has ended, and leaves its status to others.
fn until_ended(pid: u32) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let id = WaitId::Pid(Pid::from_raw(pid as i32).unwrap());
    waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
}

#[test]
fn a_read_from_a_child_that_writes_nothing_is_cancelled() {
    let _watch = watch();
    let mut child = piped(&mut sh("sleep 600 & echo ready"));
    let (mut stdout, token) = (child.stdout.take().unwrap(), CancelToken::new());
    std::thread::scope(|threads| {
        let reader = threads.spawn(|| token.run(|| stdout.read(&mut [0])));
        token.cancel();
        assert!(is_a_cancel(&reader.join().unwrap().unwrap_err()));
    });
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_endless_child_ends_when_its_reader_does() {
    let _watch = watch();
    let mut child = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let mut bytes = vec![0; 1 << 20];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut bytes).unwrap();
    drop(stdout);
    assert!(bytes.chunks(2).all(|line| line == b"y\n"));
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::PIPE.as_raw()));
}

#[test]
fn an_endless_output_is_cut_by_a_cancel() {
    let _watch = watch();
    let output = taskgroup::timeout(SHORT, || Command::new("yes").output());
    assert!(output.unwrap().is_none());
}

#[test]
fn an_output_that_its_reader_gave_away_is_empty() {
    let mut child = piped(&mut sh("echo ready; echo more"));
    let mut stdout = child.stdout.take().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"");
    assert_eq!(line(&mut stdout), "more");
}
