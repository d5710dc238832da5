//! Processes with few descriptors left, or none: calls that need one fail with the error of the
//! system, or do without, and leave nothing behind.
#![cfg(all(target_os = "linux", feature = "net", feature = "process"))]

#[path = "support/blocked.rs"]
mod blocked;
#[path = "support/children.rs"]
mod children;
#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/folder.rs"]
mod folder;
mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use blocked::{Seen, the_cancel};
use children::{has_children, sh};
use descriptors::terminal;
use folder::Folder;
use rustix::io::Errno;
use support::{MOMENT, is_child, run_in_child_with_descriptors, until, watch};
use taskgroup::io::{PipeReader, pipe, stdin};
use taskgroup::net::{TcpListener, TcpStream, UdpSocket, lookup};
use taskgroup::process::{Command, Stdio};
use taskgroup::{CancelToken, TaskGroup, timeout};

/// The most descriptors that a call is left with: more than any call needs.
const MOST: usize = 12;

/// Takes all descriptors of the process but `left`.
fn take_all_but(left: usize) -> Vec<File> {
    let mut taken = Vec::new();
    let refusal = loop {
        match File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(error) => break error,
        }
    };
    assert_eq!(Errno::from_io_error(&refusal), Some(Errno::MFILE));
    assert!(taken.len() >= left, "only {} are free", taken.len());
    taken.truncate(taken.len() - left);
    taken
}

/// Returns how many descriptors are free.
fn free() -> usize {
    take_all_but(0).len()
}

/// Lets this thread wait once. It has its waker from then on, if it was asleep.
fn wait_once() {
    let (mut reader, mut writer) = pipe().unwrap();
    let this = Seen::here();
    thread::scope(|threads| {
        threads.spawn(|| {
            this.until_asleep();
            writer.write_all(b"x").unwrap();
        });
        // Outside of any scope no cancel could come, and no waker would be made.
        let read = CancelToken::new().run(|| reader.read(&mut [0]));
        assert_eq!(read.unwrap(), 1);
    });
}

/// Calls `call` with 0 to [`MOST`] free descriptors. Checks that each call fails for want of one or
/// succeeds, that more descriptors do no harm, and that nothing is left. Returns how many
/// descriptors the call needs.
#[track_caller]
fn needs<T>(mut call: impl FnMut() -> std::io::Result<T>) -> usize {
    let mut least = None;
    for left in 0..=MOST {
        let hoard = take_all_but(left);
        match call() {
            Ok(value) => {
                least.get_or_insert(left);
                drop(value);
            }
            Err(error) => {
                assert_eq!(
                    Errno::from_io_error(&error),
                    Some(Errno::MFILE),
                    "{error:?}"
                );
                assert_eq!(
                    least, None,
                    "it has worked with fewer than {left} descriptors"
                );
            }
        }
        // A thread that the call has left may be on its way out.
        until(|| free() == left);
        until(|| !has_children());
        drop(hoard);
    }
    least.expect("there are enough at the end")
}

fn in_a_small_process(test: &str, body: impl FnOnce()) {
    if is_child() {
        let _watch = watch();
        // With a waker, no later wait of this thread takes a descriptor.
        let before = free();
        while free() == before {
            wait_once();
        }
        return body();
    }
    let output = run_in_child_with_descriptors(test, 64);
    support::assert_passed(&output);
}

#[test]
fn each_call_fails_for_want_of_a_descriptor_and_leaves_nothing() {
    const TEST: &str = "each_call_fails_for_want_of_a_descriptor_and_leaves_nothing";
    in_a_small_process(TEST, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();

        assert_eq!(needs(pipe), 2);
        assert_eq!(needs(|| listener.try_clone()), 1);
        assert_eq!(needs(|| TcpListener::bind("127.0.0.1:0")), 1);
        assert_eq!(needs(|| UdpSocket::bind("127.0.0.1:0")), 1);
        assert_eq!(needs(|| TcpStream::connect(address)), 1);

        // The connections that were made above wait in the queue. None is lost to an error.
        for _ in 1..=MOST {
            listener.accept().unwrap();
        }
        let clients: Vec<_> = (1..=MOST)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        assert_eq!(needs(|| listener.accept()), 1);
        drop(clients);
    });
}

