//! Reads, writes and connects of TCP streams: what a cancel ends, and what it leaves behind.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel, when_blocked};
use crate::support::{Gate, LONG, MOMENT, alone, until, watch};
use taskgroup::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use taskgroup::{CancelCause, CancelToken, Cancelled, TaskGroup};

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

/// Reads until nothing is left, and returns how many bytes there were.
fn drain(stream: &TcpStream) -> usize {
    let mut buf = vec![0; 1 << 16];
    let mut stream = io::BufReader::with_capacity(1 << 16, stream);
    let mut length = 0;
    loop {
        match stream.read(&mut buf).unwrap() {
            0 => return length,
            read => length += read,
        }
    }
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

fn nagging(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe && error.to_string().contains("cancelled")
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
fn an_empty_write_fails_in_a_cancelled_scope_too() {
    let (here, _there) = pair();
    the_cancel(in_a_cancelled_scope(|| (&here).write(b"")));
    the_cancel(in_a_cancelled_scope(|| (&here).write_all(b"")));
    the_cancel(in_a_cancelled_scope(|| write!(&here, "")));
    (&here).write_all(b"").unwrap();
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
fn a_write_to_a_slow_reader_is_whole() {
    const LENGTH: usize = 64 << 20;
    let (here, there) = pair();
    let data = vec![7; LENGTH];
    thread::scope(|threads| {
        let reader = threads.spawn(|| drain(&there));
        assert_eq!((&here).write(&data).unwrap(), LENGTH);
        here.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.join().unwrap(), LENGTH);
    });
}

#[test]
fn a_vectored_write_is_whole_and_in_order() {
    let (here, there) = pair();
    let pieces: Vec<Vec<u8>> = (0..300_u32).map(|n| vec![n as u8; 20_000]).collect();
    let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let mut all = Vec::new();
            (&there).read_to_end(&mut all).unwrap();
            all
        });
        let length: usize = pieces.iter().map(Vec::len).sum();
        assert_eq!((&here).write_vectored(&slices).unwrap(), length);
        here.shutdown(Shutdown::Write).unwrap();
        assert!(reader.join().unwrap() == pieces.concat());
    });

    assert_eq!((&there).write_vectored(&[]).unwrap(), 0);
}

/// Cuts `write` after its first bytes, and looks at the stream, its clones and its peer.
fn cut_in_the_middle(write: impl FnOnce(&TcpStream) -> io::Result<()> + Send) {
    let (here, there) = pair();
    let (before, peer_sends) = (here.try_clone().unwrap(), &there);
    the_cancel(cancelled_while_blocked(|| write(&here)));

    let after = here.try_clone().unwrap();
    for handle in [&here, &before, &after] {
        assert!(nagging(&(&*handle).write(b"x").unwrap_err()));
        assert!(nagging(&(&*handle).write_all(b"x").unwrap_err()));
        let vectored = (&*handle).write_vectored(&[IoSlice::new(b"x")]);
        assert!(nagging(&vectored.unwrap_err()));
        assert!(nagging(&write!(&*handle, "{}", 1).unwrap_err()));
    }
    // A failed write is no cancel: the scope of the caller is another one.
    assert!(Cancelled::find(&(&here).write(b"x").unwrap_err()).is_none());

    // Reads go on.
    (&*peer_sends).write_all(b"more").unwrap();
    let mut buf = [0; 4];
    (&after).read_exact(&mut buf).unwrap();
    assert_eq!(buf, *b"more");

    // The peer has a part, and gets nothing that was written later.
    drop((here, before, after));
    let mut part = Vec::new();
    (&there).read_to_end(&mut part).unwrap();
    assert!(!part.is_empty() && part.iter().all(|&byte| byte == b'#'));
}

#[test]
fn a_write_that_is_cut_in_the_middle_breaks_the_stream() {
    let text = vec![b'#'; 64 << 20];
    cut_in_the_middle(|mut stream| stream.write(&text).map(drop));
    cut_in_the_middle(|mut stream| stream.write_all(&text));
    let halves = [IoSlice::new(&text[..9]), IoSlice::new(&text[9..])];
    cut_in_the_middle(|mut stream| stream.write_vectored(&halves).map(drop));
    let text = String::from_utf8(text).unwrap();
    cut_in_the_middle(|mut stream| write!(stream, "#{text}"));
}

#[test]
fn a_write_all_that_is_cut_in_its_second_write_breaks_the_stream() {
    let (here, _there) = pair();
    // The first write ends at this limit, with a part. The deadline comes in the second, before its
    // first byte.
    here.set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let text = vec![0; 64 << 20];
    let cut = taskgroup::timeout(Duration::from_millis(300), || (&here).write_all(&text));
    assert!(cut.unwrap().is_none());
    assert!(nagging(&(&here).write(b"x").unwrap_err()));
}

