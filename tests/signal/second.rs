//! The second signal, which ends the process.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::raise;
use taskgroup::signal::{ctrl_c, termination};

use super::{Process, cause_of};
use crate::support::{blocked, is_child, until, watch};

#[test]
fn the_second_signal_ends_the_process_while_a_callback_of_the_first_blocks() {
    if is_child() {
        let _watch = watch();
        let stop = termination().unwrap();
        // The thread of the signals runs this.
        let clean_up = || {
            println!("cleaning up");
            blocked();
        };
        stop.on_cancel(clean_up).forget();
        println!("ready");
        blocked();
    }
    // The second one need not be of the same kind.
    for (first, second) in [
        (Signal::TERM, Signal::TERM),
        (Signal::INT, Signal::INT),
        (Signal::HUP, Signal::TERM),
        (Signal::TERM, Signal::INT),
    ] {
        let mut child = Process::start(
            "the_second_signal_ends_the_process_while_a_callback_of_the_first_blocks",
        );
        child.wait_for("ready");
        child.send(first);
        child.wait_for("cleaning up");
        child.send(second);
        child.end_of(second);
    }
}

#[test]
fn the_second_signal_ends_the_process_as_soon_as_a_cancel_is_seen() {
    if is_child() {
        let _watch = watch();
        let stop = termination().unwrap();
        println!("ready");
        until(|| stop.is_cancelled());
        // Before any thread that the cancel wakes can have run.
        raise(SIGTERM).unwrap();
        unreachable!("the second signal was lost");
    }
    for _ in 0..20 {
        let mut child =
            Process::start("the_second_signal_ends_the_process_as_soon_as_a_cancel_is_seen");
        child.wait_for("ready");
        child.send(Signal::TERM);
        child.end_of(Signal::TERM);
    }
}

#[test]
fn a_burst_of_signals_ends_the_process() {
    if is_child() {
        let _watch = watch();
        let _stop = termination().unwrap();
        println!("ready");
        blocked();
    }
    for _ in 0..20 {
        let mut child = Process::start("a_burst_of_signals_ends_the_process");
        child.wait_for("ready");
        // Signals that come before the system has delivered the first count as one.
        let mut status = None;
        until(|| {
            child.send(Signal::INT);
            status = child.process.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.signal()), Some(SIGINT));
    }
}

#[test]
fn process_1_exits() {
    const COMMAND: [&str; 5] = ["unshare", "--user", "--map-root-user", "--pid", "--fork"];
    if is_child() {
        let _watch = watch();
        assert_eq!(std::process::id(), 1);
        let stop = termination().unwrap();
        raise(SIGTERM).unwrap();
        assert_eq!(cause_of(&stop), "SIGTERM");
        println!("cancelled");
        raise(SIGTERM).unwrap();
        blocked();
    }
    let can_unshare = Command::new(COMMAND[0])
        .args(&COMMAND[1..])
        .arg("true")
        .status()
        .is_ok_and(|status| status.success());
    if !can_unshare {
        eprintln!("SKIPPED process_1_exits: `unshare --pid` is not allowed here");
        return;
    }
    let mut child = Process::start_by(&COMMAND, "process_1_exits");
    child.wait_for("cancelled");
    assert_eq!(child.end().code(), Some(128 + SIGTERM));
}

#[test]
fn a_handler_that_was_there_before_sees_the_second_signal_too() {
    if is_child() {
        let _watch = watch();
        // Each call of this handler writes a byte. The output outlives the process.
        let output = rustix::io::dup(std::io::stdout()).unwrap();
        signal_hook::low_level::pipe::register(SIGINT, output).unwrap();
        let stop = ctrl_c().unwrap();
        raise(SIGINT).unwrap();
        assert_eq!(cause_of(&stop), "SIGINT");
        println!(" cancelled");
        raise(SIGINT).unwrap();
        unreachable!("the second signal was lost");
    }
    let mut child = Process::start("a_handler_that_was_there_before_sees_the_second_signal_too");
    child.wait_for("X cancelled");
    let last = child.lines.next().expect("the handler wrote").unwrap();
    assert_eq!(last, "X");
    child.end_of(Signal::INT);
}

#[test]
fn a_new_token_does_not_take_the_second_signal() {
    if is_child() {
        let _watch = watch();
        let stop = termination().unwrap();
        raise(SIGTERM).unwrap();
        assert_eq!(cause_of(&stop), "SIGTERM");
        // A SIGINT has not come yet, and is the second signal.
        let _late = ctrl_c().unwrap();
        println!("asked");
        raise(SIGINT).unwrap();
        unreachable!("the second signal was lost");
    }
    let mut child = Process::start("a_new_token_does_not_take_the_second_signal");
    child.wait_for("asked");
    child.end_of(Signal::INT);
}
