//! Descriptors beside other processes, and in processes that have no descriptor left.
#![cfg(target_os = "linux")]

#[path = "support/blocked.rs"]
mod blocked;
#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/folder.rs"]
mod folder;
mod support;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use descriptors::{assert_cancelled, fill};
use folder::Folder;
use support::{LONG, alone, until, watch};
use taskgroup::io::{self, Cancellable, PipeReader, PipeWriter, lock_file, open_fifo, unlock_file};
use taskgroup::{CancelToken, process};

fn pipe() -> (PipeReader, PipeWriter) {
    io::pipe().expect("there are descriptors left")
}

#[test]
fn a_child_process_inherits_an_end_only_as_its_stdio() {
    let _watch = watch();
    let (mut reader, writer) = pipe();
    let (child_in, mut to_child) = pipe();
    let mut child = std::process::Command::new("cat")
        .stdin(child_in)
        .stdout(writer)
        .spawn()
        .unwrap();
    to_child.write_all(b"through the child").unwrap();
    drop(to_child);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through the child");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_lock_holds_for_other_processes() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.0.join("lock");
    let file = File::create(&path).unwrap();
    let is_free = || {
        let status = Command::new("flock")
            .arg("-n")
            .arg(&path)
            .arg("true")
            .status();
        status.expect("the program is installed").success()
    };
    assert!(is_free());
    lock_file(&file).unwrap();
    assert!(!is_free());
    unlock_file(&file).unwrap();
    assert!(is_free());
}

#[test]
fn a_socket_as_a_writer_raises_no_signal_when_its_peer_has_gone() {
    use signal_hook::consts::SIGPIPE;

    let body = || {
        let raised = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGPIPE, raised.clone()).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        let error = PipeWriter::from(OwnedFd::from(near)).write(b"x");
        assert_eq!(error.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(!raised.load(Ordering::SeqCst));

        // For a pipe there is no such flag, and the signal is seen.
        let (reader, mut writer) = pipe();
        drop(reader);
        let error = writer.write(b"x");
        assert_eq!(error.unwrap_err().kind(), ErrorKind::BrokenPipe);
        until(|| raised.load(Ordering::SeqCst));
    };
    alone(
        "a_socket_as_a_writer_raises_no_signal_when_its_peer_has_gone",
        body,
    );
}

/// Runs `call` under a token that is cancelled a little later. Needs no descriptor.
fn cancelled_soon<T: Send>(call: impl FnOnce() -> T + Send) -> T {
    let token = CancelToken::new();
    thread::scope(|threads| {
        let calls = threads.spawn(|| token.run(call));
        // The outcome is the same if the call does not block yet.
        (0..3).for_each(|_| thread::yield_now());
        token.cancel();
        calls.join().unwrap()
    })
}

/// A sandbox takes the right away to open descriptors, and with it the right to poll any.
#[test]
fn where_the_system_refuses_to_poll_calls_are_tried_again() {
    alone(
        "where_the_system_refuses_to_poll_calls_are_tried_again",
        || {
            let _watch = watch();
            let (mut reader, mut writer) = pipe();
            let (full_reader, mut full_writer) = pipe();
            let filled = fill(&full_writer);
            let (near, far) = UnixStream::pair().unwrap();
            let mut foreign = Cancellable::new(near).unwrap();
            let mut cat = taskgroup::process::Command::new("cat");
            let mut child = cat.stdin(Stdio::piped()).spawn().unwrap();
            let to_child = child.stdin.take().unwrap();

            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            let none = rustix::process::Rlimit {
                current: Some(0),
                ..limit
            };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, none).unwrap();

            for _ in 0..3 {
                assert_cancelled(cancelled_soon(|| reader.read(&mut [0; 8])));
                assert_cancelled(cancelled_soon(|| full_writer.write_all(b"x")));
                // A call that could block is not made.
                assert_cancelled(cancelled_soon(|| foreign.read(&mut [0; 8])));
            }
            thread::scope(|threads| {
                let read = threads.spawn(|| reader.read(&mut [0; 8]));
                let write = threads.spawn(|| full_writer.write_all(b"x"));
                let wait = threads.spawn(|| child.wait());
                (0..3).for_each(|_| thread::yield_now());
                writer.write_all(b"at last").unwrap();
                (&full_reader).read_exact(&mut vec![0; filled]).unwrap();
                drop(to_child);
                assert_eq!(read.join().unwrap().unwrap(), 7);
                write.join().unwrap().unwrap();
                assert!(wait.join().unwrap().unwrap().success());
            });
            drop(far);
        },
    );
}

