//! Streams of other crates that answer in every way, and contradict the system.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use taskgroup::CancelToken;
use taskgroup::io::{self, Cancellable};

use super::{answers, ready};
use crate::descriptors::{assert_cancelled, terminal};
use crate::support::{Gate, watch};

#[test]
fn the_end_and_the_loss_of_the_other_side_are_the_cancel_that_came_meanwhile() {
    let in_its_scope = |file: File, answer: io::Result<usize>| {
        let token = CancelToken::new();
        let mut stream = answers(file, &token, [answer]);
        token.run(|| stream.read(&mut [0; 4]))
    };
    assert_cancelled(in_its_scope(ready(), Ok(0)));
    assert_cancelled(in_its_scope(File::open("Cargo.toml").unwrap(), Ok(0)));
    for kind in [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset] {
        assert_cancelled(in_its_scope(ready(), Err(kind.into())));
    }

    // Bytes that were taken are returned, and so is an error that no cancel explains.
    assert_eq!(in_its_scope(ready(), Ok(3)).unwrap(), 3);
    let other = in_its_scope(ready(), Err(ErrorKind::PermissionDenied.into()));
    assert_eq!(other.unwrap_err().kind(), ErrorKind::PermissionDenied);

    // Outside the cancelled scope they are what they are.
    let token = CancelToken::new();
    let mut stream = answers(ready(), &token, [Err(ErrorKind::BrokenPipe.into()), Ok(0)]);
    assert_eq!(stream.read(&mut [0; 4]).unwrap(), 0);
    let error = stream.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_file_that_says_that_it_would_block_is_not_asked_again() {
    let token = CancelToken::new();
    let file = File::open("Cargo.toml").unwrap();
    let mut stream = answers(file, &token, [Err(ErrorKind::WouldBlock.into())]);
    let error = stream.read(&mut [0; 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// A value that cannot be formatted.
struct Unprintable;

impl std::fmt::Display for Unprintable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Err(std::fmt::Error)
    }
}

#[test]
fn a_write_that_cannot_go_on_is_an_error() {
    let token = CancelToken::new();
    let mut stream = answers(ready(), &token, [Ok(0), Ok(2)]);
    let error = stream.write_all(b"text").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
    assert_eq!(stream.get_ref().writes, [4, 2]);

    // Nothing of the text is written then.
    let error = write!(stream, "before {Unprintable}").unwrap_err();
    assert!(error.to_string().contains("formatting trait"), "{error}");
    assert_eq!(stream.get_ref().writes, [4, 2]);
}

#[test]
fn a_descriptor_that_cannot_be_polled_is_refused() {
    let _watch = watch();
    let path = rustix::fs::open("Cargo.toml", OFlags::PATH, Mode::empty()).unwrap();
    let error = Cancellable::new(File::from(path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("cannot be polled"), "{error}");

    // The wrong end says so at the call.
    let (reader, writer) = io::pipe().unwrap();
    let (mut reader, writer) = (File::from(OwnedFd::from(reader)), OwnedFd::from(writer));
    let error = Cancellable::new(&mut reader)
        .unwrap()
        .write(b"x")
        .unwrap_err();
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::BADF.raw_os_error())
    );
    let mut wrong = io::PipeReader::from(writer.try_clone().unwrap());
    assert!(wrong.read(&mut [0; 4]).is_err());
    let mut wrong = io::PipeWriter::from(OwnedFd::from(reader));
    assert!(wrong.write(b"x").is_err());

    // Also of a terminal, which is polled before each call. The poll of one that is open for its
    // path alone says `POLLNVAL`.
    let (_program, user) = terminal();
    for access in [OFlags::WRONLY, OFlags::PATH] {
        let path = rustix::pty::ptsname(&user, Vec::new()).unwrap();
        let flags = access | OFlags::NOCTTY | OFlags::CLOEXEC;
        let wrong = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        let error = io::PipeReader::from(wrong).read(&mut [0; 4]).unwrap_err();
        let number = rustix::io::Errno::from_io_error(&error);
        assert_eq!(number, Some(rustix::io::Errno::BADF));
    }
}

/// Says that it would block, of a descriptor that is always ready.
struct Contradicts<'t> {
    file: File,
    calls: usize,
    token: &'t CancelToken,
    many: &'t Gate,
}

impl AsFd for Contradicts<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Read for Contradicts<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        match self.calls {
            1 => Err(ErrorKind::Interrupted.into()),
            8 => {
                self.many.open();
                self.token.cancel();
                Err(ErrorKind::WouldBlock.into())
            }
            _ => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

#[test]
fn a_stream_that_contradicts_the_system_is_asked_again_until_a_cancel() {
    let _watch = watch();
    let (token, many) = (CancelToken::new(), Gate::default());
    let file = File::open("/dev/zero").unwrap();
    let stream = Contradicts {
        file,
        calls: 0,
        token: &token,
        many: &many,
    };
    let mut stream = Cancellable::new(stream).unwrap();
    let begun = Instant::now();
    assert_cancelled(token.run(|| stream.read(&mut [0; 4])));
    assert!(many.is_open());
    assert_eq!(stream.get_ref().calls, 8);

    // Three contradictions are believed. Pauses of 1, 2 and 4 ms come after the next ones.
    assert!(begun.elapsed() >= Duration::from_millis(7), "it spun");
}
