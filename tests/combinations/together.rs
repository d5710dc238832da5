//! Calls that meet: on one stream, on one child, in one scope, and with settings of the user.

mod bridge;
mod children;
mod streams;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream};
use taskgroup::process::{Command, Stdio};
use taskgroup::sync::RateLimiter;
use taskgroup::{
    Backoff, CancelCause, CancelToken, Cancelled, TaskGroup, io, retry, shield, timeout,
};

use crate::blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel, when_blocked};
use crate::children::{SHORT, has_children, is_a_cancel, sh};
use crate::descriptors::fill;
use crate::support::{Gate, LONG, alone, until, until_waiting, watch};

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (here, listener.accept().unwrap().0)
}

/// Longer than what a connection holds.
const MUCH: usize = 64 << 20;

/// Cuts a write in the middle. The peer reads nothing.
fn cut(stream: &mut UnixStream) {
    the_cancel(cancelled_while_blocked(|| stream.write_all(&vec![7; MUCH])));
}

#[test]
fn a_retry_of_connects_within_a_deadline_ends_with_the_refusal() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    // The next pause would pass the deadline, so the error comes now and is no time-out.
    let policy = Backoff::exponential(10 * LONG)
        .max(10 * LONG)
        .jitter(taskgroup::Jitter::None);
    let outcome = timeout(LONG, || retry(policy, |_| TcpStream::connect(address)));
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_deadline_over_a_list_of_addresses_closes_every_socket() {
    // It counts the descriptors of the whole process.
    alone(
        "a_deadline_over_a_list_of_addresses_closes_every_socket",
        || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            rustix::net::listen(&listener, 0).unwrap();
            let mute = listener.local_addr().unwrap();
            let mut filling = Vec::new();
            while let Ok(stream) = std::net::TcpStream::connect_timeout(&mute, 10 * SHORT) {
                filling.push(stream);
            }
            let closed = std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let list = [closed, mute, mute, closed];
            let before = crate::descriptors();
            let outcome = timeout(10 * SHORT, || TcpStream::connect(&list[..]));
            assert!(outcome.unwrap().is_none());
            assert_eq!(crate::descriptors(), before);
            // `connect_timeout` knows of the deadline, and the deadline of it.
            let outcome = timeout(LONG, || TcpStream::connect_timeout(&mute, SHORT));
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TimedOut);
            drop(filling);
        },
    );
}

