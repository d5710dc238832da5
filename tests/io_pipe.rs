//! Pipes: like std's, and a cancel ends their reads and writes without a loss. No test here starts
//! a process, which would have copies of all ends for a moment.
#![cfg(unix)]

#[path = "support/blocked.rs"]
mod blocked;
#[path = "support/descriptors.rs"]
mod descriptors;
mod support;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::thread;

use blocked::when_blocked;
use descriptors::{MUCH, assert_cancelled, cancelled_inside, fill, filling, in_a_cancelled_scope};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use support::{until, watch};
use taskgroup::io::{self, PipeReader, PipeWriter};
use taskgroup::{CancelToken, Cancelled, TaskGroup};

fn pipe() -> (PipeReader, PipeWriter) {
    io::pipe().expect("there are descriptors left")
}

#[test]
fn what_is_written_is_read_and_then_comes_the_end() {
    let (mut reader, mut writer) = pipe();
    writer.write_all(b"hello ").unwrap();
    let sent = writer.write_vectored(&[IoSlice::new(b"wor"), IoSlice::new(b"ld")]);
    assert_eq!(sent.unwrap(), 5);
    write!(writer, ", {}", 7).unwrap();
    writer.flush().unwrap();

    let (mut first, mut second) = ([0; 2], [0; 4]);
    let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(reader.read_vectored(&mut bufs).unwrap(), 6);
    assert_eq!((&first, &second), (b"he", b"llo "));

    drop(writer);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "world, 7");
    assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
}

/// The standard input of a program may be such a socket. A blocking read of it returns nothing, and
/// one that must not block says that it would block, although the socket counts as ready.
#[test]
fn a_datagram_socket_that_is_shut_is_at_its_end() {
    let _watch = watch();
    let (socket, other) = UnixDatagram::pair().expect("there are descriptors left");
    other.send(b"last").expect("there is room");
    socket.shutdown(Shutdown::Read).expect("it is open");
    let mut reader = PipeReader::from(OwnedFd::from(socket));
    let mut bytes = [0; 8];
    assert_eq!(reader.read(&mut bytes).expect("it is a socket"), 4);
    for _ in 0..2 {
        assert_eq!(reader.read(&mut bytes).expect("it is a socket"), 0);
    }
}

