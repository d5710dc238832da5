//! UDP sockets: what a cancel ends, and that no datagram is lost by it.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel, when_blocked};
use crate::support::{MOMENT, until, watch};
use taskgroup::CancelToken;
use taskgroup::net::{SocketAddr, UdpSocket};

/// Returns two sockets that are connected to each other.
fn pair() -> (UdpSocket, UdpSocket) {
    let [here, there] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    here.connect(there.local_addr().unwrap()).unwrap();
    there.connect(here.local_addr().unwrap()).unwrap();
    (here, there)
}

#[test]
fn a_cancelled_receipt_takes_no_datagram() {
    let (here, there) = pair();
    let buf = &mut [0; 8];
    the_cancel(cancelled_while_blocked(|| here.recv(buf)));
    the_cancel(cancelled_while_blocked(|| here.recv_from(buf)));
    the_cancel(cancelled_while_blocked(|| here.peek(buf)));
    the_cancel(cancelled_while_blocked(|| here.peek_from(buf)));

    there.send(b"abc").unwrap();
    the_cancel(in_a_cancelled_scope(|| here.recv(buf)));
    the_cancel(in_a_cancelled_scope(|| here.recv_from(buf)));
    the_cancel(in_a_cancelled_scope(|| here.peek(buf)));
    the_cancel(in_a_cancelled_scope(|| here.peek_from(buf)));
    let from = there.local_addr().unwrap();
    assert_eq!(here.peek_from(buf).unwrap(), (3, from));
    assert_eq!(here.peek(buf).unwrap(), 3);
    assert_eq!(here.recv_from(buf).unwrap(), (3, from));
    assert_eq!(buf[..3], *b"abc");
}

#[test]
fn a_cancelled_send_sends_nothing() {
    let (here, there) = pair();
    the_cancel(in_a_cancelled_scope(|| here.send(b"no")));
    let to = there.local_addr().unwrap();
    the_cancel(in_a_cancelled_scope(|| here.send_to(b"no", to)));
    here.send(b"yes").unwrap();
    let mut buf = [0; 8];
    assert_eq!(there.recv(&mut buf).unwrap(), 3);
}

#[test]
fn an_empty_datagram_is_no_end() {
    let (here, there) = pair();
    let token = CancelToken::new();
    // Also if the scope is cancelled meanwhile: the datagram was taken.
    for _ in 0..100 {
        there.send(b"").unwrap();
        there.send(b"x").unwrap();
        let mut buf = [0; 8];
        assert_eq!(token.run(|| here.recv(&mut buf)).unwrap(), 0);
        assert_eq!(token.run(|| here.recv(&mut buf)).unwrap(), 1);
    }
}

#[test]
fn a_datagram_that_does_not_fit_is_cut_as_in_std() {
    let (here, there) = pair();
    there.send(b"abcdef").unwrap();
    let mut buf = [0; 3];
    assert_eq!(here.peek(&mut buf).unwrap(), 3);
    assert_eq!(here.recv(&mut buf).unwrap(), 3);
    the_cancel(cancelled_while_blocked(|| here.recv(&mut buf)));
}

