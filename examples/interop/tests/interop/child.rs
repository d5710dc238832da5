//! Children of std, waited for by tasks that are cancelled.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, test_kill_process, waitpid};
use taskgroup_interop::wait;

use crate::support::watch;
use crate::{assert_cancel, cancelled_during};

fn sleeper() -> Child {
    Command::new("sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn the_status_of_a_child_that_ends() {
    let _watch = watch();
    let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
    assert_eq!(wait(&mut child).unwrap().code(), Some(7));
    // Once more, as with `Child::wait`.
    assert_eq!(wait(&mut child).unwrap().code(), Some(7));
}

#[test]
fn a_cancel_kills_and_reaps_the_child() {
    let _watch = watch();
    for _ in 0..20 {
        let mut child = sleeper();
        let pid = Pid::from_child(&child);
        let error = cancelled_during(|| Ok(wait(&mut child)?), || ());
        assert_cancel(&error);
        assert!(
            test_kill_process(pid).is_err(),
            "it is neither alive nor a zombie"
        );
    }
}

#[test]
fn a_deadline_kills_and_reaps_the_child() {
    let _watch = watch();
    let mut child = sleeper();
    let waited = || Ok::<_, anyhow::Error>(wait(&mut child)?);
    assert_eq!(
        taskgroup::timeout(Duration::from_millis(5), waited).unwrap(),
        None
    );
    assert!(test_kill_process(Pid::from_child(&child)).is_err());
}

#[test]
fn a_killed_child_leaves_its_pipes_to_its_own_children() {
    let _watch = watch();
    let mut child = Command::new("sh")
        .args(["-c", "sleep 1000 & echo $!; wait"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut number = String::new();
    stdout.read_line(&mut number).unwrap();
    assert_cancel(&cancelled_during(|| Ok(wait(&mut child)?), || ()));

    let grandchild = Pid::from_raw(number.trim().parse().unwrap()).unwrap();
    assert!(test_kill_process(grandchild).is_ok(), "it lives on");
    // Only its end is the end of the stream.
    kill_process(grandchild, Signal::KILL).unwrap();
    assert_eq!(stdout.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn a_dropped_child_lives_on() {
    let child = sleeper();
    let pid = Pid::from_child(&child);
    drop(child);
    assert!(test_kill_process(pid).is_ok());
    kill_process(pid, Signal::KILL).unwrap();
    waitpid(Some(pid), WaitOptions::empty()).unwrap();
}
