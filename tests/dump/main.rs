//! The dump at a signal: each test sends it to a process of its own, which runs the same test.
#![cfg(all(target_os = "linux", feature = "signal", feature = "process"))]

#[path = "../support/dumping.rs"]
mod dumping;
#[path = "../support/folder.rs"]
mod folder;
mod scarce;
mod signals;
mod stderr;
#[path = "../support/mod.rs"]
mod support;

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use dumping::{Process, assert_has};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use signal_hook::consts::{SIGKILL, SIGQUIT};
use signal_hook::low_level::{raise, register};
use support::{is_child, this_test, watch};
use taskgroup::sync::{Event, Mutex};
use taskgroup::{TaskGroup, TaskState, dump_on_signal};

/// Asks for dumps until one finds the thread that serves in its read.
///
/// The kernel may choose that thread for the signal, and the call is left while the handler runs.
/// Such a dump says truly that the thread runs.
fn dump_while_reading(child: &mut Process) -> String {
    // The thread is in its read for nearly all of the time.
    let mut last = String::new();
    for _ in 0..1000 {
        last = child.dump();
        if last.contains("in read on fd 0 (system call, not of this crate)") {
            return last;
        }
    }
    panic!("no dump finds the thread in its read:\n{last}");
}

/// The child's part: says that it is ready, and waits until its input is closed.
fn serve() {
    eprintln!("ready");
    io::copy(&mut io::stdin(), &mut io::sink()).expect("it is a pipe");
}

/// Installs the dump, and runs tasks that are stuck while the child serves. What `prepare` returns
/// is kept meanwhile.
fn serve_with_stuck_tasks<T>(prepare: impl FnOnce() -> T) {
    dump_on_signal(SIGQUIT).expect("there is a thread left");
    let (lock, event) = (Mutex::new(()), Event::new());
    TaskGroup::builder()
        .name("stuck")
        .scope(|g| {
            let held = &lock;
            let holder = g.task().name("holder\n").spawn(|| {
                let _guard = held.lock()?;
                Ok(event.wait()?)
            });
            let until_waiting = |id| {
                let is_there = || {
                    let seen = taskgroup::snapshot();
                    seen.tasks()
                        .any(|task| task.id() == id && task.state() == TaskState::Waiting)
                };
                while !is_there() {
                    thread::yield_now();
                }
            };
            // Only then the lock is held.
            until_waiting(holder.id());
            let waits = g.spawn(|| {
                let guard = held.lock()?;
                drop(guard);
                Ok(())
            });
            until_waiting(waits.id());
            let prepared = prepare();
            serve();
            drop(prepared);
            event.set();
            Ok::<_, anyhow::Error>(())
        })
        .unwrap();
}

/// Fails unless a dump shows the stuck tasks.
#[track_caller]
fn assert_complete(dump: &str) {
    let parts = [
        "`holder\\n` of group",
        "Event::wait (tests/dump/main.rs:",
        "Mutex::lock (tests/dump/main.rs:",
        "taken at tests/dump/main.rs:",
    ];
    assert_has(dump, &parts);
}

#[test]
fn a_dump_shows_what_all_threads_do_and_the_process_goes_on() {
    if is_child() {
        return serve_with_stuck_tasks(|| ());
    }
    let mut child = Process::start("a_dump_shows_what_all_threads_do_and_the_process_goes_on");
    for _ in 0..2 {
        assert_complete(&dump_while_reading(&mut child));
    }
    child.end_well();
}

/// Takes all descriptors that the process may have.
fn no_descriptors() -> Vec<File> {
    let few = Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    setrlimit(Resource::Nofile, few).expect("it may be lowered");
    let mut all = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        all.push(file);
    }
    all
}

#[test]
fn a_dump_comes_when_no_descriptor_is_left() {
    if is_child() {
        return serve_with_stuck_tasks(no_descriptors);
    }
    let mut child = Process::start("a_dump_comes_when_no_descriptor_is_left");
    assert_complete(&dump_while_reading(&mut child));
    child.end_well();
}