#[test]
fn a_child_that_cannot_be_started_for_want_of_a_descriptor_leaves_nothing() {
    const TEST: &str = "a_child_that_cannot_be_started_for_want_of_a_descriptor_leaves_nothing";
    in_a_small_process(TEST, || {
        // Without streams of its own a child needs none.
        assert_eq!(needs(|| Command::new("true").status()), 0);

        let piped = needs(|| {
            let mut cat = Command::new("cat");
            let all = cat.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = all.stderr(Stdio::piped()).spawn()?;
            child.stdin.as_mut().unwrap().write_all(b"through it")?;
            let output = child.wait_with_output()?;
            assert!(output.status.success());
            assert_eq!(output.stdout, b"through it");
            Ok(())
        });
        assert!(piped >= 6, "three pipes have six ends");

        needs(|| {
            let output = sh("echo out; echo err >&2").output()?;
            assert_eq!(
                (&*output.stdout, &*output.stderr),
                (&b"out\n"[..], &b"err\n"[..])
            );
            Ok(())
        });

        // A child that is given up, and one that a cancel ends. The thread that reaps is there
        // before, since it has a waker of its own.
        drop(sh("exec sleep 600").spawn().unwrap());
        until(|| !has_children());
        needs(|| {
            sh("exec sleep 600")
                .stdout(Stdio::piped())
                .spawn()
                .map(drop)
        });
        needs(|| {
            let child = sh("exec sleep 600").stdout(Stdio::piped()).spawn()?;
            let token = CancelToken::new();
            token.cancel();
            the_cancel(token.run(|| child.wait()));
            Ok(())
        });
    });
}

#[test]
fn a_look_up_without_descriptors_ends_as_in_std() {
    const TEST: &str = "a_look_up_without_descriptors_ends_as_in_std";
    in_a_small_process(TEST, || {
        let std = || {
            // On a thread of its own, since the resolver keeps its settings for each.
            let found = thread::spawn(|| ("localhost", 80).to_socket_addrs());
            found
                .join()
                .unwrap()
                .map(Iterator::collect::<Vec<SocketAddr>>)
        };
        let text = |found: std::io::Result<Vec<_>>| found.map_err(|error| error.to_string());
        // The resolver loads its parts at the first use.
        assert_eq!(text(lookup(("localhost", 80))), text(std()));

        for left in 0..=8 {
            let hoard = take_all_but(left);
            let found = lookup(("localhost", 80));
            assert_eq!(text(found), text(std()), "with {left} descriptors");
            until(|| free() == left);
            assert_eq!(taskgroup::abandoned().len(), 0);
            drop(hoard);
        }
    });
}

/// The terminal would be opened anew, for which there are too few descriptors.
#[test]
fn standard_input_is_read_without_a_descriptor_to_open_it_anew() {
    const TEST: &str = "standard_input_is_read_without_a_descriptor_to_open_it_anew";
    in_a_small_process(TEST, || {
        for left in 0..=4 {
            let (program, user) = terminal();
            rustix::stdio::dup2_stdin(&program).unwrap();
            let hoard = take_all_but(left);

            let mut line = String::new();
            let none = timeout(MOMENT, || stdin().read_line(&mut line));
            assert_eq!(none.unwrap(), None, "with {left} descriptors");
            rustix::io::write(&user, b"typed\n").unwrap();
            assert_eq!(stdin().read_line(&mut line).unwrap(), 6);
            assert_eq!(line, "typed\n");

            // The descriptors that were opened for the terminal are closed with it.
            let null = hoard.last().expect("some are taken");
            rustix::stdio::dup2_stdin(null).unwrap();
            assert_eq!(stdin().read_line(&mut line).unwrap(), 0);
            until(|| free() == left);
            drop(hoard);
        }
    });
}

