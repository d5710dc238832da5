//! The state of a child, driven by hand.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::super::output::collect;
use super::*;
use crate::waiting::WaitKind;
use crate::{CancelToken, Cancelled, readiness};

/// Starts a child, and returns it with its streams in std's handle.
fn unwatched(command: &mut Command, ending: Ending) -> (Process, Child) {
    let child = command.spawn().expect("the program starts");
    let pid = Pid::from_child(&child);
    (Process::unwatched(pid, ending), child)
}

/// Waits until the child has ended, and leaves its status to others.
fn until_ended(pid: Pid) {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), ended).expect("it is a child");
}

/// Waits until a thread is in its wait for the child. A cancel that came before would be found at
/// the entry.
fn until_waited_for(child: &Child) {
    let target = format!("process {}", child.id());
    let is_waited_for = || {
        let seen = crate::snapshot();
        let mut waits = seen.threads().iter().filter_map(|thread| thread.waits());
        waits.any(|wait| wait.target() == Some(&target))
    };
    while !is_waited_for() {
        std::thread::yield_now();
    }
}

#[test]
fn an_end_before_its_descriptor_is_opened_is_seen() {
    let started = || {
        let mut exit = Command::new("sh");
        let child = exit.args(["-c", "exit 3"]).spawn();
        let pid = Pid::from_child(&child.expect("the program starts"));
        until_ended(pid);
        Process::new(pid, Ending::default())
    };

    // The first look finds it, in each call that looks.
    assert!(started().has_ended().expect("it is a child"));
    let statuses = [Process::wait, Process::stop].map(|call| call(&started()));
    for status in statuses {
        assert_eq!(status.expect("it is a child").code(), Some(3));
    }
    let asked = started().ask_to_end().expect("it is a child");
    assert!(matches!(asked, Asked::HadEnded(status) if status.code() == Some(3)));

    // The descriptor tells of it as well, of which this may be the first poll.
    let process = started();
    if let Some(end) = process.watched() {
        let limit = Instant::now() + Duration::from_secs(60);
        let is_told = readiness::poll_uncancellable(WaitKind::Child, &mut [end], Some(limit));
        assert!(is_told, "no event came");
    }
    assert!(process.wait().expect("it is a child").code() == Some(3));
}

/// The child ends while its descriptor is opened, and two threads wait.
#[test]
fn an_end_races_with_the_opening_of_its_descriptor() {
    for race in 0..200 {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn();
        let cat = cat.as_mut().expect("the program starts");
        let (pid, stdin) = (Pid::from_child(cat), cat.stdin.take());
        let start = Barrier::new(2);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                start.wait();
                drop(stdin);
            });
            start.wait();
            // From before the end to after it.
            (0..race * 97 % 40_000).for_each(|_| std::hint::spin_loop());
            let process = Process::new(pid, Ending::default());
            let statuses = std::thread::scope(|threads| {
                [0, 1]
                    .map(|_| threads.spawn(|| process.wait()))
                    .map(|waiter| waiter.join().expect("it does not panic"))
            });
            for status in statuses {
                assert!(status.expect("it is a child").success());
            }
        });
    }
}

#[test]
fn a_wait_looks_again_and_again() {
    let mut cat = Command::new("cat");
    let (process, mut child) = unwatched(cat.stdin(Stdio::piped()), Ending::default());
    assert!(process.watched().is_none());
    assert!(!process.has_ended().expect("it is a child"));
    assert!(process.try_wait().expect("it is a child").is_none());

    let statuses = std::thread::scope(|threads| {
        let waiters = [0, 1].map(|_| threads.spawn(|| process.wait()));
        drop(child.stdin.take());
        waiters.map(|waiter| waiter.join().expect("it does not panic"))
    });

    for status in statuses {
        assert!(status.expect("it is a child").success());
    }
}

