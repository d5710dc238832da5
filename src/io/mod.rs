//! Pipes, standard input, files and other people's descriptors, with calls that end with their
//! scope.
//!
//! Reads of std know nothing of scopes: a cancelled task that waits for input goes on waiting. The
//! types of this module are like std's, and every call that can block is a blocking point. It wakes
//! on a cancel and at a deadline.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::time::Duration;
//! use taskgroup::{io, timeout};
//!
//! let (mut reader, _writer) = io::pipe()?;
//! // No byte comes. A read of std would not return.
//! let read = timeout(Duration::from_millis(5), || reader.read(&mut [0; 16]))?;
//! assert_eq!(read, None);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # Errors of a cancel
//!
//! The error of a cancelled call is an [`io::Error`](Error) of the kind [`Other`](ErrorKind::Other)
//! that holds the [`Cancelled`](crate::Cancelled). Code that retries errors of some kinds, like
//! `read_exact` does for `Interrupted`, does not retry this one. `?` passes it on, and
//! [`Cancelled::find`](crate::Cancelled::find) finds it.
//!
//! # Descriptors stay as they are
//!
//! No call changes a flag of a descriptor that another process may have. The terminal of a shell,
//! or a pipe that another process writes to, stays as it was, even if this process is killed in the
//! middle of a call.
//!
//! # What a cancelled call leaves behind
//!
//! | call | after a cancel |
//! |---|---|
//! | `read` | nothing was read; the bytes stay |
//! | `read_exact`, `read_to_end`, `read_line`, `read_until` | the bytes that were read are in the buffer of the caller; the rest stays |
//! | [`lines`], [`Stdin::lines`] | one error, then the end; the line that was cut goes on in a scope that is not cancelled |
//! | `write` | nothing was written |
//! | `write_all`, `write!`, up to `PIPE_BUF` bytes to a pipe or [`Fifo`] | nothing was written |
//! | `write_all`, `write!`, longer ones, after the first byte | the stream is broken: later writes fail with `BrokenPipe` |
//! | [`open_fifo`] | the FIFO is closed |
//! | [`lock_file`] | the file is not locked |
//! | [`copy`] | up to 64 KiB that were read and not written are lost |
//!
//! A [`BufReader`] keeps what it has read. Its `read_line` loses the part of a line that ends in
//! the middle of a character, like std's after every error; [`lines`] and [`stdin`] do not.
//!
//! # Which type for what
//!
//! | a descriptor | use |
//! |---|---|
//! | standard input | [`stdin`] |
//! | standard output | std's [`stdout`], whose writes no cancel ends while a reader does not read; to end them, [`Cancellable`] over a clone of the descriptor |
//! | a pipe between this process and others | [`pipe`], or [`PipeReader`] and [`PipeWriter`] `from` an `OwnedFd` |
//! | a FIFO | [`open_fifo`] |
//! | a serial port, a pseudo-terminal, a socket or pipe of another crate | [`Cancellable`] |
//! | a regular file | the file itself, with [`copy`], [`read_to_end`] and [`read_to_string`], which look for a cancel between chunks |

// Invariants:
//
// 1. No call on a descriptor that can be waited for blocks in the kernel but in `readiness`. How
//    that is kept for each kind of descriptor is in `access`. Between the wait and the call another
//    thread or process may take what the wait saw.
// 2. No flag of a description is changed that another process may have. O_NONBLOCK is set only
//    where this module has opened the description itself: for a FIFO, and for the terminal of
//    stdin.
// 3. A call that took something out of the kernel returns it, whatever is cancelled meanwhile. An
//    end of a stream is nothing that was taken.
// 4. A handle owns its descriptor and is borrowed by each call. So no call uses a descriptor that
//    was closed: its number may be another file's by now.
//
// `access` has the calls, `piece` how much one of them may write, `cut` what a cut write leaves
// behind, `descriptor` all of it for an owned descriptor. The public types are made of these.

