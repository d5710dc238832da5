//! The receipt and the sending of datagrams.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use super::socket::{self, Take, patience, unless_cancelled};
use crate::cancel::context;
use crate::readiness::{Interest, Patience, Pauses, Watched, poll, retry, unless_shut};
use crate::waiting::{KnownPatience, WaitKind};

/// A datagram socket for the length of a call.
///
/// An empty datagram is a datagram, so `Ok(0)` is not an end.
#[derive(Clone, Copy)]
pub(super) struct Datagrams<'s> {
    fd: BorrowedFd<'s>,
    known: &'s KnownPatience,
}

impl<'s> Datagrams<'s> {
    #[inline]
    pub(super) fn new(fd: BorrowedFd<'s>, known: &'s KnownPatience) -> Self {
        Datagrams { fd, known }
    }

    #[inline]
    #[track_caller]
    pub(super) fn receive(self, buf: &mut [u8], take: Take) -> io::Result<usize> {
        self.when_there(|| socket::receive(self.fd, buf, take), || 0)
    }

    #[track_caller]
    pub(super) fn receive_from(
        self,
        buf: &mut [u8],
        take: Take,
    ) -> io::Result<(usize, Option<SocketAddrAny>)> {
        self.when_there(|| socket::receive_from(self.fd, buf, take), || (0, None))
    }

    #[inline]
    #[track_caller]
    fn when_there<T>(
        self,
        receive: impl FnMut() -> io::Result<T>,
        nothing: impl Fn() -> T,
    ) -> io::Result<T> {
        let receive = unless_shut(self.fd, receive, || {
            // The socket may have been shut because of the cancel.
            context::check_ancestors()?;
            Ok(nothing())
        });

        // Asked only if nothing is there: see `retry`.
        let patience = || patience(self.fd, self.known, Interest::Read);
        retry(
            WaitKind::DatagramReceive,
            self.fd,
            Interest::Read,
            patience,
            receive,
        )
        .map_err(unless_cancelled)
    }

    #[inline]
    #[track_caller]
    pub(super) fn send(self, buf: &[u8]) -> io::Result<usize> {
        self.when_room(|| socket::send(self.fd, buf))
    }

    #[track_caller]
    pub(super) fn send_to(self, buf: &[u8], to: &SocketAddr) -> io::Result<usize> {
        self.when_room(|| socket::send_to(self.fd, buf, to))
    }

    #[inline]
    #[track_caller]
    fn when_room(self, send: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        let patience = || patience(self.fd, self.known, Interest::Write);
        retry(
            WaitKind::DatagramSend,
            self.fd,
            Interest::Write,
            patience,
            send,
        )
        .map_err(unless_cancelled)
    }

    /// Sends to a Unix socket that this one need not be connected to.
    ///
    /// The system polls the room of the own socket, and the room may be missing at the receiver:
    /// then a wait returns at once and the next send finds no room again. So there is a pause after
    /// each wait that was for nothing.
    #[track_caller]
    pub(super) fn send_to_unix(self, buf: &[u8], to: &SocketAddrUnix) -> io::Result<usize> {
        context::check()?;
        let send = || match socket::send_to(self.fd, buf, to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ControlFlow::Continue(error),
            done => ControlFlow::Break(done.map_err(unless_cancelled)),
        };
        let no_room = match send() {
            ControlFlow::Break(done) => return done,
            ControlFlow::Continue(error) => error,
        };

        // Asked only now: a send that finds room pays nothing for it.
        let limit = match patience(self.fd, self.known, Interest::Write)? {
            Patience::None => return Err(no_room),
            Patience::Until(limit) => Some(limit),
            Patience::Forever => None,
        };

        let mut pauses = Pauses::short(WaitKind::DatagramSend);
        loop {
            let watched = &mut [Watched::new(self.fd, Interest::Write)];
            let is_in_time = poll(WaitKind::DatagramSend, watched, limit)?;

            // Also at the limit: room may have come in the last moment.
            match send() {
                ControlFlow::Break(done) => return done,
                ControlFlow::Continue(error) if !is_in_time => return Err(error),
                ControlFlow::Continue(_) => pauses.pause()?,
            }
        }
    }
}
