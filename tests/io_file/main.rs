//! Files, locks, copies, and streams of other crates.
#![cfg(target_os = "linux")]

#[path = "../support/blocked.rs"]
mod blocked;

mod answers;
mod copy;
#[path = "../support/descriptors.rs"]
mod descriptors;
#[path = "../support/folder.rs"]
mod folder;
mod lock;
#[path = "../support/mod.rs"]
mod support;

use std::fs::File;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread;

use blocked::when_blocked;
use descriptors::{
    MUCH, assert_cancelled, cancelled_inside, filling, in_a_cancelled_scope, terminal,
};
use folder::Folder;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use support::watch;
use taskgroup::io::{self, Cancellable};
use taskgroup::{CancelToken, Cancelled};

/// Always interrupted, and cancels.
struct Interrupted<'t>(&'t CancelToken);

impl Read for Interrupted<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.cancel();
        Err(ErrorKind::Interrupted.into())
    }
}

#[test]
fn streams_of_other_crates_wake_on_a_cancel() {
    let _watch = watch();
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut stream = Cancellable::new(near).unwrap();
    assert_cancelled(cancelled_inside(|| stream.read(&mut [0; 4])));
    far.write_all(b"hello").unwrap();
    assert_cancelled(in_a_cancelled_scope(|| stream.read(&mut [0; 4])));
    let (mut one, mut two) = ([0; 2], [0; 4]);
    let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(stream.read_vectored(&mut bufs).unwrap(), 5);

    assert_cancelled(cancelled_inside(|| stream.write_all(&vec![0; 16 * MUCH])));
    let error = stream.write_vectored(&[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(Cancelled::find(&error).is_none());
    assert!(writeln!(stream, "x").is_err());
    let mut drained = vec![0; filling(&far) as usize];
    far.read_exact(&mut drained).unwrap();
    drop(far);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert!(
        !fcntl_getfl(stream.get_ref())
            .unwrap()
            .contains(OFlags::NONBLOCK)
    );
    assert!(format!("{stream:?}").contains("UnixStream"));
    stream.flush().unwrap();
    assert!(stream.as_raw_fd() == stream.into_inner().as_raw_fd());
}

struct Messages<S>(S);

impl<S: AsFd> AsFd for Messages<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Messages<UdpSocket> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf)
    }
}

impl Write for Messages<UnixDatagram> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.send(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A notice in the error queue polls like an error, and no read takes it: a read of the stream
/// would block.
#[test]
fn a_notice_in_the_error_queue_does_not_make_a_call_block() {
    use nix::sys::socket::{setsockopt, sockopt::Ipv4RecvErr};

    let _watch = watch();
    let [near, far] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    setsockopt(&near, Ipv4RecvErr, &true).unwrap();
    let to = far.local_addr().unwrap();
    near.connect(to).unwrap();
    drop(far);
    near.send(b"x").unwrap();

    let from = near.local_addr().unwrap();
    let mut stream = Cancellable::new(Messages(near)).unwrap();
    let refused = stream.read(&mut [0]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_cancelled(cancelled_inside(|| stream.read(&mut [0; 4])));

    let far = UdpSocket::bind(to).unwrap();
    thread::scope(|threads| {
        let reader = when_blocked(threads, || stream.read(&mut [0; 8]));
        far.send_to(b"good", from).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 4);
    });
}

#[test]
fn a_message_is_not_cut() {
    let (near, far) = UnixDatagram::pair().unwrap();
    let mut messages = Cancellable::new(Messages(near)).unwrap();
    assert_eq!(messages.write(&[1; 20_000]).unwrap(), 20_000);
    assert_eq!(far.recv(&mut vec![0; 30_000]).unwrap(), 20_000);
}

#[test]
fn a_terminal_with_little_room_never_holds_a_write() {
    let _watch = watch();
    let (program, user) = terminal();
    let mut line = Cancellable::new(File::from(program)).unwrap();
    // Lines take two bytes for the end of each.
    for text in ["\n", "x", "a line\n", "\t\r\n", "xx\tx\u{8}"] {
        let text = text.repeat(MUCH / text.len()).into_bytes();
        // A little room, at another place each time.
        if filling(&user) > 0 {
            rustix::io::read(&user, &mut [0; 700][..]).unwrap();
        }
        assert_cancelled(cancelled_inside(|| -> io::Result<()> {
            loop {
                // Perhaps a part. A `write_all` that is cut would break the line.
                let _part = line.write(&text)?;
            }
        }));
    }
    rustix::io::write(&user, b"typed\n").unwrap();
    assert_eq!(line.read(&mut [0; 16]).unwrap(), 6);
    assert_cancelled(cancelled_inside(|| line.read(&mut [0; 16])));
}

/// A blocking socket with a small buffer says that it has room, and has less than a pipe has then.
#[test]
fn a_socket_with_little_room_never_holds_a_write() {
    let _watch = watch();
    for size in [1, 1_000, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 24_000] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        set_socket_recv_buffer_size(&listener, 1).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        set_socket_send_buffer_size(&near, size).unwrap();
        let mut stream = Cancellable::new(near).unwrap();

        // At another place of the buffer each time.
        for taken in [1, 700, 3_000] {
            assert_cancelled(cancelled_inside(|| -> io::Result<()> {
                loop {
                    // Perhaps a part. A `write_all` that is cut would break the stream.
                    let _part = stream.write(&[0; MUCH])?;
                }
            }));
            assert_cancelled(cancelled_inside(|| -> io::Result<()> {
                loop {
                    let bufs = [IoSlice::new(&[0; 700]), IoSlice::new(&[0; MUCH])];
                    let _part = stream.write_vectored(&bufs)?;
                }
            }));
            // At most: the bytes that are there may be fewer.
            let taken = far.read(&mut vec![0; taken]).unwrap();
            assert!(taken > 0);
        }
    }
}