#[test]
fn a_cancel_ends_it() {
    let mut sleep = Command::new("sleep");
    let (process, _child) = unwatched(sleep.arg("60"), Ending::default());
    let token = CancelToken::new();
    let error = std::thread::scope(|threads| {
        let waiter = threads.spawn(|| token.run(|| process.wait()));
        token.cancel();
        waiter.join().expect("it does not panic")
    });

    let error = error.expect_err("it is cancelled");
    assert!(Cancelled::find(&error).is_some());
    let status = process.try_wait().expect("it is a child");
    assert_eq!(status.and_then(|status| status.signal()), Some(15));
}

#[test]
fn a_status_that_a_cancel_made_is_the_cancel_for_all_threads_that_it_reaches() {
    let (process, _child) = unwatched(Command::new("sleep").arg("60"), Ending::default());
    let token = CancelToken::new();
    token.cancel();
    // A thread that comes later finds the child reaped, and did not come before the cancel either.
    for _ in 0..2 {
        assert!(process.stop_for_cancel().is_none());
    }

    let status = process.try_wait().expect("it is a child");
    let status = status.expect("it has ended");
    let cut = token.run(|| process.unless_cut(status));
    assert!(Cancelled::find(&cut.expect_err("it is cancelled")).is_some());
    assert_eq!(process.unless_cut(status).expect("it lives"), status);
    assert_eq!(process.wait().expect("it is a child"), status);
}

#[test]
fn an_end_that_came_before_the_cancel_is_the_status_for_all_threads() {
    let (process, _child) = unwatched(&mut Command::new("true"), Ending::default());
    while !process.has_ended().expect("it is a child") {
        std::thread::yield_now();
    }
    let token = CancelToken::new();
    token.cancel();
    for _ in 0..2 {
        let status = process.stop_for_cancel().expect("it had ended");
        assert!(status.success());
        assert!(token.run(|| process.unless_cut(status)).is_ok());
    }
}

/// Waits for a child that reads its standard input. Ends it in the middle of the wait, and cancels
/// the wait as soon as the end can be seen.
fn cancelled_at_the_end<T: Send>(
    process: &Process,
    child: &mut Child,
    token: &CancelToken,
    wait: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|threads| {
        let waiter = threads.spawn(|| token.run(wait));
        until_waited_for(child);
        // Past the first, short looks.
        std::thread::sleep(Duration::from_millis(10));
        drop(child.stdin.take());
        while !process.has_ended().expect("it is a child") {
            std::thread::yield_now();
        }
        token.cancel();
        waiter.join().expect("it does not panic")
    })
}

#[test]
fn an_end_that_a_cancel_finds_is_the_status() {
    let token = CancelToken::new();

    // The thread looks every few milliseconds. The end and the cancel come in between.
    for _ in 0..30 {
        let mut cat = Command::new("cat");
        let (process, mut child) = unwatched(cat.stdin(Stdio::piped()), Ending::default());
        let token = token.child();
        let ended = cancelled_at_the_end(&process, &mut child, &token, || process.wait());
        assert!(ended.expect("the end came first").success());
    }
}

#[test]
fn a_second_request_neither_signals_nor_moves_the_grace() {
    let ending = Ending {
        signal: Signal::WINCH, // which does nothing
        ..Ending::default()
    };
    let (process, _child) = unwatched(Command::new("sleep").arg("60"), ending);
    process.ask_to_end().expect("it is a child");
    let kill_at = process.enforce().expect("it is a child");
    process.ask_to_end().expect("it is a child");
    assert_eq!(process.enforce().expect("it is a child"), kill_at);
    process.kill().expect("it is a child");
    assert!(process.state.lock().stop == Stop::Killed);
    assert_eq!(process.stop().expect("it is a child").signal(), Some(9));
}

#[test]
fn only_a_child_that_was_asked_to_end_is_killed_where_there_is_no_thread() {
    let ending = Ending {
        signal: Signal::WINCH, // which does nothing
        ..Ending::default()
    };
    let (process, _child) = unwatched(Command::new("sleep").arg("60"), ending);
    process.kill_if_asked();
    assert!(process.state.lock().stop == Stop::No);
    process.ask_to_end().expect("it is a child");
    process.kill_if_asked();
    assert!(process.state.lock().stop == Stop::Killed);
    assert_eq!(process.stop().expect("it is a child").signal(), Some(9));
}

