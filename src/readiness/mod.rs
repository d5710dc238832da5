//! Waits until a descriptor of the operating system is ready: the one place where threads of this
//! crate block in the kernel for the outside world.
//!
//! A call is tried first and waits only if it would block. So a call that finds its data costs one
//! system call, like std's. The calls themselves must never block: between the wait and the call,
//! another thread or process may take what the wait has seen.
//!
//! Nothing here changes a flag of a descriptor. A description may be shared with other processes.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::cancel::Cancelled;
use crate::cancel::context::{self, Cancels, Outcome};
use crate::facade::Waker;
use crate::waiting::{Polled, WaitKind};

/// How long a thread sleeps that could not poll.
const AFTER_A_FAILED_POLL: Duration = Duration::from_millis(10);

/// What a call waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    /// A read, a receipt or an accept can be tried.
    Read,
    /// A write, a send or a connect can be tried.
    Write,
}

impl Interest {
    fn flags(self) -> PollFlags {
        match self {
            Interest::Read => PollFlags::IN,
            Interest::Write => PollFlags::OUT,
        }
    }
}

/// How long a call may wait for its descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    /// Not at all: the user has asked for a nonblocking descriptor.
    None,
    /// Until then.
    Until(Instant),
    /// As long as it takes.
    Forever,
}

/// Calls `call` until it returns something other than `WouldBlock`. Between the calls, blocks until
/// `fd` is ready.
///
/// `call` must not block. It is called again after `Interrupted`. `patience` is asked once, before
/// the first wait.
///
/// # Errors
///
/// The error of `call`, which is `WouldBlock` if the patience is at its end; or a [`Cancelled`] in
/// an error of the kind `Other`, if the current scope was cancelled, before or meanwhile.
#[track_caller]
pub(crate) fn retry<T>(
    kind: WaitKind,
    fd: BorrowedFd<'_>,
    interest: Interest,
    patience: impl FnOnce() -> io::Result<Patience>,
    mut call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let try_call = || loop {
        return match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ControlFlow::Continue(()),
            done => ControlFlow::Break(done),
        };
    };
    let limit = || match patience()? {
        Patience::None => Err(would_block()),
        Patience::Until(limit) => Ok(Some(limit)),
        Patience::Forever => Ok(None),
    };
    let poll = |waker: Option<&Waker>, limit| {
        let fd = PollFd::from_borrowed_fd(fd, interest.flags());
        match waker {
            None => poll_once(&mut [fd], false, limit),
            Some(waker) => {
                let waker = PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN);
                poll_once(&mut [fd, waker], true, limit)
            }
        }
    };

    context::call_when_ready(kind, limit, try_call, poll)?.ok_or_else(would_block)
}

/// The error of a call that would have to wait, with the number that the system gives it.
fn would_block() -> io::Error {
    Errno::AGAIN.into()
}

/// A descriptor that a wait for several looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched<'fd> {
    fd: BorrowedFd<'fd>,
    interest: Interest,
    is_ready: bool,
}

impl<'fd> Watched<'fd> {
    pub(crate) fn new(fd: BorrowedFd<'fd>, interest: Interest) -> Self {
        Watched {
            fd,
            interest,
            is_ready: false,
        }
    }

    /// Whether the last wait found it ready. A descriptor with an error, or at its end, is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }
}

