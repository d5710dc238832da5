//! Reads the output of a child while it waits for the end of the child.
//!
//! # Invariants
//!
//! 1. The child is reaped when nothing more is read: until then, its group can be signalled.
//! 2. A cut stream is an error, never an `Output`.

use std::io;
use std::os::fd::AsFd;
use std::process::{ExitStatus, Output};
use std::time::{Duration, Instant};

use super::look::LookPauses;
use super::partial::{CutBy, Partial};
use super::state::{Asked, Process};
use super::stdio::{ChildStderr, ChildStdout};
use crate::cancel::{Cancelled, context};
use crate::io::descriptor::Descriptor;
use crate::readiness::{self, Interest, Watched};

/// How long pipes are read after a cancel, once the child has ended, unless the command says
/// otherwise.
const DELAY_AFTER_A_CANCEL: Duration = Duration::from_secs(1);

/// How many bytes of each stream are kept of those that come after a cancel. A child that ignores
/// its signal may write for the whole grace, as fast as it can.
const KEPT_AFTER_A_CANCEL: usize = 1 << 20;

/// How much is read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// How many chunks of a stream are read before anything else is looked at.
const CHUNKS_AT_ONCE: usize = 16;

/// Reads both streams to their ends, waits for the end of the child, and reaps it.
///
/// # Errors
///
/// A [`Partial`]: after a cancel, or when `delay` has passed since the end of the child. ECHILD, if
/// another part of the program has reaped the child. An error of a read.
#[track_caller]
pub(super) fn collect(
    child: &Process,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    delay: Option<Duration>,
) -> io::Result<Output> {
    let mut reading = Reading {
        child,
        stdout: OutputStream::new(stdout.map(ChildStdout::into_descriptor)),
        stderr: OutputStream::new(stderr.map(ChildStderr::into_descriptor)),
        chunk: vec![0; CHUNK],
        ended: None,
        look: LookPauses::at(child.pid()),
    };

    // The child runs already, so a scope that was cancelled before ends it too.
    if let Err(cancelled) = context::check() {
        return reading.stop(cancelled, delay);
    }

    loop {
        if reading.is_complete()? {
            return reading.complete();
        }

        // The delay counts from the end of the child: while it runs, it may write when it likes.
        let limit = match (reading.ended, delay) {
            (Some(ended), Some(delay)) => ended.checked_add(delay),
            _ => None,
        };
        if limit.is_some_and(|limit| limit <= Instant::now()) {
            // Invariant 2: the stream is cut, so the call returns an error.
            return reading.give_up(delay.unwrap_or_default());
        }

        if let Err(cancelled) = reading.pause(limit) {
            // The end may have come first.
            return if reading.is_complete()? {
                reading.complete()
            } else {
                reading.stop(cancelled, delay)
            };
        }
    }
}

struct Reading<'a> {
    child: &'a Process,
    stdout: OutputStream,
    stderr: OutputStream,
    /// Where a read puts its bytes first.
    chunk: Vec<u8>,
    /// When the child was seen to have ended.
    ended: Option<Instant>,
    look: LookPauses,
}

