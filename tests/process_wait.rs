//! Waits for child processes: the thread that gets the status, and starts that fail.
#![cfg(unix)]

#[path = "support/children.rs"]
mod children;
#[cfg(target_os = "linux")]
#[path = "support/folder.rs"]
mod folder;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::sync::Barrier;

use children::{has_children, is_a_cancel, is_unreaped, line, races, ready, sh};
use support::{LONG, alone, until, watch};
#[cfg(target_os = "linux")]
use support::{is_child, run_in_child_with_descriptors, run_test, this_test};
use taskgroup::process::{Child, Command, Stdio};
use taskgroup::{CancelToken, TaskGroup};

#[test]
fn every_wait_returns_the_same_status() {
    let child = sh("exit 7").spawn().unwrap();
    for _ in 0..3 {
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
    assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
    assert_eq!(child.stop().unwrap().code(), Some(7));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn a_status_tells_the_signal_and_the_code() {
    let codes = [0, 1, 255];
    for code in codes {
        let status = sh(&format!("exit {code}")).status().unwrap();
        assert_eq!(status.code(), Some(code));
    }
    let status = sh("kill -USR1 $$").status().unwrap();
    assert_eq!(
        (status.signal(), status.code()),
        (Some(rustix::process::Signal::USR1.as_raw()), None)
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_status_tells_of_a_core_dump_as_in_std() {
    let folder = folder::Folder::new();
    let script = ["-c", "ulimit -c unlimited; kill -ABRT $$"];
    let mut std = std::process::Command::new("sh");
    let theirs = std.args(script).current_dir(&folder.0).status().unwrap();
    if !theirs.core_dumped() {
        eprintln!("SKIPPED a_status_tells_of_a_core_dump_as_in_std: no core is written");
        return;
    }

    let mut ours = Command::new("sh");
    let ours = ours.args(script).current_dir(&folder.0).status().unwrap();
    assert_eq!(ours.into_raw(), theirs.into_raw(), "{ours} and {theirs}");
}

#[test]
fn a_cancel_of_one_waiter_ends_the_child_for_all() {
    let _watch = watch();
    let child = ready(&mut sh("echo ready; exec sleep 600"));
    let (token, child) = (CancelToken::new(), &child);
    std::thread::scope(|threads| {
        let others = [0, 1].map(|_| threads.spawn(|| child.wait()));
        let cancelled = threads.spawn(|| token.run(|| child.wait()));
        token.cancel();
        assert!(is_a_cancel(&cancelled.join().unwrap().unwrap_err()));
        for other in others {
            assert_eq!(other.join().unwrap().unwrap().signal(), Some(15));
        }
    });
    assert!(!is_unreaped(child.id()));
}

#[test]
fn threads_that_one_cancel_reaches_do_not_take_its_end_for_a_failure_of_the_child() {
    let _watch = watch();
    for _ in 0..races(50) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let report = TaskGroup::scope(|g| {
            // The first to see the cancel stops the child, and the others see that it ends.
            for _ in 0..4 {
                g.spawn(|| {
                    let status = child.wait()?;
                    assert!(status.success(), "the child has failed: {status}");
                    Ok(())
                });
            }
            g.cancel();
            Ok(())
        });
        report.unwrap();
    }
}

#[test]
fn a_wait_in_a_cancelled_scope_ends_the_child_and_fails() {
    let child = ready(&mut sh("echo ready; exec sleep 600"));
    let token = CancelToken::new();
    token.cancel();
    for _ in 0..2 {
        assert!(is_a_cancel(&token.run(|| child.wait()).unwrap_err()));
        assert!(!is_unreaped(child.id()));
        let status = token.run(|| child.try_wait()).unwrap();
        assert_eq!(status.unwrap().signal(), Some(15));
    }
}

#[test]
fn a_child_that_has_ended_is_not_signalled_by_a_late_cancel() {
    let mut child = sh("exit 3").stdout(Stdio::piped()).spawn().unwrap();
    read_to_end(&mut child);
    let token = CancelToken::new();
    token.cancel();
    // It may be on its way from closing its pipe to its end, or have ended.
    let error = token.run(|| child.wait()).unwrap_err();
    assert!(is_a_cancel(&error));
    let status = child.try_wait().unwrap().unwrap();
    assert!(
        status.code() == Some(3) || status.signal() == Some(15),
        "{status}"
    );
}

fn read_to_end(child: &mut Child) -> Vec<u8> {
    let mut bytes = Vec::new();
    let stdout = child.stdout.as_mut().expect("it is piped");
    stdout.read_to_end(&mut bytes).expect("it can be read");
    bytes
}

/// The end of the child and the cancel come at once: the call returns one of them, and the child is
/// reaped.
#[test]
fn the_end_of_a_child_races_with_a_cancel() {
    let mut ended = 0;
    let mut watched = watch();
    for race in 0..races(200) {
        // The time is for some of the races, however many were asked for.
        if race % 20 == 19 {
            watched = watch();
        }
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let (stdin, token) = (child.stdin.take(), CancelToken::new());
        let (child, start) = (&child, &Barrier::new(2));
        let result = std::thread::scope(|threads| {
            let waiter = threads.spawn(|| {
                token.run(|| {
                    start.wait();
                    child.wait()
                })
            });
            start.wait();
            drop(stdin);
            (0..race * 977 % 20_000).for_each(|_| std::hint::spin_loop());
            token.cancel();
            waiter.join().unwrap()
        });
        match result {
            Ok(status) => {
                ended += 1;
                assert!(status.success(), "{status}");
            }
            Err(error) => assert!(is_a_cancel(&error), "{error:?}"),
        }
        assert!(!is_unreaped(child.id()));
        assert!(child.try_wait().unwrap().is_some());
    }
    println!("{ended} children ended before their cancel");
    drop(watched);
}

#[test]
fn a_status_that_try_wait_takes_reaches_the_threads_that_wait() {
    let _watch = watch();
    for _ in 0..races(100) {
        let child = sh("exit 4").spawn().unwrap();
        let child = &child;
        std::thread::scope(|threads| {
            let waiters = [0, 1].map(|_| threads.spawn(|| child.wait()));
            until(|| child.try_wait().unwrap().is_some());
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap().unwrap().code(), Some(4));
            }
        });
    }
}

#[test]
fn a_wait_closes_the_standard_input_and_a_look_does_not() {
    let _watch = watch();
    let mut child = sh("read line; echo $line; cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    child.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    assert_eq!(line(child.stdout.as_mut().unwrap()), "hello");
    assert!(child.wait().unwrap().success());
    let mut more = || child.stdin.as_mut().unwrap().write_all(b"more");
    assert_eq!(more().unwrap_err().kind(), ErrorKind::BrokenPipe);
    // In a cancelled scope every call is cut, and no call fails.
    let token = CancelToken::new();
    token.cancel();
    assert!(is_a_cancel(&token.run(more).unwrap_err()));
}

#[test]
fn a_wait_leaves_a_standard_input_alone_that_was_taken() {
    let _watch = watch();
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let status = TaskGroup::scope(|g| {
        let status = g.spawn(|| Ok(child.wait()?));
        stdin.write_all(b"hello\n")?;
        assert_eq!(line(&mut stdout), "hello");
        drop(stdin);
        Ok(status.join()?)
    });
    assert!(status.unwrap().success());
}

#[test]
fn a_child_that_reads_nothing_breaks_the_pipe() {
    let mut child = sh("exec <&-; echo ready; exit 5");
    let mut child = ready(child.stdin(Stdio::piped()));
    // More than fits into the pipe, in case the shell has not closed its end.
    let bytes = vec![b'x'; 1 << 20];
    let written = child.stdin.as_mut().unwrap().write_all(&bytes);
    assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn nothing_is_started_in_a_cancelled_scope() {
    let token = CancelToken::new();
    token.cancel();
    alone("nothing_is_started_in_a_cancelled_scope", || {
        token.run(|| {
            assert!(is_a_cancel(&Command::new("true").spawn().unwrap_err()));
            assert!(is_a_cancel(&Command::new("true").status().unwrap_err()));
            assert!(is_a_cancel(&Command::new("true").output().unwrap_err()));
        });
        assert!(!has_children());
    });
}

#[test]
fn a_program_that_cannot_start_leaves_nothing_behind() {
    alone("a_program_that_cannot_start_leaves_nothing_behind", || {
        let open = || std::fs::read_dir("/dev/fd").map_or(0, Iterator::count);
        let before = open();
        for _ in 0..1000 {
            let error = Command::new("/no/such/program").output().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        assert_eq!(open(), before);
        assert!(!has_children());

        let missing = Command::new("true").current_dir("/no/such/dir").status();
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
        let mut commands = [(); 4].map(|()| Command::new("true"));
        commands[0].arg("a\0b");
        commands[1].env("a", "b\0");
        commands[2].current_dir("\0");
        commands[3] = Command::new("tr\0ue");
        for mut command in commands {
            assert_eq!(command.spawn().unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(open(), before);
        assert!(!has_children());
    });
}

#[test]
fn children_that_start_at_once_hold_none_of_each_others_pipes() {
    let _watch = watch();
    let start = &Barrier::new(100);
    let children = std::thread::scope(|threads| {
        let spawn = || {
            let mut cat = Command::new("cat");
            cat.stdin(Stdio::piped()).stdout(Stdio::piped());
            start.wait();
            cat.spawn().unwrap()
        };
        let spawned = (0..100).map(|_| threads.spawn(spawn)).collect::<Vec<_>>();
        spawned
            .into_iter()
            .map(|child| child.join().unwrap())
            .collect::<Vec<_>>()
    });
    // Each ends while the later ones are alive.
    for mut child in children {
        drop(child.stdin.take());
        assert_eq!(read_to_end(&mut child), b"");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_child_outlives_the_thread_that_started_it() {
    let started = std::thread::spawn(|| {
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    });
    let mut child = started.join().unwrap().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"alive\n").unwrap();
    assert_eq!(line(child.stdout.as_mut().unwrap()), "alive");
    assert!(child.wait().unwrap().success());
}

/// Reaps any child of this process. Whether there was one.
fn reap_any() -> bool {
    rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok()
}

#[test]
fn a_status_that_another_part_of_the_program_took_is_an_error() {
    alone(
        "a_status_that_another_part_of_the_program_took_is_an_error",
        || {
            let child = sh("exit 1").spawn().unwrap();
            assert!(reap_any());
            for _ in 0..2 {
                assert_eq!(child.wait().unwrap_err().raw_os_error(), Some(ECHILD));
            }
            assert_eq!(child.try_wait().unwrap_err().raw_os_error(), Some(ECHILD));
            assert_eq!(child.stop().unwrap_err().raw_os_error(), Some(ECHILD));
            child.kill().unwrap();

            let child = sh("exit 1").spawn().unwrap();
            std::thread::scope(|threads| {
                let waiter = threads.spawn(|| child.wait());
                // Either of the two is quicker.
                let taken = reap_any();
                let waited = waiter.join().unwrap();
                assert_eq!(waited.is_err(), taken, "{waited:?}");
            });
            assert!(!has_children());
        },
    );
}

const ECHILD: i32 = rustix::io::Errno::CHILD.raw_os_error();

/// Runs a test again in a process that ignores SIGCHLD.
#[cfg(target_os = "linux")]
fn ignoring_sigchld(test: &str, body: impl FnOnce()) {
    if is_child() {
        return body();
    }
    let mut env = std::process::Command::new("env");
    env.arg("--ignore-signal=CHLD").arg(this_test());
    support::assert_passed(&run_test(&mut env, test).output().unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn waits_end_in_a_program_that_ignores_sigchld() {
    ignoring_sigchld("waits_end_in_a_program_that_ignores_sigchld", || {
        let _watch = watch();
        let mut cat = Command::new("cat");
        let mut child = cat.stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::scope(|threads| {
            let waiter = threads.spawn(|| child.wait());
            drop(stdin);
            let error = waiter.join().unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(ECHILD));
        });

        // Ended before the first look.
        let mut child = sh("exit 0").stdout(Stdio::piped()).spawn().unwrap();
        read_to_end(&mut child);
        assert_eq!(child.wait().unwrap_err().raw_os_error(), Some(ECHILD));
        let error = sh("echo lost").output().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ECHILD));

        // It can be ended, though no status tells of it.
        let child = ready(&mut sh("echo ready; exec sleep 600"));
        assert_eq!(child.stop().unwrap_err().raw_os_error(), Some(ECHILD));
        drop(ready(&mut sh("echo ready; exec sleep 600")));
        let token = CancelToken::new();
        let error = token.run(|| {
            let child = ready(&mut sh("echo ready; exec sleep 600"));
            token.cancel();
            child.wait()
        });
        assert!(is_a_cancel(&error.unwrap_err()));
        until(|| !has_children());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn waits_work_when_no_descriptor_is_left() {
    const TEST: &str = "waits_work_when_no_descriptor_is_left";
    if !is_child() {
        let output = run_in_child_with_descriptors(TEST, 64);
        let text = String::from_utf8_lossy(&output.stderr);
        return assert!(output.status.success(), "{text}");
    }

    let _watch = watch();
    // The streams of the child are those of this process, so the start needs no descriptor.
    let start = |program: &str| Command::new(program).arg("600").spawn();
    let mut held = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
    }
    assert!(Command::new("true").status().unwrap().success());
    assert_eq!(start("sleep").unwrap().stop().unwrap().signal(), Some(15));
    let token = CancelToken::new();
    let child = start("sleep").unwrap();
    std::thread::scope(|threads| {
        let waiter = threads.spawn(|| token.run(|| child.wait()));
        token.cancel();
        assert!(is_a_cancel(&waiter.join().unwrap().unwrap_err()));
    });
    drop(start("sleep").unwrap());
    start("true").unwrap().detach();
    until(|| !has_children());
    drop(held);
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_of_a_worker_has_the_mask_and_the_actions_of_the_program() {
    let of = |status: &str| {
        let lines = status.lines().filter(|line| line.starts_with("Sig"));
        let fields = lines.filter(|line| !line.starts_with("SigQ") && !line.starts_with("SigCgt"));
        fields.map(str::to_owned).collect::<Vec<_>>()
    };
    let read = || {
        let output = Command::new("cat").arg("/proc/self/status").output()?;
        Ok(of(&String::from_utf8(output.stdout)?))
    };
    let here = std::process::Command::new("cat")
        .arg("/proc/self/status")
        .output()
        .unwrap();
    let here = of(&String::from_utf8(here.stdout).unwrap());
    let there = TaskGroup::scope(|g| Ok(g.task().dedicated().spawn(read).join()?)).unwrap();
    assert_eq!(there, here);
    let blocked = here.iter().find(|line| line.starts_with("SigBlk")).unwrap();
    assert!(blocked.ends_with(" 0000000000000000") || blocked.ends_with("\t0000000000000000"));
}

#[test]
fn a_converted_command_keeps_its_settings() {
    let mut std = std::process::Command::new("sh");
    std::os::unix::process::CommandExt::arg0(&mut std, "other");
    std.args(["-c", "echo $0 $A"])
        .env("A", "b")
        .stdout(Stdio::piped());
    let mut command = Command::from(std);
    assert!(format!("{command:?}").contains("echo"));
    let mut child = command.spawn().unwrap();
    assert_eq!(read_to_end(&mut child), b"other b\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_scope_waits_for_no_longer_than_its_deadline() {
    let _watch = watch();
    let begun = std::time::Instant::now();
    let status = taskgroup::timeout(children::SHORT, || {
        Command::new("sleep").arg("600").status()
    });
    assert!(status.unwrap().is_none());
    assert!(begun.elapsed() < LONG / 2);
}