#[test]
fn a_refusal_is_returned_once_and_then_the_socket_works() {
    let here = UdpSocket::bind("127.0.0.1:0").unwrap();
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    here.connect(address).unwrap();
    drop(gone);

    here.send(b"to no one").unwrap();
    let refused = here.recv(&mut [0]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let back = UdpSocket::bind(address).unwrap();
    back.send_to(b"hello", here.local_addr().unwrap()).unwrap();
    assert_eq!(here.recv(&mut [0; 8]).unwrap(), 5);
}

#[test]
fn of_many_receivers_each_datagram_reaches_one() {
    // A receiver that is woken for a datagram that another took waits on.
    let _watch = watch();
    let (here, there) = pair();
    let (token, got) = (CancelToken::new(), AtomicUsize::new(0));
    thread::scope(|threads| {
        let receivers: Vec<_> = (0..20)
            .map(|_| {
                when_blocked(threads, || {
                    let mut seen = Vec::new();
                    let mut buf = [0; 8];
                    let cut = token.run(|| {
                        loop {
                            match here.recv(&mut buf) {
                                Ok(_) => seen.push(buf[0]),
                                Err(error) => break error,
                            }
                            got.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                    the_cancel(Err::<(), _>(cut));
                    seen
                })
            })
            .collect();
        for number in 0..50 {
            there.send(&[number]).unwrap();
        }
        until(|| got.load(Ordering::SeqCst) == 50);
        token.cancel();
        let mut all: Vec<u8> = receivers
            .into_iter()
            .flat_map(|receiver| receiver.join().unwrap())
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    });
}

/// Makes a datagram from `from` to `to`, with a checksum that is wrong.
#[cfg(target_os = "linux")]
fn with_a_bad_checksum(from: &UdpSocket, to: &UdpSocket) -> Vec<u8> {
    let [from, to] = [from, to].map(|socket| socket.local_addr().unwrap());
    // The system looks at the checksum of a short datagram before it queues it, and at that of a
    // long one when the datagram is received.
    let mut datagram = vec![7; 200];
    let length = (datagram.len() as u16).to_be_bytes();
    datagram[..2].copy_from_slice(&from.port().to_be_bytes());
    datagram[2..4].copy_from_slice(&to.port().to_be_bytes());
    datagram[4..6].copy_from_slice(&length);
    datagram[6..8].fill(0);

    // The sum also covers the addresses, the protocol and the length.
    let mut summed = vec![127, 0, 0, 1, 127, 0, 0, 1, 0, 17];
    summed.extend(length);
    summed.extend(&datagram);
    let words = summed
        .chunks(2)
        .map(|word| u32::from_be_bytes([0, 0, word[0], word[1]]));
    let mut sum = words.sum::<u32>();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // 0 says that there is none.
    let wrong = match !(sum as u16) {
        1 => 2,
        right => right ^ 1,
    };
    datagram[6..8].copy_from_slice(&wrong.to_be_bytes());
    datagram
}

/// How many datagrams with a bad checksum the system has thrown away.
#[cfg(target_os = "linux")]
fn thrown_away() -> u64 {
    let text = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let [names, counts] = [(); 2].map(|()| lines.next().unwrap().split_whitespace());
    let mut counted = names.zip(counts);
    let (_, count) = counted.find(|(name, _)| *name == "InCsumErrors").unwrap();
    count.parse().unwrap()
}

/// Such a datagram makes the socket readable, and is gone when it is received.
#[cfg(target_os = "linux")]
#[test]
fn a_datagram_with_a_bad_checksum_ends_no_receipt() {
    use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

    let _watch = watch();
    let raw = match socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::UDP)) {
        Ok(raw) => raw,
        Err(error) => {
            let test = "a_datagram_with_a_bad_checksum_ends_no_receipt";
            return eprintln!("SKIPPED {test}: only root has raw sockets: {error}");
        }
    };
    let (here, there) = pair();
    let bad = with_a_bad_checksum(&there, &here);
    let to = SocketAddr::from(([127, 0, 0, 1], 0));
    let send_bad = || assert_eq!(sendto(&raw, &bad, SendFlags::empty(), &to), Ok(bad.len()));
    let mut buf = [0; 256];

    // It comes while a thread waits.
    thread::scope(|threads| {
        let before = thrown_away();
        let receiver = when_blocked(threads, || here.recv(&mut buf));
        send_bad();
        until(|| thrown_away() > before);
        there.send(b"good").unwrap();
        assert_eq!(receiver.join().unwrap().unwrap(), 4);
    });
    the_cancel(cancelled_while_blocked(|| {
        send_bad();
        here.recv(&mut buf)
    }));

    // It is there before the call, alone and before a good one.
    for _ in 0..2 {
        send_bad();
        the_cancel(cancelled_while_blocked(|| here.peek(&mut buf)));
        send_bad();
        the_cancel(cancelled_while_blocked(|| here.recv_from(&mut buf)));
    }
    send_bad();
    there.send(b"good").unwrap();
    assert_eq!(here.recv(&mut buf).unwrap(), 4);
    assert_eq!(buf[..4], *b"good");
}

/// The system keeps a notice of a refusal in the error queue, for the program that has asked for
/// it, and polls as if there was an error until the program takes the notice.
#[cfg(target_os = "linux")]
#[test]
fn a_notice_in_the_error_queue_is_no_reason_to_spin() {
    let _watch = watch();
    let (here, there) = pair();
    nix::sys::socket::setsockopt(&here, nix::sys::socket::sockopt::Ipv4RecvErr, &true).unwrap();
    let to = there.local_addr().unwrap();
    drop(there);
    here.send(b"x").unwrap();
    let refused = here.recv(&mut [0]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let processor_time = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let before = processor_time();
    let none = taskgroup::timeout(Duration::from_secs(1), || here.recv(&mut [0]));
    assert!(none.unwrap().is_none());
    let used = Duration::try_from(processor_time() - before).unwrap();
    assert!(used < Duration::from_millis(100), "{used:?} of a second");

    the_cancel(cancelled_while_blocked(|| here.recv(&mut [0])));
    let there = UdpSocket::bind(to).unwrap();
    thread::scope(|threads| {
        let receiver = when_blocked(threads, || here.recv(&mut [0; 8]));
        there.send_to(b"good", here.local_addr().unwrap()).unwrap();
        assert_eq!(receiver.join().unwrap().unwrap(), 4);
    });
}

#[test]
fn limits_and_flags_are_those_of_std() {
    let (here, _there) = pair();
    here.set_read_timeout(Some(MOMENT)).unwrap();
    let passed = here.recv(&mut [0]).unwrap_err();
    assert_eq!(passed.kind(), ErrorKind::WouldBlock);
    let zero = here.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);

    here.set_read_timeout(None).unwrap();
    let clone = here.try_clone().unwrap();
    clone.set_nonblocking(true).unwrap();
    let empty = here.recv_from(&mut [0]).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::WouldBlock);
    here.set_nonblocking(false).unwrap();
    the_cancel(cancelled_while_blocked(|| clone.recv(&mut [0])));

    let std: std::net::UdpSocket = here.into();
    assert!(std.read_timeout().unwrap().is_none());
    let fd: OwnedFd = clone.into();
    assert!(UdpSocket::from(fd).take_error().unwrap().is_none());
    assert!(UdpSocket::from(std).peer_addr().is_ok());
}

#[test]
fn a_send_to_no_address_fails_as_in_std() {
    let (here, _there) = pair();
    let none: [SocketAddr; 0] = [];
    let ours = here.send_to(b"x", none).unwrap_err();
    let std: std::net::UdpSocket = here.into();
    let theirs = std.send_to(b"x", &none[..]).unwrap_err();
    assert_eq!(
        (ours.kind(), ours.to_string()),
        (theirs.kind(), theirs.to_string())
    );
}
