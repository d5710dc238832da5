//! Reads and writes of stream sockets.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::socket::{self, Take, is_cancel, patience, unless_cancelled};
use super::stream_state::StreamState;
use crate::cancel::context;
use crate::readiness::{Interest, Patience, retry};
use crate::waiting::{READS_WAIT, WaitKind};

/// A stream socket for the length of a call.
#[derive(Clone, Copy)]
pub(super) struct Stream<'s> {
    fd: BorrowedFd<'s>,
    state: &'s StreamState,
}

/// Whether the buffers of a call have room for a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Some,
    None,
}

impl Room {
    #[inline]
    fn of(buf: &[u8]) -> Self {
        if buf.is_empty() {
            Room::None
        } else {
            Room::Some
        }
    }
}

/// What a read has done before it waits.
enum First {
    /// It has looked, and met this error, after which it looks again.
    Look(io::Error),
    /// Nothing.
    Nothing,
}

/// Whether a call that must not block is to be made again, at once or after a wait.
fn is_to_be_repeated(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), Interrupted | WouldBlock)
}

impl<'s> Stream<'s> {
    #[inline]
    pub(super) fn new(fd: BorrowedFd<'s>, state: &'s StreamState) -> Self {
        Stream { fd, state }
    }

    #[inline]
    #[track_caller]
    pub(super) fn read(self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive(Room::of(buf), || socket::receive(self.fd, buf, Take::It))
    }

    #[track_caller]
    pub(super) fn peek(self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive(Room::of(buf), || {
            socket::receive(self.fd, buf, Take::Nothing)
        })
    }

    #[track_caller]
    pub(super) fn read_vectored(self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        // std's call returns at once then, and does not ask the socket.
        if bufs.iter().all(|buf| buf.is_empty()) {
            context::check()?;
            return Ok(0);
        }

        self.receive(Room::Some, || socket::receive_vectored(self.fd, bufs))
    }

    /// Receives into buffers that have `room`. Where they have none, a call that receives no bytes
    /// has not found the end of the stream.
    #[inline]
    #[track_caller]
    fn receive(
        self,
        room: Room,
        mut receive: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let (known, first_look) = (self.state.known(), self.state.first_look());

        // A read that may not wait, or not for ever, has to look. One of nothing need not wait.
        context::check()?;
        let waits = room == Room::Some && known.is_known(READS_WAIT) && first_look.is_left_out();
        if waits {
            return self.receive_further(First::Nothing, room, receive);
        }

        // The way back from the system is as short as it can be: see `send_all`.
        let found = receive();
        first_look.note(&found);
        match found {
            Ok(received) if received > 0 => Ok(received),
            Err(error) if is_to_be_repeated(&error) => {
                self.receive_further(First::Look(error), room, receive)
            }
            found => self.end_of_read(found, room),
        }
    }

    /// The rest of [`receive`](Self::receive), after what it has done first.
    #[inline(never)]
    #[track_caller]
    fn receive_further(
        self,
        first: First,
        room: Room,
        mut receive: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let (waits, error) = match first {
            First::Look(error) => (false, error),
            First::Nothing => (true, Errno::AGAIN.into()),
        };
        let mut first = Some(error);
        let receive = || first.take().map_or_else(&mut receive, Err);

        // Not asked again: an option that is changed meanwhile comes after this call has begun to
        // wait, like in std.
        let patience = || {
            if waits {
                Ok(Patience::Forever)
            } else {
                patience(self.fd, self.state.known(), Interest::Read)
            }
        };
        let interest = Interest::Read;
        let received = retry(WaitKind::SocketRead, self.fd, interest, patience, receive);
        self.end_of_read(received, room)
    }

    /// Returns the result of a read that has `received` this.
    fn end_of_read(self, received: io::Result<usize>, room: Room) -> io::Result<usize> {
        match received {
            // Invariant 3 of the module: an end is nothing that was taken.
            Ok(0) if room == Room::Some => self.at_the_end(),
            Err(error) => Err(unless_cancelled(error)),
            received => received,
        }
    }

    /// Returns what a read returns that has found the end of the stream.
    #[cold]
    fn at_the_end(self) -> io::Result<usize> {
        // The peer may have gone because of the same cancel.
        context::check_ancestors()?;

        // The system has told a write of the reset, and tells a read of an end.
        match self.state.take_kept() {
            Some(error) => Err(error),
            None => Ok(0),
        }
    }

    #[inline]
    #[track_caller]
    pub(super) fn write(self, buf: &[u8]) -> io::Result<usize> {
        self.send_all(buf.len(), |sent| socket::send(self.fd, &buf[sent..]))
    }

    #[track_caller]
    pub(super) fn write_vectored(self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        // Short if there are more buffers than one call takes, as in std.
        let length = socket::at_once(bufs).iter().map(|buf| buf.len()).sum();
        // std's call returns at once then, and does not ask the socket.
        if length == 0 {
            context::check()?;
            return Ok(0);
        }

        self.send_all(length, |sent| socket::send_vectored(self.fd, bufs, sent))
    }

