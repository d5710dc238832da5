//! Unix sockets: their differences from sockets of the network.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel, when_blocked};
use crate::support::{LONG, MOMENT, until, watch};
use taskgroup::net::{UnixDatagram, UnixListener, UnixSocketAddr, UnixStream};
use taskgroup::{CancelToken, TaskGroup};

/// A path for a socket, which is removed in the end.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("taskgroup-{}-{number}", std::process::id());
        SocketPath(std::env::temp_dir().join(name))
    }
}

impl AsRef<std::path::Path> for SocketPath {
    fn as_ref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("a socket was bound there");
    }
}

/// Fills the queue of the listener at `path`, and returns the streams in it.
fn fill(path: &SocketPath) -> Vec<UnixStream> {
    let mut filling = Vec::new();
    loop {
        let limit = Duration::from_millis(100);
        match taskgroup::timeout(limit, || UnixStream::connect(path)).unwrap() {
            Some(stream) => filling.push(stream),
            None => return filling,
        }
        assert!(filling.len() < 100, "the queue is never full");
    }
}

#[test]
fn a_connect_to_a_full_queue_waits_and_a_cancel_ends_it() {
    let path = SocketPath::new();
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let filling = fill(&path);
    assert!(!filling.is_empty());

    the_cancel(cancelled_while_blocked(|| UnixStream::connect(&path)));
    the_cancel(in_a_cancelled_scope(|| UnixStream::connect(&path)));

    // It is not taken for connected, and connects when there is room.
    thread::scope(|threads| {
        let connected = when_blocked(threads, || UnixStream::connect(&path));
        for _ in 0..=filling.len() {
            (&listener.accept().unwrap().0).write_all(b"x").unwrap();
        }
        let stream = connected.join().unwrap().unwrap();
        assert_eq!((&stream).read(&mut [0; 2]).unwrap(), 1);
        let flags = rustix::fs::fcntl_getfl(&stream).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_connect_to_a_full_queue_does_not_spin() {
    let path = SocketPath::new();
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _filling = fill(&path);

    let processor_time = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let before = processor_time();
    let none = taskgroup::timeout(Duration::from_secs(1), || UnixStream::connect(&path));
    assert!(none.unwrap().is_none());
    let used = Duration::try_from(processor_time() - before).unwrap();
    assert!(used < Duration::from_millis(500), "{used:?} of a second");
}

#[test]
fn listeners_and_streams_are_like_those_of_tcp() {
    let path = SocketPath::new();
    let listener = UnixListener::bind(&path).unwrap();
    the_cancel(cancelled_while_blocked(|| listener.accept()));
    the_cancel(in_a_cancelled_scope(|| listener.accept()));

    let here = UnixStream::connect(&path).unwrap();
    let (there, peer) = listener.accept().unwrap();
    assert!(peer.is_unnamed());
    the_cancel(cancelled_while_blocked(|| (&here).read(&mut [0])));
    the_cancel(cancelled_while_blocked(|| (&there).read_exact(&mut [0; 8])));
    (&here).write_all(b"abc").unwrap();
    the_cancel(in_a_cancelled_scope(|| (&there).read(&mut [0])));
    assert_eq!((&there).read(&mut [0; 8]).unwrap(), 3);
    drop(there);
    assert_eq!((&here).read(&mut [0]).unwrap(), 0);
    let gone = (&here).write(b"x").unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::BrokenPipe);

    let token = CancelToken::new();
    thread::scope(|threads| {
        let server = when_blocked(threads, || token.run(|| (&listener).into_iter().count()));
        token.cancel();
        assert_eq!(server.join().unwrap(), 1, "one error, and the end");
    });

    let clone = listener.try_clone().unwrap();
    clone.set_nonblocking(true).unwrap();
    let none = listener.accept().unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WouldBlock);
    drop(clone);
    listener.set_nonblocking(false).unwrap();
    let std: std::os::unix::net::UnixListener = listener.into();
    let flags = rustix::fs::fcntl_getfl(std.as_fd()).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
}

#[test]
fn a_write_that_is_cut_breaks_the_stream_and_its_clones() {
    let (here, there) = UnixStream::pair().unwrap();
    let clone = here.try_clone().unwrap();
    the_cancel(cancelled_while_blocked(|| (&here).write(&vec![0; 8 << 20])));
    for handle in [&here, &clone] {
        let broken = (&*handle).write(b"x").unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
        assert!(broken.to_string().contains("cancelled"), "{broken}");
    }
    (&there).write_all(b"y").unwrap();
    assert_eq!((&clone).read(&mut [0; 2]).unwrap(), 1);

    // The other end is a stream of its own.
    let part = vec![0; 1 << 20];
    thread::scope(|threads| {
        threads.spawn(|| (&there).write_all(&part).unwrap());
        (&here).read_exact(&mut vec![0; 1 << 20]).unwrap();
    });
}

#[test]
fn a_write_in_flight_on_a_clone_stops_where_the_stream_breaks() {
    let (here, there) = UnixStream::pair().unwrap();
    let clone = here.try_clone().unwrap();
    let token = CancelToken::new();
    let text = vec![0; 8 << 20];
    thread::scope(|threads| {
        let cut = when_blocked(threads, || token.run(|| (&here).write(&text)));
        let other = when_blocked(threads, || (&clone).write(&text));
        token.cancel();
        the_cancel(cut.join().unwrap());

        // Room comes, but no byte may follow.
        let mut received = 0;
        here.shutdown(Shutdown::Write).unwrap();
        let mut buf = vec![0; 1 << 16];
        loop {
            match (&there).read(&mut buf).unwrap() {
                0 => break,
                read => received += read,
            }
        }
        let broken = other.join().unwrap().unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
        assert!(broken.to_string().contains("cancelled"), "{broken}");
        assert!(received < text.len());
    });
}

#[test]
fn a_path_or_name_that_is_no_listener_fails_as_in_std() {
    let long = "x".repeat(200);
    for path in ["/no/such/socket", "a\0b", &long, "/dev/null"] {
        let ours = UnixStream::connect(path).unwrap_err();
        let theirs = std::os::unix::net::UnixStream::connect(path).unwrap_err();
        assert_eq!(
            (ours.kind(), ours.to_string()),
            (theirs.kind(), theirs.to_string())
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn abstract_names_can_be_connected_to_and_sent_to() {
    use std::os::linux::net::SocketAddrExt;

    use taskgroup::net::UnixSocketAddr;

    let name = format!("taskgroup-test-{}", std::process::id());
    let address = UnixSocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let _stream = UnixStream::connect_addr(&address).unwrap();
    listener.accept().unwrap();

    let address = UnixSocketAddr::from_abstract_name(format!("{name}-datagrams")).unwrap();
    let here = UnixDatagram::bind_addr(&address).unwrap();
    here.send_to_addr(b"to myself", &address).unwrap();
    let (length, from) = here.recv_from(&mut [0; 16]).unwrap();
    assert_eq!(
        (length, from.as_abstract_name()),
        (9, address.as_abstract_name())
    );
}

#[test]
fn a_cancelled_receipt_takes_no_datagram() {
    let (here, there) = UnixDatagram::pair().unwrap();
    let mut buf = [0; 8];
    the_cancel(cancelled_while_blocked(|| here.recv(&mut buf)));
    the_cancel(cancelled_while_blocked(|| here.recv_from(&mut buf)));
    there.send(b"abc").unwrap();
    the_cancel(in_a_cancelled_scope(|| here.recv(&mut buf)));
    assert_eq!(here.recv(&mut buf).unwrap(), 3);

    there.send(b"").unwrap();
    assert_eq!(
        here.recv(&mut buf).unwrap(),
        0,
        "an empty datagram is no end"
    );
    here.set_read_timeout(Some(MOMENT)).unwrap();
    assert_eq!(
        here.recv(&mut buf).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn a_receipt_and_an_accept_of_a_socket_that_is_shut_end_as_in_std() {
    let _watch = watch();
    let (here, there) = UnixDatagram::pair().unwrap();
    let mut buf = [0; 8];
    there.send(b"last").unwrap();
    here.shutdown(Shutdown::Read).unwrap();
    assert_eq!(here.recv(&mut buf).unwrap(), 4);
    let none = |(length, from): (usize, UnixSocketAddr)| length == 0 && from.is_unnamed();
    for _ in 0..2 {
        assert_eq!(here.recv(&mut buf).unwrap(), 0);
        assert!(none(here.recv_from(&mut buf).unwrap()));
    }
    the_cancel(in_a_cancelled_scope(|| here.recv(&mut buf)));
    here.set_nonblocking(true).unwrap();
    let error = here.recv(&mut buf).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);

    let path = SocketPath::new();
    let listener = UnixListener::bind(&path).unwrap();
    thread::scope(|threads| {
        let acceptor = when_blocked(threads, || listener.accept());
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
        let error = acceptor.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);

    // Another thread wakes too.
    let (here, _there) = UnixDatagram::pair().unwrap();
    thread::scope(|threads| {
        let receiver = when_blocked(threads, || here.recv(&mut [0; 8]));
        here.shutdown(Shutdown::Read).unwrap();
        assert_eq!(receiver.join().unwrap().unwrap(), 0);
    });
}

/// Sends until the receiver takes no more, and returns how many datagrams there are.
fn clog(sender: &UnixDatagram, send: impl Fn() -> std::io::Result<usize>) -> u32 {
    sender.set_nonblocking(true).unwrap();
    let mut count = 0;
    while send().is_ok() {
        count += 1;
    }
    sender.set_nonblocking(false).unwrap();
    count
}

/// Asserts that `send`, of four bytes, blocks, and is received after `count` datagrams of three.
fn assert_sent_after(
    receiver: &UnixDatagram,
    count: u32,
    send: impl Fn() -> std::io::Result<usize> + Send,
) {
    thread::scope(|threads| {
        let sent = when_blocked(threads, send);
        let mut buf = [0; 8];
        for _ in 0..count {
            assert_eq!(receiver.recv(&mut buf).unwrap(), 3);
        }
        assert_eq!(receiver.recv(&mut buf).unwrap(), 4);
        assert_eq!(sent.join().unwrap().unwrap(), 4);
    });
}

#[test]
fn a_send_waits_for_a_full_receiver_and_a_cancel_ends_it() {
    let (here, there) = UnixDatagram::pair().unwrap();
    let count = clog(&here, || here.send(b"old"));
    the_cancel(cancelled_while_blocked(|| here.send(b"no")));
    the_cancel(in_a_cancelled_scope(|| here.send(b"no")));

    assert_sent_after(&there, count, || here.send(b"new!"));
}

#[test]
fn a_send_to_a_full_receiver_waits_without_being_connected() {
    let path = SocketPath::new();
    let there = UnixDatagram::bind(&path).unwrap();
    let here = UnixDatagram::unbound().unwrap();
    let count = clog(&here, || here.send_to(b"old", &path));
    the_cancel(cancelled_while_blocked(|| here.send_to(b"no", &path)));
    the_cancel(in_a_cancelled_scope(|| here.send_to(b"no", &path)));

    here.set_write_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let begun = Instant::now();
    let passed = here.send_to(b"no", &path).unwrap_err();
    assert_eq!(passed.kind(), ErrorKind::WouldBlock);
    assert!(begun.elapsed() >= Duration::from_millis(20) && begun.elapsed() < LONG / 2);
    here.set_write_timeout(None).unwrap();

    assert_sent_after(&there, count, || here.send_to(b"new!", &path));
}

#[test]
fn many_senders_and_receivers_lose_and_repeat_no_datagram() {
    let path = SocketPath::new();
    let there = UnixDatagram::bind(&path).unwrap();
    let received = TaskGroup::scope(|g| {
        for sender in 0..4_u32 {
            let path = &path;
            g.spawn(move || {
                let here = UnixDatagram::unbound()?;
                for number in 0..500_u32 {
                    here.send_to(&(sender * 1000 + number).to_be_bytes(), path)?;
                }
                Ok(())
            });
        }
        let mut received = Vec::new();
        for _ in 0..2000 {
            let mut number = [0; 4];
            there.recv(&mut number)?;
            received.push(u32::from_be_bytes(number));
        }
        Ok(received)
    });
    let mut received = received.unwrap();
    received.sort_unstable();
    let sent: Vec<_> = (0..4)
        .flat_map(|sender| sender * 1000..sender * 1000 + 500)
        .collect();
    assert_eq!(received, sent);
}

#[test]
fn sockets_go_to_std_and_back() {
    let (here, there) = UnixStream::pair().unwrap();
    let std: std::os::unix::net::UnixStream = here.into();
    let fd: OwnedFd = UnixStream::from(std).into();
    drop(UnixStream::from(fd));
    until(|| (&there).read(&mut [0]).unwrap() == 0);

    let (here, there) = UnixDatagram::pair().unwrap();
    let std: std::os::unix::net::UnixDatagram = here.into();
    let fd: OwnedFd = UnixDatagram::from(std).into();
    UnixDatagram::from(fd).send(b"x").unwrap();
    assert_eq!(there.recv(&mut [0; 2]).unwrap(), 1);
}