#[test]
fn threads_that_are_in_nothing_of_the_crate_are_left_out() {
    if is_child() {
        return serve_with_stuck_tasks(|| {
            let is_idle = |seen: &taskgroup::Snapshot| {
                let mut workers = seen.workers().iter();
                workers.any(|worker| worker.task().is_none())
            };
            // A worker that waits for its next task.
            while !is_idle(&taskgroup::snapshot()) {
                let ran = TaskGroup::scope(|g| {
                    g.spawn(|| Ok(()));
                    Ok(())
                });
                ran.expect("no task fails");
            }
        });
    }
    let mut child = Process::start("threads_that_are_in_nothing_of_the_crate_are_left_out");
    let dump = dump_while_reading(&mut child);
    assert_complete(&dump);
    // Below each thread stand first the scopes that it is inside of, or its wait.
    let lines: Vec<_> = dump.lines().collect();
    for pair in lines
        .windows(2)
        .filter(|pair| pair[0].starts_with("thread "))
    {
        let is_in_nothing = pair[1].starts_with("    in ") || pair[1].starts_with("    runs");
        assert!(pair[1].starts_with("    ") && !is_in_nothing, "{dump}");
    }
    child.end_well();
}

#[test]
fn a_burst_of_signals_merges_and_none_is_forgotten() {
    if is_child() {
        return serve_with_stuck_tasks(|| ());
    }
    let mut child = Process::start("a_burst_of_signals_merges_and_none_is_forgotten");
    for _ in 0..100 {
        child.send();
    }
    // One more is asked for after the first, so the burst has been seen.
    child.lines_until("end of the dump");
    child.dump();
    child.end_well();
}

const PAGE: usize = 4096;

/// Makes standard error a pipe with less room than a dump needs. Returns both ends.
fn small_stderr() -> (BufReader<File>, OwnedFd) {
    let (reads, writes) = rustix::pipe::pipe().expect("there are descriptors");
    rustix::pipe::fcntl_setpipe_size(&writes, PAGE).expect("it may be made smaller");
    rustix::stdio::dup2_stderr(&writes).expect("it can be replaced");
    (BufReader::new(File::from(reads)), writes)
}

/// Reads to the end of a dump.
fn read_dump(reads: &mut BufReader<File>) {
    let mut line = String::new();
    while !line.contains("end of the dump") {
        line.clear();
        assert_ne!(reads.read_line(&mut line).unwrap(), 0);
    }
}

#[test]
fn the_signals_that_come_during_a_dump_are_one_more_dump() {
    const TEST: &str = "the_signals_that_come_during_a_dump_are_one_more_dump";
    const TASKS: usize = 50;
    support::alone(TEST, || {
        let _watch = watch();
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        let (mut reads, writes) = small_stderr();
        let mut next_dump = || {
            read_dump(&mut reads);
            reads.buffer().len()
        };

        let (event, begun) = (Event::new(), Barrier::new(TASKS + 1));
        let scope = TaskGroup::scope(|g| {
            for _ in 0..TASKS {
                g.spawn(|| {
                    begun.wait();
                    Ok(event.wait()?)
                });
            }
            begun.wait();
            raise(SIGQUIT).unwrap();
            // The pipe is full once the thread of the dump is in the middle of it.
            support::until(|| rustix::io::ioctl_fionread(&writes).unwrap() > PAGE as u64 / 2);
            for _ in 0..100 {
                raise(SIGQUIT).unwrap();
            }
            next_dump();
            let read_ahead = next_dump();

            // A silence, so there is nothing to wait for but the time.
            thread::sleep(Duration::from_millis(200));
            let left = rustix::io::ioctl_fionread(&writes).unwrap();
            assert_eq!((left, read_ahead), (0, 0), "a third dump");
            event.set();
            Ok(())
        });
        scope.expect("no task fails");
    });
}

#[test]
fn named_tasks_end_while_a_dump_waits_for_standard_error() {
    const TEST: &str = "named_tasks_end_while_a_dump_waits_for_standard_error";
    const TASKS: usize = 40;
    support::alone(TEST, || {
        let _watch = watch();
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        let (mut reads, writes) = small_stderr();

        // The dump stops at any of its lines, most of which have a name.
        for round in 0..20 {
            let (event, begun) = (Event::new(), Barrier::new(TASKS + 1));
            let scope = TaskGroup::scope(|g| {
                for _ in 0..TASKS {
                    let task = g
                        .task()
                        .name(format!("round {round}: {}", "name ".repeat(20)));
                    task.spawn(|| {
                        begun.wait();
                        Ok(event.wait()?)
                    });
                }
                begun.wait();
                raise(SIGQUIT).unwrap();
                let is_full = || rustix::io::ioctl_fionread(&writes).unwrap() > PAGE as u64 - 512;
                support::until(is_full);
                // Nothing reads the pipe until all of them have ended.
                event.set();
                Ok(())
            });
            scope.expect("no task fails");

            read_dump(&mut reads);
        }
    });
}