#[test]
fn without_readers_a_write_is_a_broken_pipe() {
    let (reader, mut writer) = pipe();
    drop(reader);
    for _ in 0..2 {
        assert_eq!(
            writer.write(b"x").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    }
    assert_eq!(
        writer.write_all(&vec![0; MUCH]).unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn a_cancel_wakes_a_read_that_takes_nothing() {
    let _watch = watch();
    let (mut reader, mut writer) = pipe();
    for _ in 0..50 {
        assert_cancelled(cancelled_inside(|| reader.read(&mut [0; 16])));
    }
    writer.write_all(b"still open").unwrap();
    let mut bytes = [0; 16];
    assert_eq!(reader.read(&mut bytes).unwrap(), 10);
}

#[test]
fn a_cancelled_scope_reads_and_writes_nothing() {
    let (mut reader, mut writer) = pipe();
    writer.write_all(b"stays").unwrap();

    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        assert_cancelled(reader.read(&mut [0; 16]));
        assert_cancelled(reader.read_exact(&mut [0; 2]));
        assert_cancelled(reader.read_to_end(&mut Vec::new()));
        assert_cancelled(writer.write(b"x"));
        assert_cancelled(writer.write_vectored(&[IoSlice::new(b"x")]));
        assert_cancelled(writer.write_all(b"x"));
        assert_cancelled(writer.write_all(b""));
        assert_cancelled(writeln!(writer, "x"));
    });
    // The refused writes have broken nothing.
    writer.write_all(b", unharmed").unwrap();
    assert_eq!(filling(&reader), 15);
}

#[test]
fn in_a_cancelled_scope_the_end_of_a_pipe_is_the_cancel() {
    let _watch = watch();
    for _ in 0..100 {
        let (mut reader, writer) = pipe();
        let token = CancelToken::new();
        thread::scope(|threads| {
            let read = when_blocked(threads, || {
                token.run(|| reader.read_to_end(&mut Vec::new()))
            });
            token.cancel();
            drop(writer); // because of the cancel
            assert_cancelled(read.join().unwrap());
        });
    }
}

#[test]
fn in_a_cancelled_scope_the_loss_of_the_other_end_is_the_cancel() {
    let _watch = watch();
    for _ in 0..100 {
        let (reader, mut writer) = pipe();
        fill(&writer);
        let token = CancelToken::new();
        thread::scope(|threads| {
            let write = when_blocked(threads, || token.run(|| writer.write_all(b"x")));
            token.cancel();
            drop(reader);
            assert_cancelled(write.join().unwrap());
        });

        // A socket is reset if its peer goes without a look at the bytes that it was sent.
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        (&near).write_all(b"unread").unwrap();
        let mut reader = PipeReader::from(OwnedFd::from(near));
        let token = CancelToken::new();
        thread::scope(|threads| {
            let read = when_blocked(threads, || token.run(|| reader.read(&mut [0; 4])));
            token.cancel();
            drop(far);
            assert_cancelled(read.join().unwrap());
        });
    }

    // Where nothing is cancelled, the reset comes out.
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    (&near).write_all(b"unread").unwrap();
    drop(far);
    let error = PipeReader::from(OwnedFd::from(near)).read(&mut [0; 4]);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_call_uses_as_many_buffers_as_the_system_takes() {
    const MANY: usize = 1500;
    const MOST: usize = 1024;
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let socket = (OwnedFd::from(near).into(), OwnedFd::from(far).into());
    for (mut reader, mut writer) in [pipe(), socket] {
        let written = writer.write_vectored(&[IoSlice::new(b"x"); MANY]);
        assert_eq!(written.unwrap(), MOST);
        writer.write_all(&[b'x'; MANY - MOST]).unwrap();

        let mut bytes = [[0]; MANY];
        let mut bufs: Vec<_> = bytes.iter_mut().map(|byte| IoSliceMut::new(byte)).collect();
        assert_eq!(reader.read_vectored(&mut bufs).unwrap(), MOST);
        assert_eq!(filling(&reader) as usize, MANY - MOST);
    }
}

#[test]
fn a_large_write_to_a_pipe_with_little_room_never_sleeps_in_the_system() {
    let _watch = watch();
    let (reader, mut writer) = pipe();
    let full = fill(&writer) as u64;
    // One page has room, so the pipe can be written to.
    assert_eq!((&reader).read(&mut [0; 4096]).unwrap(), 4096);

    let token = CancelToken::new();
    thread::scope(|threads| {
        let write = threads.spawn(|| token.run(|| writer.write_all(&vec![1; MUCH])));
        until(|| filling(&reader) == full);
        token.cancel();
        assert_cancelled(write.join().unwrap());
    });
}

#[test]
fn a_write_all_that_is_cut_breaks_the_writer_and_its_clones() {
    let _watch = watch();
    let (mut reader, mut writer) = pipe();
    let mut clone = writer.try_clone().unwrap();
    let token = CancelToken::new();
    thread::scope(|threads| {
        let write = threads.spawn(|| token.run(|| writer.write_all(&vec![1; MUCH])));
        until(|| filling(&reader) >= 4096);
        token.cancel_because("the user left");
        assert_cancelled(write.join().unwrap());
    });

    for writer in [&mut writer, &mut clone] {
        for error in [
            writer.write(b"x").unwrap_err(),
            writeln!(writer, "x").unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert!(error.to_string().contains("the user left"), "{error}");
            assert!(Cancelled::find(&error).is_none(), "a failure of its own");
        }
        // In a cancelled scope every call is cut, and no call fails.
        assert_cancelled(in_a_cancelled_scope(|| writer.write(b"x")));
        assert_cancelled(in_a_cancelled_scope(|| writer.write_all(b"x")));
    }
    // The reader gets the bytes that were written, and then the end.
    drop((writer, clone));
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes.len() < MUCH && bytes.iter().all(|&byte| byte == 1));
}

#[test]
fn a_cancelled_write_has_written_nothing() {
    let _watch = watch();
    let (reader, mut writer) = pipe();
    let full = fill(&writer) as u64;
    for length in [1, 4096, MUCH] {
        assert_cancelled(cancelled_inside(|| writer.write(&vec![1; length])));
        assert_eq!(filling(&reader), full);
    }
    assert_cancelled(cancelled_inside(|| writer.write_all(&[1; 4096])));
    assert_cancelled(cancelled_inside(|| writeln!(writer, "{:4000}", 1)));

    // None of them has broken the writer.
    let (mut reader, mut drained) = (reader, vec![0; full as usize]);
    reader.read_exact(&mut drained).unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(filling(&reader), 1);
}

/// Four threads write records, and each is cancelled again and again. The reader meets whole
/// records only, and each that was acknowledged.
#[test]
fn a_short_write_is_whole_or_nothing_under_cancel() {
    const ROUNDS: usize = 60;
    let _watch = watch();
    let (reader, writer) = pipe();

    thread::scope(|threads| {
        let writers: Vec<_> = (0..4_u8)
            .map(|id| {
                let mut writer = writer.try_clone().unwrap();
                threads.spawn(move || {
                    let record = [id; 3000];
                    let mut written = 0;
                    for round in 0..ROUNDS {
                        let token = CancelToken::new();
                        let outcome = thread::scope(|threads| {
                            threads.spawn(|| {
                                (0..round % 40 * 100).for_each(|_| std::hint::spin_loop());
                                token.cancel();
                            });
                            token.run(|| writer.write_all(&record))
                        });
                        match outcome {
                            Ok(()) => written += 1,
                            Err(error) => assert!(Cancelled::find(&error).is_some(), "{error:?}"),
                        }
                    }
                    written
                })
            })
            .collect();
        drop(writer);

        let reads = threads.spawn(move || {
            let (mut reader, mut record, mut counts) = (reader, [0; 3000], [0; 4]);
            loop {
                match reader.read_exact(&mut record) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => return counts,
                    Err(error) => panic!("{error:?}"),
                }
                let id = record[0];
                assert!(record.iter().all(|&byte| byte == id), "a record was cut");
                counts[usize::from(id)] += 1;
            }
        });
        let written: Vec<_> = writers.into_iter().map(|one| one.join().unwrap()).collect();
        assert_eq!(reads.join().unwrap().as_slice(), written);
    });
}

