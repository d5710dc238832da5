//! How much one call may read or write at once.
//!
//! A descriptor that says that it is ready has room for a part of what there is to write. A longer
//! write would block in the middle, where no cancel is seen.

use std::io::{IoSlice, IoSliceMut, IsTerminal};
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

/// The most bytes of one write to a pipe that says that it has room. More would block until a
/// reader has made room for the rest.
pub(super) const PIPE_BUF: usize = rustix::pipe::PIPE_BUF;

/// The most bytes of one write to a terminal. On Linux, a terminal that says that it has
/// room has 256.
const TERMINAL_WRITE: usize = 128;

/// A write of so many bytes to a stream socket that says that it has room never blocks, however
/// small the buffer of the socket is. The system makes one packet of them.
const SOCKET_WRITE: usize = 256;

/// The most bytes between two looks for a cancel, where the system cannot say that a call would
/// block.
pub(super) const CHUNK: usize = 1 << 20;

/// How much one call may write to a descriptor that says that it can be written to, so that the
/// call is sure not to block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    UpTo(usize),
    /// A stream socket has room for a part of its buffer, which the user may have made small.
    OfSocket,
    /// A terminal turns some bytes into several. Linux looks for room again before each of these,
    /// so they are written alone.
    OfTerminal,
}

impl Piece {
    pub(super) fn of(fd: BorrowedFd<'_>, file_type: FileType) -> Self {
        match file_type {
            FileType::CharacterDevice if fd.is_terminal() => Piece::OfTerminal,
            // A write to another device, or to a socket that keeps messages apart, is one message.
            FileType::CharacterDevice => Piece::UpTo(usize::MAX),
            FileType::Socket if !is_stream(fd) => Piece::UpTo(usize::MAX),
            FileType::Socket => Piece::OfSocket,
            _ => Piece::UpTo(PIPE_BUF),
        }
    }

    /// Returns the beginning of `buf` that may be written to `fd`.
    pub(super) fn begin<'b>(self, fd: BorrowedFd<'_>, buf: &'b [u8]) -> &'b [u8] {
        let length = match self {
            Piece::UpTo(most) => most,
            Piece::OfSocket => most_for_a_socket(fd, buf.len()),
            Piece::OfTerminal => {
                let is_plain = |byte: &u8| !matches!(byte, b'\n' | b'\r' | b'\t' | 8);
                // At least one byte, so that a write always moves on.
                let plain = buf
                    .iter()
                    .take(TERMINAL_WRITE)
                    .take_while(|byte| is_plain(byte));
                plain.count().max(1)
            }
        };
        &buf[..length.min(buf.len())]
    }

    /// Returns none if all of `bufs` may be written to `fd` at once, or else the beginning that may
    /// be.
    pub(super) fn first<'b>(self, fd: BorrowedFd<'_>, bufs: &'b [IoSlice<'_>]) -> Option<&'b [u8]> {
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();

        match self {
            Piece::UpTo(most) if length <= most => None,
            Piece::OfSocket if length <= most_for_a_socket(fd, length) => None,
            _ => {
                // An empty one would make the write return 0, which means that it cannot go on.
                let first = bufs.iter().find(|buf| !buf.is_empty());
                Some(first.map_or(&[], |first| self.begin(fd, first)))
            }
        }
    }

    /// Writes all of `bufs` to `fd`, or if they are more than a piece, a piece of the first.
    pub(super) fn write(self, fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        match self.first(fd, bufs) {
            None => rustix::io::writev(fd, bufs),
            Some(first) => rustix::io::write(fd, first),
        }
    }
}

/// Returns how many of `length` bytes may be written to a stream socket that says that it has room.
///
/// Linux says so when a third of the buffer is free. A byte of small packets takes up to five bytes
/// of it, with what the system keeps for each packet.
fn most_for_a_socket(socket: BorrowedFd<'_>, length: usize) -> usize {
    use rustix::net::sockopt::socket_send_buffer_size;

    if length <= SOCKET_WRITE {
        return length;
    }

    // Asked each time: the user may change it at any time.
    let buffer = socket_send_buffer_size(socket).unwrap_or(0);
    (buffer / 16).clamp(SOCKET_WRITE, PIPE_BUF)
}

fn is_stream(socket: BorrowedFd<'_>) -> bool {
    use rustix::net::{SocketType, sockopt::socket_type};

    socket_type(socket).is_ok_and(|socket_type| socket_type == SocketType::STREAM)
}

/// Returns none if `bufs` have room for no more than `most` bytes, or else that much of the first.
pub(super) fn first_room<'b>(bufs: &'b mut [IoSliceMut<'_>], most: usize) -> Option<&'b mut [u8]> {
    let room: usize = bufs.iter().map(|buf| buf.len()).sum();
    if room <= most {
        return None;
    }

    // A read into an empty buffer would look like the end.
    let first = bufs.iter_mut().find(|buf| !buf.is_empty())?;
    let length = first.len().min(most);
    Some(&mut first[..length])
}