/// Every descriptor of the process is taken, so the threads that wait get no waker.
#[test]
fn at_the_limit_of_descriptors_pipes_still_wake() {
    alone("at_the_limit_of_descriptors_pipes_still_wake", || {
        let _watch = watch();
        let (mut reader, mut writer) = pipe();
        let (_full_reader, mut full_writer) = pipe();
        fill(&full_writer);
        let mut hoard = Vec::new();
        while let Ok(another) = reader.try_clone() {
            hoard.push(another);
            if hoard.len() == 500 {
                let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
                let low = rustix::process::Rlimit {
                    current: Some(600),
                    ..limit
                };
                rustix::process::setrlimit(rustix::process::Resource::Nofile, low).unwrap();
            }
        }
        assert!(io::pipe().is_err());

        for _ in 0..5 {
            assert_cancelled(cancelled_soon(|| reader.read(&mut [0; 8])));
            assert_cancelled(cancelled_soon(|| full_writer.write_all(b"x")));
        }
        let read = thread::scope(|threads| {
            let read = threads.spawn(|| taskgroup::timeout(LONG, || reader.read(&mut [0; 8])));
            (0..3).for_each(|_| thread::yield_now());
            writer.write_all(b"at last").unwrap();
            read.join().unwrap()
        });
        assert_eq!(read.unwrap(), Some(7));
    });
}

/// The look for a writer of a FIFO needs a pipe. Without one, only a byte tells of a writer.
#[test]
fn at_the_limit_of_descriptors_a_fifo_waits_for_a_byte() {
    alone(
        "at_the_limit_of_descriptors_a_fifo_waits_for_a_byte",
        || {
            let _watch = watch();
            let folder = Folder::new();
            let path = folder.fifo();
            let mut both = OpenOptions::new();
            let mut both = both.read(true).write(true).open(&path).unwrap();
            let reads = OpenOptions::new().read(true).clone();

            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            let low = rustix::process::Rlimit {
                current: Some(64),
                ..limit
            };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, low).unwrap();
            let mut hoard = Vec::new();
            while let Ok(another) = both.try_clone() {
                hoard.push(another);
            }
            // One for the FIFO itself.
            hoard.pop();

            let moment = Duration::from_millis(30);
            let opened = taskgroup::timeout(moment, || open_fifo(&path, &reads));
            assert!(opened.unwrap().is_none(), "no writer could be seen");

            both.write_all(b"x").unwrap();
            let opened = taskgroup::timeout(LONG, || open_fifo(&path, &reads));
            let mut fifo = opened.unwrap().expect("a byte is there");
            assert_eq!(fifo.read(&mut [0; 4]).unwrap(), 1);
        },
    );
}

#[test]
fn signals_interrupt_no_pipe_and_no_wait_for_a_child() {
    alone("signals_interrupt_no_pipe_and_no_wait_for_a_child", || {
        let _watch = watch();
        // A handler interrupts a poll whatever its flags are. The calls of the test run on its main
        // thread, which the system prefers.
        let heard = Arc::new(AtomicUsize::new(0));
        signal_hook::flag::register_usize(signal_hook::consts::SIGUSR1, heard.clone(), 1).unwrap();
        let over = AtomicBool::new(false);

        thread::scope(|threads| {
            threads.spawn(|| {
                let me = rustix::process::getpid();
                while !over.load(Ordering::SeqCst) {
                    rustix::process::kill_process(me, rustix::process::Signal::USR1).unwrap();
                    thread::sleep(Duration::from_millis(1));
                }
            });

            // Bytes go through whole, read and written on this thread.
            let sent: Vec<u8> = (0..4 << 20).map(|n| (n % 251) as u8).collect();
            let (mut reader, mut writer) = pipe();
            let read = threads.spawn(move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).map(|_| all)
            });
            writer.write_all(&sent).unwrap();
            drop(writer);
            assert!(read.join().unwrap().unwrap() == sent);

            let (mut reader, mut writer) = pipe();
            let theirs = sent.clone();
            let written = threads.spawn(move || writer.write_all(&theirs));
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            written.join().unwrap().unwrap();
            assert!(all == sent);

            // A wait keeps its length, and a child is waited for.
            let (mut reader, _writer) = pipe();
            let (limit, begun) = (Duration::from_millis(200), Instant::now());
            let none = taskgroup::timeout(limit, || reader.read(&mut [0])).unwrap();
            assert!(none.is_none() && begun.elapsed() >= limit);

            let mut sleeps = process::Command::new("sleep");
            assert!(sleeps.arg("0.2").status().unwrap().success());
            let begun = Instant::now();
            let child = sleeps.arg("60").spawn().unwrap();
            let none = taskgroup::timeout(limit, || child.wait()).unwrap();
            assert!(none.is_none() && begun.elapsed() >= limit);

            let mut prints = process::Command::new("head");
            let output = prints
                .args(["-c", "1000000", "/dev/zero"])
                .output()
                .unwrap();
            assert!(output.status.success() && output.stdout.len() == 1_000_000);
            over.store(true, Ordering::SeqCst);
        });
        assert!(heard.load(Ordering::SeqCst) > 0);
    });
}