#[test]
fn a_nonblocking_stream_waits_and_would_block_never_comes_out() {
    let _watch = watch();
    let (program, user) = terminal();
    let (near, far) = UnixStream::pair().unwrap();
    let sides = [
        (program, File::from(user)),
        (near.into(), File::from(OwnedFd::from(far))),
    ];
    for (fd, mut other) in sides {
        fcntl_setfl(&fd, fcntl_getfl(&fd).unwrap() | OFlags::NONBLOCK).unwrap();
        let mut stream = Cancellable::new(File::from(fd)).unwrap();
        assert_cancelled(cancelled_inside(|| stream.read(&mut [0; 4])));
        thread::scope(|threads| {
            let read = threads.spawn(|| stream.read(&mut [0; 8]));
            (0..3).for_each(|_| thread::yield_now());
            other.write_all(b"late\n").unwrap();
            assert_eq!(read.join().unwrap().unwrap(), 5);
        });
        assert_cancelled(cancelled_inside(|| {
            stream.write_all(&vec![b'x'; 16 * MUCH])
        }));
    }
}

#[test]
fn a_stream_that_becomes_blocking_later_is_written_to_in_pieces() {
    let _watch = watch();
    let (near, _far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut stream = Cancellable::new(near).unwrap();
    stream.get_ref().set_nonblocking(false).unwrap();
    // In one piece it would block in the system, out of the reach of a cancel.
    let much = vec![0; 16 * MUCH];
    assert_cancelled(cancelled_inside(|| stream.write_all(&much)));

    let (near, _far) = UnixStream::pair().unwrap();
    let mut stream = Cancellable::new(near).unwrap();
    assert_eq!(stream.write(&much).unwrap(), rustix::pipe::PIPE_BUF);
    let bufs = [IoSlice::new(&much)];
    assert_eq!(
        stream.write_vectored(&bufs).unwrap(),
        rustix::pipe::PIPE_BUF
    );
    stream.get_ref().set_nonblocking(true).unwrap();
    assert!(stream.write_vectored(&bufs).unwrap() > rustix::pipe::PIPE_BUF);
    assert_cancelled(cancelled_inside(|| stream.write_all(&much)));
}

#[test]
fn files_and_devices_are_always_ready_and_look_for_a_cancel() {
    let folder = Folder::new();
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(folder.0.join("f"));
    let mut file = Cancellable::new(file.unwrap()).unwrap();
    // In steps of 1 MiB, so that a cancel is seen between them.
    assert_eq!(file.write(&vec![1; 3 * MUCH]).unwrap(), MUCH);
    assert_eq!(
        file.write_vectored(&[IoSlice::new(&vec![1; 3 * MUCH])])
            .unwrap(),
        MUCH
    );
    assert_cancelled(in_a_cancelled_scope(|| file.write(b"x")));
    std::io::Seek::rewind(file.get_mut()).unwrap();
    let mut large = vec![0; 3 * MUCH];
    assert_eq!(file.read(&mut large).unwrap(), MUCH);
    assert_eq!(
        file.read_vectored(&mut [IoSliceMut::new(&mut large)])
            .unwrap(),
        MUCH
    );
    assert_eq!(file.read(&mut large).unwrap(), 0);
    assert_cancelled(in_a_cancelled_scope(|| file.read(&mut large)));

    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    let mut null = Cancellable::new(null).unwrap();
    assert_eq!(null.read(&mut [0; 4]).unwrap(), 0);
    assert_eq!(null.write(&large).unwrap(), large.len());
    assert_cancelled(in_a_cancelled_scope(|| null.read(&mut [0; 4])));
}

#[test]
fn many_buffers_together_are_filled_in_short_steps_too() {
    let folder = Folder::new();
    let path = folder.0.join("f");
    std::fs::write(&path, vec![1; 4 * MUCH]).unwrap();
    let open = || File::open(&path).unwrap();

    let mut buffers = [vec![], vec![0; MUCH - 1], vec![0; MUCH]];
    let [none, first, second] = &mut buffers;
    let mut bufs = [none, first, second].map(|buf| IoSliceMut::new(buf));
    let mut file = Cancellable::new(open()).unwrap();
    let read = file.read_vectored(&mut bufs).unwrap();
    assert!(read > 0 && read <= MUCH, "{read}");

    let mut reader = io::PipeReader::from(OwnedFd::from(open()));
    let read = reader.read_vectored(&mut bufs).unwrap();
    assert!(read > 0 && read <= MUCH, "{read}");
}

#[test]
fn the_writer_of_a_file_writes_short_steps_too() {
    let folder = Folder::new();
    let file = File::create(folder.0.join("f")).unwrap();
    let mut writer = io::PipeWriter::from(OwnedFd::from(file));
    let much = vec![1; 3 * MUCH];
    assert_eq!(writer.write(&much).unwrap(), MUCH);

    // Nothing written would mean that the file takes no more.
    let bufs = [IoSlice::new(&[]), IoSlice::new(&much)];
    assert_eq!(writer.write_vectored(&bufs).unwrap(), MUCH);
}

/// A stream with answers of its own, the last one first. It cancels before each.
struct Answers<'t> {
    file: File,
    token: &'t CancelToken,
    answers: Vec<io::Result<usize>>,
    /// The lengths of the writes that it was asked for.
    writes: Vec<usize>,
}

