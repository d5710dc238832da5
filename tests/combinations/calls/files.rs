//! Pipes, FIFOs, locks, standard input, and descriptors of others.

use std::fs::{File, OpenOptions};
use std::os::unix::net::UnixStream;

use taskgroup::io::{
    Cancellable, PipeReader, PipeWriter, lock_file, open_fifo, stdin, unlock_file,
};

use super::*;
use crate::folder::Folder;

pub(super) const CALLS: &[Named] = &[
    ("PipeReader::read", pipe_read),
    ("PipeReader::read_exact", pipe_read_exact),
    ("PipeWriter::write", pipe_write),
    ("PipeWriter::write_all", pipe_write_all),
    ("Cancellable::read", cancellable_read),
    ("Cancellable::write", cancellable_write),
    ("Cancellable::write_all", cancellable_write_all),
    ("copy, from a pipe", copy_from_a_pipe),
    ("copy, to a pipe", copy_to_a_pipe),
    ("read_to_end", read_to_end),
    ("lines", lines),
    ("open_fifo, to read", open_fifo_to_read),
    ("open_fifo, to write", open_fifo_to_write),
    ("lock_file", lock),
    ("Stdin::read_line", stdin_read_line),
    ("Stdin::read", stdin_read),
    ("Stdin::lines", stdin_lines),
];

pub(super) fn pipe() -> (PipeReader, PipeWriter) {
    io::pipe().expect("there are descriptors left")
}

fn pipe_read() -> World {
    let (here, there) = pipe();
    read_world(here, there, |mut here, buf| here.read(buf))
}

/// The pipe holds one byte of the two that are read.
fn pipe_read_exact() -> World {
    let (here, mut there) = pipe();
    there.write_all(b"a").expect("the reader is there");
    let here = Arc::new(here);
    let taken = Arc::new(std::sync::Mutex::new([0; 2]));
    let (theirs, buf) = (here.clone(), taken.clone());
    World::new(
        move || (&*theirs).read_exact(&mut *buf.lock().expect("it is free")),
        || {
            move || {
                drop(there);
                let mut rest = Vec::new();
                done(|| (&*here).read_to_end(&mut rest));
                let taken = *taken.lock().expect("it is free");
                let whole = [&taken[..], &rest[..]].concat();
                let bytes = whole.into_iter().filter(|&byte| byte != 0);
                assert_eq!(bytes.collect::<Vec<_>>(), b"a");
            }
        },
    )
}

fn pipe_write() -> World {
    let (there, here) = pipe();
    write_world(here, there, |mut here, bytes| here.write_all(bytes))
}

fn pipe_write_all() -> World {
    let (there, here) = pipe();
    cut_write_world(here, there, |mut here, bytes| here.write_all(bytes))
}

/// A stream that several calls take turns with.
type Shared = std::sync::Mutex<Cancellable<UnixStream>>;

fn cancellable() -> (Shared, UnixStream) {
    let (here, there) = UnixStream::pair().expect("there are descriptors left");
    (
        Shared::new(Cancellable::new(here).expect("it is a socket")),
        there,
    )
}

fn cancellable_read() -> World {
    let (here, there) = cancellable();
    read_world(here, there, |here, buf| {
        here.lock().expect("it is free").read(buf)
    })
}

fn cancellable_write() -> World {
    let (here, there) = cancellable();
    let fd = here.lock().expect("it is free").get_ref().try_clone();
    let filled = crate::descriptors::fill(fd.expect("there are descriptors left"));
    let (here, mut there) = (Arc::new(here), there);
    let theirs = here.clone();
    let write = |here: &Shared, bytes: &[u8]| here.lock().expect("it is free").write_all(bytes);
    World::new(
        move || write(&theirs, b"never"),
        move || {
            let mut old = vec![0; filled];
            there.read_exact(&mut old).expect("the writer is there");
            move || {
                done(|| write(&here, b"next"));
                let mut next = [0; 8];
                assert_eq!(there.read(&mut next).expect("the writer is there"), 4);
                assert_eq!(&next[..4], b"next");
            }
        },
    )
}

fn cancellable_write_all() -> World {
    let (here, there) = cancellable();
    cut_write_world(here, there, |here, bytes| {
        here.lock().expect("it is free").write_all(bytes)
    })
}

fn copy_from_a_pipe() -> World {
    let (here, there) = pipe();
    read_world(here, there, |here, buf| {
        let (mut here, mut to) = (here, Vec::new());
        // A pipe has no end while its writer lives, so the copy stops after four bytes.
        let copied = io::copy(&mut (&mut here).take(4), &mut to)?;
        buf[..to.len()].copy_from_slice(&to);
        Ok(copied as usize)
    })
}

