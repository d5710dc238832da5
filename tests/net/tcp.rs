//! Reads, writes and connects of TCP streams: what a cancel ends, and what it leaves behind.

mod connecting;
mod system;
mod writing;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::net::{SocketAddr, TcpListener, TcpStream};
use taskgroup::{CancelCause, CancelToken, Cancelled, TaskGroup};

use crate::blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel, when_blocked};
use crate::support::{Gate, MOMENT, until, watch};

/// Returns the two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (here, listener.accept().unwrap().0)
}

/// Returns a stream with a connection that holds no more data, and its peer.
fn clogged() -> (TcpStream, TcpStream) {
    let (here, there) = pair();
    here.set_nonblocking(true).unwrap();
    // The peer acknowledges the last bytes late, and each time there is room for a little more.
    let mut refusals = 0;
    while refusals < 20 {
        refusals = match (&here).write(&[0; 1 << 16]) {
            Ok(_) => 0,
            Err(_) => refusals + 1,
        };
        thread::sleep(20 * MOMENT * u32::from(refusals > 0));
    }
    here.set_nonblocking(false).unwrap();
    (here, there)
}

/// Returns a listener that answers no connection, since its queue is full, and the streams that
/// fill the queue.
fn mute() -> (std::net::TcpListener, SocketAddr, Vec<std::net::TcpStream>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();

    let mut filling = Vec::new();
    let limit = Duration::from_millis(200);
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, limit) {
        filling.push(stream);
        assert!(filling.len() < 100, "the queue is never full");
    }
    (listener, address, filling)
}

fn is_nonblocking(socket: &impl AsFd) -> bool {
    let flags = rustix::fs::fcntl_getfl(socket).unwrap();
    flags.contains(rustix::fs::OFlags::NONBLOCK)
}

#[test]
fn a_cancelled_read_leaves_the_socket_open() {
    let (here, there) = pair();
    let (token, cut) = (CancelToken::new(), Gate::default());
    thread::scope(|threads| {
        let reader = when_blocked(threads, || {
            token.run(|| {
                the_cancel((&here).read(&mut [0; 4]));
                cut.open();
                taskgroup::shield(|| {
                    let mut buf = [0; 4];
                    let length = (&here).read(&mut buf).unwrap();
                    buf[..length].to_vec()
                })
            })
        });
        token.cancel();
        cut.wait();
        (&there).write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap(), b"x");
    });
}

#[test]
fn a_cancelled_scope_reads_nothing_and_the_bytes_stay() {
    let (here, there) = pair();
    (&there).write_all(b"abc").unwrap();
    let mut buf = [0; 8];
    assert_eq!(here.peek(&mut buf).unwrap(), 3);

    for _ in 0..3 {
        the_cancel(in_a_cancelled_scope(|| (&here).read(&mut buf)));
        the_cancel(in_a_cancelled_scope(|| here.peek(&mut buf)));
        let mut bufs = [IoSliceMut::new(&mut buf)];
        the_cancel(in_a_cancelled_scope(|| (&here).read_vectored(&mut bufs)));
    }
    assert_eq!((&here).read(&mut buf).unwrap(), 3);
}

#[test]
fn each_way_to_read_and_to_write_wakes() {
    let (here, there) = pair();
    the_cancel(cancelled_while_blocked(|| (&here).read(&mut [0])));
    the_cancel(cancelled_while_blocked(|| here.peek(&mut [0])));
    the_cancel(cancelled_while_blocked(|| {
        (&here).read_vectored(&mut [IoSliceMut::new(&mut [0])])
    }));
    the_cancel(cancelled_while_blocked(|| (&here).read_exact(&mut [0; 8])));
    the_cancel(cancelled_while_blocked(|| {
        (&here).read_to_end(&mut Vec::new())
    }));
    drop(there);

    let (here, _there) = clogged();
    the_cancel(cancelled_while_blocked(|| (&here).write(&[0; 8])));
    the_cancel(cancelled_while_blocked(|| {
        (&here).write_vectored(&[IoSlice::new(&[0; 8])])
    }));
    the_cancel(cancelled_while_blocked(|| (&here).write_all(&[0; 8])));
    the_cancel(cancelled_while_blocked(|| write!(&here, "{}", 8)));
}

#[test]
fn a_shutdown_by_another_thread_ends_a_read() {
    let (here, _there) = pair();
    thread::scope(|threads| {
        let reader = when_blocked(threads, || (&here).read(&mut [0]));
        here.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 0);
    });
}

