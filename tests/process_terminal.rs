//! Children of a program that has a terminal: Ctrl-C, and reads in the background. Each test runs
//! in a session of its own.
#![cfg(all(target_os = "linux", feature = "process", feature = "signal"))]

#[path = "support/blocked.rs"]
mod blocked;
#[path = "support/children.rs"]
mod children;
#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/program.rs"]
mod program;
mod support;

use std::io::Read;
use std::os::unix::process::ExitStatusExt;

use blocked::when_blocked;
use children::{LONG, is_a_cancel, line, ready, sh};
use descriptors::{cancelled_inside, terminal};
use program::{Program, say};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, waitid};
use support::{is_child, watch};
use taskgroup::process::{Child, Command};
use taskgroup::signal::ctrl_c;

const INT: Option<i32> = Some(Signal::INT.as_raw());
const TERM: Option<i32> = Some(Signal::TERM.as_raw());

/// The byte that a terminal turns into a SIGINT for all processes in the foreground.
const CTRL_C: &[u8] = b"\x03";

/// Makes standard input the terminal of this process, which leads a session from now on and is in
/// the foreground.
fn take_the_terminal() {
    rustix::process::setsid().expect("it leads no group yet");
    rustix::process::ioctl_tiocsctty(std::io::stdin()).expect("it is a terminal");
}

/// Runs the test of this name with a terminal, and types Ctrl-C if it says so.
fn with_a_terminal(test: &str, types: &[&[u8]]) {
    let (terminal, user) = terminal();
    let mut program = Program::start(test, terminal, "");
    for typed in types {
        program.says("type");
        rustix::io::write(&user, typed).unwrap();
    }
    program.succeeds();
}

/// Blocks until the system says this of the child. Reaps nothing.
fn until_it_has(child: &Child, options: WaitIdOptions) -> WaitIdStatus {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let id = WaitId::Pid(pid.expect("a pid"));
    let status = waitid(id, options | WaitIdOptions::NOWAIT).expect("it is a child");
    status.expect("the call waits")
}

#[test]
fn a_child_gets_the_sigint_of_the_terminal_and_then_its_own_signal() {
    const TEST: &str = "a_child_gets_the_sigint_of_the_terminal_and_then_its_own_signal";
    let _watch = watch();
    if !is_child() {
        return with_a_terminal(TEST, &[CTRL_C]);
    }

    take_the_terminal();
    let stop = ctrl_c().unwrap();
    let script = "trap 'echo INT' INT; trap 'echo TERM; exit 0' TERM; echo ready;
        while :; do sleep 0.01; done";
    let mut beside_us = ready(sh(script).grace(LONG));
    let mut on_its_own = ready(sh(script).grace(LONG).own_group());
    say("type");
    stop.wait().unwrap();
    assert_eq!(line(beside_us.stdout.as_mut().unwrap()), "INT");

    // Now the cancel reaches the waits. A child in the background has had no SIGINT.
    for child in [&mut beside_us, &mut on_its_own] {
        let cut = stop.run(|| child.wait()).unwrap_err();
        assert!(is_a_cancel(&cut), "{cut:?}");
        assert!(child.try_wait().unwrap().unwrap().success());
        let mut rest = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        assert_eq!(rest, "TERM\n");
    }
}

#[test]
fn a_child_that_ctrl_c_has_ended_says_so() {
    const TEST: &str = "a_child_that_ctrl_c_has_ended_says_so";
    let _watch = watch();
    if !is_child() {
        return with_a_terminal(TEST, &[CTRL_C]);
    }

    take_the_terminal();
    let stop = ctrl_c().unwrap();
    let start = || {
        Command::new("sleep")
            .arg("600")
            .grace(LONG)
            .spawn()
            .unwrap()
    };
    let (child, waited_for) = (start(), start());
    std::thread::scope(|threads| {
        let waiter = when_blocked(threads, || waited_for.wait());
        say("type");
        stop.wait().unwrap();
        assert_eq!(waiter.join().unwrap().unwrap().signal(), INT);
    });

    // It has ended when the cancel reaches the wait, and gets no other signal.
    until_it_has(&child, WaitIdOptions::EXITED);
    let cut = stop.run(|| child.wait()).unwrap_err();
    assert!(is_a_cancel(&cut), "{cut:?}");
    assert_eq!(child.try_wait().unwrap().unwrap().signal(), INT);
    assert_eq!(child.wait().unwrap().signal(), INT);
}

#[test]
fn a_child_that_is_stopped_at_the_terminal_ends_with_a_cancel() {
    const TEST: &str = "a_child_that_is_stopped_at_the_terminal_ends_with_a_cancel";
    let _watch = watch();
    if !is_child() {
        return with_a_terminal(TEST, &[]);
    }

    take_the_terminal();
    let start = || Command::new("cat").own_group().grace(LONG).spawn().unwrap();
    let children = [start(), start()];
    for child in &children {
        let status = until_it_has(child, WaitIdOptions::STOPPED);
        assert_eq!(status.stopping_signal(), Some(Signal::TTIN.as_raw()));
        assert_eq!(child.try_wait().unwrap(), None);
    }

    // By its signal, and not by SIGKILL after its grace.
    let [cancelled, stopped] = &children;
    let cut = cancelled_inside(|| cancelled.wait()).unwrap_err();
    assert!(is_a_cancel(&cut), "{cut:?}");
    assert_eq!(cancelled.wait().unwrap().signal(), TERM);
    assert_eq!(stopped.stop().unwrap().signal(), TERM);
}
