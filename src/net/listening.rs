//! The state that the clones of a listener share, and how they accept.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::socket::time_limit;
use crate::cancel::context;
use crate::facade::{AtomicU32, Ordering, error_event};
use crate::panics::log;
use crate::readiness::{Interest, Patience, retry, unless_shut};
use crate::waiting::WaitKind;

/// Whether an accept may wait.
const WAITS: u32 = 0;
const NEVER_WAITS: u32 = 1;

/// Shared by the clones of a listener.
///
/// There is no accept that is nonblocking for one call. So the description has O_NONBLOCK for as
/// long as handles of this crate use it, and the wish of the user is kept here.
//
// Invariants:
//
// 1. While a handle of this crate exists, the description is nonblocking: `adopt` sets the flag,
//    and only the last handle restores it. So an accept that finds the queue empty returns, also
//    where another process took the connection after a wait.
// 2. The word is what `set_nonblocking` of a handle said last, and before that the flag that the
//    description had.
#[derive(Clone, Debug)]
pub(super) struct Listening(Arc<AtomicU32>);

impl Listening {
    /// Makes the description of `fd` nonblocking.
    pub(super) fn adopt(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // Invariant 2: the flag of the description is the wish of the user.
        let is_nonblocking = rustix::fs::fcntl_getfl(fd)?.contains(OFlags::NONBLOCK);
        if !is_nonblocking {
            rustix::io::ioctl_fionbio(fd, true)?;
        }

        let wish = if is_nonblocking { NEVER_WAITS } else { WAITS };
        Ok(Listening(Arc::new(AtomicU32::new(wish))))
    }

    /// Gives the description back with the flag that the user wishes, unless another handle needs
    /// it nonblocking.
    pub(super) fn restore(self, fd: BorrowedFd<'_>) {
        // Invariant 1: of several handles that are given back at once, exactly one is the last.
        let Some(wish) = Arc::into_inner(self.0) else {
            return;
        };

        if wish.into_inner() == WAITS {
            if let Err(error) = rustix::io::ioctl_fionbio(fd, false) {
                log(|| error_event!(%error, "a listener could not be made blocking again"));
            }
        }
    }

    // Relaxed here and below: the wish orders nothing.
    pub(super) fn set_nonblocking(&self, is_nonblocking: bool) {
        let wish = if is_nonblocking { NEVER_WAITS } else { WAITS };
        self.0.store(wish, Ordering::Relaxed);
    }

    fn patience(&self, fd: BorrowedFd<'_>) -> io::Result<Patience> {
        // Not the flag of the description, which says nothing here: invariant 1.
        if self.0.load(Ordering::Relaxed) == NEVER_WAITS {
            return Ok(Patience::None);
        }

        time_limit(fd, Interest::Read)
    }

    /// Like [`accept`](Self::accept). The stream is blocking, whatever the listener is.
    #[track_caller]
    pub(super) fn accept_stream<S: AsFd, A>(
        &self,
        kind: WaitKind,
        fd: BorrowedFd<'_>,
        accept: impl FnMut() -> io::Result<(S, A)>,
    ) -> io::Result<(S, A)> {
        let accepted = self.accept(kind, fd, accept)?;

        // Here the stream has inherited the flag of the listener.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        rustix::io::ioctl_fionbio(&accepted.0, false)?;

        Ok(accepted)
    }

    /// Takes a connection with `accept`, which never blocks, or waits for one.
    #[track_caller]
    fn accept<T>(
        &self,
        kind: WaitKind,
        fd: BorrowedFd<'_>,
        mut accept: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let take_one = || loop {
            match accept() {
                // That peer has given up; the next may be there. A flood of such peers must not
                // keep the call from the cancel or the deadline of its scope.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => context::check()?,
                taken => return taken,
            }
        };

        let take_one = unless_shut(fd, take_one, || {
            context::check_ancestors()?;
            Err(Errno::INVAL.into())
        });
        retry(kind, fd, Interest::Read, || self.patience(fd), take_one)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::CancelCause;
    use crate::error::TaskError;

    fn adopted() -> (TcpListener, Listening) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = Listening::adopt(socket.as_fd()).unwrap();
        (socket, listening)
    }

    fn is_nonblocking(socket: &TcpListener) -> bool {
        rustix::fs::fcntl_getfl(socket)
            .unwrap()
            .contains(OFlags::NONBLOCK)
    }

    #[test]
    fn a_connection_that_was_given_up_is_passed_over() {
        let (socket, listening) = adopted();
        let mut queue = vec![Ok("a peer")];
        queue.extend((0..3).map(|_| Err(io::ErrorKind::ConnectionAborted.into())));

        let taken = listening.accept(WaitKind::Accept, socket.as_fd(), || {
            queue.pop().expect("one is left")
        });
        assert_eq!(taken.unwrap(), "a peer");
    }

    #[test]
    fn a_flood_of_them_does_not_move_the_deadline() {
        let (socket, listening) = adopted();
        let attempts = Cell::new(0_u64);
        let flood = || -> io::Result<()> {
            attempts.set(attempts.get() + 1);
            Err(io::ErrorKind::ConnectionAborted.into())
        };

        let cut = crate::deadline(
            std::time::Instant::now() + Duration::from_millis(20),
            || {
                let cut = listening
                    .accept(WaitKind::Accept, socket.as_fd(), flood)
                    .unwrap_err();
                let cause = cut.cancelled().expect("it is the cancel").cause().clone();
                assert!(matches!(cause, CancelCause::Deadline { .. }), "{cause:?}");
                Err::<(), _>(cut)
            },
        );
        assert!(cut.unwrap().is_none());
        assert!(attempts.get() > 1);
    }

    #[test]
    fn an_interrupted_accept_is_tried_again() {
        let (socket, listening) = adopted();
        let mut queue = vec![Ok(1), Err(io::ErrorKind::Interrupted.into())];
        let taken = listening.accept(WaitKind::Accept, socket.as_fd(), || {
            queue.pop().expect("one is left")
        });
        assert_eq!(taken.unwrap(), 1);
    }

    #[test]
    fn only_the_last_handle_restores_the_flag() {
        let (socket, first) = adopted();
        let second = first.clone();
        assert!(is_nonblocking(&socket));

        first.restore(socket.as_fd());
        assert!(is_nonblocking(&socket), "the second handle needs it");
        second.restore(socket.as_fd());
        assert!(!is_nonblocking(&socket));
    }

    #[test]
    fn the_flag_of_the_user_is_kept() {
        let (socket, listening) = adopted();
        listening.set_nonblocking(true);
        listening.restore(socket.as_fd());
        assert!(is_nonblocking(&socket));

        let again = Listening::adopt(socket.as_fd()).unwrap();
        let none = again.accept(WaitKind::Accept, socket.as_fd(), || socket.accept());
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        again.set_nonblocking(false);
        again.restore(socket.as_fd());
        assert!(!is_nonblocking(&socket));
    }
}
