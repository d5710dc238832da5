//! Ends of child processes: signals, grace, groups.
#![cfg(unix)]

#[path = "support/children.rs"]
mod children;
mod support;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use children::{LONG, SHORT, has_children, is_a_cancel, is_unreaped, line, races, ready, sh};
use rustix::process::Signal;
use support::{Gate, alone, watch};
#[cfg(target_os = "linux")]
use taskgroup::process::ChildStdin;
use taskgroup::process::{Child, Command, Stdio};
use taskgroup::{CancelToken, TaskGroup};

const TERM: Option<i32> = Some(Signal::TERM.as_raw());
const KILL: Option<i32> = Some(Signal::KILL.as_raw());

/// A child that ignores SIGTERM.
fn stubborn() -> Command {
    sh("trap '' TERM; echo ready; exec sleep 600")
}

/// Cancels the wait for the child, and returns the status that the child had then.
fn cancel(child: &Child) -> std::process::ExitStatus {
    let token = CancelToken::new();
    let error = std::thread::scope(|threads| {
        let waiter = threads.spawn(|| token.run(|| child.wait()));
        token.cancel();
        waiter.join().unwrap().unwrap_err()
    });
    assert!(is_a_cancel(&error), "{error:?}");
    assert!(!is_unreaped(child.id()));
    child.try_wait().unwrap().unwrap()
}

fn rest(child: &mut Child) -> Vec<u8> {
    let mut rest = Vec::new();
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_to_end(&mut rest)
        .unwrap();
    rest
}

#[test]
fn a_child_gets_sigterm_and_then_sigkill() {
    let _watch = watch();
    let child = ready(sh("echo ready; exec sleep 600").grace(LONG));
    assert_eq!(cancel(&child).signal(), TERM);
    let child = ready(stubborn().grace(SHORT));
    assert_eq!(cancel(&child).signal(), KILL);
    let child = ready(stubborn().grace(Duration::ZERO));
    assert_eq!(child.stop().unwrap().signal(), KILL);
    let child = ready(stubborn().grace(Duration::MAX));
    child.kill().unwrap();
    assert_eq!(child.stop().unwrap().signal(), KILL);
}

