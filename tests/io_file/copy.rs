//! Copies and whole reads of files.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use taskgroup::CancelToken;
use taskgroup::io::{self, Cancellable, copy};

use super::Interrupted;
use crate::descriptors::{assert_cancelled, filling, in_a_cancelled_scope};
use crate::folder::Folder;
use crate::support::{until, watch};

/// Counts its bytes, and cancels after some of them.
struct CancelsAfter<'t> {
    token: &'t CancelToken,
    after: u64,
    written: u64,
}

impl Write for CancelsAfter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.written += buf.len() as u64;
        if self.written >= self.after {
            self.token.cancel();
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_copy_of_a_large_file_ends_within_one_step_after_a_cancel() {
    let folder = Folder::new();
    let file = File::create(folder.0.join("large")).unwrap();
    file.set_len(1 << 30).unwrap();
    let mut file = File::open(folder.0.join("large")).unwrap();

    let token = CancelToken::new();
    let mut to = CancelsAfter {
        token: &token,
        after: 1 << 20,
        written: 0,
    };
    assert_cancelled(token.run(|| copy(&mut file, &mut to)));
    assert_eq!(to.written, 1 << 20);

    let mut bytes = Vec::new();
    assert_cancelled(in_a_cancelled_scope(|| {
        io::read_to_end(&mut file, &mut bytes)
    }));
    assert!(bytes.is_empty());
    assert_cancelled(in_a_cancelled_scope(|| io::read_to_string(&mut file)));
}

#[test]
fn without_a_cancel_files_are_copied_and_read_whole() {
    let folder = Folder::new();
    let path = folder.0.join("copy");
    let text = "all of it\n".repeat(20_000);
    let copied = copy(&mut text.as_bytes(), &mut File::create(&path).unwrap()).unwrap();
    assert_eq!(copied, text.len() as u64);
    assert_eq!(
        io::read_to_string(File::open(&path).unwrap()).unwrap(),
        text
    );

    let mut bytes = b"kept".to_vec();
    let mut file = File::open(&path).unwrap();
    assert_eq!(io::read_to_end(&mut file, &mut bytes).unwrap(), text.len());
    assert_eq!(bytes, format!("kept{text}").as_bytes());

    let error = io::read_to_string(&b"\xff"[..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

/// Fails with each error in turn, and then reads its text.
struct Failing(Vec<io::Error>, Cursor<&'static str>);

impl Read for Failing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.pop() {
            Some(error) => Err(error),
            None => self.1.read(buf),
        }
    }
}

#[test]
fn a_copy_goes_on_after_interrupted_and_ends_with_other_errors() {
    let interrupted = || ErrorKind::Interrupted.into();
    let mut copied = Vec::new();
    let mut reader = Failing(vec![interrupted(), interrupted()], Cursor::new("text"));
    assert_eq!(copy(&mut reader, &mut copied).unwrap(), 4);
    assert_eq!(copied, b"text");

    // A cancel of another scope is returned, and not retried.
    let foreign = in_a_cancelled_scope(|| taskgroup::checkpoint().unwrap_err());
    let mut reader = Failing(vec![foreign.into(), interrupted()], Cursor::new("text"));
    assert_cancelled(copy(&mut reader, &mut copied));
    assert_eq!(copied, b"text");

    for kind in [
        ErrorKind::WouldBlock,
        ErrorKind::TimedOut,
        ErrorKind::ConnectionReset,
    ] {
        let mut reader = Failing(vec![kind.into()], Cursor::new("text"));
        assert_eq!(
            io::read_to_end(&mut reader, &mut copied)
                .unwrap_err()
                .kind(),
            kind
        );
    }
}

/// At its end because of a cancel.
struct EndsBy<'t>(&'t CancelToken);

impl Read for EndsBy<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.cancel();
        Ok(0)
    }
}

#[test]
fn a_cancel_ends_a_copy_that_is_interrupted_or_cut() {
    let token = CancelToken::new();
    assert_cancelled(token.run(|| copy(&mut Interrupted(&token), &mut Vec::new())));
    let token = CancelToken::new();
    assert_cancelled(token.run(|| copy(&mut EndsBy(&token), &mut Vec::new())));
    let token = CancelToken::new();
    assert_cancelled(token.run(|| io::read_to_end(&mut EndsBy(&token), &mut Vec::new())));
}

#[test]
fn a_copy_that_is_cancelled_on_its_write_side_breaks_the_stream() {
    let _watch = watch();
    let (near, far) = UnixStream::pair().unwrap();
    let room = near.try_clone().unwrap();
    let mut socket = Cancellable::new(near).unwrap();
    let token = CancelToken::new();
    thread::scope(|threads| {
        let copies = threads.spawn(|| token.run(|| copy(&mut io::repeat(1), &mut socket)));
        // Nothing reads the other end, so the copy waits for room.
        until(|| !has_room(&room));
        token.cancel();
        assert_cancelled(copies.join().unwrap());
    });

    // Steps have 64 KiB. The system tells how much of the last one was sent.
    let cut_in_the_middle = filling(&far) % (64 << 10) != 0;
    let mut drained = vec![0; filling(&far) as usize];
    (&far).read_exact(&mut drained).unwrap();
    match socket.write(b"x") {
        Ok(1) => assert!(!cut_in_the_middle),
        other => {
            assert!(cut_in_the_middle);
            assert_eq!(other.unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
    }
}

fn has_room(stream: impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(&stream, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
}
