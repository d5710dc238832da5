//! Sockets, and names that are looked up.

use std::os::linux::net::SocketAddrExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::net::{
    SocketAddr, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixSocketAddr,
    UnixStream,
};

use super::*;

pub(super) const CALLS: &[Named] = &[
    ("TcpListener::accept", tcp_accept),
    ("Incoming::next", tcp_incoming),
    ("TcpStream::connect", tcp_connect),
    ("TcpStream::connect_timeout", tcp_connect_timeout),
    ("TcpStream::read", tcp_read),
    ("TcpStream::read_vectored", tcp_read_vectored),
    ("TcpStream::read, half-open", tcp_read_half_open),
    ("TcpStream::peek", tcp_peek),
    ("TcpStream::write_all", tcp_write_all),
    ("TcpStream::write_vectored", tcp_write_vectored),
    ("UdpSocket::recv", udp_recv),
    ("UdpSocket::recv_from", udp_recv_from),
    ("UdpSocket::peek_from", udp_peek_from),
    ("UnixListener::accept", unix_accept),
    ("UnixStream::connect", unix_connect),
    ("UnixStream::read", unix_read),
    ("UnixStream::write", unix_write),
    ("UnixStream::write_all", unix_write_all),
    ("UnixDatagram::recv", unix_recv),
    ("UnixDatagram::send", unix_send),
    ("UnixDatagram::send_to", unix_send_to),
];

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let here = TcpStream::connect(address).expect("it listens");
    let (there, _) = listener.accept().expect("one has connected");
    for end in [&here, &there] {
        // A connection that can hold little is soon full.
        rustix::net::sockopt::set_socket_send_buffer_size(end, 1 << 14).expect("it is a socket");
    }
    (here, there)
}

fn listener() -> (Arc<TcpListener>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (Arc::new(listener), address)
}

/// The world of an accept, into which one peer comes at the end.
fn accept_world<L: Send + Sync + 'static, P: 'static>(
    listener: Arc<L>,
    accept: impl Fn(&L) -> io::Result<()> + Send + Sync + 'static,
    connect: impl FnOnce() -> io::Result<P> + 'static,
) -> World {
    let accept = Arc::new(accept);
    let (theirs, accepts) = (listener.clone(), accept.clone());
    World::new(
        move || accepts(&theirs),
        move || {
            let peer = connect().expect("it listens");
            move || {
                done(|| accept(&listener));
                drop(peer);
            }
        },
    )
}

fn tcp_accept() -> World {
    let (listener, address) = listener();
    accept_world(
        listener,
        |listener| listener.accept().map(drop),
        move || TcpStream::connect(address),
    )
}

fn tcp_incoming() -> World {
    let (listener, address) = listener();
    let next = |listener: &TcpListener| {
        let next = listener.incoming().next().expect("the cancel is an item");
        next.map(drop)
    };
    accept_world(listener, next, move || TcpStream::connect(address))
}

/// Returns a listener that answers no connection, since its queue is full.
pub(crate) fn mute() -> SocketAddr {
    static MUTE: OnceLock<(std::net::TcpListener, Vec<std::net::TcpStream>)> = OnceLock::new();

    let (listener, _) = MUTE.get_or_init(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        rustix::net::listen(&listener, 0).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let limit = Duration::from_millis(100);
        let connect = || std::net::TcpStream::connect_timeout(&address, limit).ok();
        let filling = std::iter::from_fn(connect).take(100).collect();
        (listener, filling)
    });
    listener.local_addr().expect("it is bound")
}

fn tcp_connect() -> World {
    let address = mute();
    World::new(move || TcpStream::connect(address).map(drop), || || {})
}

fn tcp_connect_timeout() -> World {
    let address = mute();
    let connect = move || TcpStream::connect_timeout(&address, LONG).map(drop);
    World::new(connect, || || {})
}

fn tcp_read() -> World {
    let (here, there) = tcp_pair();
    read_world(here, there, |mut here, buf| here.read(buf))
}

fn tcp_read_vectored() -> World {
    let (here, there) = tcp_pair();
    read_world(here, there, |mut here, buf| {
        here.read_vectored(&mut [IoSliceMut::new(buf)])
    })
}

/// The own side of the connection is shut for writes.
fn tcp_read_half_open() -> World {
    let (here, there) = tcp_pair();
    here.shutdown(Shutdown::Write).expect("it is connected");
    read_world(here, there, |mut here, buf| here.read(buf))
}

fn tcp_peek() -> World {
    let (here, there) = tcp_pair();
    read_world(here, there, |here, buf| {
        let peeked = here.peek(buf)?;
        let mut here = here;
        assert_eq!(here.read(buf)?, peeked);
        Ok(peeked)
    })
}

fn tcp_write_all() -> World {
    let (here, there) = tcp_pair();
    cut_write_world(here, there, |mut here, bytes| here.write_all(bytes))
}

