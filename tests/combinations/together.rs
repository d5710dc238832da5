//! Calls that meet: on one stream, on one child, in one scope, and with settings of the user.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use taskgroup::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream};
use taskgroup::process::{Command, Stdio};
use taskgroup::sync::RateLimiter;
use taskgroup::{
    Backoff, CancelCause, CancelToken, Cancelled, TaskGroup, deadline, io, retry, shield,
    shield_for, timeout,
};

use crate::blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel, when_blocked};
use crate::children::{self, SHORT, has_children, is_a_cancel, ready, sh};
use crate::descriptors::fill;
use crate::folder::Folder;
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
fn a_clone_of_a_broken_stream_is_broken_and_its_reads_go_on() {
    let (mut here, there) = UnixStream::pair().unwrap();
    cut(&mut here);
    let mut clone = here.try_clone().unwrap();
    assert_eq!(clone.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    // It can be closed to the peer as well.
    (&there).write_all(b"abc").unwrap();
    assert_eq!(clone.read(&mut [0; 8]).unwrap(), 3);
    clone.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    (&there).read_to_end(&mut received).unwrap();
    assert!((1..MUCH).contains(&received.len()));
}

#[test]
fn a_sibling_that_writes_to_a_stream_that_another_has_broken_fails_by_itself() {
    let (here, there) = UnixStream::pair().unwrap();
    let error = TaskGroup::scope(|g| {
        let cut = g.spawn(|| Ok((&here).write_all(&vec![7; MUCH])?));
        until(|| rustix::io::ioctl_fionread(&there).unwrap() > 0);
        cut.cancel_and_wait()?;
        g.spawn(|| Ok((&here).write_all(b"next")?));
        Ok(())
    });
    let error = error.unwrap_err();
    assert_eq!(error.failures().len(), 1, "{error:?}");
    let failed = error.errors().next().unwrap().downcast_ref::<io::Error>();
    assert_eq!(failed.unwrap().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn of_two_tasks_on_clones_one_is_cancelled_alone() {
    let (here, there) = tcp();
    let clone = here.try_clone().unwrap();
    TaskGroup::scope(|g| {
        let reader = g.spawn(|| {
            let mut text = String::new();
            (&here).read_to_string(&mut text)?;
            Ok(text)
        });
        let writer = g.spawn(|| Ok((&clone).write_all(&vec![7; MUCH])?));
        until(|| rustix::io::ioctl_fionread(&there).unwrap() > 0);
        writer.cancel();
        writer.wait()?;
        (&there).write_all(b"all of it")?;
        there.shutdown(Shutdown::Write)?;
        assert_eq!(reader.join()?, "all of it");
        Ok(())
    })
    .unwrap();
    assert_eq!(
        (&here).write(b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn the_earlier_of_a_time_limit_of_the_socket_and_a_deadline_ends_a_read() {
    let (here, there) = tcp();
    here.set_read_timeout(Some(SHORT)).unwrap();
    let passed = timeout(LONG, || (&here).read(&mut [0]));
    assert_eq!(passed.unwrap_err().kind(), ErrorKind::WouldBlock);

    here.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(timeout(SHORT, || (&here).read(&mut [0])).unwrap(), None);
    // Neither has taken anything, and the setting is the user's.
    (&there).write_all(b"ab").unwrap();
    assert_eq!((&here).read(&mut [0; 4]).unwrap(), 2);
    assert_eq!(here.read_timeout().unwrap(), Some(LONG));

    // A deadline that has passed is the cancel, also of a socket that never waits.
    here.set_nonblocking(true).unwrap();
    let late = deadline(Instant::now(), || (&here).read(&mut [0]));
    assert_eq!(late.unwrap(), None);
    let never = timeout(LONG, || (&here).read(&mut [0]));
    assert_eq!(never.unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_socket_that_becomes_nonblocking_during_a_read_does_not_end_it() {
    let (here, there) = tcp();
    thread::scope(|threads| {
        let read = when_blocked(threads, || (&here).read(&mut [0; 4]));
        here.set_nonblocking(true).unwrap();
        (&there).write_all(b"ab").unwrap();
        assert_eq!(read.join().unwrap().unwrap(), 2);
    });
}

#[test]
fn a_shield_accepts_in_a_cancelled_scope_and_an_iteration_goes_on_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut incoming = listener.incoming();
    in_a_cancelled_scope(|| {
        the_cancel(incoming.next().unwrap());
        assert!(incoming.next().is_none());
        assert!(shield(|| listener.accept()).is_ok());
        the_cancel(listener.accept());
        let none = shield_for(SHORT, || listener.accept());
        assert!(is_a_cancel(&none.unwrap_err()));
    });
}

#[test]
fn a_message_in_a_bounded_shield_is_whole_or_breaks_the_stream() {
    let (mut here, there) = UnixStream::pair().unwrap();
    let much = vec![7; MUCH];
    in_a_cancelled_scope(|| {
        shield_for(LONG, || here.write_all(b"whole")).unwrap();
        // On a slow machine the time of a shield may be over before the first byte.
        while rustix::io::ioctl_fionread(&there).unwrap() <= 5 {
            let cut = shield_for(SHORT, || here.write_all(&much));
            assert!(is_a_cancel(&cut.unwrap_err()));
        }
        // In the cancelled scope each call is the cancel, and behind a shield the truth.
        the_cancel(here.write(b"x"));
        let broken = shield(|| here.write(b"x")).unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
        // The shield is over, so it is the cancel of the scope around that has cut it.
        assert!(
            broken.to_string().contains("cancel was requested"),
            "{broken}"
        );
    });
    assert_eq!((&there).read(&mut [0; 5]).unwrap(), 5);
}

#[test]
fn a_copy_that_is_cancelled_between_two_chunks_breaks_no_stream() {
    struct Cancels<'t>(u32, &'t CancelToken);
    impl Read for Cancels<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 == 3 {
                self.1.cancel();
            }
            buf[..4].copy_from_slice(&[self.0 as u8; 4]);
            Ok(4)
        }
    }
    let (mut here, there) = UnixStream::pair().unwrap();
    let token = CancelToken::new();
    token.run(|| the_cancel(io::copy(&mut Cancels(0, &token), &mut here)));
    // The chunk in hand is lost, and the message is for its writer to go on with.
    here.write_all(b"goes on").unwrap();
    drop(here);
    let mut received = Vec::new();
    (&there).read_to_end(&mut received).unwrap();
    assert_eq!(received, b"\x01\x01\x01\x01\x02\x02\x02\x02goes on");
}

#[test]
fn a_copy_from_a_pipe_to_a_socket_ends_on_either_side() {
    // The pipe is empty.
    let (mut from, _writer) = io::pipe().unwrap();
    let (mut to, _peer) = tcp();
    the_cancel(cancelled_while_blocked(|| io::copy(&mut from, &mut to)));
    to.write_all(b"not broken").unwrap();
    // The socket is full.
    let (mut to, _peer) = UnixStream::pair().unwrap();
    fill(&to);
    let (mut from, mut writer) = io::pipe().unwrap();
    writer.write_all(b"a chunk").unwrap();
    the_cancel(cancelled_while_blocked(|| io::copy(&mut from, &mut to)));
}

#[test]
fn empty_datagrams_are_looked_at_taken_and_left() {
    let (here, there) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    let from = there.local_addr().unwrap();
    there.connect(here.local_addr().unwrap()).unwrap();
    assert_eq!(there.send(&[]).unwrap(), 0);
    assert_eq!(there.send(b"two").unwrap(), 3);
    let mut buf = [9; 8];
    the_cancel(in_a_cancelled_scope(|| here.peek_from(&mut buf)));
    for _ in 0..2 {
        assert_eq!(here.peek_from(&mut buf).unwrap(), (0, from));
    }
    assert_eq!(here.peek(&mut buf).unwrap(), 0);
    assert_eq!(here.recv_from(&mut buf).unwrap(), (0, from));
    // A look into no room takes nothing, and a receipt into no room takes the datagram, as in std.
    assert_eq!(here.peek(&mut []).unwrap(), 0);
    assert_eq!(here.recv(&mut []).unwrap(), 0);
    assert_eq!(timeout(SHORT, || here.recv(&mut buf)).unwrap(), None);
}

#[test]
fn a_unix_datagram_of_no_bytes_is_a_datagram_under_cancels() {
    let (here, there) = UnixDatagram::pair().unwrap();
    there.send(&[]).unwrap();
    the_cancel(in_a_cancelled_scope(|| here.recv(&mut [0])));
    assert_eq!(here.recv(&mut [0]).unwrap(), 0);
    the_cancel(cancelled_while_blocked(|| here.recv(&mut [0])));
}

/// Sends bytes with a descriptor beside them.
fn send_with(socket: &UnixStream, bytes: &[u8], fd: impl AsFd) {
    let fds = [fd.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    assert!(beside.push(SendAncillaryMessage::ScmRights(&fds)));
    let bytes = [std::io::IoSlice::new(bytes)];
    sendmsg(socket, &bytes, &mut beside, SendFlags::empty()).unwrap();
}

#[test]
fn a_descriptor_that_comes_along_with_bytes_is_closed_by_a_read() {
    let (mut here, there) = UnixStream::pair().unwrap();
    // The end of this pipe is seen once no copy of its writer is left.
    let (reader, writer) = io::pipe().unwrap();
    send_with(&there, b"ab", &writer);
    send_with(&there, b"cd", &writer);
    drop(writer);
    the_cancel(in_a_cancelled_scope(|| here.read(&mut [0; 8])));
    let mut buf = [0; 8];
    assert_eq!(here.read(&mut buf).unwrap(), 2);
    let length = here.read_vectored(&mut [std::io::IoSliceMut::new(&mut buf)]);
    assert_eq!((length.unwrap(), &buf[..2]), (2, &b"cd"[..]));
    assert_eq!((&reader).read(&mut buf).unwrap(), 0);
}

#[test]
fn a_descriptor_that_another_crate_takes_between_two_reads_is_there() {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    let (mut here, there) = UnixStream::pair().unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    (&there).write_all(b"first").unwrap();
    assert_eq!(here.read(&mut [0; 8]).unwrap(), 5);
    send_with(&there, b"x", &writer);
    drop(writer);

    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [std::io::IoSliceMut::new(&mut byte)];
    recvmsg(&here, &mut bytes, &mut beside, RecvFlags::CMSG_CLOEXEC).unwrap();
    let passed: Vec<OwnedFd> = beside
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    let [fd] = <[OwnedFd; 1]>::try_from(passed).unwrap();
    let mut writer = io::PipeWriter::from(fd);
    writer.write_all(b"passed").unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "passed");
}

#[test]
fn a_lock_that_a_killed_process_held_is_free() {
    let folder = Folder::new();
    let path = folder.0.join("lock");
    let open = || std::fs::File::create(&path).unwrap();
    let (held, file) = (open(), open());
    io::lock_file(&held).unwrap();
    // The child has the only handle that is left of the lock.
    let holder = Command::new("sleep")
        .arg("600")
        .stdin(held)
        .spawn()
        .unwrap();
    thread::scope(|threads| {
        let lock = when_blocked(threads, || io::lock_file(&file));
        holder.kill().unwrap();
        lock.join().unwrap().unwrap();
    });
    holder.wait().unwrap();
    let second = open();
    assert_eq!(timeout(SHORT, || io::lock_file(&second)).unwrap(), None);
}

#[test]
fn a_child_that_is_fed_and_read_and_waited_for_ends_with_its_group() {
    alone(
        "a_child_that_is_fed_and_read_and_waited_for_ends_with_its_group",
        || {
            let _watch = watch();
            let (fed, read) = (Gate::default(), Gate::default());
            let mut command = Command::new("cat");
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let (mut stdin, mut stdout) =
                (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            TaskGroup::scope(|g| {
                g.spawn(|| {
                    loop {
                        stdin.write_all(&[7; 4096])?;
                        fed.open();
                    }
                    #[allow(unreachable_code, reason = "the type of the task")]
                    Ok(())
                });
                g.spawn(|| {
                    loop {
                        assert!(stdout.read(&mut [0; 4096])? > 0, "a cut stream has no end");
                        read.open();
                    }
                    #[allow(unreachable_code, reason = "the type of the task")]
                    Ok(())
                });
                g.spawn(|| Ok(child.wait().map(drop)?));
                fed.wait();
                read.wait();
                g.cancel();
                Ok(())
            })
            .unwrap();
            // A wait that never began has ended no child. Then the drop does.
            drop((stdin, stdout, child));
            until(|| !has_children());
        },
    );
}

#[test]
fn a_kill_cuts_the_grace_of_a_child_that_a_cancel_ends() {
    let mut command = sh("trap '' TERM; echo ready; while :; do sleep 1; done");
    let child = ready(command.grace(children::LONG));
    let token = CancelToken::new();
    thread::scope(|threads| {
        let wait = when_blocked(threads, || token.run(|| child.wait()));
        token.cancel();
        // Whether the signal was sent already or not, SIGKILL ends it.
        child.kill().unwrap();
        the_cancel_or_kill(wait.join().unwrap());
    });
    assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(9));
}

/// The kill may be seen before the cancel is.
#[track_caller]
fn the_cancel_or_kill(outcome: io::Result<taskgroup::process::ExitStatus>) {
    match outcome {
        Ok(status) => assert_eq!(status.signal(), Some(9)),
        Err(error) => assert!(is_a_cancel(&error), "{error}"),
    }
}

#[test]
fn a_child_that_is_dropped_while_it_is_stopped_is_reaped() {
    alone(
        "a_child_that_is_dropped_while_it_is_stopped_is_reaped",
        || {
            let _watch = watch();
            let mut command = sh("trap '' TERM; echo ready; while :; do sleep 1; done");
            let child = ready(command.grace(children::LONG));
            let child = Arc::new(child);
            let token = CancelToken::new();
            thread::scope(|threads| {
                let wait = when_blocked(threads, || token.run(|| child.clone().wait()));
                token.cancel();
                // In its grace. The last handle is dropped after the kill.
                let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
                the_cancel_or_kill(wait.join().unwrap());
            });
            drop(child);
            until(|| !has_children());
        },
    );
}

#[test]
fn a_stage_of_a_shell_pipeline_that_is_cut_ends_the_others() {
    alone(
        "a_stage_of_a_shell_pipeline_that_is_cut_ends_the_others",
        || {
            let _watch = watch();
            let mut first = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
            let second = Command::new("cat")
                .stdin(first.stdout.take().unwrap())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = cancelled_while_blocked(|| {
                let mut second = second;
                let mut stdout = BufReader::new(second.stdout.take().unwrap());
                let mut line = String::new();
                stdout.read_line(&mut line)?;
                assert_eq!(line, "y\n");
                second.wait()
            });
            the_cancel(output);
            // Without a reader it dies of SIGPIPE, which is 13.
            assert_eq!(first.wait().unwrap().signal(), Some(13));
            // The cancel may have come in the read: then the child was dropped unwaited.
            until(|| !has_children());
        },
    );
}

#[test]
fn every_attempt_of_a_retried_command_ends_its_child() {
    alone("every_attempt_of_a_retried_command_ends_its_child", || {
        let _watch = watch();
        let policy = Backoff::exponential(Duration::ZERO).attempts(3);
        let mut attempts = 0;
        let outcome = retry(policy, |_| {
            attempts += 1;
            let output = timeout(SHORT, || Command::new("sleep").arg("600").output())?;
            output.ok_or_else(|| io::Error::from(ErrorKind::TimedOut))
        });
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(attempts, 3);
        assert!(!has_children());
    });
}

#[test]
fn a_program_that_is_missing_fails_its_group_and_the_other_children_end() {
    alone(
        "a_program_that_is_missing_fails_its_group_and_the_other_children_end",
        || {
            let _watch = watch();
            let error = TaskGroup::scope(|g| {
                g.spawn(|| Ok(Command::new("sleep").arg("600").status().map(drop)?));
                g.spawn(|| Ok(sh("sleep 600").own_group().output().map(drop)?));
                g.spawn(|| {
                    let mut missing = Command::new("no-such-program-here");
                    missing.env("A", "b").current_dir("/").status()?;
                    Ok(())
                });
                Ok(())
            })
            .unwrap_err();
            assert_eq!(error.failures().len(), 1, "{error:?}");
            let failed = error.errors().next().unwrap().downcast_ref::<io::Error>();
            assert_eq!(failed.unwrap().kind(), ErrorKind::NotFound);
            until(|| !has_children());
        },
    );
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

mod bridge {
    use super::*;
    use taskgroup::tokio_bridge::{spawn_blocking, token_from, token_into};
    use tokio::runtime::{Builder, Handle};
    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;

    fn runtime() -> tokio::runtime::Runtime {
        Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap()
    }

    #[test]
    fn a_dropped_future_ends_the_child_that_its_closure_waits_for() {
        let test = "bridge::a_dropped_future_ends_the_child_that_its_closure_waits_for";
        alone(test, || {
            let _watch = watch();
            runtime().block_on(async {
                let ((begin, begun), (ended, end)) = (oneshot::channel(), oneshot::channel());
                let work = spawn_blocking(move || {
                    let child = Command::new("sleep").arg("600").spawn().unwrap();
                    begin.send(()).unwrap();
                    ended.send(child.wait()).unwrap();
                });
                begun.await.unwrap();
                drop(work);
                let cut = the_cancel(end.await.unwrap());
                assert!(matches!(cut.cause(), CancelCause::Dropped), "{cut}");
            });
            assert!(!has_children());
        });
    }

    #[test]
    fn a_runtime_that_is_left_in_the_background_ends_its_accept() {
        let runtime = runtime();
        let ((begin, begun), ended) = (oneshot::channel(), Arc::new(Gate::default()));
        let gate = ended.clone();
        runtime.spawn(async move {
            let work = spawn_blocking(move || {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                begin.send(()).unwrap();
                the_cancel(listener.accept());
                gate.open();
            });
            work.await.unwrap();
        });
        runtime.block_on(begun).unwrap();
        runtime.shutdown_background();
        ended.wait();
    }

    #[test]
    fn a_closure_that_waits_for_a_future_passes_its_cancel_on() {
        let _watch = watch();
        runtime().block_on(async {
            let ((begin, begun), (ended, end)) = (oneshot::channel(), oneshot::channel());
            let work = spawn_blocking(move || {
                let ours = taskgroup::current_token().unwrap();
                let (theirs, _link) = token_into(&ours);
                let inner = async {
                    let inner = spawn_blocking(|| taskgroup::park().unwrap_err());
                    begin.send(()).unwrap();
                    // The inner work is dropped with this future.
                    theirs.run_until_cancelled(inner).await.is_none()
                };
                ended.send(Handle::current().block_on(inner)).unwrap();
            });
            begun.await.unwrap();
            drop(work);
            assert!(end.await.unwrap(), "the wait was cut");
        });
    }

    #[test]
    fn a_future_that_loses_a_select_cancels_its_closure_and_the_winner_stays() {
        let _watch = watch();
        runtime().block_on(async {
            let (ended, end) = oneshot::channel();
            let slow = spawn_blocking(move || ended.send(taskgroup::park().unwrap_err()));
            let fast = spawn_blocking(|| 7);
            tokio::pin!(slow, fast);
            let won = std::future::poll_fn(|context| {
                use std::task::Poll;
                if let Poll::Ready(value) = fast.as_mut().poll(context) {
                    return Poll::Ready(value);
                }
                assert!(slow.as_mut().poll(context).is_pending());
                Poll::Pending
            });
            assert_eq!(won.await.unwrap(), 7);
            slow.set(spawn_blocking(|| Ok(())));
            // Dropped by the set: cancelled, or never begun.
            match end.await {
                Ok(cut) => assert!(matches!(cut.cause(), CancelCause::Dropped), "{cut}"),
                Err(_never_ran) => {}
            }
            slow.await.unwrap().unwrap();
        });
    }

    #[test]
    fn a_token_of_tokio_ends_a_server_and_outlives_the_runtime() {
        let _watch = watch();
        let theirs = CancellationToken::new();
        let (stop, _link) = token_from(&theirs);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let runtime = runtime();
        thread::scope(|threads| {
            let server = when_blocked(threads, || {
                let builder = TaskGroup::builder().parent(&stop);
                let served = builder.scope(|g| {
                    for stream in listener.incoming() {
                        let mut stream = stream?;
                        g.spawn(move || Ok(stream.read(&mut [0]).map(drop)?));
                    }
                    Ok(())
                });
                served.unwrap_err().cancelled().is_some()
            });
            drop(runtime);
            theirs.cancel();
            assert!(server.join().unwrap());
        });
    }
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
