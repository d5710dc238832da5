//! Listeners: what a cancel ends, which flags they keep, and how an iteration over connections
//! ends.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel, when_blocked};
use crate::support::{LONG, MOMENT, is_child, test_in_child, until, watch};
use taskgroup::net::{SocketAddr, TcpListener, TcpStream};
use taskgroup::{CancelToken, Cancelled, TaskGroup};

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn is_nonblocking(socket: &impl AsFd) -> bool {
    let flags = rustix::fs::fcntl_getfl(socket).unwrap();
    flags.contains(rustix::fs::OFlags::NONBLOCK)
}

#[test]
fn a_cancelled_accept_leaves_the_listener_as_it_was() {
    let (listener, address) = listener();
    the_cancel(cancelled_while_blocked(|| listener.accept()));

    let client = TcpStream::connect(address).unwrap();
    the_cancel(in_a_cancelled_scope(|| listener.accept()));
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

#[test]
fn a_deadline_ends_an_accept() {
    let (listener, _) = listener();
    let begun = Instant::now();
    let none = taskgroup::timeout(Duration::from_millis(20), || listener.accept());
    assert!(none.unwrap().is_none());
    assert!(begun.elapsed() < LONG / 2);
}

#[test]
fn a_time_limit_that_is_set_on_the_socket_ends_an_accept() {
    use rustix::net::sockopt::{Timeout, set_socket_timeout};

    let (listener, _) = listener();
    set_socket_timeout(&listener, Timeout::Recv, Some(MOMENT)).unwrap();
    let passed = listener.accept().unwrap_err();
    assert_eq!(passed.kind(), ErrorKind::WouldBlock);
}

#[test]
fn an_accepted_stream_is_blocking_and_closed_at_an_exec() {
    let (listener, address) = listener();
    for nonblocking in [false, true] {
        listener.set_nonblocking(nonblocking).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let stream = listener.accept().unwrap().0;
        assert!(!is_nonblocking(&stream));
        let flags = rustix::io::fcntl_getfd(&stream).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        the_cancel(cancelled_while_blocked(|| (&stream).read(&mut [0])));
    }
}

#[test]
fn a_nonblocking_listener_never_waits_and_its_clones_neither() {
    let (listener, address) = listener();
    let before = listener.try_clone().unwrap();
    listener.set_nonblocking(true).unwrap();
    let after = listener.try_clone().unwrap();
    for listener in [&listener, &before, &after] {
        let none = listener.accept().unwrap_err();
        assert_eq!(none.kind(), ErrorKind::WouldBlock);
    }

    let _client = TcpStream::connect(address).unwrap();
    assert!(before.accept().is_ok());
    after.set_nonblocking(false).unwrap();
    the_cancel(cancelled_while_blocked(|| before.accept()));
}

#[test]
fn the_flag_of_a_listener_that_is_handed_over_is_given_back() {
    for nonblocking in [false, true] {
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std.set_nonblocking(nonblocking).unwrap();
        let other = std.try_clone().unwrap();

        let ours = TcpListener::try_from(std).unwrap();
        assert!(is_nonblocking(&other), "a description is shared");
        if nonblocking {
            let none = ours.accept().unwrap_err();
            assert_eq!(none.kind(), ErrorKind::WouldBlock, "it was the user's wish");
        } else {
            the_cancel(cancelled_while_blocked(|| ours.accept()));
        }
        let std = std::net::TcpListener::from(ours);
        assert_eq!(is_nonblocking(&std), nonblocking);
    }

    // The last handle gives it back.
    let (listener, _) = listener();
    let clone = listener.try_clone().unwrap();
    let first: OwnedFd = listener.into();
    assert!(is_nonblocking(&first), "the clone needs it");
    the_cancel(cancelled_while_blocked(|| clone.accept()));
    let second: OwnedFd = clone.into();
    assert!(!is_nonblocking(&first) && !is_nonblocking(&second));
    let third = TcpListener::try_from(first).unwrap();
    assert!(third.into_raw_fd() > 2);
    assert!(
        !is_nonblocking(&second),
        "the number is given up like a handle"
    );
}

/// As after the end of a process that had the same listener, and was killed.
#[test]
fn a_listener_that_was_left_nonblocking_waits_again_once_the_user_says_so() {
    let left = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _first = TcpListener::try_from(left.try_clone().unwrap()).unwrap();
    let second = TcpListener::try_from(left).unwrap();
    let none = second.accept().unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WouldBlock);
    second.set_nonblocking(false).unwrap();
    the_cancel(cancelled_while_blocked(|| second.accept()));
}

#[test]
fn one_of_many_acceptors_gets_the_connection_and_the_others_sleep_on() {
    let _watch = watch();
    let (listener, address) = listener();
    let (token, got) = (CancelToken::new(), AtomicUsize::new(0));
    thread::scope(|threads| {
        let acceptors: Vec<_> = (0..8)
            .map(|_| {
                when_blocked(threads, || {
                    let accepted = token.run(|| listener.accept());
                    got.fetch_add(1, Ordering::SeqCst);
                    accepted
                })
            })
            .collect();
        let _client = TcpStream::connect(address).unwrap();
        until(|| got.load(Ordering::SeqCst) == 1);
        // A wake that finds nothing must not end a call.
        for _ in 0..100 {
            thread::yield_now();
        }
        assert_eq!(got.load(Ordering::SeqCst), 1);

        token.cancel();
        let accepted: Vec<_> = acceptors
            .into_iter()
            .map(|one| one.join().unwrap())
            .collect();
        let (ok, cut): (Vec<_>, Vec<_>) = accepted.into_iter().partition(Result::is_ok);
        assert_eq!((ok.len(), cut.len()), (1, 7));
        cut.into_iter().for_each(|cut| drop(the_cancel(cut)));
    });
}