#[test]
fn a_child_that_ends_well_after_its_signal_was_cancelled_nevertheless() {
    let _watch = watch();
    let mut sleeps = sh("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
    let mut child = ready(sleeps.grace(LONG));
    assert!(cancel(&child).success());
    assert_eq!(rest(&mut child), b"bye\n");
}

#[test]
fn another_signal_is_sent_where_the_command_says_so() {
    let _watch = watch();
    let mut command =
        sh("trap 'exit 9' USR1; trap '' TERM; echo ready; while :; do sleep 0.01; done");
    let child = ready(command.stop_with(Signal::USR1.as_raw()).grace(LONG));
    assert_eq!(child.stop().unwrap().code(), Some(9));
    let child = ready(stubborn().stop_with(Signal::KILL.as_raw()).grace(LONG));
    assert_eq!(child.stop().unwrap().signal(), KILL);
    for unknown in [0, -1, 4096] {
        let refused = std::panic::catch_unwind(|| _ = Command::new("true").stop_with(unknown));
        assert!(refused.is_err());
    }
}

#[test]
fn a_stopped_child_sees_its_signal() {
    let _watch = watch();
    let child = ready(sh("echo ready; exec sleep 600").grace(LONG));
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    assert_eq!(cancel(&child).signal(), TERM);
}

#[test]
fn a_kill_is_seen_by_a_waiting_thread() {
    let _watch = watch();
    let child = ready(&mut stubborn());
    std::thread::scope(|threads| {
        let waiter = threads.spawn(|| child.wait());
        child.kill().unwrap();
        assert_eq!(waiter.join().unwrap().unwrap().signal(), KILL);
    });
}

#[test]
fn several_threads_may_stop_a_child() {
    let _watch = watch();
    let child = ready(stubborn().grace(SHORT));
    std::thread::scope(|threads| {
        let stops = [0, 1, 2].map(|_| threads.spawn(|| child.stop()));
        for stop in stops {
            assert_eq!(stop.join().unwrap().unwrap().signal(), KILL);
        }
    });
}

#[test]
fn a_stop_works_in_a_cancelled_scope() {
    let child = ready(&mut sh("echo ready; exec sleep 600"));
    let token = CancelToken::new();
    token.cancel();
    assert_eq!(token.run(|| child.stop()).unwrap().signal(), TERM);
}

#[test]
fn a_child_that_ignores_its_signal_delays_a_timeout_by_its_grace() {
    let _watch = watch();
    let child = ready(stubborn().grace(SHORT));
    let waited = taskgroup::timeout(SHORT, || child.wait());
    assert!(waited.unwrap().is_none());
    assert_eq!(child.wait().unwrap().signal(), KILL);
}

/// The stop and the natural end come at once, in all orders.
#[test]
fn a_stop_races_with_the_end_of_the_child() {
    let (mut stopped, mut ended) = (0, 0);
    let mut watched = watch();
    for race in 0..races(200) {
        // The time is for some of the races, however many were asked for.
        if race % 20 == 19 {
            watched = watch();
        }
        let mut cat = Command::new("cat");
        let mut child = cat.stdin(Stdio::piped()).grace(LONG).spawn().unwrap();
        let (stdin, child) = (child.stdin.take(), &child);
        let status = std::thread::scope(|threads| {
            let stop = threads.spawn(move || {
                (0..race * 37 % 9000).for_each(|_| std::hint::spin_loop());
                child.stop()
            });
            drop(stdin);
            stop.join().unwrap().unwrap()
        });
        match (status.code(), status.signal()) {
            (Some(0), _) => ended += 1,
            (_, TERM) => stopped += 1,
            _ => panic!("{status}"),
        }
        assert_eq!(child.wait().unwrap(), status);
        assert!(!is_unreaped(child.id()));
    }
    println!("{stopped} children were stopped, {ended} had ended");
    drop(watched);
}

/// Returns a command with a socket as its standard input, and the other end.
fn with_socket(script: &str) -> (Command, UnixStream) {
    let (theirs, ours) = UnixStream::pair().unwrap();
    let mut command = sh(script);
    command.stdin(OwnedFd::from(theirs));
    (command, ours)
}

/// A leader that has ended and a helper in its group, which holds the pipe.
fn leader_with_helper(script: &str) -> Child {
    let mut command = sh(script);
    ready(command.own_group().grace(LONG))
}

#[test]
fn a_cancel_ends_the_whole_group() {
    let _watch = watch();
    let mut child = leader_with_helper("sleep 600 & sleep 600 & echo ready; wait");
    assert_eq!(cancel(&child).signal(), TERM);
    assert_eq!(rest(&mut child), b"", "no helper holds the pipe");

    let mut child = leader_with_helper("sleep 600 & echo ready; wait");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), KILL);
    assert_eq!(rest(&mut child), b"");

    // Helpers that ignore the signal go with the leader.
    let mut child = leader_with_helper("(trap '' TERM; echo ready; exec sleep 600) & wait");
    assert_eq!(cancel(&child).signal(), TERM);
    assert_eq!(rest(&mut child), b"");
}

