//! Sockets: what comes, what goes, and connections.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net as std_unix;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size,
};
use rustix::net::{RecvFlags, SendFlags};
use taskgroup::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};

use crate::Scratch;
use crate::meeting::{Chance, pause, race, races, receive};
use crate::support::until;

/// As many as a test has time for.
const USUAL: u64 = 1_000;

fn tcp_pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, far)
}

/// Closes a connection with a reset, so that its port is free again at once.
fn reset(socket: impl AsFd) {
    set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    drop(socket);
}

/// Receives a byte in each race. It is taken, or it stays.
fn receives(receive: impl Fn(&mut [u8]) -> std::io::Result<usize>, from: impl AsFd + Sync) {
    let put = |number| {
        let sent = rustix::net::send(&from, &[number as u8], SendFlags::empty());
        assert_eq!(sent.expect("there is room"), 1);
    };
    let take = |_| {
        let mut buf = [0; 2];
        assert_eq!(receive(&mut buf)?, 1, "the other end is open");
        Ok(buf[0])
    };
    race(races(USUAL), put, take, |number, taken| {
        let byte = taken.unwrap_or_else(|| take(number).expect("nothing cancels this call"));
        assert_eq!(byte, number as u8, "race {number}");
    });
}

#[test]
fn a_byte_of_a_tcp_stream_is_read_or_stays() {
    let (near, far) = tcp_pair();
    receives(|buf| (&near).read(buf), far);
}

#[test]
fn a_byte_of_a_unix_stream_is_read_or_stays() {
    let (near, far) = UnixStream::pair().unwrap();
    receives(|buf| (&near).read(buf), far);
}

#[test]
fn a_datagram_is_received_or_stays() {
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    let far = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    far.connect(near.local_addr().unwrap()).unwrap();
    receives(|buf| near.recv(buf), far);
}

#[test]
fn a_unix_datagram_is_received_or_stays() {
    let (near, far) = UnixDatagram::pair().unwrap();
    receives(|buf| near.recv(buf), far);
}

/// The bytes of a stream, which repeat.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| (0..251).cycle().take(251 * 20).collect());

/// The bytes of the stream from this place on, more than 4 KiB.
fn bytes_from(place: u64) -> &'static [u8] {
    &PATTERN[(place % 251) as usize..]
}

/// The size of the buffers of a stream that is to be full. It is filled in each race. A TCP stream
/// with less does not flow well.
const BUFFER: usize = 16 << 10;

/// Writes a byte to a full stream in each race, while the other end takes everything. The byte is
/// written once, or not.
fn writes<S>(near: S, far: impl AsFd + Sync)
where
    S: AsFd,
    for<'s> &'s S: Write,
{
    set_socket_send_buffer_size(&near, BUFFER).unwrap();
    set_socket_recv_buffer_size(&far, BUFFER).unwrap();

    // How many bytes were written, and how many were read.
    let (written, read) = (Cell::new(0), AtomicU64::new(0));
    let (events, over) = channel();
    let fill = || loop {
        match rustix::net::send(&near, bytes_from(written.get()), SendFlags::DONTWAIT) {
            Ok(sent) => written.set(written.get() + sent as u64),
            Err(Errno::AGAIN) => return,
            Err(error) => panic!("{error}"),
        }
    };
    let take_all = || {
        let mut buf = [0; 4096];
        loop {
            match rustix::net::recv(&far, &mut buf, RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let before = read.fetch_add(length as u64, Ordering::Relaxed);
                    assert_eq!(buf[..length], bytes_from(before)[..length]);
                }
                Err(Errno::AGAIN) => return,
                Err(error) => panic!("{error}"),
            }
        }
    };

    let event = |number| {
        take_all();
        let _ = events.send(number);
    };

    fill();
    let write = |_| (&near).write(&bytes_from(written.get())[..1]);
    race(races(USUAL), event, write, |number, done| {
        let done = done.unwrap_or_else(|| write(number).expect("nothing cancels this write"));
        assert_eq!(done, 1, "race {number}");
        written.set(written.get() + 1);
        // Otherwise the event would make room for the next race too.
        assert_eq!(receive(&over), Some(number));
        fill();
    });

    // What was on its way.
    until(|| {
        take_all();
        read.load(Ordering::Relaxed) == written.get()
    });
}

#[test]
fn a_byte_is_written_to_a_full_tcp_stream_or_not() {
    let (near, far) = tcp_pair();
    writes(near, far);
}

#[test]
fn a_byte_is_written_to_a_full_unix_stream_or_not() {
    let (near, far) = UnixStream::pair().unwrap();
    writes(near, far);
}

