//! Calls that need not block.

use std::fs::File;
use std::num::NonZeroU32;
use std::os::linux::net::SocketAddrExt;
use std::sync::atomic::{AtomicU32, Ordering};

use taskgroup::net::{
    TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixSocketAddr, UnixStream,
    lookup,
};
use taskgroup::process::Command;
use taskgroup::sync::RateLimiter;
use taskgroup::{Backoff, retry};

use super::*;
use crate::children::has_children;

pub(super) const CALLS: &[Named] = &[
    ("TcpStream::connect", tcp_connect),
    ("TcpStream::connect_timeout", tcp_connect_timeout),
    ("UnixStream::connect", unix_connect),
    ("lookup", look_up),
    ("UdpSocket::send", udp_send),
    ("UdpSocket::send_to", udp_send_to),
    ("UnixDatagram::send_to", unix_send_to),
    ("copy, from memory", copy),
    ("read_to_end, of a file", read_to_end),
    ("Cancellable::read, of a file", cancellable_read),
    ("Cancellable::flush", cancellable_flush),
    ("Command::spawn", spawn),
    ("Command::status", status),
    ("Command::output", output),
    ("retry", retry_once),
    ("RateLimiter::acquire", acquire),
];

/// A listener, and the look that no connection came to it.
fn listener() -> (TcpListener, impl FnOnce(TcpListener)) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let is_deserted = |listener: TcpListener| {
        listener.set_nonblocking(true).expect("it listens");
        let none = listener.accept().expect_err("the queue is empty");
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    };
    (listener, is_deserted)
}

fn tcp_connect() -> World {
    let (listener, is_deserted) = listener();
    let address = listener.local_addr().expect("it is bound");
    World::new(
        move || TcpStream::connect(address).map(drop),
        || || is_deserted(listener),
    )
}

fn tcp_connect_timeout() -> World {
    let (listener, is_deserted) = listener();
    let address = listener.local_addr().expect("it is bound");
    World::new(
        move || TcpStream::connect_timeout(&address, LONG).map(drop),
        || || is_deserted(listener),
    )
}

fn unix_connect() -> World {
    let name = format!("taskgroup-ready-{}", std::process::id());
    let address = UnixSocketAddr::from_abstract_name(name).expect("the name is short");
    let listener = UnixListener::bind_addr(&address).expect("the name is free");
    World::new(
        move || UnixStream::connect_addr(&address).map(drop),
        || {
            move || {
                listener.set_nonblocking(true).expect("it listens");
                let none = listener.accept().expect_err("the queue is empty");
                assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
            }
        },
    )
}

fn look_up() -> World {
    World::new(|| lookup("127.0.0.1:80").map(drop), || || {})
}

/// The world of a send to `there`, to which no other sends.
fn udp_world(
    send: impl Fn(&UdpSocket, std::net::SocketAddr) -> io::Result<usize> + Send + 'static,
) -> World {
    let here = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let there = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let to = there.local_addr().expect("it is bound");
    here.connect(to).expect("it is bound");
    World::new(
        move || send(&here, to).map(drop),
        || {
            move || {
                there.set_nonblocking(true).expect("it is open");
                let none = there.recv(&mut [0; 8]).expect_err("nothing was sent");
                assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
            }
        },
    )
}

fn udp_send() -> World {
    udp_world(|here, _| here.send(b"never"))
}

fn udp_send_to() -> World {
    udp_world(|here, to| here.send_to(b"never", to))
}

fn unix_send_to() -> World {
    let name = format!("taskgroup-ready-{}", std::process::id());
    let address = UnixSocketAddr::from_abstract_name(name).expect("the name is short");
    let there = UnixDatagram::bind_addr(&address).expect("the name is free");
    let here = UnixDatagram::unbound().expect("there are descriptors left");
    World::new(
        move || here.send_to_addr(b"never", &address).map(drop),
        || {
            move || {
                there.set_nonblocking(true).expect("it is open");
                let none = there.recv(&mut [0; 8]).expect_err("nothing was sent");
                assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
            }
        },
    )
}

/// Counts the bytes that are taken from it, and has always more.
struct Counts(Arc<AtomicU32>);

impl Read for Counts {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.fetch_add(buf.len() as u32, Ordering::SeqCst);
        buf.fill(1);
        Ok(buf.len())
    }
}

fn copy() -> World {
    let taken = Arc::new(AtomicU32::new(0));
    let mut from = Counts(taken.clone());
    World::new(
        move || io::copy(&mut from, &mut io::sink()).map(drop),
        || move || assert_eq!(taken.load(Ordering::SeqCst), 0),
    )
}

fn read_to_end() -> World {
    let mut file = File::open("/dev/zero").expect("the system has it");
    World::new(
        move || io::read_to_end(&mut file, &mut Vec::new()).map(drop),
        || || {},
    )
}

fn this_file() -> io::Cancellable<File> {
    let file = File::open("/proc/self/exe").expect("the system has it");
    io::Cancellable::new(file).expect("it is open")
}

fn cancellable_read() -> World {
    let mut file = this_file();
    World::new(move || file.read(&mut [0; 8]).map(drop), || || {})
}

fn cancellable_flush() -> World {
    let mut file = this_file();
    World::new(move || file.flush(), || || {})
}

/// No child was started.
fn is_childless() -> impl FnOnce() {
    || assert!(!has_children())
}

fn spawn() -> World {
    World::new(|| Command::new("true").spawn().map(drop), is_childless)
}

fn status() -> World {
    World::new(|| Command::new("true").status().map(drop), is_childless)
}

fn output() -> World {
    World::new(|| Command::new("true").output().map(drop), is_childless)
}

fn retry_once() -> World {
    let attempts = Arc::new(AtomicU32::new(0));
    let theirs = attempts.clone();
    World::new(
        move || {
            retry(Backoff::exponential(Duration::ZERO), |_| {
                theirs.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
        },
        || move || assert_eq!(attempts.load(Ordering::SeqCst), 0),
    )
}

fn acquire() -> World {
    let limiter = Arc::new(RateLimiter::new(1000 * LONG, NonZeroU32::MIN));
    let theirs = limiter.clone();
    World::new(
        move || Ok(theirs.acquire()?),
        || move || assert!(limiter.try_acquire(), "the permit is there"),
    )
}