/// Wraps a stream over `file` with these answers.
fn answers<'t>(
    file: impl Into<OwnedFd>,
    token: &'t CancelToken,
    answers: impl IntoIterator<Item = io::Result<usize>>,
) -> Cancellable<Answers<'t>> {
    let stream = Answers {
        file: File::from(file.into()),
        token,
        answers: answers.into_iter().collect(),
        writes: Vec::new(),
    };
    Cancellable::new(stream).unwrap()
}

/// A file that can be polled and is always ready.
fn ready() -> File {
    let mut options = File::options();
    options.read(true).write(true).open("/dev/null").unwrap()
}

impl Answers<'_> {
    fn answer(&mut self) -> io::Result<usize> {
        self.token.cancel();
        self.answers.pop().expect("no more calls are made")
    }
}

impl AsFd for Answers<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Read for Answers<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.answer()
    }
}

impl Write for Answers<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.writes.push(buf.len());
        self.answer()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.answer().map(drop)
    }
}

#[test]
fn a_write_has_the_length_that_cannot_block() {
    let token = CancelToken::new();
    for (flags, length) in [
        (OFlags::empty(), rustix::pipe::PIPE_BUF),
        (OFlags::NONBLOCK, MUCH),
    ] {
        let (near, _far) = UnixStream::pair().unwrap();
        fcntl_setfl(&near, fcntl_getfl(&near).unwrap() | flags).unwrap();
        let mut stream = answers(near, &token, [Ok(1)]);
        assert_eq!(stream.write(&vec![0; MUCH]).unwrap(), 1);
        assert_eq!(stream.get_ref().writes, [length]);
    }
}

#[test]
fn a_flush_and_an_empty_write_look_for_a_cancel() {
    let token = CancelToken::new();
    let interrupted = Err(ErrorKind::Interrupted.into());
    let mut stream = answers(ready(), &token, [Ok(0), interrupted]);
    in_a_cancelled_scope(|| {
        assert_cancelled(stream.flush());
        assert_cancelled(stream.write_all(b""));
    });
    assert_eq!(stream.get_ref().answers.len(), 2, "it was not called");

    // After `Interrupted` the call is made again.
    stream.flush().unwrap();
    assert!(stream.get_ref().answers.is_empty());
    stream.write_all(b"").unwrap();
    assert!(stream.get_ref().writes.is_empty());
}

#[test]
fn bytes_that_were_read_before_a_cancel_are_the_callers() {
    let token = CancelToken::new();
    let mut stream = answers(ready(), &token, [Ok(3)]);
    let mut bytes = b"kept".to_vec();
    assert_cancelled(token.run(|| io::read_to_end(stream.get_mut(), &mut bytes)));
    assert_eq!(bytes, b"kept\0\0\0");
}

#[test]
fn hang_ups_are_results_and_no_reason_to_wait() {
    let _watch = watch();
    let (reader, writer) = io::pipe().unwrap();
    drop(writer);
    let mut reader = Cancellable::new(File::from(OwnedFd::from(reader))).unwrap();
    assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);

    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut writer = Cancellable::new(File::from(OwnedFd::from(writer))).unwrap();
    assert_eq!(
        writer.write(b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );

    let (program, user) = terminal();
    drop(user);
    let mut terminal = Cancellable::new(File::from(program)).unwrap();
    assert!(matches!(terminal.read(&mut [0; 4]), Ok(0) | Err(_)));
    assert!(terminal.write(b"x").is_err());
}

#[test]
fn in_a_cancelled_scope_the_end_of_a_stream_is_the_cancel() {
    let _watch = watch();
    for _ in 0..20 {
        let (near, far) = UnixStream::pair().unwrap();
        let mut stream = Cancellable::new(near).unwrap();
        let token = CancelToken::new();
        thread::scope(|threads| {
            let read = threads.spawn(|| token.run(|| stream.read(&mut [0; 4])));
            token.cancel();
            drop(far);
            assert_cancelled(read.join().unwrap());
        });
    }
}
