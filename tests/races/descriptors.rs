//! Pipes, standard input and FIFOs.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;

use rustix::fs::OFlags;
use taskgroup::io::{self, Cancellable, open_fifo};

use crate::Scratch;
use crate::meeting::{pause, race, races};
use crate::support::alone;

/// As many as a test has time for.
const USUAL: u64 = 1_000;

/// Reads a byte in each race. It is taken, or it stays.
fn reads(mut reader: impl Read, writer: impl AsFd + Sync) {
    let put = |number| {
        let written = rustix::io::write(&writer, &[number as u8]);
        assert_eq!(written.expect("there is room"), 1);
    };
    let reader = std::cell::RefCell::new(&mut reader);
    let take = |_| {
        let mut byte = [0];
        let read = reader.borrow_mut().read(&mut byte)?;
        assert_eq!(read, 1, "the other end is open");
        Ok(byte[0])
    };
    race(races(USUAL), put, take, |number, taken| {
        let byte = taken.unwrap_or_else(|| take(number).expect("nothing cancels this read"));
        assert_eq!(byte, number as u8, "race {number}");
    });
}

#[test]
fn a_byte_in_a_pipe_is_read_or_stays() {
    let (reader, writer) = io::pipe().unwrap();
    reads(reader, writer);
}

#[test]
fn a_byte_of_a_stream_that_is_polled_first_is_read_or_stays() {
    let (near, far) = UnixStream::pair().unwrap();
    reads(Cancellable::new(near).unwrap(), far);
}

#[test]
fn a_byte_in_standard_input_is_read_or_stays() {
    alone("a_byte_in_standard_input_is_read_or_stays", || {
        let (reader, writer) = io::pipe().unwrap();
        rustix::stdio::dup2_stdin(reader).unwrap();
        reads(io::stdin(), writer);
    });
}

/// A page is the least that a pipe holds and the most that it takes as a whole. So there is room
/// for one write in each race.
#[test]
fn a_page_is_written_to_a_pipe_or_none_of_it() {
    const PAGE: usize = 4096;
    let (reader, writer) = io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, PAGE).unwrap();
    let write = |number: u64| {
        let written = (&writer).write(&[number as u8; PAGE])?;
        assert_eq!(written, PAGE, "race {number}");
        Ok(())
    };

    // One page is on its way: it was written in the race before.
    let read = |number: u64| {
        let mut page = [0; PAGE];
        assert_eq!(rustix::io::read(&reader, &mut page).unwrap(), PAGE);
        let before = number.wrapping_sub(1) as u8;
        assert!(page.iter().all(|&byte| byte == before), "race {number}");
    };
    write(u64::MAX).unwrap();
    race(races(USUAL), read, write, |number, written| {
        written.unwrap_or_else(|| write(number).expect("nothing cancels this write"));
    });
}

fn fifo(name: &str) -> Scratch {
    let path = Scratch::new(name);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, path.as_ref(), mode).unwrap();
    path
}

#[test]
fn a_fifo_is_opened_to_be_read_or_left() {
    let path = fifo("read");
    let (writers, for_reader) = channel();
    let come = |number| {
        // For both directions, since this one opens without a reader.
        let mut writer = File::options().read(true).write(true).open(&path).unwrap();
        writer.write_all(&[number as u8]).unwrap();
        writers.send(writer).unwrap();
    };
    let open = |_| open_fifo(&path, OpenOptions::new().read(true));
    race(races(USUAL), come, open, |number, opened| {
        // Until here a writer has the FIFO open, and the byte is in it.
        let writer = for_reader.recv().unwrap();
        let mut reader = opened.unwrap_or_else(|| open(number).expect("nothing cancels this open"));
        let mut byte = [0];
        assert_eq!(reader.read(&mut byte).unwrap(), 1);
        assert_eq!(byte[0], number as u8, "race {number}");
        drop(writer);
    });
}

/// An open that waits for a reader pauses, so there is time for few races.
#[test]
fn a_fifo_is_opened_to_be_written_or_left() {
    let path = fifo("write");
    let (readers, for_writer) = channel();
    let come = |number| {
        let mut options = File::options();
        options
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32);
        readers.send(options.open(&path).unwrap()).unwrap();
        pause(number);
    };
    let open = |_| open_fifo(&path, OpenOptions::new().write(true));
    race(races(USUAL) / 10, come, open, |number, opened| {
        let mut reader = for_writer.recv().unwrap();
        let mut writer = opened.unwrap_or_else(|| open(number).expect("nothing cancels this open"));
        writer.write_all(&[number as u8]).unwrap();
        let mut byte = [0];
        assert_eq!(reader.read(&mut byte).unwrap(), 1);
        assert_eq!(byte[0], number as u8, "race {number}");
    });
}
