//! Writes, whole ones and those that are cut in the middle.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use taskgroup::Cancelled;
use taskgroup::net::TcpStream;

use super::{clogged, pair};
use crate::blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel};
use crate::support::MOMENT;

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

fn nagging(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe && error.to_string().contains("cancelled")
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
    // A failed write is not a cancel: the scope of the caller is another one.
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