#[test]
fn the_items_of_an_iteration_can_be_collected() {
    let (listener, address) = listener();
    let _client = TcpStream::connect(address).unwrap();
    let token = CancelToken::new();
    let items: Vec<_> = token.run(|| {
        let connections = listener.incoming();
        // The first connection is the last.
        connections.inspect(|_| _ = token.cancel()).collect()
    });
    let are_ok: Vec<_> = items.iter().map(Result::is_ok).collect();
    assert_eq!(are_ok, [true, false]);
}

#[test]
fn a_loop_that_drops_errors_ends_after_one_of_a_cancel() {
    let (listener, address) = listener();
    let (token, served) = (CancelToken::new(), AtomicUsize::new(0));
    thread::scope(|threads| {
        let server = when_blocked(threads, || {
            token.run(|| {
                let mut errors = Vec::new();
                for stream in listener.incoming() {
                    match stream {
                        Ok(mut stream) => {
                            stream.write_all(b"x").unwrap();
                            served.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => errors.push(error), // and goes on
                    }
                }
                errors
            })
        });
        for _ in 0..3 {
            let mut client = TcpStream::connect(address).unwrap();
            assert_eq!(client.read(&mut [0; 2]).unwrap(), 1);
        }
        token.cancel();
        let errors = server.join().unwrap();
        assert_eq!(errors.len(), 1);
        errors
            .into_iter()
            .for_each(|error| drop(the_cancel(Err::<(), _>(error))));
        assert_eq!(served.load(Ordering::SeqCst), 3);
    });

    // Elsewhere the iteration goes on.
    let mut connections = listener.incoming();
    assert!(in_a_cancelled_scope(|| connections.next()).is_some_and(|next| next.is_err()));
    let _client = TcpStream::connect(address).unwrap();
    assert!(connections.next().is_some_and(|next| next.is_ok()));
}

#[cfg(target_os = "linux")]
#[test]
fn at_the_limit_of_descriptors_an_iteration_pauses_and_then_goes_on() {
    const NAME: &str = "at_the_limit_of_descriptors_an_iteration_pauses_and_then_goes_on";
    if !is_child() {
        let output = crate::support::run_in_child_with_descriptors(NAME, 64);
        assert!(output.status.success(), "{output:?}");
        return;
    }

    let (listener, address) = listener();
    let client = TcpStream::connect(address).unwrap();
    let mut spare = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        spare.push(file);
    }
    let number = |error: &io::Error| rustix::io::Errno::from_io_error(error);
    let none_left = Some(rustix::io::Errno::MFILE);
    assert_eq!(number(&listener.accept().unwrap_err()), none_left);

    let mut connections = listener.incoming();
    let begun = Instant::now();
    for _ in 0..3 {
        let error = connections.next().expect("no end").unwrap_err();
        assert_eq!(number(&error), none_left);
    }
    assert!(begun.elapsed() >= Duration::from_millis(20), "two pauses");

    // A cancel ends the pause, and the connection stays.
    let cut = in_a_cancelled_scope(|| connections.next());
    the_cancel(cut.expect("no end"));

    drop(spare.pop());
    let accepted = connections.next().expect("no end").unwrap();
    assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
}

/// Accepts connections on the listener that is its standard input, says `ready`, and prints one
/// character for each.
fn foreign_acceptor() {
    let inherited = io::stdin().as_fd().try_clone_to_owned().unwrap();
    let listener = std::net::TcpListener::from(inherited);
    eprintln!("ready");
    loop {
        // It shares the flag of the description, as every process does.
        match listener.accept() {
            Ok((mut stream, _)) => stream.write_all(b"foreign").unwrap(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(MOMENT),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_accept_that_another_process_was_quicker_for_waits_on() {
    const NAME: &str = "an_accept_that_another_process_was_quicker_for_waits_on";
    if is_child() {
        return foreign_acceptor();
    }
    let _watch = watch();
    let (listener, address) = listener();
    let theirs = listener.as_fd().try_clone_to_owned().unwrap();
    let mut child = test_in_child(NAME)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut says = io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        assert_ne!(says.read_line(&mut line).unwrap(), 0, "the child has ended");
    }

    let own = AtomicUsize::new(0);
    let answers = TaskGroup::scope(|g| {
        let server = g.spawn(|| {
            for stream in listener.incoming() {
                let mut stream = stream?;
                own.fetch_add(1, Ordering::SeqCst);
                stream.write_all(b"own")?;
            }
            Ok(())
        });
        let mut answers = Vec::new();
        for _ in 0..200 {
            let mut answer = String::new();
            TcpStream::connect(address)?.read_to_string(&mut answer)?;
            answers.push(answer);
        }
        // The last connection may have been the other's: then the server has seen it, and sleeps.
        server.cancel();
        let _ = server.wait();
        Ok(answers)
    })
    .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    let foreign = answers.iter().filter(|answer| *answer == "foreign").count();
    let ours = answers.iter().filter(|answer| *answer == "own").count();
    assert_eq!(foreign + ours, 200, "each is answered once");
    assert_eq!(own.load(Ordering::SeqCst), ours);
}

#[test]
fn a_listener_is_bound_in_a_cancelled_scope_too() {
    let bound = in_a_cancelled_scope(|| TcpListener::bind("127.0.0.1:0"));
    assert_ne!(bound.unwrap().local_addr().unwrap().port(), 0);

    let (listener, address) = listener();
    let error = TcpListener::bind(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(Cancelled::find(&error).is_none());
    assert!(format!("{listener:?}").starts_with("TcpListener { addr: "));
    assert!(format!("{:?}", listener.incoming()).starts_with("Incoming { listener: "));
}