#[test]
fn a_datagram_is_sent_to_a_full_queue_or_not() {
    // Not a pair: one that can send back has room for as much as fits into its buffer.
    let path = Scratch::new("queue");
    let far = UnixDatagram::bind(&path).unwrap();
    let near = UnixDatagram::unbound().unwrap();
    near.connect(&path).unwrap();
    let mut queued = 0_u64;
    while rustix::net::send(&near, &queued.to_be_bytes(), SendFlags::DONTWAIT).is_ok() {
        queued += 1;
    }

    // Each race takes one and sends one, in order.
    let take = |number: u64| {
        let mut buf = [0; 8];
        let (length, _) = rustix::net::recv(&far, &mut buf, RecvFlags::empty()).unwrap();
        assert_eq!((length, u64::from_be_bytes(buf)), (8, number));
    };
    let send = |number: u64| near.send(&(queued + number).to_be_bytes());
    race(races(USUAL), take, send, |number, sent| {
        let sent = sent.unwrap_or_else(|| send(number).expect("nothing cancels this send"));
        assert_eq!(sent, 8, "race {number}");
    });
}

#[test]
fn a_tcp_connection_is_accepted_or_stays() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (clients, for_server) = channel();
    let connect = |_| {
        let client = std::net::TcpStream::connect(address).unwrap();
        clients.send(client).unwrap();
    };
    let accept = |_| listener.accept();
    race(races(USUAL), connect, accept, |number, accepted| {
        let client = for_server.recv().unwrap();
        let (stream, peer) =
            accepted.unwrap_or_else(|| accept(number).expect("nothing cancels this accept"));
        assert_eq!(peer, client.local_addr().unwrap(), "race {number}");
        reset(client);
        reset(stream);
    });
}

#[test]
fn a_unix_connection_is_accepted_or_stays() {
    let path = Scratch::new("accept");
    let listener = UnixListener::bind(&path).unwrap();
    let connect = |number| {
        let mut client = std_unix::UnixStream::connect(&path).unwrap();
        client.write_all(&[number as u8]).unwrap();
    };
    let accept = |_| listener.accept();
    race(races(USUAL), connect, accept, |number, accepted| {
        let (mut stream, _) =
            accepted.unwrap_or_else(|| accept(number).expect("nothing cancels this accept"));
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        assert_eq!(byte[0], number as u8, "race {number}");
    });
}

/// The system connects by itself, so the cancel is the only event.
#[test]
fn a_tcp_connect_gives_a_connection_or_none() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (events, over) = channel();
    let note = |number| {
        // As long as a connect may take.
        Chance::of(number, 2).spin(11);
        let _ = events.send(number);
    };
    let connect = |_| TcpStream::connect(address);
    race(races(USUAL), note, connect, |number, connected| {
        if let Some(mut near) = connected {
            // Cut ones may come first.
            let mut far = loop {
                let (far, peer) = listener.accept().unwrap();
                if peer == near.local_addr().unwrap() {
                    break far;
                }
            };
            near.write_all(&[number as u8]).unwrap();
            let mut byte = [0];
            far.read_exact(&mut byte).unwrap();
            assert_eq!(byte[0], number as u8, "race {number}");
            reset(near);
            reset(far);
        }
        // Not ahead of the other thread.
        assert_eq!(receive(&over), Some(number));
    });
}

/// Returns an address at which connects wait for ever, and what keeps it so.
fn mute() -> (SocketAddr, std::net::TcpListener, Vec<std::net::TcpStream>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let limit = Duration::from_millis(200);
    let mut filling = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, limit) {
        filling.push(stream);
        assert!(filling.len() < 100, "the queue is never full");
    }
    (address, listener, filling)
}

#[test]
fn a_tcp_connect_without_an_answer_is_cut() {
    let (address, _listener, _filling) = mute();
    let connect = |_| TcpStream::connect(address);
    race(
        races(USUAL),
        |_| {},
        connect,
        |number, connected| {
            assert!(connected.is_none(), "race {number}");
        },
    );
}

/// A connect that waits for room pauses, so there is time for few races.
#[test]
fn a_unix_connect_to_a_full_queue_gives_a_connection_or_none() {
    let path = Scratch::new("connect");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let accepted = Mutex::new(Vec::new());
    let accept = |number| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        // A call that was cut has left no connection, which would be at its end here.
        stream.read_exact(&mut byte).unwrap();
        accepted.lock().unwrap().push(byte[0]);
        pause(number);
    };
    let connect = |number: u64| {
        let stream = UnixStream::connect(&path)?;
        // Not a blocking point of its own.
        let sent = rustix::net::send(&stream, &[number as u8], SendFlags::empty());
        assert_eq!(sent.unwrap(), 1);
        Ok(stream)
    };

    // There is one place, and each race takes and fills it.
    let races = races(USUAL) / 10;
    let mut last = Some(connect(u64::MAX).unwrap());
    race(races, accept, connect, |number, connected| {
        let next = connected.or_else(|| Some(connect(number).expect("nothing cancels this")));
        last = next;
    });
    drop(last);
    accept(0);
    let expected: Vec<_> = (0..=races)
        .map(|number| number.wrapping_sub(1) as u8)
        .collect();
    assert_eq!(*accepted.lock().unwrap(), expected);
}
