//! FIFOs. In a test binary of their own: a child process of another test has copies of all
//! descriptors for a moment, so a FIFO would have ends there.
#![cfg(target_os = "linux")]

#[path = "support/blocked.rs"]
mod blocked;
#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/folder.rs"]
mod folder;
mod support;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use blocked::when_blocked;
use descriptors::{MUCH, assert_cancelled, cancelled_inside, fill, in_a_cancelled_scope};
use folder::Folder;
use rustix::fs::{Mode, OFlags, fcntl_getfl};
use support::{until, watch};
use taskgroup::io::{self, open_fifo};
use taskgroup::{CancelToken, TaskGroup};

fn reads() -> OpenOptions {
    OpenOptions::new().read(true).clone()
}

fn writes() -> OpenOptions {
    OpenOptions::new().write(true).clone()
}

#[test]
fn a_fifo_without_a_writer_is_waited_for_until_a_cancel() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.fifo();
    for _ in 0..10 {
        assert_cancelled(cancelled_inside(|| open_fifo(&path, &reads())));
        assert_cancelled(cancelled_inside(|| open_fifo(&path, &writes())));
    }
    // They have closed it.
    let nonblocking = OFlags::WRONLY | OFlags::NONBLOCK;
    let refused = rustix::fs::open(&path, nonblocking, Mode::empty());
    assert_eq!(refused.unwrap_err(), rustix::io::Errno::NXIO);
    assert_cancelled(in_a_cancelled_scope(|| open_fifo(&path, &reads())));
    // It looks for a cancel also where it would wait for nothing.
    let both = reads().write(true).clone();
    assert_cancelled(in_a_cancelled_scope(|| open_fifo(&path, &both)));
}

#[test]
fn a_writer_that_only_opens_a_fifo_ends_the_wait() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.fifo();
    thread::scope(|threads| {
        let opened = threads.spawn(|| open_fifo(&path, &reads()));
        let writer = File::options().write(true).open(&path).unwrap();
        let mut fifo = opened.join().unwrap().unwrap();
        assert_cancelled(cancelled_inside(|| fifo.read(&mut [0; 4])));

        // A writer that has gone again is the end, until the next comes.
        drop(writer);
        assert_eq!(fifo.read(&mut [0; 4]).unwrap(), 0);
        let mut writer = File::options().write(true).open(&path).unwrap();
        writer.write_all(b"more").unwrap();
        assert_eq!(fifo.read(&mut [0; 4]).unwrap(), 4);
    });
    // Also a writer that writes and goes before it is looked for.
    thread::scope(|threads| {
        let opened = threads.spawn(|| open_fifo(&path, &reads()));
        std::fs::write(&path, "short").unwrap();
        let mut text = String::new();
        opened
            .join()
            .unwrap()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "short");
    });
    // Also a writer that goes without a byte. The system tells only a thread that waits.
    for _ in 0..20 {
        thread::scope(|threads| {
            let opened = when_blocked(threads, || open_fifo(&path, &reads()));
            drop(File::options().write(true).open(&path).unwrap());
            let mut fifo = opened.join().unwrap().unwrap();
            assert_eq!(fifo.read(&mut [0; 4]).unwrap(), 0);
        });
    }
}

#[test]
fn both_ends_of_a_fifo_meet() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.fifo();
    let text = TaskGroup::scope(|g| {
        g.spawn(|| {
            let mut writer = open_fifo(&path, &writes())?;
            assert!(format!("{writer:?}").contains("fd"));
            writer.write_all(&vec![b'x'; MUCH])?;
            Ok(write!(writer, "{:3}", 7)?)
        });
        let mut text = String::new();
        let mut reader = open_fifo(&path, &reads())?;
        reader.read_to_string(&mut text)?;

        let file = reader.into_file()?;
        assert!(!fcntl_getfl(&file)?.contains(OFlags::NONBLOCK));
        Ok(text)
    })
    .unwrap();
    assert_eq!(text.len(), MUCH + 3);

    // With both ends it waits for nothing.
    let mut both = open_fifo(&path, OpenOptions::new().read(true).write(true)).unwrap();
    both.write_all(b"to itself").unwrap();
    assert_eq!(both.read(&mut [0; 16]).unwrap(), 9);
    fill(&both);
    assert_cancelled(cancelled_inside(|| both.write_all(b"x")));
}

#[test]
fn a_clone_of_a_fifo_is_cancelled_and_broken_with_it() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.fifo();
    let both = reads().write(true).clone();
    let mut fifo = open_fifo(&path, &both).unwrap();
    let mut clone = fifo.try_clone().unwrap();
    assert_cancelled(cancelled_inside(|| clone.read(&mut [0])));
    fifo.write_all(b"x").unwrap();
    assert_eq!(clone.read(&mut [0; 2]).unwrap(), 1);

    // The clone needs the description nonblocking.
    let file = fifo.into_file().unwrap();
    assert!(fcntl_getfl(&file).unwrap().contains(OFlags::NONBLOCK));
    let mut second = clone.try_clone().unwrap();
    assert_cancelled(cancelled_inside(|| clone.write_all(&vec![0; MUCH])));
    let error = second.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    drop(second);
    let file = clone.into_file().unwrap();
    assert!(!fcntl_getfl(&file).unwrap().contains(OFlags::NONBLOCK));
}

