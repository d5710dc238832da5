//! Streams, datagrams and descriptors under several cancels and limits.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Instant;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use taskgroup::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream};
use taskgroup::{CancelToken, TaskGroup, deadline, io, shield, shield_for, timeout};

use super::MUCH;
use super::{cut, tcp};
use crate::blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel, when_blocked};
use crate::children::{SHORT, is_a_cancel};
use crate::descriptors::fill;
use crate::support::{LONG, until};

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