#[test]
fn a_status_that_a_request_made_is_the_status_in_a_scope_that_is_cancelled_later() {
    let (process, _child) = unwatched(Command::new("sleep").arg("60"), Ending::default());
    let status = process.stop().expect("it is a child");
    let token = CancelToken::new();
    token.cancel();
    let seen = token.run(|| process.unless_cut(status));
    assert_eq!(seen.expect("no cancel has ended it"), status);
}

#[test]
fn it_is_killed_after_its_grace() {
    let ending = Ending {
        signal: Signal::WINCH, // which does nothing
        grace: Duration::from_millis(5),
        group: false,
    };
    let (process, _child) = unwatched(Command::new("sleep").arg("60"), ending);
    assert_eq!(process.stop().expect("it is a child").signal(), Some(9));
}

#[test]
fn its_pid_is_not_signalled_once_another_part_of_the_program_has_reaped_it() {
    let (process, mut child) = unwatched(&mut Command::new("true"), Ending::default());
    child.wait().expect("it is a child");
    process.kill().expect("there is nothing to do");
    for gone in [process.wait(), process.stop()] {
        let gone = gone.expect_err("it is reaped");
        assert_eq!(Errno::from_io_error(&gone), Some(Errno::CHILD));
    }
    let asked = process.ask_to_end();
    assert!(asked.is_err());
    assert!(matches!(process.state.lock().stage, Stage::Gone));
    assert!(process.enforce().expect("it was not asked").is_none());

    // Nor when its grace is over.
    let ending = Ending {
        grace: Duration::ZERO,
        ..Ending::default()
    };
    let (process, mut child) = unwatched(Command::new("sleep").arg("60"), ending);
    process.ask_to_end().expect("it is a child");
    child.wait().expect("it is a child");
    assert!(process.enforce().expect("it is gone").is_none());
    process.kill_if_asked();
    assert!(process.state.lock().stop != Stop::Killed);

    // A child that is gone before the first look is never looked for by its pid again.
    let process = Process::new(Pid::from_child(&child), Ending::default());
    assert!(matches!(process.state.lock().stage, Stage::Gone));
}

/// Each call that finds the child gone notes it, so that no later call asks for the number, which
/// may be another child's by then.
#[test]
fn each_call_that_finds_it_gone_notes_it() {
    let looks: [fn(&Process); 3] = [
        |process| assert!(process.has_ended().is_err()),
        |process| assert!(process.try_wait().is_err()),
        |process| assert!(process.kill().is_ok()),
    ];
    for look in looks {
        let (process, mut child) = unwatched(&mut Command::new("true"), Ending::default());
        child.wait().expect("it is a child");
        look(&process);
        assert!(matches!(process.state.lock().stage, Stage::Gone));
    }
}

/// Another part of the program reaps the child between the look at it and the signal.
#[test]
fn a_signal_to_a_child_that_has_just_been_reaped_is_no_error() {
    let start = |group| {
        let mut command = Command::new("true");
        let mut child = command
            .process_group(0)
            .spawn()
            .expect("the program starts");
        let ending = Ending {
            group,
            ..Ending::default()
        };
        let process = Process::new(Pid::from_child(&child), ending);
        child.wait().expect("it is a child");
        process
    };
    for process in [start(false), start(true)] {
        assert!(matches!(process.state.lock().stage, Stage::Unreaped));
        process
            .signal(Signal::TERM)
            .expect("there is nothing to do");
    }
}

#[test]
fn an_end_that_a_cancel_finds_is_the_whole_output() {
    // As with the status alone, above.
    for _ in 0..30 {
        let mut cat = Command::new("cat");
        let (process, mut child) = unwatched(cat.stdin(Stdio::piped()), Ending::default());
        let token = CancelToken::new();
        let collects = || collect(&process, None, None, None);
        let output = cancelled_at_the_end(&process, &mut child, &token, collects);
        assert!(output.expect("the end came first").status.success());
    }
}