/// Blocks until one of `watched` is ready, and returns true, or until `limit`. Each says whether
/// it is ready.
///
/// # Errors
///
/// The current scope was cancelled, before or meanwhile.
#[track_caller]
pub(crate) fn poll(
    kind: WaitKind,
    watched: &mut [Watched<'_>],
    limit: Option<Instant>,
) -> Result<bool, Cancelled> {
    poll_all(kind, Cancels::EndIt, watched, limit)
}

/// Like [`poll`], whatever is cancelled.
#[track_caller]
pub(crate) fn poll_uncancellable(
    kind: WaitKind,
    watched: &mut [Watched<'_>],
    limit: Option<Instant>,
) -> bool {
    match poll_all(kind, Cancels::AreIgnored, watched, limit) {
        Ok(ready) => ready,
        Err(_) => unreachable!("no cancel ends the wait"),
    }
}

#[track_caller]
fn poll_all(
    kind: WaitKind,
    cancels: Cancels,
    watched: &mut [Watched<'_>],
    limit: Option<Instant>,
) -> Result<bool, Cancelled> {
    let outcome = context::poll(kind, cancels, limit, |waker, limit| {
        // The kernel wants all in one piece of memory.
        let fds = watched.iter();
        let fds = fds.map(|one| PollFd::from_borrowed_fd(one.fd, one.interest.flags()));
        let waker_fd = waker.map(|waker| PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN));
        let mut fds: Vec<_> = fds.chain(waker_fd).collect();

        let polled = poll_once(&mut fds, waker.is_some(), limit);
        for (one, fd) in watched.iter_mut().zip(&fds) {
            one.is_ready = polled == Polled::Ready && !fd.revents().is_empty();
        }
        polled
    })?;
    Ok(outcome == Outcome::Ready)
}

/// Waits in the kernel, once. If `with_waker`, the last of `fds` is the waker.
fn poll_once(fds: &mut [PollFd<'_>], with_waker: bool, limit: Option<Duration>) -> Polled {
    // A time that is too long to express is no limit.
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match rustix::event::poll(fds, limit.as_ref()) {
        Ok(0) | Err(Errno::INTR) => Polled::Neither,
        Ok(ready) => {
            let is_woken =
                with_waker && fds.last().is_some_and(|waker| !waker.revents().is_empty());
            if ready == 1 && is_woken {
                Polled::Woken
            } else {
                // A descriptor with an error counts: the call that is tried returns the error.
                Polled::Ready
            }
        }
        // The system has no memory for the wait, or the process may poll no more descriptors. The
        // call is tried again after a while.
        Err(_) => {
            std::thread::sleep(AFTER_A_FAILED_POLL);
            Polled::Neither
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;

    use rustix::io::FdFlags;
    use rustix::net::{RecvFlags, SendFlags};

    use super::*;
    use crate::{CancelToken, TaskGroup};

    /// Takes a byte from the socket, or waits for it.
    fn take(socket: &UnixStream) -> io::Result<u8> {
        let mut byte = [0];
        let call = || {
            let (_, length) = rustix::net::recv(socket, &mut byte, RecvFlags::DONTWAIT)?;
            Ok(length)
        };
        let read = WaitKind::SocketRead;
        let length = retry(
            read,
            socket.as_fd(),
            Interest::Read,
            || Ok(Patience::Forever),
            call,
        )?;
        assert_eq!(length, 1, "the other end is open");
        Ok(byte[0])
    }

    fn put(socket: &UnixStream, byte: u8) {
        let sent = rustix::net::send(socket, &[byte], SendFlags::empty());
        assert_eq!(sent.expect("there is room"), 1);
    }

    fn is_a_cancel(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::Other && Cancelled::find(error).is_some()
    }

    /// How many races a test runs. The variable asks for more than each run of the tests has time
    /// for.
    fn races() -> u64 {
        let asked = std::env::var("TASKGROUP_RACES").ok();
        asked.map_or(20_000, |races| races.parse().expect("a number of races"))
    }

    /// Spins for a while that differs from race to race, so that the steps of two threads meet at
    /// all places.
    fn stagger(race: u64) {
        let turns = race.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55;
        (0..turns).for_each(|_| std::hint::spin_loop());
    }

    /// In each race a byte comes and a cancel comes, at the same time. The byte is taken or stays,
    /// and no wait outlasts its cancel: a wake-up that were lost would hang this test.
    #[test]
    fn a_cancel_races_with_a_byte_and_neither_is_lost() {
        let (near, far) = UnixStream::pair().expect("there are descriptors left");
        let races = races();
        let (begun, ended) = (AtomicU64::new(0), AtomicU64::new(0));
        let current = std::sync::Mutex::new(CancelToken::new());
        let mut taken = 0;

        thread::scope(|threads| {
            threads.spawn(|| {
                for race in 1..=races {
                    while begun.load(Ordering::Acquire) < race {
                        std::hint::spin_loop();
                        thread::yield_now();
                    }
                    let token = current.lock().expect("no thread panics").clone();
                    stagger(race);
                    if race % 2 == 0 {
                        put(&far, race as u8);
                        token.cancel();
                    } else {
                        token.cancel();
                        put(&far, race as u8);
                    }
                    ended.store(race, Ordering::Release);
                }
            });

            for race in 1..=races {
                let token = CancelToken::new();
                *current.lock().expect("no thread panics") = token.clone();
                begun.store(race, Ordering::Release);
                let first = token.run(|| take(&near));
                taken += u64::from(first.is_ok());

                // Outside the cancelled scope the byte is there, if it was not taken.
                let byte = first.or_else(|error| {
                    assert!(is_a_cancel(&error), "{error:?}");
                    take(&near)
                });
                assert_eq!(byte.expect("nothing is cancelled here"), race as u8);
                while ended.load(Ordering::Acquire) < race {
                    thread::yield_now();
                }
            }
        });
        assert!(taken <= races);
    }

    /// The late wake of an inner scope is drained in the outer one, whose own cancel is seen.
    #[test]
    fn a_late_wake_does_not_hide_the_next_cancel() {
        let (near, _far) = UnixStream::pair().expect("there are descriptors left");
        for race in 0..races() / 4 {
            let (inner, outer) = (CancelToken::new(), CancelToken::new());
            thread::scope(|threads| {
                let canceller = threads.spawn(|| {
                    stagger(race);
                    inner.cancel();
                    stagger(race / 3);
                    outer.cancel();
                });
                let ended = outer.run(|| {
                    let first = inner.run(|| take(&near));
                    assert!(first.is_err_and(|error| is_a_cancel(&error)));
                    take(&near)
                });
                assert!(ended.is_err_and(|error| is_a_cancel(&error)));
                canceller.join().expect("the cancelling thread ends");
            });
        }
    }

    #[test]
    fn a_call_that_need_not_wait_asks_for_no_patience() {
        let (near, far) = UnixStream::pair().expect("there are descriptors left");
        put(&far, 7);
        let asked = AtomicBool::new(false);
        let patience = || {
            asked.store(true, Ordering::Relaxed);
            Ok(Patience::None)
        };
        let mut calls = 0;
        let value = retry(
            WaitKind::SocketRead,
            near.as_fd(),
            Interest::Read,
            patience,
            || {
                calls += 1;
                match calls {
                    1 => Err(io::ErrorKind::Interrupted.into()),
                    _ => Ok(calls),
                }
            },
        );
        assert_eq!(value.expect("the second call succeeds"), 2);
        assert!(!asked.load(Ordering::Relaxed));
    }

    #[test]
    fn without_patience_the_error_is_the_one_of_the_system() {
        let (near, _far) = UnixStream::pair().expect("there are descriptors left");
        for patience in [Patience::None, Patience::Until(Instant::now())] {
            let error = retry::<()>(
                WaitKind::SocketRead,
                near.as_fd(),
                Interest::Read,
                || Ok(patience),
                || Err(io::ErrorKind::WouldBlock.into()),
            )
            .expect_err("the call never succeeds");
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            assert_eq!(error.raw_os_error(), Some(Errno::AGAIN.raw_os_error()));
        }
    }

    #[test]
    fn several_descriptors_say_which_is_ready() {
        let (near, far) = UnixStream::pair().expect("there are descriptors left");
        let (other, _other_far) = UnixStream::pair().expect("there are descriptors left");
        let mut watched = [
            Watched::new(other.as_fd(), Interest::Read),
            Watched::new(near.as_fd(), Interest::Read),
        ];
        let now = Some(Instant::now());
        assert_eq!(
            poll(WaitKind::SocketRead, &mut watched, now).ok(),
            Some(false)
        );

        put(&far, 1);
        let ready = poll(WaitKind::SocketRead, &mut watched, None);
        assert!(ready.expect("nothing is cancelled"));
        assert_eq!(watched.map(|one| one.is_ready()), [false, true]);

        let token = CancelToken::new();
        token.cancel();
        token.run(|| {
            assert!(poll(WaitKind::SocketRead, &mut watched, None).is_err());
            assert!(poll_uncancellable(WaitKind::SocketRead, &mut watched, None));
        });
    }

    #[test]
    fn a_deadline_that_is_set_while_a_thread_waits_ends_the_wait() {
        let (near, far) = UnixStream::pair().expect("there are descriptors left");
        let ended = TaskGroup::scope(|g| {
            let token = g.token();
            let reader = g.spawn_isolated(|| Ok(take(&near)?));
            // The reader waits now, or will find the deadline when it begins to.
            token.cancel_at(Instant::now() + Duration::from_millis(5));
            Ok(reader.join().is_err())
        });
        assert!(ended.is_err() || ended.is_ok_and(|failed| failed));
        drop(far);
    }

    #[test]
    fn the_waker_is_closed_in_children() {
        let waker = Waker::new().expect("there is a descriptor left");
        let flags = rustix::io::fcntl_getfd(&waker).expect("it is open");
        assert!(flags.contains(FdFlags::CLOEXEC));
    }
}