#[test]
fn a_time_limit_in_the_middle_of_a_write_breaks_nothing() {
    let (here, there) = pair();
    here.set_write_timeout(Some(MOMENT)).unwrap();
    let text = vec![0; 64 << 20];
    let written = (&here).write(&text).unwrap();
    assert!(written > 0 && written < text.len(), "a part, as in std");
    let full = (&here).write_all(&text).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::WouldBlock, "as in std");

    here.set_write_timeout(None).unwrap();
    thread::scope(|threads| {
        let reader = threads.spawn(|| drain(&there));
        (&here).write_all(b"x").unwrap();
        here.shutdown(Shutdown::Write).unwrap();
        assert!(reader.join().unwrap() > written);
    });
}

#[test]
fn a_write_that_is_cut_before_its_first_byte_breaks_nothing() {
    let (here, there) = clogged();
    the_cancel(cancelled_while_blocked(|| (&here).write(&[1; 8])));
    the_cancel(cancelled_while_blocked(|| (&here).write_all(&[1; 8])));
    the_cancel(in_a_cancelled_scope(|| (&here).write(&[1; 8])));

    thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let mut all = Vec::new();
            (&there).read_to_end(&mut all).unwrap();
            all
        });
        (&here).write_all(&[2; 8]).unwrap();
        here.shutdown(Shutdown::Write).unwrap();
        let all = reader.join().unwrap();
        assert!(all.ends_with(&[0, 2, 2, 2, 2, 2, 2, 2, 2]), "no 1 was sent");
    });
}

#[test]
fn a_buffered_writer_over_a_broken_stream_says_so() {
    let (here, _there) = pair();
    let mut buffered = io::BufWriter::with_capacity(64 << 20, here.try_clone().unwrap());
    buffered.write_all(&vec![0; 63 << 20]).unwrap();
    the_cancel(cancelled_while_blocked(|| buffered.flush()));
    assert!(nagging(&buffered.flush().unwrap_err()));
    drop(buffered.into_parts());
}

#[test]
fn a_peer_that_sends_a_byte_now_and_then_cannot_pass_the_deadline() {
    let (here, there) = pair();
    here.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                (&there).write_all(b"x").unwrap();
                thread::sleep(Duration::from_millis(5));
            }
        });
        let begun = Instant::now();
        let read = taskgroup::timeout(Duration::from_millis(300), || {
            let cut = (&here).read_exact(&mut vec![0; 1 << 20]);
            let cause = the_cancel(cut).cause().clone();
            assert!(matches!(cause, CancelCause::Deadline { .. }), "{cause:?}");
            Err::<(), Cancelled>(taskgroup::checkpoint().unwrap_err())
        });
        over.store(true, Ordering::SeqCst);
        assert!(read.unwrap().is_none());
        assert!(begun.elapsed() < LONG / 2);
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
fn a_read_against_a_cancel_returns_the_byte_or_leaves_it() {
    let (here, there) = pair();
    for round in 0..500_u32 {
        let token = CancelToken::new();
        let (byte, mut buf) = ([round as u8], [0]);
        let read = thread::scope(|threads| {
            threads.spawn(|| (&there).write_all(&byte).unwrap());
            threads.spawn(|| token.cancel());
            token.run(|| (&here).read(&mut buf))
        });
        if read.is_err() {
            the_cancel(read);
            assert_eq!((&here).read(&mut buf).unwrap(), 1, "round {round}");
        }
        assert_eq!(buf, byte, "round {round}");
    }
}

