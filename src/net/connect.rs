//! Connecting without blocking in the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::addr::SocketAddrArg;
use rustix::net::sockopt::socket_error;

use super::socket::{nonblocking_stream, unless_cancelled};
use crate::cancel::context;
use crate::readiness::{Interest, Patience, Pauses, retry};
use crate::waiting::WaitKind;

/// The outcome of a first attempt to connect.
enum Begun {
    Connected,
    /// The system goes on by itself, and makes the socket writable at the end.
    GoesOn,
    /// The listener has no room, and nothing was begun. Only Unix sockets say so.
    NoRoom,
}

/// Returns a new stream socket that is connected to `address`, and blocking.
///
/// If `patience` is at its end, the error is `WouldBlock`. If the call fails, the socket is closed.
#[track_caller]
pub(super) fn connect(
    family: AddressFamily,
    address: &impl SocketAddrArg,
    patience: Patience,
) -> io::Result<OwnedFd> {
    context::check()?;

    let socket = nonblocking_stream(family)?;
    let fd = socket.as_fd();
    let kind = if family == AddressFamily::UNIX {
        WaitKind::ConnectUnix
    } else {
        WaitKind::Connect
    };
    let mut pauses = Pauses::short(kind);
    loop {
        match begin(fd, family, address).map_err(unless_cancelled)? {
            Begun::Connected => break,
            Begun::GoesOn => {
                // A connect that fails makes the socket writable too, so the wait ends.
                let patience = || Ok(patience);
                let connected = retry(kind, fd, Interest::Write, patience, || outcome(fd));
                connected.map_err(unless_cancelled)?;
                break;
            }
            // A socket that was never connected polls as writable at once, so there is nothing to
            // wait for in the kernel.
            Begun::NoRoom => pauses.pause()?,
        }
    }

    // Invariant 1 of the module ends here: from now on the flag is the user's.
    rustix::io::ioctl_fionbio(fd, false)?;
    Ok(socket)
}

fn begin(
    fd: BorrowedFd<'_>,
    family: AddressFamily,
    address: &impl SocketAddrArg,
) -> io::Result<Begun> {
    match rustix::net::connect(fd, address) {
        Ok(()) => Ok(Begun::Connected),
        // After a signal too, the system goes on by itself.
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(Begun::GoesOn),
        // For other sockets the error means that the machine has run out of ports.
        Err(Errno::AGAIN) if family == AddressFamily::UNIX => Ok(Begun::NoRoom),
        Err(error) => Err(error.into()),
    }
}

/// Returns the outcome of a connect that goes on, or `WouldBlock` if there is none yet.
fn outcome(fd: BorrowedFd<'_>) -> io::Result<()> {
    // This takes the error, which the system keeps once.
    socket_error(fd)??;

    // No error may also mean that it still goes on, and a poll may return early. Only a connected
    // socket has a peer.
    match rustix::net::getpeername(fd) {
        Ok(_) => Ok(()),
        Err(Errno::NOTCONN) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}