/// Threads take the bytes of one pipe while they are cancelled. Each byte is taken once or stays.
#[test]
fn reads_that_race_with_cancels_lose_no_byte() {
    const BYTES: usize = 500;
    let _watch = watch();
    let (reader, mut writer) = pipe();
    let taken: usize = thread::scope(|threads| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let mut reader = reader.try_clone().unwrap();
                threads.spawn(move || {
                    let mut taken = 0;
                    loop {
                        let token = CancelToken::new();
                        let outcome = thread::scope(|threads| {
                            threads.spawn(|| token.cancel());
                            token.run(|| reader.read(&mut [0; 3]))
                        });
                        match outcome {
                            Ok(0) => return taken,
                            Ok(length) => taken += length,
                            Err(error) => {
                                assert!(Cancelled::find(&error).is_some(), "{error:?}");
                                // The end is a cancel in a cancelled scope, so it is looked for
                                // outside.
                                let at_end = filling(&reader) == 0 && is_closed(&reader);
                                if at_end {
                                    return taken;
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        for _ in 0..BYTES / 5 {
            writer.write_all(b"bytes").unwrap();
        }
        drop(writer);
        readers.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(taken + filling(&reader) as usize, BYTES);
}

/// Whether the pipe has no writers.
fn is_closed(reader: &PipeReader) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(reader, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default())).expect("it can be polled");
    fds[0].revents().contains(PollFlags::HUP)
}

#[test]
fn flags_stay_as_they_are_and_a_nonblocking_pipe_waits() {
    let _watch = watch();
    let (mut reader, mut writer) = pipe();
    let plain = (fcntl_getfl(&reader).unwrap(), fcntl_getfl(&writer).unwrap());
    assert!(!plain.0.contains(OFlags::NONBLOCK) && !plain.1.contains(OFlags::NONBLOCK));
    assert_cancelled(cancelled_inside(|| reader.read(&mut [0])));
    assert_cancelled(cancelled_inside(|| writer.write_all(&vec![0; MUCH])));
    assert_eq!(
        (fcntl_getfl(&reader).unwrap(), fcntl_getfl(&writer).unwrap()),
        plain
    );

    let (reader, writer) = pipe();
    fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    thread::scope(|threads| {
        let read = threads.spawn(|| {
            let mut bytes = Vec::new();
            (&reader)
                .take(MUCH as u64)
                .read_to_end(&mut bytes)
                .map(|_| bytes.len())
        });
        (&writer).write_all(&vec![0; MUCH]).unwrap();
        assert_eq!(read.join().unwrap().unwrap(), MUCH);
    });
    assert!(fcntl_getfl(&reader).unwrap().contains(OFlags::NONBLOCK));
}

#[test]
fn ends_are_made_of_descriptors_of_any_kind() {
    let _watch = watch();
    // A socket.
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut reader = PipeReader::from(OwnedFd::from(near));
    let mut writer = PipeWriter::from(OwnedFd::from(far));
    assert_cancelled(cancelled_inside(|| reader.read(&mut [0; 8])));
    writer.write_all(b"sent").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(reader.read(&mut bytes).unwrap(), 4);
    assert_cancelled(cancelled_inside(|| writer.write_all(&vec![0; 16 * MUCH])));
    drop(reader);
    let mut writer = PipeWriter::from(OwnedFd::from(writer));
    assert_eq!(
        writer.write(b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );

    // A file, and a device.
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    let (mut reader, mut writer) = (
        PipeReader::from(OwnedFd::from(null.try_clone().unwrap())),
        PipeWriter::from(OwnedFd::from(null)),
    );
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    writer.write_all(&vec![0; MUCH]).unwrap();
}

#[test]
fn a_failed_task_wakes_the_reads_of_the_others() {
    let _watch = watch();
    let (mut reader, _writer) = pipe();
    let error = TaskGroup::scope(|g| {
        g.spawn(|| Ok(reader.read(&mut [0; 8]).map(drop)?));
        g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("it failed") });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1, "{error:#}");
}

#[test]
fn a_deadline_ends_a_read() {
    let _watch = watch();
    let (mut reader, _writer) = pipe();
    let limit = std::time::Duration::from_millis(2);
    assert_eq!(
        taskgroup::timeout(limit, || reader.read(&mut [0; 8])).unwrap(),
        None
    );
}
