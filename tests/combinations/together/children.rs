//! Child processes under several cancels and limits.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use taskgroup::process::{Command, Stdio};
use taskgroup::{Backoff, CancelToken, TaskGroup, io, retry, timeout};

use crate::blocked::{cancelled_while_blocked, the_cancel, when_blocked};
use crate::children::{self, SHORT, has_children, is_a_cancel, ready, sh};
use crate::folder::Folder;
use crate::support::{Gate, alone, until, watch};

#[test]
fn a_lock_that_a_killed_process_held_is_free() {
    let folder = Folder::new();
    let path = folder.0.join("lock");
    let open = || std::fs::File::create(&path).unwrap();
    let (held, file) = (open(), open());
    io::lock_file(&held).unwrap();
    // The child has the only handle that is left of the lock.
    let holder = Command::new("sleep")
        .arg("600")
        .stdin(held)
        .spawn()
        .unwrap();
    thread::scope(|threads| {
        let lock = when_blocked(threads, || io::lock_file(&file));
        holder.kill().unwrap();
        lock.join().unwrap().unwrap();
    });
    holder.wait().unwrap();
    let second = open();
    assert_eq!(timeout(SHORT, || io::lock_file(&second)).unwrap(), None);
}

#[test]
fn a_child_that_is_fed_and_read_and_waited_for_ends_with_its_group() {
    alone(
        "a_child_that_is_fed_and_read_and_waited_for_ends_with_its_group",
        || {
            let _watch = watch();
            let (fed, read) = (Gate::default(), Gate::default());
            let mut command = Command::new("cat");
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let (mut stdin, mut stdout) =
                (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            TaskGroup::scope(|g| {
                g.spawn(|| {
                    loop {
                        stdin.write_all(&[7; 4096])?;
                        fed.open();
                    }
                    #[allow(unreachable_code, reason = "the type of the task")]
                    Ok(())
                });
                g.spawn(|| {
                    loop {
                        assert!(stdout.read(&mut [0; 4096])? > 0, "a cut stream has no end");
                        read.open();
                    }
                    #[allow(unreachable_code, reason = "the type of the task")]
                    Ok(())
                });
                g.spawn(|| Ok(child.wait().map(drop)?));
                fed.wait();
                read.wait();
                g.cancel();
                Ok(())
            })
            .unwrap();
            // A wait that never began has ended no child. Then the drop does.
            drop((stdin, stdout, child));
            until(|| !has_children());
        },
    );
}

#[test]
fn a_kill_cuts_the_grace_of_a_child_that_a_cancel_ends() {
    let mut command = sh("trap '' TERM; echo ready; while :; do sleep 1; done");
    let child = ready(command.grace(children::LONG));
    let token = CancelToken::new();
    thread::scope(|threads| {
        let wait = when_blocked(threads, || token.run(|| child.wait()));
        token.cancel();
        // Whether the signal was sent already or not, SIGKILL ends it.
        child.kill().unwrap();
        the_cancel_or_kill(wait.join().unwrap());
    });
    assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(9));
}

/// The kill may be seen before the cancel is.
#[track_caller]
fn the_cancel_or_kill(outcome: io::Result<taskgroup::process::ExitStatus>) {
    match outcome {
        Ok(status) => assert_eq!(status.signal(), Some(9)),
        Err(error) => assert!(is_a_cancel(&error), "{error}"),
    }
}

#[test]
fn a_child_that_is_dropped_while_it_is_stopped_is_reaped() {
    alone(
        "a_child_that_is_dropped_while_it_is_stopped_is_reaped",
        || {
            let _watch = watch();
            let mut command = sh("trap '' TERM; echo ready; while :; do sleep 1; done");
            let child = ready(command.grace(children::LONG));
            let child = Arc::new(child);
            let token = CancelToken::new();
            thread::scope(|threads| {
                let wait = when_blocked(threads, || token.run(|| child.clone().wait()));
                token.cancel();
                // In its grace. The last handle is dropped after the kill.
                let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
                the_cancel_or_kill(wait.join().unwrap());
            });
            drop(child);
            until(|| !has_children());
        },
    );
}

#[test]
fn a_stage_of_a_shell_pipeline_that_is_cut_ends_the_others() {
    alone(
        "a_stage_of_a_shell_pipeline_that_is_cut_ends_the_others",
        || {
            let _watch = watch();
            let mut first = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
            let second = Command::new("cat")
                .stdin(first.stdout.take().unwrap())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = cancelled_while_blocked(|| {
                let mut second = second;
                let mut stdout = BufReader::new(second.stdout.take().unwrap());
                let mut line = String::new();
                stdout.read_line(&mut line)?;
                assert_eq!(line, "y\n");
                second.wait()
            });
            the_cancel(output);
            // Without a reader it dies of SIGPIPE, which is 13.
            assert_eq!(first.wait().unwrap().signal(), Some(13));
            // The cancel may have come in the read: then the child was dropped unwaited.
            until(|| !has_children());
        },
    );
}

#[test]
fn every_attempt_of_a_retried_command_ends_its_child() {
    alone("every_attempt_of_a_retried_command_ends_its_child", || {
        let _watch = watch();
        let policy = Backoff::exponential(Duration::ZERO).attempts(3);
        let mut attempts = 0;
        let outcome = retry(policy, |_| {
            attempts += 1;
            let output = timeout(SHORT, || Command::new("sleep").arg("600").output())?;
            output.ok_or_else(|| io::Error::from(ErrorKind::TimedOut))
        });
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(attempts, 3);
        assert!(!has_children());
    });
}

#[test]
fn a_program_that_is_missing_fails_its_group_and_the_other_children_end() {
    alone(
        "a_program_that_is_missing_fails_its_group_and_the_other_children_end",
        || {
            let _watch = watch();
            let error = TaskGroup::scope(|g| {
                g.spawn(|| Ok(Command::new("sleep").arg("600").status().map(drop)?));
                g.spawn(|| Ok(sh("sleep 600").own_group().output().map(drop)?));
                g.spawn(|| {
                    let mut missing = Command::new("no-such-program-here");
                    missing.env("A", "b").current_dir("/").status()?;
                    Ok(())
                });
                Ok(())
            })
            .unwrap_err();
            assert_eq!(error.failures().len(), 1, "{error:?}");
            let failed = error.errors().next().unwrap().downcast_ref::<io::Error>();
            assert_eq!(failed.unwrap().kind(), ErrorKind::NotFound);
            until(|| !has_children());
        },
    );
}