#[test]
fn helpers_of_a_leader_that_has_ended_are_killed_before_it_is_reaped() {
    let _watch = watch();
    // Not waited for: the leader is a zombie, and its helper lives.
    let ended = |child: &Child| {
        let pid = rustix::process::Pid::from_raw(child.id() as i32);
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        let id = rustix::process::WaitId::Pid(pid.unwrap());
        rustix::process::waitid(id, options).unwrap();
    };
    let script = "(trap '' TERM; echo ready; exec sleep 600) & exit 3";
    let mut child = leader_with_helper(script);
    ended(&child);
    assert_eq!(child.stop().unwrap().code(), Some(3));
    assert_eq!(rest(&mut child), b"");

    let mut child = leader_with_helper(script);
    ended(&child);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(rest(&mut child), b"");

    let mut child = leader_with_helper(script);
    ended(&child);
    let mut stdout = child.stdout.take().unwrap();
    drop(child);
    assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_group_is_left_alone_once_its_leader_was_reaped() {
    let _watch = watch();
    let (mut command, mut ours) = with_socket("exec 3<&0; cat <&3 & echo ready");
    let mut child = ready(command.own_group());
    assert!(child.wait().unwrap().success());
    assert!(child.stop().unwrap().success());
    child.kill().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    drop(child);
    ours.write_all(b"alive\n").unwrap();
    assert_eq!(line(&mut stdout), "alive");
    drop((ours, command));
    assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
}

/// A member that this process has not reaped keeps the number of the group alive after its leader.
#[test]
fn the_number_of_a_group_is_not_signalled_after_the_reap() {
    use std::os::unix::process::CommandExt;

    let _watch = watch();
    let leader = ready(sh("echo ready; exec sleep 600").own_group());
    let group = i32::try_from(leader.id()).unwrap();
    let member = || {
        let mut sleep = std::process::Command::new("sleep");
        sleep.arg("600").process_group(group).spawn().unwrap()
    };
    let mut zombie = member();
    assert_eq!(leader.stop().unwrap().signal(), TERM);

    let mut late = member();
    assert_eq!(leader.try_wait().unwrap().unwrap().signal(), TERM);
    assert_eq!(leader.wait().unwrap().signal(), TERM);
    assert_eq!(leader.stop().unwrap().signal(), TERM);
    leader.kill().unwrap();
    drop(leader);
    assert_eq!(late.try_wait().unwrap(), None);

    late.kill().unwrap();
    assert_eq!(late.wait().unwrap().signal(), KILL);
    assert!(!zombie.wait().unwrap().success());
}

#[test]
fn a_leader_is_given_its_grace_before_its_group_is_killed() {
    let _watch = watch();
    let script = "trap 'sleep 0.05; echo bye; exit 0' TERM; echo ready; \
                  while :; do sleep 0.01; done";
    let mut child = ready(sh(script).own_group().grace(LONG));
    assert!(cancel(&child).success());
    assert_eq!(rest(&mut child), b"bye\n");
}

#[test]
fn a_kill_ends_what_is_left_of_the_group_of_a_leader_that_has_ended() {
    let _watch = watch();
    let (mut command, mut ours) = with_socket("exec 3<&0; sleep 600 <&3 & echo ready");
    let child = ready(command.own_group());
    drop(command);
    let pid = rustix::process::Pid::from_raw(child.id() as i32);
    let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
    rustix::process::waitid(rustix::process::WaitId::Pid(pid.unwrap()), ended).unwrap();

    child.kill().unwrap();
    // The helper was the last to hold the socket. The leader has not been reaped.
    assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    assert!(is_unreaped(child.id()));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_stop_closes_the_standard_input() {
    let _watch = watch();
    let script = "trap 'cat > /dev/null; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let child = ready(sh(script).stdin(Stdio::piped()).grace(LONG));
    assert_eq!(child.stop().unwrap().code(), Some(3));
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_has_left_the_group_lives_on() {
    let _watch = watch();
    let script = "exec 3<&0; setsid sh -c 'echo ready; exec cat' <&3 & wait";
    let (mut command, mut ours) = with_socket(script);
    let mut child = ready(command.own_group().grace(LONG));
    assert_eq!(cancel(&child).signal(), TERM);
    ours.write_all(b"alive\n").unwrap();
    let stdout = child.stdout.as_mut().unwrap();
    assert_eq!(line(stdout), "alive");
    drop((ours, command));
    assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
}

/// Root can start a process of another user, and may signal it by one capability. This command
/// takes that away from the program that it starts.
#[cfg(target_os = "linux")]
const WITHOUT: [&str; 3] = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"];

#[cfg(target_os = "linux")]
fn can_start_a_process_of_another_user() -> bool {
    let mut probe = std::process::Command::new(WITHOUT[0]);
    let probe = probe.args(&WITHOUT[1..]).arg("true").status();
    rustix::process::geteuid().is_root() && probe.is_ok_and(|status| status.success())
}

/// Starts `cat` as another user. It ends when the returned input is dropped.
#[cfg(target_os = "linux")]
fn cat_of_another_user(own_group: bool) -> (Child, ChildStdin) {
    use std::os::unix::process::CommandExt;

    let mut cat = std::process::Command::new("cat");
    cat.uid(65534);
    let mut cat = Command::from(cat);
    // A refused signal begins no grace. A second request would wait for one.
    cat.grace(LONG);
    if own_group {
        cat.own_group();
    }
    let mut child = cat.stdin(Stdio::piped()).spawn().unwrap();
    // Out of the reach of the calls that close it.
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_of_another_user_is_left_to_end_by_itself() {
    use std::io::ErrorKind::PermissionDenied;

    const TEST: &str = "a_child_of_another_user_is_left_to_end_by_itself";
    if !support::is_child() {
        if !can_start_a_process_of_another_user() {
            return eprintln!("SKIPPED {TEST}: only root can start a process of another user");
        }
        let output = support::run_in_child_by(&WITHOUT, TEST);
        return assert!(output.status.success(), "{output:?}");
    }

    let _watch = watch();
    for own_group in [false, true] {
        let (child, stdin) = cat_of_another_user(own_group);
        for refused in [child.kill(), child.stop().map(drop), child.stop().map(drop)] {
            assert_eq!(refused.unwrap_err().kind(), PermissionDenied);
        }
        // A cancel wakes the wait, and cannot end the child.
        let token = CancelToken::new();
        let cut = std::thread::scope(|threads| {
            let waiter = threads.spawn(|| token.run(|| child.wait()));
            token.cancel();
            waiter.join().unwrap()
        });
        assert!(is_a_cancel(&cut.unwrap_err()));
        assert!(
            taskgroup::timeout(SHORT, || child.wait())
                .unwrap()
                .is_none()
        );
        assert!(is_a_cancel(&token.run(|| child.wait()).unwrap_err()));
        assert_eq!(child.try_wait().unwrap(), None);

        drop(stdin);
        assert!(child.wait().unwrap().success());
        assert!(child.stop().unwrap().success());

        // A thread of the crate waits for a child that is dropped.
        let (child, stdin) = cat_of_another_user(own_group);
        drop(child);
        assert!(has_children());
        drop(stdin);
        support::until(|| !has_children());
    }
}

#[test]
fn one_job_that_fails_ends_the_others() {
    alone("one_job_that_fails_ends_the_others", || {
        let _watch = watch();
        let (running, all) = (std::sync::Barrier::new(8), Gate::default());
        let error = TaskGroup::scope(|g| {
            for job in 0..8 {
                let (running, all) = (&running, &all);
                g.task().dedicated().spawn(move || {
                    let mut waits = sh("echo ready; read line; exit 1");
                    let mut child = ready(waits.stdin(Stdio::piped()).grace(LONG));
                    if running.wait().is_leader() {
                        all.open();
                    }
                    all.wait();
                    let stdin = (job != 3).then(|| child.stdin.take());
                    let status = child.wait()?;
                    drop(stdin);
                    anyhow::ensure!(status.success(), "job {job} failed");
                    Ok(())
                });
            }
            Ok(())
        })
        .unwrap_err();
        assert_eq!(error.failures().len(), 1, "{error}");
        assert!(error.to_string().contains("job 3 failed"), "{error}");
        assert!(!has_children(), "all are reaped when the scope returns");
    });
}