mod access;
mod cancellable;
mod chunks;
mod cut;
pub(crate) mod descriptor;
mod fifo;
mod lines;
mod lock_file;
mod piece;
mod pipe;
mod stdin;
mod stdin_buffer;
mod stdin_source;

pub use std::io::{
    BufRead, BufReader, BufWriter, Bytes, Chain, Cursor, Empty, Error, ErrorKind, IntoInnerError,
    IoSlice, IoSliceMut, IsTerminal, LineWriter, Read, Repeat, Result, Seek, SeekFrom, Sink, Split,
    Stderr, StderrLock, Stdout, StdoutLock, Take, Write, WriterPanicked, empty, prelude, repeat,
    sink, stderr, stdout,
};

pub use cancellable::Cancellable;
pub use chunks::{copy, read_to_end, read_to_string};
pub use fifo::{Fifo, open_fifo};
pub use lines::{Lines, lines};
pub use lock_file::{lock_file, unlock_file};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use stdin::{Stdin, StdinLock, stdin};

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::panic::Location;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::CancelToken;
    use crate::lanes;
    use crate::waiting::WaitKind;

    /// Fails unless a thread in `block`, which is called at `line` or just below, records `kind`
    /// and that place. Then the thread is cancelled.
    #[track_caller]
    fn records<T>(kind: WaitKind, line: u32, block: impl FnOnce() -> Result<T> + Send) {
        let (token, here) = (CancelToken::new(), Location::caller().file());
        let (sender, lanes) = mpsc::channel();
        thread::scope(|threads| {
            let blocked = threads.spawn(|| {
                token.run(|| {
                    sender.send(lanes::mine()).expect("the test receives");
                    block().is_err()
                })
            });
            let lane = lanes.recv().expect("the thread sends its lane");
            let lane = lane.expect("the thread is not in a late destructor");
            // The lane says where its thread blocks. It may say so a moment before the wait.
            let is_there = || {
                let wait = lane.view().and_then(|view| view.ok()?.wait);
                let is_near =
                    |at: &Location<'_>| at.file() == here && (line..line + 5).contains(&at.line());
                wait.is_some_and(|wait| wait.kind == kind as u8 && is_near(wait.location))
            };
            while !is_there() && !blocked.is_finished() {
                thread::yield_now();
            }

            // A thread that returned without a wait fails the test, and does not hang it.
            token.cancel();
            assert!(blocked.join().expect("the call does not panic"), "{kind:?}");
        });
    }

    #[test]
    fn calls_say_where_they_block() {
        let (mut reader, _writer) = pipe().expect("there are descriptors left");
        let read = WaitKind::DescriptorRead;
        records(read, line!(), || reader.read(&mut [0]));
        records(read, line!(), || {
            (&reader).read_vectored(&mut []).and(reader.read(&mut [0]))
        });

        // More than a pipe or a socket takes.
        let (_reader, mut writer) = pipe().expect("there are descriptors left");
        let much = vec![0; 1 << 20];
        let write = WaitKind::DescriptorWrite;
        records(write, line!(), || writer.write_all(&much));

        let (near, _far) = UnixStream::pair().expect("there are descriptors left");
        let mut stream = Cancellable::new(near).expect("it can be polled");
        records(read, line!(), || stream.read(&mut [0]));
        records(write, line!(), || stream.write_all(&much));

        // A socket in the type of a pipe is read in a way of its own.
        let (near, _far) = UnixStream::pair().expect("there are descriptors left");
        let mut socket = PipeReader::from(OwnedFd::from(near));
        records(read, line!(), || socket.read(&mut [0]));
    }

    #[test]
    fn locks_on_files_say_where_they_block() {
        let path = std::env::temp_dir().join(format!("taskgroup-place-{}", std::process::id()));
        let held = File::create(&path).expect("the folder can be written to");
        let other = File::create(&path).expect("the folder can be written to");

        lock_file(&held).expect("no other handle has a lock");
        records(WaitKind::FileLock, line!(), || lock_file(&other));
        std::fs::remove_file(path).expect("it is there");
    }
}