#[test]
fn what_is_not_a_fifo_is_refused_and_not_touched() {
    let folder = Folder::new();
    let path = folder.0.join("file");
    std::fs::write(&path, "text").unwrap();
    let error = open_fifo(&path, writes().truncate(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("is not a FIFO"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"text");

    // The path leads to another file by the time at which a reader could come.
    let fifo = folder.fifo();
    thread::scope(|threads| {
        let opened = when_blocked(threads, || open_fifo(&fifo, &writes()));
        std::fs::rename(&path, &fifo).unwrap();
        let error = opened.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
    assert_eq!(std::fs::read(&fifo).unwrap(), b"text");
    std::fs::remove_file(&fifo).unwrap();

    let missing = folder.0.join("missing");
    let error = open_fifo(&missing, writes().create(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!missing.exists());
    let error = open_fifo(folder.fifo(), &OpenOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_fifo_that_is_standard_input_of_others_needs_no_flag() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.fifo();
    // Opened by other code, so its description may be shared, and Linux knows no flag for a call.
    let mut fifo = io::PipeReader::from(OwnedFd::from(
        File::options().read(true).write(true).open(&path).unwrap(),
    ));
    let mut writer = io::PipeWriter::from(OwnedFd::from(
        File::options().write(true).open(&path).unwrap(),
    ));
    for _ in 0..10 {
        assert_cancelled(cancelled_inside(|| fifo.read(&mut [0; 4])));
    }
    fill(&writer);
    for length in [1, 4096, MUCH] {
        assert_cancelled(cancelled_inside(|| writer.write(&vec![0; length])));
    }
    assert_eq!((&fifo).read(&mut [0; 4096]).unwrap(), 4096);
    assert_cancelled(cancelled_inside(|| writer.write_all(&vec![0; MUCH])));
}

/// Opens an end of the FIFO that reads and writes. Its description is its own, like that of another
/// process.
fn open_both(path: &Path) -> OwnedFd {
    let both = File::options().read(true).write(true).open(path).unwrap();
    OwnedFd::from(both)
}

/// Several threads are blocked in `call`, each on an end of its own. `wake` lets one of them go on,
/// which moves `length` bytes. The others must not be held in a call that no cancel ends.
fn one_of_several_goes_on(
    path: &Path,
    call: fn(OwnedFd) -> std::io::Result<usize>,
    length: usize,
    mut wake: impl FnMut(),
) {
    for _ in 0..200 {
        let token = CancelToken::new();
        let moved = AtomicUsize::new(0);
        thread::scope(|threads| {
            for _ in 0..4 {
                let end = open_both(path);
                when_blocked(threads, || {
                    let result = token.run(move || call(end));
                    moved.fetch_add(result.unwrap_or(0), Ordering::Relaxed);
                });
            }
            wake();
            until(|| moved.load(Ordering::Relaxed) == length);
            token.cancel();
        });
        assert_eq!(moved.into_inner(), length);
    }
}

/// Each of several readers sees the byte, and one takes it.
#[test]
fn a_byte_that_another_reader_of_a_fifo_takes_holds_no_read() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.fifo();
    let mut writer = File::from(open_both(&path));

    let read = |end| io::PipeReader::from(end).read(&mut [0; 4]);
    one_of_several_goes_on(&path, read, 1, || writer.write_all(b"x").unwrap());
}

/// Each of several writers sees the room, and one fills it.
#[test]
fn room_that_another_writer_of_a_fifo_fills_holds_no_write() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.fifo();
    let mut reader = File::from(open_both(&path));
    fill(&reader);

    let write = |end| io::PipeWriter::from(end).write(&[0; 4096]);
    one_of_several_goes_on(&path, write, 4096, || {
        reader.read_exact(&mut [0; 4096]).unwrap();
    });
}

/// The description that is read in its place is closed with it, even where it is given away.
#[test]
fn the_end_of_a_fifo_is_closed_with_its_handle() {
    let _watch = watch();
    let folder = Folder::new();
    let path = folder.fifo();
    let open_to_write = || {
        let nonblocking = OFlags::WRONLY | OFlags::NONBLOCK;
        rustix::fs::open(&path, nonblocking, Mode::empty())
    };
    let open_to_read = || {
        let nonblocking = OFlags::RDONLY | OFlags::NONBLOCK;
        rustix::fs::open(&path, nonblocking, Mode::empty()).unwrap()
    };

    for gives_away in [false, true] {
        let mut reader = io::PipeReader::from(open_to_read());
        let mut writer = io::PipeWriter::from(open_to_write().unwrap());
        writer.write_all(b"x").unwrap();
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 1);
        assert_cancelled(cancelled_inside(|| reader.read(&mut [0; 4])));
        let mut clone = reader.try_clone().unwrap();
        assert_cancelled(cancelled_inside(|| clone.read(&mut [0; 4])));
        drop(writer);
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);

        drop(clone);
        if gives_away {
            drop(OwnedFd::from(reader));
        } else {
            drop(reader);
        }
        assert_eq!(open_to_write().unwrap_err(), rustix::io::Errno::NXIO);
    }
}