    /// Sends `length` bytes, like a blocking send. Returns fewer only if the time limit of the
    /// socket has passed, if the user has made it nonblocking, or before an error.
    ///
    /// `send` gets the number of bytes that were sent before, and never blocks.
    #[inline]
    #[track_caller]
    fn send_all(
        self,
        length: usize,
        mut send: impl FnMut(usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // Most sends go through at once. The way back from the system is as short as it can be: the
        // processor guesses wrongly where its first returns lead.
        context::check()?;
        let first = self.state.check_sending().and_then(|()| send(0));
        match first {
            Ok(sent) if sent >= length || sent == 0 => Ok(sent),
            // No second look for a cancel: the system may report this error only once.
            Err(error) if !is_to_be_repeated(&error) => self.end_of_write(0, error),
            first => self.send_further(first, length, send),
        }
    }

    /// The rest of [`send_all`](Self::send_all), whose first attempt had the result `first`.
    #[cold]
    #[track_caller]
    fn send_further(
        self,
        first: io::Result<usize>,
        length: usize,
        mut send: impl FnMut(usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let (mut sent, mut failed) = match first {
            Ok(sent) => (sent, None),
            Err(error) => (0, Some(error)),
        };
        let send_the_rest = || loop {
            if let Some(error) = failed.take() {
                return Err(error);
            }

            // Invariant 1 of the state. A clone may have been broken since the last look.
            self.state.check_sending()?;
            let more = send(sent)?;
            sent += more;
            // A send of nothing, without an error, would be repeated for ever.
            if sent >= length || more == 0 {
                return Ok(());
            }

            // A peer that reads fast could keep this loop busy for as long as there is data.
            context::check()?;
        };

        // The time limit counts from the first wait, for the whole write.
        let patience = || patience(self.fd, self.state.known(), Interest::Write);
        let interest = Interest::Write;
        match retry(
            WaitKind::SocketWrite,
            self.fd,
            interest,
            patience,
            send_the_rest,
        ) {
            Ok(()) => Ok(sent),
            Err(error) => self.end_of_write(sent, error),
        }
    }

    /// Returns the result of a write that has met `error` after `sent` bytes.
    #[cold]
    fn end_of_write(self, sent: usize, error: io::Error) -> io::Result<usize> {
        // Nothing has left: the error is the whole truth.
        if sent == 0 {
            return Err(unless_cancelled(error));
        }

        // The peer has a part of a message.
        if is_cancel(&error) {
            self.state.break_if_cancel(&error);
            return Err(error);
        }

        // An error says that nothing was written, so it has to wait for the next call. That this
        // call would block is not such an error, and the next call finds a broken stream by itself.
        if error.kind() != io::ErrorKind::WouldBlock {
            self.state.keep(&error);
        }
        Ok(sent)
    }

    /// Like [`Write::write_all`](io::Write::write_all). Breaks the stream if a cancel cuts it.
    #[inline]
    #[track_caller]
    pub(super) fn write_all(self, mut buf: &[u8]) -> io::Result<()> {
        // The loop does not write an empty `buf`, and a write checks by itself.
        if buf.is_empty() {
            return Ok(context::check()?);
        }

        let mut is_begun = false;
        while !buf.is_empty() {
            match self.write(buf) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => buf = &buf[sent..],
                Err(error) => {
                    // A cancel between two writes cuts the message as well. The write itself knows
                    // only of its own bytes.
                    if is_begun {
                        self.state.break_if_cancel(&error);
                    }
                    return Err(error);
                }
            }
            is_begun = true;
        }
        Ok(())
    }

    /// Like [`Write::write_fmt`](io::Write::write_fmt), in one write: a cancel between two pieces
    /// would leave a part of the text with the peer.
    #[track_caller]
    pub(super) fn write_fmt(self, text: fmt::Arguments<'_>) -> io::Result<()> {
        match text.as_str() {
            Some(text) => self.write_all(text.as_bytes()),
            None => self.write_all(text.to_string().as_bytes()),
        }
    }
}

/// Implements `Read` and `Write` for a stream type and for references to it, by its method
/// `stream`.
macro_rules! read_and_write {
    ($stream:ty) => {
        $crate::net::stream::read_and_write!(@ $stream, );
        $crate::net::stream::read_and_write!(@ &$stream, );
    };
    (@ $handle:ty, ) => {
        /// Each read is a blocking point. A read that is cancelled took nothing.
        impl std::io::Read for $handle {
            #[inline]
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.stream().read(buf)
            }

            #[track_caller]
            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                self.stream().read_vectored(bufs)
            }
        }

        /// Each write is a blocking point. A write that a cancel cuts after its first byte
        /// [breaks the stream](crate::net#broken-streams).
        impl std::io::Write for $handle {
            #[inline]
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.stream().write(buf)
            }

            #[track_caller]
            fn write_vectored(
                &mut self,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::io::Result<usize> {
                self.stream().write_vectored(bufs)
            }

            #[inline]
            #[track_caller]
            fn write_all(&mut self, buf: &[u8]) -> std::io::Result<()> {
                self.stream().write_all(buf)
            }

            #[track_caller]
            fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> std::io::Result<()> {
                self.stream().write_fmt(text)
            }

            /// Does nothing: the stream has no buffer.
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}
pub(super) use read_and_write;