#[test]
fn permits_of_cancelled_waiters_go_to_the_next() {
    let pace = RateLimiter::new(Duration::from_secs(1), NonZeroU32::new(20).unwrap())
        .burst(NonZeroU32::new(4).unwrap());
    pace.acquire_many(4).unwrap();
    let started = Instant::now();
    TaskGroup::scope(|g| {
        let cancelled: Vec<_> = (0..4)
            .map(|_| g.spawn(|| Ok(pace.acquire_many(4)?)))
            .collect();
        until_waiting(&pace, 4);
        let last = g.spawn(|| Ok(pace.acquire()?));
        until_waiting(&pace, 5);
        for waiter in &cancelled[..3] {
            waiter.cancel();
        }
        cancelled[3].cancel();
        last.join()?;
        Ok(())
    })
    .unwrap();
    // One permit after a twentieth of a second. With the four of the others it would be a second.
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_signal_that_comes_after_a_deadline_has_passed_is_the_next_cancel() {
    alone(
        "a_signal_that_comes_after_a_deadline_has_passed_is_the_next_cancel",
        || {
            let stop = taskgroup::signal::termination().unwrap();
            let (here, _there) = tcp();
            let cause = stop.run(|| {
                let cut = timeout(SHORT, || {
                    let cut = the_cancel((&here).read(&mut [0]));
                    assert!(matches!(cut.cause(), CancelCause::Deadline { .. }));
                    // The scope is past its deadline, and the signal comes.
                    let me = rustix::process::getpid();
                    rustix::process::kill_process(me, rustix::process::Signal::TERM).unwrap();
                    until(|| stop.is_cancelled());
                    // Its own cause stays, since it came first.
                    let again = the_cancel((&here).read(&mut [0]));
                    assert!(matches!(again.cause(), CancelCause::Deadline { .. }));
                    Err::<(), _>(io::Error::from(cut))
                });
                println!("{cut:?}");
                the_cancel((&here).read(&mut [0])).cause().clone()
            });
            assert!(
                matches!(cause, CancelCause::Signal { signal: 15, .. }),
                "{cause:?}"
            );
            assert_eq!(cause.to_string(), "SIGTERM");
        },
    );
}

#[test]
fn a_listener_that_goes_to_std_while_a_clone_accepts_stays_cancellable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let clone = listener.try_clone().unwrap();
    let token = CancelToken::new();
    thread::scope(|threads| {
        let accept = when_blocked(threads, || token.run(|| clone.accept()));
        let std = std::net::TcpListener::from(listener);
        // std's handle meets the flag that the clone needs.
        assert_eq!(std.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        token.cancel();
        the_cancel(accept.join().unwrap());
    });
}

#[test]
fn a_stream_to_a_peer_that_resets_tells_of_it_once_wherever_it_is_asked() {
    // Until the peer resets with data unread, a write has sent a part.
    let reset_in_a_write = || {
        let (here, there) = tcp();
        thread::scope(|threads| {
            let write = when_blocked(threads, || (&here).write(&vec![7; MUCH]));
            drop(there);
            let sent = write.join().unwrap().unwrap();
            assert!((1..MUCH).contains(&sent), "{sent}");
        });
        here
    };
    let is_reset = |error: io::Error| error.kind() == ErrorKind::ConnectionReset;

    let here = reset_in_a_write();
    assert!(is_reset((&here).write(b"x").unwrap_err()));
    assert!(here.take_error().unwrap().is_none());

    let here = reset_in_a_write();
    assert!(here.take_error().unwrap().is_some_and(is_reset));
    assert!(here.take_error().unwrap().is_none());
    assert_eq!(
        (&here).write(b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn a_datagram_waits_for_room_within_both_limits() {
    let (here, _there) = UnixDatagram::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    while here.send(b"filling").is_ok() {}
    here.set_nonblocking(false).unwrap();
    here.set_write_timeout(Some(SHORT)).unwrap();
    let limit = timeout(LONG, || here.send(b"x"));
    assert_eq!(limit.unwrap_err().kind(), ErrorKind::WouldBlock);
    here.set_write_timeout(Some(LONG)).unwrap();
    assert_eq!(timeout(SHORT, || here.send(b"x")).unwrap(), None);
}

#[test]
fn tasks_in_all_kinds_of_waits_end_together_and_none_is_a_failure() {
    alone(
        "tasks_in_all_kinds_of_waits_end_together_and_none_is_a_failure",
        || {
            let _watch = watch();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let (read, _there) = tcp();
            let (unix, _far) = UnixStream::pair().unwrap();
            fill(&unix);
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let (pipe, _writer) = io::pipe().unwrap();
            let child = Command::new("sleep").arg("600").spawn().unwrap();
            let before = crate::descriptors();
            TaskGroup::scope(|g| {
                g.spawn(|| Ok(listener.accept().map(drop)?));
                g.spawn(|| Ok((&read).read(&mut [0]).map(drop)?));
                g.spawn(|| Ok((&unix).write(b"x").map(drop)?));
                g.spawn(|| Ok(udp.recv(&mut [0]).map(drop)?));
                g.spawn(|| Ok((&pipe).read(&mut [0]).map(drop)?));
                g.spawn(|| Ok(child.wait().map(drop)?));
                g.spawn(|| Ok(sh("sleep 600 & wait").own_group().output().map(drop)?));
                until(|| {
                    let blocked = taskgroup::snapshot();
                    blocked
                        .tasks()
                        .filter(|task| task.waits().is_some())
                        .count()
                        >= 7
                });
                g.cancel_because("enough");
                Ok(())
            })
            .unwrap();
            assert_eq!(crate::descriptors(), before);
            drop(child);
            assert!(!has_children());
        },
    );
}

#[test]
fn a_callback_that_closes_the_stream_does_not_make_its_end_of_the_cancel() {
    let (here, _there) = tcp();
    let token = CancelToken::new();
    let closes = here.try_clone().unwrap();
    let _guard = token.on_cancel(move || closes.shutdown(Shutdown::Both).unwrap());
    thread::scope(|threads| {
        let read = when_blocked(threads, || {
            token.run(|| (&here).read_to_end(&mut Vec::new()))
        });
        token.cancel();
        the_cancel(read.join().unwrap());
    });
    assert_eq!((&here).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_child_that_ends_before_it_has_read_all_fails_the_copy_and_no_cancel_is_seen() {
    alone(
        "a_child_that_ends_before_it_has_read_all_fails_the_copy_and_no_cancel_is_seen",
        || {
            let _watch = watch();
            let error = TaskGroup::scope(|g| {
                let (mut from, to) = UnixStream::pair()?;
                let mut child = sh("read line; exit 3").stdin(Stdio::piped()).spawn()?;
                let mut stdin = child.stdin.take().unwrap();
                g.spawn(move || {
                    let mut to = to;
                    // Its reader goes with the failure of the copy.
                    Ok(to.write_all(&[b'\n'; 1 << 20]).or(Ok::<_, io::Error>(()))?)
                });
                let copied = io::copy(&mut from, &mut stdin);
                assert_eq!(child.wait()?.code(), Some(3));
                Ok(copied?)
            })
            .unwrap_err();
            assert!(error.cancelled().is_none());
            let failed = error.errors().next().unwrap().downcast_ref::<io::Error>();
            assert_eq!(failed.unwrap().kind(), ErrorKind::BrokenPipe);
            assert!(!has_children());
        },
    );
}

#[test]
fn a_time_of_zero_takes_nothing_that_is_there() {
    let (here, there) = tcp();
    (&there).write_all(b"ab").unwrap();
    until(|| here.peek(&mut [0; 4]).unwrap() == 2);
    let none = timeout(Duration::ZERO, || (&here).read(&mut [0; 4]));
    assert_eq!(none.unwrap(), None);
    assert_eq!((&here).read(&mut [0; 4]).unwrap(), 2);
}

#[test]
fn a_text_that_is_cut_in_the_middle_of_a_character_is_lost_as_in_std() {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let mut text = String::from("before ");
    there.write_all(b"whole").unwrap();
    the_cancel(cancelled_while_blocked(|| here.read_to_string(&mut text)));
    assert_eq!(text, "before whole");
    there.write_all(b"cut \xC3").unwrap();
    the_cancel(cancelled_while_blocked(|| here.read_to_string(&mut text)));
    assert_eq!(text, "before whole");
    // The bytes themselves are kept by a read of bytes.
    there.write_all(b"\xA4").unwrap();
    let mut bytes = Vec::new();
    the_cancel(cancelled_while_blocked(|| here.read_to_end(&mut bytes)));
    assert_eq!(bytes, b"\xA4");
}

#[test]
fn a_rate_is_kept_by_clean_up_in_a_shield() {
    let pace = RateLimiter::new(Duration::from_millis(1), NonZeroU32::MIN);
    in_a_cancelled_scope(|| {
        assert!(pace.acquire().is_err());
        shield(|| (0..3).try_for_each(|_| pace.acquire())).unwrap();
        // A pause of a retry too.
        let policy = Backoff::exponential(Duration::from_millis(1)).attempts(3);
        let mut attempts = 0;
        let outcome = shield(|| {
            retry(policy, |_| {
                attempts += 1;
                Err::<(), _>(io::Error::from(ErrorKind::TimedOut))
            })
        });
        assert_eq!(
            (outcome.unwrap_err().kind(), attempts),
            (ErrorKind::TimedOut, 3)
        );
    });
}

#[test]
fn a_race_of_a_connect_an_accept_and_a_child_has_one_winner_and_leaves_nothing() {
    alone(
        "a_race_of_a_connect_an_accept_and_a_child_has_one_winner_and_leaves_nothing",
        || {
            let _watch = watch();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let before = crate::descriptors();
            type Racer<'r> = Box<dyn FnOnce() -> Result<u8, io::Error> + Send + 'r>;
            let racers: [Racer<'_>; 3] = [
                Box::new(|| listener.accept().map(|_| 1)),
                Box::new(|| Command::new("sleep").arg("600").status().map(|_| 2)),
                Box::new(|| Command::new("true").status().map(|_| 3)),
            ];
            assert_eq!(taskgroup::race(racers).unwrap(), 3);
            assert_eq!(crate::descriptors(), before);
            assert!(!has_children());
        },
    );
}

#[test]
fn a_panic_while_a_child_and_a_write_are_under_way_loses_neither() {
    alone(
        "a_panic_while_a_child_and_a_write_are_under_way_loses_neither",
        || {
            let _watch = watch();
            let (mut here, there) = UnixStream::pair().unwrap();
            let error = TaskGroup::scope(|g| {
                let gate = Gate::default();
                g.spawn(|| {
                    let _child = Command::new("sleep").arg("600").spawn()?;
                    here.write_all(&vec![7; MUCH])?;
                    Ok(())
                });
                until(|| rustix::io::ioctl_fionread(&there).unwrap() > 0);
                g.spawn(|| -> anyhow::Result<()> { panic!("on purpose") });
                gate.open();
                Ok(())
            });
            assert_eq!(error.unwrap_err().panics().count(), 1);
            assert_eq!(here.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            until(|| !has_children());
        },
    );
}

#[test]
fn an_error_of_a_cancel_says_why_wherever_it_comes_from() {
    let token = CancelToken::new();
    token.cancel_because("the disk is full");
    let says = |error: io::Error| {
        assert!(is_a_cancel(&error));
        assert!(error.to_string().contains("the disk is full"), "{error}");
    };
    let (mut tcp, _there) = tcp();
    let (mut pipe, _writer) = io::pipe().unwrap();
    token.run(|| {
        says(tcp.read(&mut [0]).unwrap_err());
        says(tcp.write(&[0]).unwrap_err());
        says(pipe.read(&mut [0]).unwrap_err());
        says(Command::new("true").status().unwrap_err());
        says(TcpStream::connect("127.0.0.1:1").unwrap_err());
        says(taskgroup::net::lookup("127.0.0.1:1").unwrap_err());
        says(io::stdin().read_line(&mut String::new()).unwrap_err());
        let cancelled: Cancelled = taskgroup::checkpoint().unwrap_err();
        says(cancelled.into());
    });
}