#[test]
fn numbers_of_closed_descriptors_are_never_mixed_up() {
    // Two threads open and close streams, so that numbers are used again at once. Each stream
    // carries its own number, and no reader sees another's.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    TaskGroup::scope(|g| {
        g.spawn_daemon(|| {
            for stream in listener.incoming() {
                let mut stream = stream?;
                let mut number = [0; 4];
                if stream.read_exact(&mut number).is_ok() {
                    stream.write_all(&number)?;
                }
            }
            Ok(())
        });
        for task in 0..2_u32 {
            g.spawn(move || {
                for round in 0..200_u32 {
                    let number = (task << 16 | round).to_be_bytes();
                    let mut stream = TcpStream::connect(address)?;
                    // Every third one is cancelled while its answer is on the way.
                    let token = CancelToken::new();
                    if round % 3 == 0 {
                        stream.write_all(&number)?;
                        thread::scope(|threads| {
                            threads.spawn(|| token.cancel());
                            let mut answer = [0; 4];
                            if token.run(|| stream.read_exact(&mut answer)).is_ok() {
                                assert_eq!(answer, number);
                            }
                        });
                        continue;
                    }
                    stream.write_all(&number)?;
                    let mut answer = [0; 4];
                    stream.read_exact(&mut answer)?;
                    assert_eq!(answer, number);
                }
                Ok(())
            });
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_write_to_a_peer_that_has_gone_raises_no_signal() {
    alone("a_write_to_a_peer_that_has_gone_raises_no_signal", || {
        let raised = std::sync::Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, raised.clone()).unwrap();

        let (here, there) = pair();
        drop(there);
        let gone = loop {
            if let Err(error) = (&here).write(&[0; 64]) {
                break error;
            }
        };
        assert!(matches!(
            gone.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ));
        let gone = (&here).write(&[0]).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
        let gone = (&here).write_vectored(&[IoSlice::new(&[0])]).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
        assert!(!raised.load(Ordering::SeqCst));

        // The signal is seen where it is raised.
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        rustix::io::write(&writer, b"x").unwrap_err();
        until(|| raised.load(Ordering::SeqCst));
    });
}

#[test]
fn a_peer_that_has_gone_does_not_end_a_program_with_the_default_action_of_sigpipe() {
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::os::unix::process::ExitStatusExt;

    use signal_hook::consts::SIGPIPE;
    use signal_hook::flag::register_conditional_default;

    const NAME: &str =
        "a_peer_that_has_gone_does_not_end_a_program_with_the_default_action_of_sigpipe";
    if !crate::support::is_child() {
        let output = crate::support::run_in_child(NAME);
        assert!(String::from_utf8_lossy(&output.stdout).contains("alive"));
        assert_eq!(output.status.signal(), Some(SIGPIPE), "{output:?}");
        return;
    }

    // std ignores the signal from the beginning. From here on it does what it does by default.
    register_conditional_default(SIGPIPE, std::sync::Arc::new(AtomicBool::new(true))).unwrap();
    let is_broken = |write: &dyn Fn() -> io::Result<()>| {
        // The first writes may come before the system knows.
        while write().is_ok() {}
        assert_eq!(write().unwrap_err().kind(), ErrorKind::BrokenPipe);
    };
    let (tcp, there) = pair();
    drop(there);
    let [unix, other] = [(); 2].map(|()| UnixStream::pair().unwrap().0);
    let unix = taskgroup::net::UnixStream::from(unix);
    let datagrams: taskgroup::net::UnixDatagram = UnixDatagram::pair().unwrap().0.into();
    is_broken(&|| (&tcp).write_all(b"x"));
    is_broken(&|| (&tcp).write_vectored(&[IoSlice::new(b"x")]).map(drop));
    is_broken(&|| (&unix).write_all(b"x"));
    datagrams.send(b"x").unwrap_err();
    let mut other = taskgroup::io::Cancellable::new(other).unwrap();
    let broken = other.write_all(b"x").unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
    println!("alive");

    // A pipe has no way to write without the signal.
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    rustix::io::write(&writer, b"x").unwrap_err();
    unreachable!("the signal ends the process");
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_descriptor_for_the_waker_waits_work_and_a_cancel_ends_them() {
    const NAME: &str = "without_a_descriptor_for_the_waker_waits_work_and_a_cancel_ends_them";
    if !crate::support::is_child() {
        let output = crate::support::run_in_child_with_descriptors(NAME, 64);
        assert!(output.status.success(), "{output:?}");
        return;
    }

    let (here, there) = pair();
    let mut spare = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        spare.push(file);
    }

    let token = CancelToken::new();
    thread::scope(|threads| {
        let reader = threads.spawn(|| token.run(|| (&here).read(&mut [0])));
        thread::sleep(MOMENT);
        (&there).write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 1);

        let reader = threads.spawn(|| token.run(|| (&here).read(&mut [0])));
        thread::sleep(MOMENT);
        token.cancel();
        the_cancel(reader.join().unwrap());
    });
    assert!(!spare.is_empty());
}

#[test]
fn signals_interrupt_no_call_and_stretch_no_limit() {
    alone("signals_interrupt_no_call_and_stretch_no_limit", || {
        // A handler interrupts a poll whatever its flags are. The calls of the test run on its main
        // thread, which the system prefers.
        let heard = std::sync::Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, heard.clone()).unwrap();
        let over = AtomicBool::new(false);
        let (here, there) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_listener, mute, _filling) = mute();

        thread::scope(|threads| {
            threads.spawn(|| {
                let me = rustix::process::getpid();
                while !over.load(Ordering::SeqCst) {
                    rustix::process::kill_process(me, rustix::process::Signal::USR1).unwrap();
                    thread::sleep(MOMENT);
                }
            });

            let limit = Duration::from_millis(200);
            here.set_read_timeout(Some(limit)).unwrap();
            let begun = Instant::now();
            let passed = (&here).read(&mut [0]).unwrap_err();
            assert_eq!(passed.kind(), ErrorKind::WouldBlock);
            assert!(begun.elapsed() >= limit && begun.elapsed() < LONG / 2);

            let begun = Instant::now();
            let late = TcpStream::connect_timeout(&mute, limit).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
            assert!(begun.elapsed() >= limit && begun.elapsed() < LONG / 2);

            let begun = Instant::now();
            let none = taskgroup::timeout(limit, || listener.accept()).unwrap();
            assert!(none.is_none() && begun.elapsed() < LONG / 2);

            // Data goes through whole.
            let sent = vec![5; 8 << 20];
            let reader = threads.spawn(|| {
                let mut all = Vec::new();
                (&there).read_to_end(&mut all).unwrap();
                all
            });
            (&here).write_all(&sent).unwrap();
            here.shutdown(Shutdown::Write).unwrap();
            assert!(reader.join().unwrap() == sent);
            over.store(true, Ordering::SeqCst);
        });
        assert!(heard.load(Ordering::SeqCst));
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
