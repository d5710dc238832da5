//! The waker of a thread that waits for descriptors: a descriptor that other threads make
//! readable.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::io::Errno;

use super::generation;

/// A descriptor that is readable after [`wake`](Waker::wake), until it is drained.
///
/// On Linux it is an eventfd, elsewhere a pipe.
///
/// A child of `fork` shares it with its parent, and a wake of one would be taken by the other. So
/// its owner makes another in the child, by [`renew`](Waker::renew). The descriptors of the parent
/// stay open in the child: their numbers may mean others by then.
#[derive(Debug)]
pub(crate) struct Waker {
    ends: Ends,
    made_in: u32,
    /// The waker that the owner uses in a child of this process.
    in_child: OnceLock<Box<Waker>>,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    /// The other end, where it is a pipe.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    write: OwnedFd,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Ends {
    fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};

        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Ends {
            read: above_the_standard_streams(made)?,
        })
    }

    fn write_end(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Ends {
    fn new() -> io::Result<Self> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

        let (read, write) = rustix::pipe::pipe()?;

        // The copies are closed in children. The pipe itself can reach a child that is started
        // just now, which does no harm: only a wake is ever written.
        let (read, write) = (
            above_the_standard_streams(read)?,
            above_the_standard_streams(write)?,
        );
        for end in [&read, &write] {
            rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
            fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
        }
        Ok(Ends { read, write })
    }

    fn write_end(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Waker {
            ends: Ends::new()?,
            made_in: generation(),
            in_child: OnceLock::new(),
        })
    }

    /// Makes sure that this process has the waker alone. For the owner, before each wait.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let last = self.last();
        if last.made_in != generation() {
            // The owner alone makes it, so no other value can be there.
            let _ = last.in_child.set(Box::new(Waker::new()?));
        }
        Ok(())
    }

    /// Returns the waker of the youngest process in which it was renewed.
    fn last(&self) -> &Waker {
        let mut last = self;
        while let Some(waker) = last.in_child.get() {
            last = waker;
        }
        last
    }

    /// Makes the descriptor readable.
    pub(crate) fn wake(&self) {
        // Eight bytes, which an eventfd takes as a number. A pipe or a counter that is full is
        // readable already.
        let end = self.last().ends.write_end();
        while let Err(Errno::INTR) = rustix::io::write(end, &1_u64.to_ne_bytes()) {}
    }

    /// Makes the descriptor unreadable until the next wake.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        // An eventfd is empty after one read. A pipe is read until it is.
        let end = &self.last().ends.read;
        while let Ok(64) | Err(Errno::INTR) = rustix::io::read(end, &mut bytes) {}
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.last().ends.read.as_fd()
    }
}

/// Moves a descriptor away from the numbers of the standard streams. If one of these was closed,
/// the next descriptor that is opened gets its number, and code that means the stream would use
/// the waker.
fn above_the_standard_streams(made: OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;

    if made.as_raw_fd() > 2 {
        return Ok(made);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&made, 3)?)
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(waker: &Waker) -> bool {
        let mut fds = [PollFd::new(waker, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now)).expect("the descriptor can be polled") == 1
    }

    #[test]
    fn a_wake_lasts_until_it_is_drained() {
        let waker = Waker::new().expect("there is a descriptor left");
        assert!(!is_readable(&waker));

        for wakes in [1, 2, 1000] {
            (0..wakes).for_each(|_| waker.wake());
            assert!(is_readable(&waker));
            assert!(is_readable(&waker), "a look drains nothing");

            waker.drain();
            assert!(
                !is_readable(&waker),
                "all {wakes} wakes are drained at once"
            );
        }
    }
}
