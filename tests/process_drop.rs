//! Child processes with handles that are dropped, and child processes that are let go.
#![cfg(unix)]

#[path = "support/children.rs"]
mod children;
mod support;

use std::io::{self, Read, Write};
use std::sync::Mutex;

use children::{LONG, SHORT, has_children, line, races, ready, sh};
use support::{Gate, alone, is_child, run_in_child, until, watch};
use taskgroup::process::{ChildStdout, Command, ExitStatus, Stdio};
use taskgroup::{CancelToken, TaskGroup};

/// Reads the rest, to the end.
fn rest(mut stdout: ChildStdout) -> String {
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    rest
}

#[test]
fn a_dropped_child_is_ended_and_reaped() {
    alone("a_dropped_child_is_ended_and_reaped", || {
        let _watch = watch();
        // The script goes on until its signal, which it answers.
        let script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        let mut child = ready(sh(script).grace(LONG));
        let stdout = child.stdout.take().unwrap();
        drop(child);
        assert_eq!(rest(stdout), "bye\n");
        until(|| !has_children());
    });
}

#[test]
fn a_dropped_child_that_ignores_its_signal_is_killed() {
    alone("a_dropped_child_that_ignores_its_signal_is_killed", || {
        let _watch = watch();
        // The first has a long grace, so the thread must look at both.
        let stubborn = "trap '' TERM; echo ready; exec sleep 600";
        let patient = ready(sh(stubborn).grace(LONG));
        let pid = patient.id();
        drop(patient);
        let mut child = ready(sh(stubborn).grace(SHORT));
        let stdout = child.stdout.take().unwrap();
        drop(child);
        assert_eq!(rest(stdout), "");

        // In its grace it is alive. Its end is seen as well.
        assert!(children::is_unreaped(pid));
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        until(|| !has_children());
    });
}

#[test]
fn a_drop_does_not_wait() {
    let _watch = watch();
    let mut child = ready(
        sh("trap '' TERM; echo ready; read line; echo $line")
            .grace(LONG)
            .stdin(Stdio::piped()),
    );
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    drop(child);
    stdin.write_all(b"alive\n").unwrap();
    assert_eq!(rest(stdout), "alive\n");
}

#[test]
fn a_dropped_child_that_has_ended_is_reaped_at_once() {
    alone("a_dropped_child_that_has_ended_is_reaped_at_once", || {
        let child = Command::new("true").spawn().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        drop(child);
        assert!(!has_children());
    });
}

#[test]
fn many_dropped_children_are_all_ended() {
    alone("many_dropped_children_are_all_ended", || {
        let _watch = watch();
        for _ in 0..100 {
            drop(Command::new("sleep").arg("600").spawn().unwrap());
        }
        until(|| !has_children());
    });
}

/// Returns how many threads of this name there are. The system keeps 15 bytes of it.
#[cfg(target_os = "linux")]
fn threads_named(name: &str) -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok());
    names.filter(|thread| thread.trim_end() == name).count()
}

#[cfg(target_os = "linux")]
#[test]
fn one_thread_looks_after_all_dropped_children() {
    alone("one_thread_looks_after_all_dropped_children", || {
        let _watch = watch();
        let stubborn = || ready(sh("trap '' TERM; echo ready; exec sleep 600").grace(LONG));
        let children = [(); 3].map(|()| stubborn());
        let pids = children.each_ref().map(|child| child.id());
        drop(children);
        until(|| threads_named("taskgroup-reape") > 0);

        for pid in pids {
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        until(|| !has_children());
        assert_eq!(threads_named("taskgroup-reape"), 1);
    });
}

/// Nothing wakes the thread for the second child, and the first does not end.
#[cfg(target_os = "linux")]
#[test]
fn without_a_descriptor_to_wake_it_the_thread_sees_the_next_child_too() {
    const TEST: &str = "without_a_descriptor_to_wake_it_the_thread_sees_the_next_child_too";
    if !is_child() {
        let output = support::run_in_child_with_descriptors(TEST, 64);
        let text = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{text}");
    }

    let _watch = watch();
    let stubborn = |grace| ready(sh("trap '' TERM; echo ready; exec sleep 600").grace(grace));
    // These have descriptors for their ends.
    let (mut first, second) = (stubborn(LONG), stubborn(SHORT));
    let pids = [first.id(), second.id()];
    // So that the drop of the child closes nothing.
    let _stdout = first.stdout.take();
    let mut held = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
    }
    drop(first);
    held.clear();
    until(|| threads_named("taskgroup-reape") > 0);
    // In its wait for the first.
    std::thread::sleep(10 * SHORT);
    drop(second);
    until(|| !children::is_unreaped(pids[1]));

    let pid = rustix::process::Pid::from_raw(pids[0] as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until(|| !has_children());
}

#[test]
fn a_failed_body_leaves_no_child() {
    alone("a_failed_body_leaves_no_child", || {
        let _watch = watch();
        let failed = TaskGroup::scope(|g| {
            let _server = Command::new("sleep").arg("600").spawn()?;
            g.spawn(|| Ok(Command::new("sleep").arg("600").status()?));
            if true {
                anyhow::bail!("no server is needed");
            }
            Ok(())
        });
        assert!(failed.is_err());
        until(|| !has_children());
    });
}

#[test]
fn a_group_whose_leader_is_dropped_ends() {
    let _watch = watch();
    let mut child = ready(sh("sleep 600 & echo ready; wait").own_group().grace(LONG));
    let stdout = child.stdout.take().unwrap();
    drop(child);
    assert_eq!(rest(stdout), "");
}

#[test]
fn a_detached_child_runs_on_and_is_reaped() {
    alone("a_detached_child_runs_on_and_is_reaped", || {
        let _watch = watch();
        let mut child = ready(sh("echo ready; exec cat").stdin(Stdio::piped()));
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        child.detach();
        // A cancel and other dropped children do not concern it.
        let token = CancelToken::new();
        token.cancel();
        token.run(|| drop(Command::new("true")));
        drop(Command::new("sleep").arg("600").spawn().unwrap());
        stdin.write_all(b"alive\n").unwrap();
        assert_eq!(line(&mut stdout), "alive");
        drop(stdin);
        until(|| !has_children());
    });
}

/// The process ends while its child is in its grace: the child has had its signal.
#[test]
fn a_child_that_is_dropped_before_the_process_ends_has_its_signal() {
    const TEST: &str = "a_child_that_is_dropped_before_the_process_ends_has_its_signal";
    if is_child() {
        let script =
            "trap 'echo signalled >&2; exit' TERM; echo ready; while :; do sleep 0.01; done";
        drop(ready(sh(script).grace(LONG)));
        std::process::exit(7);
    }
    let output = run_in_child(TEST);
    assert_eq!(output.status.code(), Some(7));
    // The pipe ends when the last process that holds it does.
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("signalled"), "{text}");
}