impl Reading<'_> {
    /// Reads all bytes that have come, and looks at the child. Returns whether it and both streams
    /// have ended.
    fn is_complete(&mut self) -> io::Result<bool> {
        self.stdout.read(&mut self.chunk)?;
        self.stderr.read(&mut self.chunk)?;
        if self.ended.is_none() && self.child.has_ended()? {
            self.ended = Some(Instant::now());
        }

        // Only if the streams are at their ends: the child may have written its last bytes after
        // the read, and before its end was seen.
        Ok(self.ended.is_some() && self.stdout.is_at_end() && self.stderr.is_at_end())
    }

    /// Blocks until there is more to read, or the child ends.
    #[track_caller]
    fn pause(&mut self, limit: Option<Instant>) -> Result<(), Cancelled> {
        let mut watched = watched([&self.stdout, &self.stderr]);
        match self.ended {
            None => self.look.pause(self.child.watched(), watched, limit),
            // Its descriptor stays readable, and would end each wait at once.
            Some(_) => readiness::poll(self.look.what(), &mut watched, limit).map(drop),
        }
    }

    /// Returns the output: everything was read.
    fn complete(self) -> io::Result<Output> {
        // Invariant 1: the reap comes last.
        match self.child.try_wait()? {
            Some(status) => Ok(Output {
                status,
                stdout: self.stdout.bytes,
                stderr: self.stderr.bytes,
            }),
            None => unreachable!("a child that has ended can be reaped"),
        }
    }

    /// Ends the rest of the group of the child, which has ended itself, and reaps the child.
    fn give_up(self, delay: Duration) -> io::Result<Output> {
        let status = match self.child.ask_to_end()? {
            Asked::HadEnded(status) => Some(status),
            // It was asked before, for example by `kill`.
            Asked::Ends => self.child.try_wait()?,
        };
        Err(self.partial(status, CutBy::Delay(delay)))
    }

    /// Ends the child because of a cancel, and returns all bytes that were read by then.
    ///
    /// The cancel is the error in all cases. So an error of a read ends only the reading, and there
    /// is no status of a child that is gone or that may not be signalled.
    #[track_caller]
    fn stop(mut self, cancelled: Cancelled, delay: Option<Duration>) -> io::Result<Output> {
        let had_ended = self.ended;
        self.stdout.keep_at_most(KEPT_AFTER_A_CANCEL);
        self.stderr.keep_at_most(KEPT_AFTER_A_CANCEL);
        let status = self.end_child().ok();

        // Its last words are in the pipes. Descendants may hold these open for ever, so the time is
        // limited. A delay that counts already goes on, or the cancel would make the call longer.
        let limit = match (had_ended, delay) {
            (Some(ended), Some(delay)) => ended.checked_add(delay),
            (_, delay) => Instant::now().checked_add(delay.unwrap_or(DELAY_AFTER_A_CANCEL)),
        };
        self.drain(limit);
        Err(self.partial(status, CutBy::Cancelled(cancelled)))
    }

    /// Ends the child and reaps it. Goes on reading meanwhile: a child that is blocked in a write
    /// could not end by itself otherwise.
    #[track_caller]
    fn end_child(&mut self) -> io::Result<ExitStatus> {
        self.child.ask_to_end()?;

        loop {
            // In this order: the kill is not held up by a child that writes without a pause.
            let limit = self.child.enforce()?;
            self.read_or_close();

            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }

            let streams = watched([&self.stdout, &self.stderr]);
            self.look
                .pause_uncancellable(self.child.watched(), streams, limit);
        }
    }

    /// Reads until both streams are at their ends, or until `limit`.
    #[track_caller]
    fn drain(&mut self, limit: Option<Instant>) {
        loop {
            // Read once more at the limit, so that a delay of zero takes all bytes that have come.
            self.read_or_close();

            let mut watched = watched([&self.stdout, &self.stderr]);
            if watched.is_empty() || limit.is_some_and(|limit| limit <= Instant::now()) {
                return;
            }

            readiness::poll_uncancellable(self.look.what(), &mut watched, limit);
        }
    }

    /// Reads all bytes that have come. A stream that cannot be read is at its end.
    fn read_or_close(&mut self) {
        for stream in [&mut self.stdout, &mut self.stderr] {
            if stream.read(&mut self.chunk).is_err() {
                stream.pipe = None;
            }
        }
    }

    fn partial(self, status: Option<ExitStatus>, why: CutBy) -> io::Error {
        let partial = Partial {
            stdout: self.stdout.bytes,
            stderr: self.stderr.bytes,
            status,
            why,
        };
        partial.into_error()
    }
}

/// Returns the streams that are not at their ends, to be watched.
fn watched(streams: [&OutputStream; 2]) -> Vec<Watched<'_>> {
    // A stream at its end is always ready, and would end each wait at once.
    let pipes = streams
        .into_iter()
        .filter_map(|stream| stream.pipe.as_ref());
    let watched = pipes.map(|pipe| Watched::new(pipe.as_fd(), Interest::Read));
    watched.collect()
}