#[test]
fn an_end_in_a_cancelled_scope_is_the_cancel() {
    for _ in 0..50 {
        let (here, there) = pair();
        let token = CancelToken::new();
        let read = thread::scope(|threads| {
            let reader = when_blocked(threads, || token.run(|| (&here).read(&mut [0])));
            // The peer leaves because of the cancel, before or after the reader is woken.
            let _leaves = token.on_cancel(move || drop(there));
            token.cancel();
            reader.join().unwrap()
        });
        the_cancel(read);
    }

    // Bytes that were there before are a value.
    let (here, there) = pair();
    (&there).write_all(b"last").unwrap();
    drop(there);
    assert_eq!((&here).read(&mut [0; 8]).unwrap(), 4);
}

#[test]
fn a_task_whose_sibling_is_cancelled_sees_the_cancel_and_no_end() {
    for _ in 0..50 {
        let (here, there) = pair();
        let report = TaskGroup::scope(|g| {
            g.task().with(there).spawn(|there: &mut TcpStream| {
                there.read_exact(&mut [0; 8])?;
                Ok(())
            });
            g.spawn(|| {
                assert!(
                    (&here).read(&mut [0; 8]).is_err(),
                    "a cut stream has no end"
                );
                taskgroup::checkpoint()?;
                Ok(())
            });
            g.cancel();
            Ok(())
        });
        report.unwrap();
    }
}

#[test]
fn a_peer_that_closes_is_the_end_each_time() {
    let (here, there) = pair();
    drop(there);
    for _ in 0..3 {
        assert_eq!((&here).read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_peer_that_resets_is_an_error() {
    let (here, there) = pair();
    (&here).write_all(b"never read").unwrap();
    until(|| there.peek(&mut [0]).is_ok());
    drop(there); // with unread data, which resets

    let error = (&here).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_peer_that_resets_wakes_a_read_and_a_write() {
    let (here, there) = clogged();
    thread::scope(|threads| {
        let reader = when_blocked(threads, || (&here).read(&mut [0]));
        let writer = when_blocked(threads, || (&here).write(&[0; 8]));
        drop(there);
        // The system tells one of them of the reset, and the other of the end.
        let results = [reader.join().unwrap(), writer.join().unwrap()];
        let kinds = results.map(|result| result.map_err(|error| error.kind()));
        assert!(
            kinds.contains(&Err(ErrorKind::ConnectionReset)),
            "{kinds:?}"
        );
        assert!(kinds[1].is_err(), "{kinds:?}");
    });
}

#[test]
fn a_peer_that_half_closes_can_be_written_to() {
    let (here, there) = pair();
    there.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&here).read(&mut [0]).unwrap(), 0);
    (&here).write_all(b"an answer").unwrap();
    drop(here);
    let mut answer = String::new();
    (&there).read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "an answer");
}

#[test]
fn a_cut_read_exact_keeps_what_it_read_and_loses_no_later_byte() {
    let (here, there) = pair();
    (&there).write_all(b"abc").unwrap();
    let mut buf = [0; 10];
    the_cancel(cancelled_while_blocked(|| {
        let cut = (&here).read_exact(&mut buf);
        assert_eq!(buf[..3], *b"abc");
        cut
    }));

    (&there).write_all(b"defghij").unwrap();
    (&here).read_exact(&mut buf[3..]).unwrap();
    assert_eq!(buf, *b"abcdefghij");
}

#[test]
fn a_peer_that_sends_a_byte_now_and_then_cannot_pass_the_deadline() {
    const DEADLINE: Duration = Duration::from_secs(1);
    const READ_TIMEOUT: Duration = Duration::from_secs(5);
    let (here, there) = pair();
    here.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                (&there).write_all(b"x").unwrap();
                thread::sleep(DEADLINE / 10);
            }
        });
        let begun = Instant::now();
        let read = taskgroup::timeout(DEADLINE, || {
            let cut = (&here).read_exact(&mut vec![0; 1 << 20]);
            let cause = the_cancel(cut).cause().clone();
            assert!(matches!(cause, CancelCause::Deadline { .. }), "{cause:?}");
            Err::<(), Cancelled>(taskgroup::checkpoint().unwrap_err())
        });
        let passed = begun.elapsed();
        over.store(true, Ordering::SeqCst);
        assert!(read.unwrap().is_none());
        assert!(DEADLINE <= passed && passed < READ_TIMEOUT, "{passed:?}");
    });
}