#[test]
fn a_child_that_is_dropped_without_threads_is_killed() {
    const TEST: &str = "a_child_that_is_dropped_without_threads_is_killed";
    if !is_child() {
        let output = support::run_in_child_without_threads(TEST);
        return assert!(output.status.success(), "{output:?}");
    }
    let mut child = ready(sh("trap '' TERM; echo ready; exec sleep 600").grace(LONG));
    let (stdout, pid) = (child.stdout.take().unwrap(), child.id());
    drop(child);
    assert_eq!(rest(stdout), "");
    // Reaped with the next that is dropped.
    until(|| {
        drop(Command::new("sleep").arg("600").spawn().unwrap());
        !children::is_unreaped(pid)
    });
}

/// A round of the next test: how long each side pauses, and what the child is.
struct Round {
    before_start: u64,
    before_wait: u64,
    before_cancel: u64,
    /// The child has a child of its own.
    has_helper: bool,
    /// The task drops the child, and does not wait for it.
    is_given_up: bool,
    /// The cancel comes after the start.
    is_awaited: bool,
}

impl Round {
    fn of(round: u32, turns: &mut impl FnMut() -> u64) -> Round {
        Round {
            before_start: turns(),
            before_wait: turns(),
            before_cancel: turns(),
            has_helper: round % 4 == 0,
            is_given_up: round % 3 == 2,
            is_awaited: round % 2 == 0,
        }
    }

    fn command(&self) -> Command {
        let mut command = match self.has_helper {
            true => sh("sleep 600 & wait"),
            false => Command::new("sleep"),
        };
        if self.has_helper {
            command.own_group();
        } else {
            command.arg("600");
        }
        command.grace(LONG);
        command
    }

    /// Starts the child in a task, and cancels this. Returns how its wait for the child ended:
    /// `None` if the task did not begin, `Some(Ok(None))` if it did not wait.
    fn run(&self, mut command: Command) -> Option<io::Result<Option<ExitStatus>>> {
        let started = Gate::default();
        let outcome = Mutex::new(None);
        let group = TaskGroup::scope(|g| {
            let task = g.spawn(|| {
                let mut run = || {
                    pause(self.before_start);
                    let child = command.spawn()?;
                    started.open();
                    pause(self.before_wait);
                    (!self.is_given_up).then(|| child.wait()).transpose()
                };
                *outcome.lock().unwrap() = Some(run());
                Ok(())
            });
            if self.is_awaited {
                started.wait();
            }
            pause(self.before_cancel);
            task.cancel();
            Ok(())
        });
        group.unwrap();
        outcome.into_inner().unwrap()
    }
}

/// Spins for some turns. A yield gives a whole slice of time away on a busy machine, so there is at
/// most one.
fn pause(turns: u64) {
    (0..200 * turns).for_each(|_| std::hint::spin_loop());
    if turns % 2 == 1 {
        std::thread::yield_now();
    }
}

/// A cancel meets the task before the start of its child, before the wait, in the wait, or when the
/// task has given the child up.
#[test]
fn a_cancel_at_any_step_of_a_task_leaves_none_of_its_processes() {
    const TEST: &str = "a_cancel_at_any_step_of_a_task_leaves_none_of_its_processes";
    alone(TEST, || {
        let _watch = watch();
        // Each process inherits the writing end. So the reading end is at its end when the last of
        // them has gone, whichever process is its parent by then.
        let (mut alive, held) = taskgroup::io::pipe().unwrap();
        let mut chance = 0x5EED_u64;
        let mut turns = || {
            chance = chance.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            chance >> 59
        };
        let mut waits = 0;

        for number in 0..races(200) {
            let round = Round::of(number, &mut turns);
            let mut command = round.command();
            command.stdout(held.try_clone().unwrap());

            // A child that sleeps has no other end than the cancel.
            match round.run(command) {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(status))) => panic!("the child has ended by itself: {status}"),
                Some(Err(error)) => {
                    assert!(children::is_a_cancel(&error), "{error:?}");
                    waits += 1;
                }
            }
            // A child that was waited for is reaped before the task ends.
            if !round.is_given_up {
                assert!(!has_children(), "round {number}");
            }
            until(|| !has_children());
        }

        assert!(waits > 0);
        drop(held);
        assert_eq!(alive.read(&mut [0]).unwrap(), 0);
    });
}
