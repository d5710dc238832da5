//! Child processes where the system has no pidfds: as on an old one, or under a filter of system
//! calls that forbids them. Each test runs in a process of its own with such a filter.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    feature = "process"
))]

#[path = "support/children.rs"]
mod children;
mod support;

use std::os::unix::process::ExitStatusExt;

use children::{LONG, SHORT, has_children, is_a_cancel, is_unreaped, ready, sh};
use nix::libc::{P_PIDFD, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_waitid};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};
use support::{alone, until, watch};
use taskgroup::process::{Command, Stdio};
use taskgroup::{CancelToken, TaskGroup};

const TERM: Option<i32> = Some(Signal::TERM.as_raw());
const KILL: Option<i32> = Some(Signal::KILL.as_raw());

/// From now on these calls of this process, and of its children, fail with `answer`, if their first
/// argument is the given one.
fn refuse(calls: &[(i64, Option<u64>)], answer: Errno) {
    let rules = calls.iter().map(|(call, first)| {
        let only_with = |first| {
            let (size, is) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
            let condition = SeccompCondition::new(0, size, is, first).unwrap();
            SeccompRule::new(vec![condition]).unwrap()
        };
        (*call, first.map(only_with).into_iter().collect())
    });
    let refusal = SeccompAction::Errno(answer.raw_os_error().unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules.collect(), SeccompAction::Allow, refusal, arch);
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    apply_filter_all_threads(&program).expect("the system has filters");
}

/// Starts, waits for and ends children in every way.
fn children_are_waited_for_and_ended() {
    let _watch = watch();
    let sleeps = || ready(sh("echo ready; exec sleep 600").grace(LONG));
    let stubborn = || sh("trap '' TERM; echo ready; exec sleep 600");

    let child = sh("exit 3").spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let mut cat = Command::new("cat");
    let mut child = cat.stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    assert_eq!(child.try_wait().unwrap(), None);
    std::thread::scope(|threads| {
        let waiters = [0, 1].map(|_| threads.spawn(|| child.wait()));
        drop(stdin);
        for waiter in waiters {
            assert!(waiter.join().unwrap().unwrap().success());
        }
    });
    assert_eq!(sh("echo hello").output().unwrap().stdout, b"hello\n");

    let (child, token) = (sleeps(), CancelToken::new());
    std::thread::scope(|threads| {
        let waiter = threads.spawn(|| token.run(|| child.wait()));
        token.cancel();
        assert!(is_a_cancel(&waiter.join().unwrap().unwrap_err()));
    });
    assert!(!is_unreaped(child.id()));
    assert_eq!(child.wait().unwrap().signal(), TERM);
    assert_eq!(sleeps().stop().unwrap().signal(), TERM);
    let child = ready(stubborn().grace(SHORT));
    assert_eq!(child.stop().unwrap().signal(), KILL);
    let child = sleeps();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), KILL);

    // A group goes whole.
    let mut leader = sh("(trap '' TERM; echo ready; exec sleep 600) & wait");
    let mut child = ready(leader.own_group().grace(LONG));
    assert_eq!(child.stop().unwrap().signal(), TERM);
    let mut rest = child.stdout.take().unwrap();
    assert_eq!(std::io::copy(&mut rest, &mut std::io::sink()).unwrap(), 0);

    // These are left to the thread that reaps.
    drop(sleeps());
    drop(ready(stubborn().grace(SHORT)));
    sh("exit 0").spawn().unwrap().detach();
    let failed: Result<(), _> = TaskGroup::scope(|g| {
        g.spawn(|| Ok(sh("exec sleep 600").status()?));
        anyhow::bail!("the body fails")
    });
    assert!(failed.is_err());
    until(|| !has_children());
}

/// Runs children where each call that makes or signals a pidfd fails with `answer`.
fn children_without_pidfds(answer: Errno) {
    refuse(
        &[(SYS_pidfd_open, None), (SYS_pidfd_send_signal, None)],
        answer,
    );
    let me = rustix::process::getpid();
    let opened = pidfd_open(me, PidfdFlags::empty());
    assert_eq!(opened.unwrap_err(), answer);
    children_are_waited_for_and_ended();
}

#[test]
fn on_a_system_that_has_no_pidfds() {
    alone("on_a_system_that_has_no_pidfds", || {
        children_without_pidfds(Errno::NOSYS);
    });
}

#[test]
fn where_a_filter_forbids_pidfds() {
    alone("where_a_filter_forbids_pidfds", || {
        children_without_pidfds(Errno::PERM);
    });
}

#[test]
fn where_a_pidfd_cannot_be_signalled() {
    alone("where_a_pidfd_cannot_be_signalled", || {
        refuse(&[(SYS_pidfd_send_signal, None)], Errno::NOSYS);
        assert_eq!(signalled(), Err(Errno::NOSYS));
        children_are_waited_for_and_ended();
    });
}

#[test]
fn where_a_filter_forbids_to_signal_a_pidfd() {
    alone("where_a_filter_forbids_to_signal_a_pidfd", || {
        refuse(&[(SYS_pidfd_send_signal, None)], Errno::PERM);
        assert_eq!(signalled(), Err(Errno::PERM));
        children_are_waited_for_and_ended();
    });
}

/// Sends this process a signal that does nothing.
fn signalled() -> Result<(), Errno> {
    let me = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    pidfd_send_signal(me, Signal::WINCH)
}

#[test]
fn where_a_pidfd_cannot_be_waited_for() {
    // `pidfd_open` came with Linux 5.3, and the wait for a pidfd with 5.4.
    alone("where_a_pidfd_cannot_be_waited_for", || {
        refuse(&[(SYS_waitid, Some(P_PIDFD.into()))], Errno::INVAL);
        let me = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).unwrap();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let waited = rustix::process::waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(&me)), options);
        assert_eq!(waited.unwrap_err(), Errno::INVAL);
        children_are_waited_for_and_ended();
    });
}
