//! The options that limit a wait hold whoever sets them, also where it was known that there were
//! none.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net as std_unix;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use taskgroup::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream};

use crate::blocked::{cancelled_while_blocked, the_cancel};
use crate::support::{MOMENT, watch};

/// The handles of one socket, by the calls that the tests make.
trait Socket: AsFd + AsRawFd + Sized + Send + Sync {
    type Std: From<Self> + AsFd;

    fn receive(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn another(&self) -> Self;
    fn be_nonblocking(&self, nonblocking: bool);
    fn limit_receipts(&self);
    fn descriptor(self) -> OwnedFd;
}

macro_rules! socket {
    ($type:ty, $std:ty, $self:ident, $buf:ident, $receive:expr) => {
        impl Socket for $type {
            type Std = $std;

            fn receive(&$self, $buf: &mut [u8]) -> io::Result<usize> {
                $receive
            }

            fn another(&self) -> Self {
                self.try_clone().unwrap()
            }

            fn be_nonblocking(&self, nonblocking: bool) {
                self.set_nonblocking(nonblocking).unwrap();
            }

            fn limit_receipts(&self) {
                self.set_read_timeout(Some(MOMENT)).unwrap();
            }

            fn descriptor(self) -> OwnedFd {
                self.into()
            }
        }
    };
}
socket!(
    TcpStream,
    std::net::TcpStream,
    self,
    buf,
    (&mut &*self).read(buf)
);
socket!(
    UnixStream,
    std_unix::UnixStream,
    self,
    buf,
    (&mut &*self).read(buf)
);
socket!(UdpSocket, std::net::UdpSocket, self, buf, self.recv(buf));
socket!(
    UnixDatagram,
    std_unix::UnixDatagram,
    self,
    buf,
    self.recv(buf)
);

/// A way to limit the waits of a socket, with its name.
type Way<S> = (&'static str, fn(&S));

fn ways<S: Socket>() -> [Way<S>; 8] {
    [
        ("its own flag", |socket| socket.be_nonblocking(true)),
        ("its own limit", |socket| socket.limit_receipts()),
        ("the flag of a clone", |socket| {
            socket.another().be_nonblocking(true)
        }),
        ("the limit of a clone", |socket| {
            socket.another().limit_receipts()
        }),
        ("its descriptor", |socket| {
            rustix::io::ioctl_fionbio(socket.as_fd(), true).unwrap();
        }),
        ("the number of its descriptor", |socket| {
            let number = socket.as_raw_fd();
            // SAFETY: the socket is borrowed, and stays open.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            set_socket_timeout(fd, Timeout::Recv, Some(MOMENT)).unwrap();
        }),
        ("a clone of std's type", |socket| {
            let clone = S::Std::from(socket.another());
            rustix::io::ioctl_fionbio(&clone, true).unwrap();
        }),
        ("a descriptor that was given away", |socket| {
            let clone = socket.another().descriptor();
            set_socket_timeout(&clone, Timeout::Recv, Some(MOMENT)).unwrap();
        }),
    ]
}

/// Receipts that wait, until it is known that they do.
fn wait_several_times(socket: &impl Socket) {
    for _ in 0..4 {
        the_cancel(cancelled_while_blocked(|| socket.receive(&mut [0])));
    }
}

fn each_way_holds<S: Socket, P>(pair: impl Fn() -> (S, P)) {
    let _watch = watch();
    for (way, limit) in ways::<S>() {
        let (socket, _peer) = pair();
        wait_several_times(&socket);
        limit(&socket);
        for _ in 0..2 {
            let kind = socket.receive(&mut [0]).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::WouldBlock, "{way}");
        }
    }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (here, listener.accept().unwrap().0)
}

#[test]
fn a_limit_that_comes_after_waits_without_one_holds_on_streams() {
    each_way_holds(tcp_pair);
    each_way_holds(|| {
        let (there, here) = tcp_pair();
        (here, there)
    });
    each_way_holds(|| UnixStream::pair().unwrap());
}

#[test]
fn a_limit_that_comes_after_waits_without_one_holds_on_datagrams() {
    each_way_holds(|| (UdpSocket::bind("127.0.0.1:0").unwrap(), ()));
    each_way_holds(|| UnixDatagram::pair().unwrap());
}

/// Where std's type has clones, nothing is ever known for good.
#[test]
fn a_limit_of_a_handle_from_before_holds() {
    let _watch = watch();
    let (before, _peer) = std_unix::UnixStream::pair().unwrap();
    let here = UnixStream::from(before.try_clone().unwrap());
    wait_several_times(&here);
    before.set_nonblocking(true).unwrap();
    let kind = here.receive(&mut [0]).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::WouldBlock);
}

#[test]
fn a_stream_without_a_limit_waits_again_once_it_is_taken_away() {
    let _watch = watch();
    let (here, _there) = UnixStream::pair().unwrap();
    for _ in 0..3 {
        wait_several_times(&here);
        here.be_nonblocking(true);
        let kind = here.receive(&mut [0]).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::WouldBlock);
        here.be_nonblocking(false);
    }
}

/// A stream whose reads wait without a look gives what is there, and its end.
#[test]
fn a_read_that_waits_at_once_finds_what_is_there() {
    let _watch = watch();
    let (here, there) = UnixStream::pair().unwrap();
    for round in 0..40_u8 {
        wait_several_times(&here);
        io::Write::write_all(&mut &there, &[round, round]).unwrap();
        let mut byte = [0];
        for _ in 0..2 {
            assert_eq!(here.receive(&mut byte).unwrap(), 1);
            assert_eq!(byte, [round]);
        }
    }
    wait_several_times(&here);
    drop(there);
    assert_eq!(here.receive(&mut [0]).unwrap(), 0);
}
