//! The system calls on sockets, in forms that never block.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::OFlags;
use rustix::net::addr::SocketAddrArg;
use rustix::net::sockopt::{Timeout, socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrAny,
    SocketType,
};

use crate::cancel::context;
use crate::error::TaskError;
use crate::readiness::{Interest, Patience};
use crate::waiting::{KnownPatience, READS_WAIT, WRITES_WAIT};

/// How many buffers the system takes at once. std passes no more either.
const MOST_BUFFERS: usize = 1024;

/// A send to a peer that has gone must not end a process that has SIGPIPE at its default. Where
/// the flag does not exist, std and `nonblocking_stream` set an option of the socket.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;

/// Whether a receipt takes what it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Take {
    It,
    /// It stays for the next receipt.
    Nothing,
}

impl Take {
    fn flags(self) -> RecvFlags {
        match self {
            Take::It => RecvFlags::DONTWAIT,
            Take::Nothing => RecvFlags::DONTWAIT.union(RecvFlags::PEEK),
        }
    }
}

#[inline]
pub(super) fn receive(fd: BorrowedFd<'_>, buf: &mut [u8], take: Take) -> io::Result<usize> {
    let (received, _) = rustix::net::recv(fd, buf, take.flags())?;
    Ok(received)
}

pub(super) fn receive_from(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    take: Take,
) -> io::Result<(usize, Option<SocketAddrAny>)> {
    let (received, _, from) = rustix::net::recvfrom(fd, buf, take.flags())?;
    Ok((received, from))
}

pub(super) fn receive_vectored(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    let count = bufs.len().min(MOST_BUFFERS);

    // No room for descriptors that a peer may send along: the system closes them.
    let mut control = RecvAncillaryBuffer::default();
    let received = rustix::net::recvmsg(fd, &mut bufs[..count], &mut control, Take::It.flags())?;
    Ok(received.bytes)
}

#[inline]
pub(super) fn send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(fd, buf, SEND)?)
}

pub(super) fn send_to(
    fd: BorrowedFd<'_>,
    buf: &[u8],
    to: &impl SocketAddrArg,
) -> io::Result<usize> {
    Ok(rustix::net::sendto(fd, buf, SEND, to)?)
}

/// Sends `bufs` without their first `skipped` bytes.
pub(super) fn send_vectored(
    fd: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    skipped: usize,
) -> io::Result<usize> {
    // Not `writev`, which has neither of the flags.
    let mut control = SendAncillaryBuffer::default();
    let mut send = |bufs: &[IoSlice<'_>]| Ok(rustix::net::sendmsg(fd, bufs, &mut control, SEND)?);

    let bufs = at_once(bufs);
    if skipped == 0 {
        return send(bufs);
    }

    // A copy, since the slices are the caller's, and only a send that was cut in two gets here.
    let mut rest = bufs.to_vec();
    let mut rest = rest.as_mut_slice();
    IoSlice::advance_slices(&mut rest, skipped);
    send(rest)
}

/// Returns the buffers that one call takes.
pub(super) fn at_once<'b, 'd>(bufs: &'b [IoSlice<'d>]) -> &'b [IoSlice<'d>] {
    &bufs[..bufs.len().min(MOST_BUFFERS)]
}

/// How long a call may wait for `fd`, by the options of the socket: the user's `set_nonblocking`
/// and time limits, which may also have been set through another handle. That there is no limit is
/// kept in `known`, as long as that is certain.
pub(super) fn patience(
    fd: BorrowedFd<'_>,
    known: &KnownPatience,
    interest: Interest,
) -> io::Result<Patience> {
    let bit = match interest {
        Interest::Read => READS_WAIT,
        Interest::Write => WRITES_WAIT,
    };
    let mut patience = Patience::Forever;
    known.waits_for_ever(bit, || {
        patience = patience_now(fd, interest)?;
        Ok(patience == Patience::Forever)
    })?;
    Ok(patience)
}

/// Asks the system how long a call may wait for `fd`.
fn patience_now(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<Patience> {
    if rustix::fs::fcntl_getfl(fd)?.contains(OFlags::NONBLOCK) {
        return Ok(Patience::None);
    }

    time_limit(fd, interest)
}

/// How long a call may wait for `fd`, by the time limits of the socket alone.
pub(super) fn time_limit(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<Patience> {
    let which = match interest {
        Interest::Read => Timeout::Recv,
        Interest::Write => Timeout::Send,
    };

    // A limit that is too long to express is none.
    let limit = socket_timeout(fd, which)?.and_then(|limit| Instant::now().checked_add(limit));
    Ok(limit.map_or(Patience::Forever, Patience::Until))
}

/// Makes a stream socket that is nonblocking and closed at an `exec`.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn nonblocking_stream(family: AddressFamily) -> io::Result<OwnedFd> {
    use rustix::net::SocketFlags;

    let flags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
    Ok(rustix::net::socket_with(
        family,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Makes a stream socket that is nonblocking and closed at an `exec`, and that raises no SIGPIPE.
#[cfg(target_vendor = "apple")]
pub(super) fn nonblocking_stream(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;

    // The system has no call that does both, so a child that another thread starts meanwhile may
    // inherit the socket.
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::net::sockopt::set_socket_nosigpipe(&socket, true)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Returns the error of a call that found its peer gone: the cancel, if one has reached this scope
/// or is on its way to it, since the peer may have gone because of it. Otherwise `error`.
///
/// Like the disconnect of a channel, it is not a value: a stream that was cut must not look
/// complete, and a pipeline that was cancelled must not look failed.
pub(super) fn unless_cancelled(error: io::Error) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset};

    match error.kind() {
        // Ancestors too: their cancel may be on its way, and have reached the peer first.
        BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset => {
            context::check_ancestors()
                .err()
                .map_or(error, io::Error::from)
        }
        _ => error,
    }
}

/// Whether the error of a call of this crate is a cancel.
pub(super) fn is_cancel(error: &io::Error) -> bool {
    error.cancelled().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CancelToken;

    #[test]
    fn a_peer_that_has_gone_is_the_cancel_in_a_cancelled_scope() {
        use io::ErrorKind::*;

        let token = CancelToken::new();
        for gone in [
            BrokenPipe,
            ConnectionAborted,
            ConnectionRefused,
            ConnectionReset,
        ] {
            assert_eq!(unless_cancelled(gone.into()).kind(), gone);
            let in_a_living_scope = token.run(|| unless_cancelled(gone.into()));
            assert_eq!(in_a_living_scope.kind(), gone);
        }

        token.cancel();
        token.run(|| {
            for gone in [
                BrokenPipe,
                ConnectionAborted,
                ConnectionRefused,
                ConnectionReset,
            ] {
                assert!(is_cancel(&unless_cancelled(gone.into())), "{gone}");
            }
            let other = unless_cancelled(PermissionDenied.into());
            assert_eq!(other.kind(), PermissionDenied);
        });
    }
}
