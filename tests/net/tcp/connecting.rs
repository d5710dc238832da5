//! Connects: addresses, limits and cancels.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use taskgroup::Cancelled;
use taskgroup::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};

use super::{is_nonblocking, mute, pair};
use crate::blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel};
use crate::support::{LONG, alone, until};

#[test]
fn a_connected_stream_is_blocking_and_closed_at_an_exec() {
    let (here, there) = pair();
    for stream in [&here, &there] {
        assert!(!is_nonblocking(stream));
        let flags = rustix::io::fcntl_getfd(stream).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    assert_eq!(here.peer_addr().unwrap(), there.local_addr().unwrap());
}

#[test]
fn a_cancelled_connect_gives_the_socket_back() {
    alone("a_cancelled_connect_gives_the_socket_back", || {
        let (_listener, address, _filling) = mute();
        // The first one makes the waker of the thread.
        the_cancel(cancelled_while_blocked(|| TcpStream::connect(address)));
        let descriptors = || std::fs::read_dir("/dev/fd").unwrap().count();
        let before = descriptors();
        for _ in 0..20 {
            the_cancel(cancelled_while_blocked(|| TcpStream::connect(address)));
        }
        until(|| descriptors() <= before);

        the_cancel(in_a_cancelled_scope(|| TcpStream::connect(address)));
        assert!(descriptors() <= before);
    });
}

/// Returns an address that refuses connections.
fn refusing() -> SocketAddr {
    // Bound, so that no other test gets the port, but it does not listen.
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    rustix::net::bind(&socket, &any).unwrap();
    let bound = rustix::net::getsockname(&socket).unwrap();
    std::mem::forget(socket);
    bound.try_into().unwrap()
}

#[test]
fn addresses_are_tried_in_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (good, bad) = (listener.local_addr().unwrap(), refusing());
    let stream = TcpStream::connect([bad, bad, good]).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), good);

    let refused = TcpStream::connect(&[bad, bad][..]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let no_address: [SocketAddr; 0] = [];
    let none = TcpStream::connect(no_address).unwrap_err();
    let theirs = std::net::TcpStream::connect(&[][..]).unwrap_err();
    assert_eq!(
        (none.kind(), none.to_string()),
        (theirs.kind(), theirs.to_string())
    );
}

#[test]
fn one_deadline_holds_for_all_addresses() {
    let (_listener, address, _filling) = mute();
    let begun = Instant::now();
    let connected = taskgroup::timeout(Duration::from_millis(50), || {
        TcpStream::connect([address, address, address])
    });
    assert!(connected.unwrap().is_none());
    assert!(begun.elapsed() < LONG / 2);
}

#[test]
fn whichever_limit_of_a_connect_passes_first_decides() {
    let (_listener, address, _filling) = mute();
    let own = taskgroup::timeout(LONG, || {
        TcpStream::connect_timeout(&address, Duration::from_millis(20))
    });
    assert_eq!(own.unwrap_err().kind(), ErrorKind::TimedOut);

    let cut = taskgroup::timeout(Duration::from_millis(20), || {
        the_cancel(TcpStream::connect_timeout(&address, LONG));
        Err::<(), Cancelled>(taskgroup::checkpoint().unwrap_err())
    });
    assert!(cut.unwrap().is_none());

    let zero = TcpStream::connect_timeout(&address, Duration::ZERO).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);
    let refused = TcpStream::connect_timeout(&refusing(), Duration::MAX).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_race_of_connects_keeps_the_first_and_closes_the_others() {
    let good = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_listener, address, _filling) = mute();
    let addresses = [address, good.local_addr().unwrap(), address];
    let won = taskgroup::race(addresses.map(|address| move || TcpStream::connect(address)));
    assert_eq!(won.unwrap().peer_addr().unwrap(), addresses[1]);

    // Of several that connect at once, those that lost are closed.
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = listeners
        .each_ref()
        .map(|listener| listener.local_addr().unwrap());
    let won = taskgroup::race(addresses.map(|address| move || TcpStream::connect(address)));
    let won = won.unwrap().peer_addr().unwrap();
    for listener in listeners {
        if listener.local_addr().unwrap() != won {
            listener.set_nonblocking(true).unwrap();
            if let Ok((mut stream, _)) = listener.accept() {
                assert_eq!(stream.read(&mut [0]).unwrap(), 0, "a loser is closed");
            }
        }
    }
}

#[test]
fn a_host_may_be_given_in_each_form_of_std() {
    fn reaches(listener: &TcpListener, host: impl ToSocketAddrs) {
        let stream = TcpStream::connect(host).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(stream.local_addr().unwrap(), peer);
    }

    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (ip, port) = (address.ip(), address.port());
    reaches(&listener, address);
    reaches(&listener, &[address][..]);
    reaches(&listener, (ip, port));
    reaches(&listener, format!("127.0.0.1:{port}"));
    reaches(&listener, format!("127.0.0.1:{port}").as_str());
    reaches(&listener, ("127.0.0.1", port));
    reaches(&listener, ("127.0.0.1".to_owned(), port));
    reaches(&listener, vec![address]);
}