/// A lack of descriptors is not for ever. Without a description of its own, a call could block
/// where another process takes what the poll has seen.
#[test]
fn what_could_not_be_opened_anew_is_opened_when_descriptors_are_free_again() {
    const TEST: &str = "what_could_not_be_opened_anew_is_opened_when_descriptors_are_free_again";
    in_a_small_process(TEST, || {
        wait_once();
        let folder = Folder::new();
        let both = File::options().read(true).write(true).open(folder.fifo());
        let mut both = both.unwrap();
        let mut fifo = PipeReader::from(OwnedFd::from(both.try_clone().unwrap()));
        let (program, user) = terminal();
        rustix::stdio::dup2_stdin(&program).unwrap();

        let hoard = take_all_but(0);
        let none = timeout(MOMENT, || fifo.read(&mut [0]));
        assert_eq!(none.unwrap(), None);
        let none = timeout(MOMENT, || stdin().read(&mut [0]));
        assert_eq!(none.unwrap(), None);
        drop(hoard);

        // Reads that find their bytes, so that no time limit can come first.
        let before = free();
        both.write_all(b"x").unwrap();
        assert_eq!(fifo.read(&mut [0; 2]).unwrap(), 1);
        assert_eq!(free(), before - 1);
        rustix::io::write(&user, b"typed\n").unwrap();
        assert_eq!(stdin().read(&mut [0; 8]).unwrap(), 6);
        assert_eq!(free(), before - 2);
    });
}

/// Starts `call` on a thread that has its waker, and returns when it has begun.
fn begun<'scope, T: Send + 'scope>(
    threads: &'scope thread::Scope<'scope, '_>,
    call: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    let (sender, begun) = std::sync::mpsc::channel();
    let thread = threads.spawn(move || {
        wait_once();
        sender.send(()).unwrap();
        call()
    });
    begun.recv().unwrap();
    thread
}

#[test]
fn calls_that_are_blocked_go_on_and_the_scope_ends() {
    const TEST: &str = "calls_that_are_blocked_go_on_and_the_scope_ends";
    in_a_small_process(TEST, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for left in 0..=8 {
            let (mut reader, mut writer) = pipe().unwrap();
            let mut client = TcpStream::connect(address).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            udp.connect(udp.local_addr().unwrap()).unwrap();
            let mut cat = Command::new("cat");
            let mut child = cat.stdin(Stdio::piped()).spawn().unwrap();
            let to_child = child.stdin.take();
            let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
            let token = CancelToken::new();

            thread::scope(|threads| {
                let read = begun(threads, || reader.read(&mut [0; 8]));
                let received = begun(threads, || stream.read(&mut [0; 8]));
                let datagram = begun(threads, || udp.recv(&mut [0; 8]));
                let wait = begun(threads, || child.wait());
                let accepted = begun(threads, || listener.accept());
                let cut = begun(threads, || token.run(|| silent.recv(&mut [0; 8])));
                let mut hoard = take_all_but(left);

                // The body of a scope fails for want of a descriptor, beside a task that waits.
                let ended = TaskGroup::scope(|g| -> anyhow::Result<()> {
                    g.spawn(|| Ok(taskgroup::sleep(Duration::from_secs(600))?));
                    let mut all = Vec::new();
                    loop {
                        all.push(pipe()?);
                    }
                });
                let error = ended.unwrap_err();
                let cause = error.errors().next().and_then(|error| error.downcast_ref());
                let number = cause.and_then(Errno::from_io_error);
                assert_eq!(number, Some(Errno::MFILE), "{error}");

                writer.write_all(b"bytes").unwrap();
                client.write_all(b"more").unwrap();
                udp.send(b"one").unwrap();
                drop(to_child);
                token.cancel();
                assert_eq!(read.join().unwrap().unwrap(), 5);
                assert_eq!(received.join().unwrap().unwrap(), 4);
                assert_eq!(datagram.join().unwrap().unwrap(), 3);
                assert!(wait.join().unwrap().unwrap().success());
                the_cancel(cut.join().unwrap());

                // The last one needs a descriptor at its end, and there are two now.
                hoard.truncate(hoard.len() - 2);
                let late = TcpStream::connect(address).unwrap();
                let (accepted, _) = accepted.join().unwrap().unwrap();
                assert_eq!(accepted.peer_addr().unwrap(), late.local_addr().unwrap());
            });
        }
        assert!(!has_children());
    });
}