/// The bytes that the child writes to one of its streams.
struct OutputStream {
    /// None once it is at its end.
    pipe: Option<Descriptor>,
    bytes: Vec<u8>,
    /// How many more bytes are kept. The others are read as well, or the child would wait for room
    /// in the pipe.
    room: usize,
}

impl OutputStream {
    fn new(pipe: Option<Descriptor>) -> Self {
        OutputStream {
            pipe,
            bytes: Vec::new(),
            room: usize::MAX,
        }
    }

    fn keep_at_most(&mut self, room: usize) {
        self.room = room;
    }

    fn is_at_end(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads all bytes that have come, but not for ever from a child that writes without a pause.
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<()> {
        for _ in 0..CHUNKS_AT_ONCE {
            let Some(pipe) = &self.pipe else { break };

            // Never waits: the other stream, the child and the cancel are looked at as well.
            match pipe.try_read(chunk) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    let kept = length.min(self.room);
                    self.room -= kept;
                    self.bytes.extend_from_slice(&chunk[..kept]);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    // The next turn tries again.
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use rustix::process::Pid;

    use super::super::ending::Ending;
    use super::*;
    use crate::CancelToken;

    /// A child that writes without a pause looks like a file.
    #[test]
    fn a_stream_that_has_always_more_is_left_after_some_chunks() {
        const LENGTH: usize = (CHUNKS_AT_ONCE + 4) * CHUNK;
        let path = format!("taskgroup-output-{}", std::process::id());
        let path = std::env::temp_dir().join(path);
        fs::write(&path, vec![b'x'; LENGTH]).expect("there is room");
        let file = File::open(&path).expect("it is there");
        fs::remove_file(&path).expect("it is there");

        let mut stream = OutputStream::new(Some(Descriptor::new(OwnedFd::from(file))));
        let mut chunk = vec![0; CHUNK];
        stream.read(&mut chunk).expect("it can be read");
        assert!(!stream.is_at_end());
        assert!(stream.bytes.len() <= CHUNKS_AT_ONCE * CHUNK);
        while !stream.is_at_end() {
            stream.read(&mut chunk).expect("it can be read");
        }
        assert_eq!(stream.bytes.len(), LENGTH);
    }

    #[test]
    fn a_stream_that_cannot_be_read_holds_up_no_cancel() {
        let mut child = Command::new("true").spawn().expect("the program starts");
        let process = Process::unwatched(Pid::from_child(&child), Ending::default());
        let writes_only = File::options().write(true).open("/dev/null");
        let pipe = Descriptor::new(OwnedFd::from(writes_only.expect("it is there")));
        let mut reading = Reading {
            child: &process,
            stdout: OutputStream::new(Some(pipe)),
            stderr: OutputStream::new(None),
            chunk: vec![0; CHUNK],
            ended: None,
            look: LookPauses::at(process.pid()),
        };
        reading.read_or_close();
        assert!(reading.stdout.is_at_end());
        child.wait().expect("it is a child");
    }

    #[test]
    fn a_cancel_after_the_end_of_the_child_gives_its_streams_no_second_delay() {
        let mut child = Command::new("true").spawn().expect("the program starts");
        let process = Process::unwatched(Pid::from_child(&child), Ending::default());
        let (held, _open) = UnixStream::pair().expect("there are descriptors left");
        held.set_nonblocking(true).expect("it is a socket");
        let delay = Duration::from_secs(60);
        let reading = Reading {
            child: &process,
            stdout: OutputStream::new(Some(Descriptor::new(OwnedFd::from(held)))),
            stderr: OutputStream::new(None),
            chunk: vec![0; CHUNK],
            ended: Instant::now().checked_sub(delay),
            look: LookPauses::at(process.pid()),
        };
        assert!(reading.ended.is_some(), "the clock reaches that far back");

        let token = CancelToken::new();
        token.cancel();
        let cancelled = token.cancelled().expect("it is cancelled");
        let before = Instant::now();
        let error = reading.stop(cancelled, Some(delay));
        error.expect_err("it was cancelled");
        assert!(before.elapsed() < delay / 2);
        drop(child.wait());
    }
}