/// The cut may come between two chunks, so the stream need not be broken.
fn copy_to_a_pipe() -> World {
    let (mut there, here) = pipe();
    let here = Arc::new(here);
    let theirs = here.clone();
    World::new(
        move || io::copy(&mut &vec![7; MUCH][..], &mut &*theirs).map(drop),
        || {
            move || {
                drop(here);
                let mut received = Vec::new();
                done(|| there.read_to_end(&mut received));
                assert!(received.len() < MUCH);
                assert!(received.iter().all(|&byte| byte == 7));
            }
        },
    )
}

fn read_to_end() -> World {
    let (here, mut there) = pipe();
    there.write_all(b"begun ").expect("the reader is there");
    let here = Arc::new(here);
    let text = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (theirs, begun) = (here.clone(), text.clone());
    let read = |mut here: &PipeReader, to: &std::sync::Mutex<Vec<u8>>| {
        io::read_to_end(&mut here, &mut to.lock().expect("it is free")).map(drop)
    };
    World::new(
        move || read(&theirs, &begun),
        move || {
            there.write_all(b"and ended").expect("the reader is there");
            drop(there);
            move || {
                done(|| read(&here, &text));
                assert_eq!(*text.lock().expect("it is free"), b"begun and ended");
            }
        },
    )
}

/// A line that has begun. A cut leaves it for the next call.
fn lines() -> World {
    let (here, mut there) = pipe();
    there.write_all(b"a li").expect("the reader is there");
    let lines = std::sync::Mutex::new(io::lines(BufReader::new(here)));
    let lines = Arc::new(lines);
    let theirs = lines.clone();
    let next = |lines: &std::sync::Mutex<io::Lines<BufReader<PipeReader>>>| {
        let next = lines.lock().expect("it is free").next();
        next.expect("the cancel is an item")
    };
    World::new(
        move || next(&theirs).map(drop),
        move || {
            there.write_all(b"ne\n").expect("the reader is there");
            move || assert_eq!(done(|| next(&lines)), "a line")
        },
    )
}

/// The world of an open of a FIFO. Its other side comes at the end.
fn fifo_world(open: fn(&mut OpenOptions) -> &mut OpenOptions, other: &'static str) -> World {
    let folder = Folder::new();
    let path = folder.fifo();
    let options = open(&mut OpenOptions::new()).clone();
    let (to, with) = (path.clone(), options.clone());
    World::new(
        move || open_fifo(&to, &with).map(drop),
        move || {
            let script = format!("{other} \"$0\"");
            let mut shell = std::process::Command::new("sh");
            let shell = shell.args(["-c", &script]).arg(&path).spawn();
            let mut shell = shell.expect("it starts");
            move || {
                drop(done(|| open_fifo(&path, &options)));
                shell.wait().expect("it is a child");
                drop(folder);
            }
        },
    )
}

fn open_fifo_to_read() -> World {
    fifo_world(|options| options.read(true), "exec >")
}

fn open_fifo_to_write() -> World {
    fifo_world(|options| options.write(true), "cat <")
}

fn lock() -> World {
    let folder = Folder::new();
    let path = folder.0.join("lock");
    let open = || File::create(&path).expect("the folder is ours");
    let (holder, waiter) = (open(), Arc::new(open()));
    lock_file(&holder).expect("it is free");
    let theirs = waiter.clone();
    World::new(
        move || lock_file(&theirs),
        move || {
            unlock_file(&holder).expect("it is locked");
            move || {
                // The cut call holds nothing.
                done(|| lock_file(&holder));
                unlock_file(&holder).expect("it is locked");
                done(|| lock_file(&waiter));
                drop(folder);
            }
        },
    )
}

/// The world of a read from standard input, which is a pipe until the world ends.
fn stdin_world(read: fn() -> io::Result<String>) -> World {
    let (input, mut there) = pipe();
    let before = rustix::io::dup(rustix::stdio::stdin()).expect("there are descriptors left");
    rustix::stdio::dup2_stdin(&input).expect("it is open");
    drop(input);
    World::new(
        move || read().map(drop),
        move || {
            there.write_all(b"next\n").expect("the reader is there");
            move || {
                assert_eq!(done(read).trim_end(), "next");
                rustix::stdio::dup2_stdin(&before).expect("it is open");
            }
        },
    )
}

fn stdin_read_line() -> World {
    stdin_world(|| {
        let mut line = String::new();
        stdin().read_line(&mut line)?;
        Ok(line)
    })
}

fn stdin_read() -> World {
    stdin_world(|| {
        let mut bytes = [0; 5];
        stdin().read_exact(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    })
}

fn stdin_lines() -> World {
    stdin_world(|| stdin().lines().next().expect("the cancel is an item"))
}