#[test]
fn time_limits_are_those_of_std() {
    let (here, _there) = clogged();
    assert_eq!(here.read_timeout().unwrap(), None);
    here.set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    here.set_write_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    assert_eq!(
        here.read_timeout().unwrap(),
        Some(Duration::from_millis(20))
    );
    assert_eq!(
        here.write_timeout().unwrap(),
        Some(Duration::from_millis(20))
    );

    let std = std::net::TcpStream::from(OwnedFd::from(here.try_clone().unwrap()));
    let theirs = (&std).read(&mut [0]).unwrap_err().kind();
    assert_eq!((&here).read(&mut [0]).unwrap_err().kind(), theirs);
    assert_eq!(here.peek(&mut [0]).unwrap_err().kind(), theirs);
    assert_eq!((&here).write(&[0]).unwrap_err().kind(), theirs);

    let zero = here.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);
    here.set_read_timeout(None).unwrap();
    assert_eq!(here.read_timeout().unwrap(), None);
    the_cancel(cancelled_while_blocked(|| (&here).read(&mut [0])));
}

#[test]
fn a_time_limit_that_a_clone_of_std_sets_later_holds() {
    let (here, _there) = pair();
    let clone: std::net::TcpStream = here.try_clone().unwrap().into();
    the_cancel(cancelled_while_blocked(|| (&here).read(&mut [0])));
    clone.set_read_timeout(Some(MOMENT)).unwrap();
    let passed = (&here).read(&mut [0]).unwrap_err();
    assert_eq!(passed.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_nonblocking_stream_never_waits() {
    let (here, there) = pair();
    here.set_nonblocking(true).unwrap();
    let empty = (&here).read(&mut [0]).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::WouldBlock);

    let written = (&here).write(&vec![0; 64 << 20]).unwrap();
    assert!(written > 0 && written < 64 << 20, "a part, as in std");
    while (&here).write(&[0; 1 << 16]).is_ok() {}
    let full = (&here).write(&[0]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);

    assert!(!is_nonblocking(&there), "the peer is its own");
    here.set_nonblocking(false).unwrap();
    the_cancel(cancelled_while_blocked(|| (&here).read(&mut [0])));
}

#[test]
fn a_cancel_wakes_one_of_two_readers_and_the_other_gets_all_bytes() {
    let (here, there) = pair();
    let clone = here.try_clone().unwrap();
    let (one, other) = (CancelToken::new(), CancelToken::new());
    thread::scope(|threads| {
        let cut = when_blocked(threads, || one.run(|| (&here).read(&mut [0; 8])));
        let stays = when_blocked(threads, || {
            other.run(|| {
                let mut buf = [0; 6];
                (&clone).read_exact(&mut buf).map(|()| buf)
            })
        });
        one.cancel();
        the_cancel(cut.join().unwrap());
        (&there).write_all(b"abc").unwrap();
        (&there).write_all(b"def").unwrap();
        assert_eq!(stays.join().unwrap().unwrap(), *b"abcdef");
    });
}

#[test]
fn of_many_readers_one_gets_the_byte_and_a_cancel_wakes_the_others() {
    let _watch = watch();
    let (here, there) = pair();
    let (token, got) = (CancelToken::new(), AtomicUsize::new(0));
    thread::scope(|threads| {
        let readers: Vec<_> = (0..100)
            .map(|_| {
                when_blocked(threads, || {
                    let read = token.run(|| (&here).read(&mut [0; 8]));
                    if read.is_ok() {
                        got.fetch_add(1, Ordering::SeqCst);
                    }
                    read
                })
            })
            .collect();
        (&there).write_all(b"x").unwrap();
        until(|| got.load(Ordering::SeqCst) == 1);
        token.cancel();
        let results: Vec<_> = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect();
        let (ok, cut): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!((ok.len(), cut.len()), (1, 99));
        cut.into_iter().for_each(|cut| drop(the_cancel(cut)));
    });
}

#[test]
fn a_stream_goes_to_std_and_back() {
    let (here, there) = pair();
    let std: std::net::TcpStream = here.into();
    let here: TcpStream = std.into();
    let fd: OwnedFd = here.into();
    let mut here = TcpStream::from(fd);
    here.write_all(b"x").unwrap();
    assert_eq!((&there).read(&mut [0; 2]).unwrap(), 1);
    assert!(format!("{here:?}").starts_with("TcpStream { addr: "));

    // A number that is given up stays open.
    let number = here.as_raw_fd();
    assert_eq!(here.into_raw_fd(), number);
    there.set_nonblocking(true).unwrap();
    let open = (&there).read(&mut [0]).unwrap_err();
    assert_eq!(open.kind(), ErrorKind::WouldBlock);
}