#[test]
fn a_handler_that_was_there_is_called_too_and_two_calls_are_one_dump() {
    if is_child() {
        let _watch = watch();
        let called = Arc::new(AtomicUsize::new(0));
        let theirs = called.clone();
        let count = move || {
            theirs.fetch_add(1, SeqCst);
        };
        // SAFETY: an addition to an atomic is safe in a handler.
        unsafe { register(SIGQUIT, count) }.expect("SIGQUIT can be handled");
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        // A second dump could come too late to be seen, but not the descriptors of its thread.
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        dump_on_signal(SIGQUIT).expect("it is installed already");
        assert_eq!(open(), before);
        serve();
        assert_eq!(called.load(SeqCst), 1);
        return;
    }
    let mut child =
        Process::start("a_handler_that_was_there_is_called_too_and_two_calls_are_one_dump");
    child.dump();
    drop(child.stdin.take());
    let mut rest = String::new();
    let mut stderr = child.stderr.take().expect("it is kept");
    io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    assert!(!rest.contains("end of the dump"), "{rest}");
    assert!(child.process.wait().unwrap().success(), "{rest}");
}

#[test]
fn a_standard_error_that_is_closed_hinders_no_thread() {
    if is_child() {
        return serve_with_stuck_tasks(|| ());
    }
    let mut child = Process::start("a_standard_error_that_is_closed_hinders_no_thread");
    drop(child.stderr.take());
    for _ in 0..10 {
        child.send();
    }
    child.end_well();
}

#[test]
fn signals_during_the_exit_do_not_hinder_it() {
    if is_child() {
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        serve();
        std::process::exit(0);
    }
    let mut child = Process::start("signals_during_the_exit_do_not_hinder_it");
    drop(child.stdin.take());
    let process = Pid::from_child(&child.process);
    // Until the child is reaped, its number is its own.
    while child.process.try_wait().unwrap().is_none() {
        let _ = kill_process(process, Signal::QUIT);
    }
    child.end_well();
}

#[test]
fn a_signal_that_cannot_be_handled_is_refused() {
    let refused = dump_on_signal(SIGKILL).expect_err("nothing handles it");
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(refused.to_string(), "signal 9 cannot be handled");
}

#[test]
fn a_child_has_the_default_action() {
    use std::os::unix::process::ExitStatusExt;
    const TEST: &str = "a_child_has_the_default_action";
    support::alone(TEST, || {
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        let ours = Command::new("sh").args(["-c", "kill -QUIT $$"]).status();
        assert_eq!(ours.expect("there is a shell").signal(), Some(SIGQUIT));

        let mut child = taskgroup::process::Command::new("sh");
        let status = child.args(["-c", "kill -QUIT $$"]).status();
        assert_eq!(status.expect("there is a shell").signal(), Some(SIGQUIT));
    });
}

/// It has the handler and not the thread: its signals have this process print.
#[test]
fn a_signal_in_a_forked_child_neither_ends_nor_keeps_it() {
    const TEST: &str = "a_signal_in_a_forked_child_neither_ends_nor_keeps_it";
    support::alone(TEST, || {
        let _watch = watch();
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        let (mut reads, _writes) = small_stderr();
        // SAFETY: the child sends itself signals and ends. It allocates nothing.
        match unsafe { nix::unistd::fork() }.expect("there is a process left") {
            nix::unistd::ForkResult::Child => {
                let all = (0..1000).all(|_| raise(SIGQUIT).is_ok());
                // SAFETY: it ends the process, and runs nothing of it.
                unsafe { nix::libc::_exit(if all { 0 } else { 1 }) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                let status = nix::sys::wait::waitpid(child, None).expect("it is a child");
                assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
            }
        }

        let mut first = String::new();
        reads.read_line(&mut first).expect("it is text");
        let ours = format!("the threads of process {} are doing", std::process::id());
        assert!(first.contains(&ours), "{first}");
        read_dump(&mut reads);
    });
}