fn tcp_write_vectored() -> World {
    let (here, there) = tcp_pair();
    cut_write_world(here, there, |mut here, bytes| {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let bufs = [IoSlice::new(first), IoSlice::new(second)];
        // A write to such a stream is whole.
        here.write_vectored(&bufs)
            .map(|written| assert_eq!(written, bytes.len()))
    })
}

/// The sending end of a pair of datagram sockets.
struct Sends<S>(S);

impl Write for Sends<UdpSocket> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Sends<UnixDatagram> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn udp_pair() -> (UdpSocket, Sends<UdpSocket>) {
    let here = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let there = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let address = here.local_addr().expect("it is bound");
    there.connect(address).expect("it is bound");
    (here, Sends(there))
}

fn udp_recv() -> World {
    let (here, there) = udp_pair();
    read_world(here, there, UdpSocket::recv)
}

fn udp_recv_from() -> World {
    let (here, there) = udp_pair();
    read_world(here, there, |here, buf| Ok(here.recv_from(buf)?.0))
}

fn udp_peek_from() -> World {
    let (here, there) = udp_pair();
    read_world(here, there, |here, buf| {
        let (peeked, _) = here.peek_from(buf)?;
        assert_eq!(here.recv(buf)?, peeked);
        Ok(peeked)
    })
}

/// Returns an address that no other socket has.
fn unix_address() -> UnixSocketAddr {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("taskgroup-combinations-{}-{count}", std::process::id());
    UnixSocketAddr::from_abstract_name(name).expect("the name is short")
}

fn unix_accept() -> World {
    let address = unix_address();
    let listener = UnixListener::bind_addr(&address).expect("the name is new");
    accept_world(
        Arc::new(listener),
        |listener| listener.accept().map(drop),
        move || UnixStream::connect_addr(&address),
    )
}

/// The queue of the listener is full, so a connect is not even begun.
fn unix_connect() -> World {
    let address = unix_address();
    let listener = UnixListener::bind_addr(&address).expect("the name is new");
    rustix::net::listen(&listener, 0).expect("it is bound");
    let filling = UnixStream::connect_addr(&address).expect("there is room for one");
    let to = address.clone();
    World::new(
        move || UnixStream::connect_addr(&to).map(drop),
        move || {
            drop(filling);
            done(|| listener.accept());
            move || {
                // No connection of the cut call is in the queue.
                listener.set_nonblocking(true).expect("it listens");
                let none = listener.accept().expect_err("the queue is empty");
                assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
                let _here = done(|| UnixStream::connect_addr(&address));
                done(|| listener.accept());
            }
        },
    )
}

fn unix_read() -> World {
    let (here, there) = UnixStream::pair().expect("there are descriptors left");
    read_world(here, there, |mut here, buf| here.read(buf))
}

fn unix_write() -> World {
    let (here, there) = UnixStream::pair().expect("there are descriptors left");
    write_world(here, there, |mut here, bytes| here.write(bytes).map(drop))
}

fn unix_write_all() -> World {
    let (here, there) = UnixStream::pair().expect("there are descriptors left");
    cut_write_world(here, there, |mut here, bytes| here.write_all(bytes))
}

fn unix_recv() -> World {
    let (here, there) = UnixDatagram::pair().expect("there are descriptors left");
    read_world(here, Sends(there), UnixDatagram::recv)
}

/// The world of a send to a receiver with a full queue.
fn send_world(
    here: UnixDatagram,
    there: UnixDatagram,
    send: impl Fn(&UnixDatagram, &[u8]) -> io::Result<usize> + Send + Sync + 'static,
) -> World {
    here.set_nonblocking(true).expect("it is open");
    let filled = std::iter::from_fn(|| send(&here, b"old").ok()).count();
    here.set_nonblocking(false).expect("it is open");

    let here = Arc::new(here);
    let send = Arc::new(send);
    let (theirs, sends) = (here.clone(), send.clone());
    World::new(
        move || sends(&theirs, b"never").map(drop),
        move || {
            let mut buf = [0; 8];
            for _ in 0..filled {
                assert_eq!(done(|| there.recv(&mut buf)), 3);
            }
            move || {
                done(|| send(&here, b"next"));
                assert_eq!(done(|| there.recv(&mut buf)), 4);
                assert_eq!(&buf[..4], b"next");
            }
        },
    )
}

fn unix_send() -> World {
    let (here, there) = UnixDatagram::pair().expect("there are descriptors left");
    send_world(here, there, UnixDatagram::send)
}

fn unix_send_to() -> World {
    let address = unix_address();
    let there = UnixDatagram::bind_addr(&address).expect("the name is new");
    let here = UnixDatagram::unbound().expect("there are descriptors left");
    send_world(here, there, move |here, bytes| {
        here.send_to_addr(bytes, &address)
    })
}
