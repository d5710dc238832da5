//! Standard input.

use std::fmt;
use std::io::{self, BufRead, IoSliceMut, IsTerminal, Read};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::lines::{Lines, lines};
use super::stdin_buffer::StdinBuffer;
use crate::facade::per_process;
use crate::sync::{Mutex, MutexGuard};

per_process! {
    /// A child of `fork` begins with an empty buffer: what its parent has read belongs to the
    /// parent.
    static STDIN: Mutex<StdinBuffer> = Mutex::new(StdinBuffer::new());
}

/// Returns a handle of standard input, with reads that end with their scope.
///
/// Like std's [`stdin`](std::io::stdin), for a terminal, a pipe, a socket and a file. It has a
/// buffer of its own. So use either this one or std's in a program: neither sees the bytes in the
/// buffer of the other.
///
/// No flag of the descriptor is changed, since it is shared with the shell and other processes.
///
/// ```no_run
/// use taskgroup::{TaskGroup, io};
///
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// # fn serve() -> anyhow::Result<()> { Ok(()) }
/// TaskGroup::scope(|g| {
///     // Waits for input when the server ends, and is woken.
///     g.spawn_daemon(|| {
///         for line in io::stdin().lines() {
///             println!("unknown command `{}`", line?);
///         }
///         Ok(())
///     });
///     serve()
/// })?;
/// # Ok(())
/// # }
/// ```
pub fn stdin() -> Stdin {
    Stdin { _private: () }
}

/// A handle of standard input. [`stdin`] makes it. All handles share one buffer, behind a lock.
///
/// Like std's [`Stdin`](std::io::Stdin), but its calls are blocking points of this crate.
///
/// # Cancellation
///
/// Each call fails immediately in a cancelled scope, and wakes when the scope is cancelled, also
/// from its wait for the lock. Nothing is lost: bytes that were read and not returned are in the
/// buffer, or in the `String` or `Vec` of the caller.
///
/// In a cancelled scope the end of the input is the cancel.
///
/// # Errors
///
/// The errors of std, and a [`Cancelled`](crate::Cancelled) in an error of the kind
/// [`Other`](io::ErrorKind::Other). If the program was started with a closed standard input, it is
/// empty.
///
/// # Panics
///
/// In builds with debug assertions, if this thread has a [`StdinLock`] already and uses another
/// handle. In other builds the thread waits until it is cancelled.
///
/// ```no_run
/// use std::time::Duration;
/// use taskgroup::{io, timeout};
///
/// let mut line = String::new();
/// let answer = timeout(Duration::from_secs(10), || io::stdin().read_line(&mut line))?;
/// println!("{}", if answer.is_some() { line.trim() } else { "no answer within ten seconds" });
/// # Ok::<(), io::Error>(())
/// ```
pub struct Stdin {
    _private: (),
}

impl Stdin {
    /// Locks standard input for this thread, for several reads in a row, and waits until no other
    /// thread has the lock.
    ///
    /// # Cancellation
    ///
    /// A blocking point that has no error: in a cancelled scope it returns at once, without the
    /// lock. The calls on the [`StdinLock`] then fail with the cancel. Where the scope is not
    /// cancelled, as in a [`shield`](crate::shield), they lock first.
    ///
    /// # Panics
    ///
    /// In builds with debug assertions, if this thread has the lock already.
    ///
    /// ```no_run
    /// use std::io::BufRead;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut input = taskgroup::io::stdin().lock();
    /// let (mut name, mut value) = (String::new(), String::new());
    /// input.read_line(&mut name)?;
    /// input.read_line(&mut value)?; // of the same thread
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn lock(&self) -> StdinLock<'static> {
        StdinLock {
            // The next call meets the cancel again and returns it.
            guard: STDIN.lock().ok(),
            _lifetime: PhantomData,
        }
    }

    /// Appends the next line to `buf`, with its end. Returns the number of its bytes, which is 0 at
    /// the end of the input.
    ///
    /// # Cancellation
    ///
    /// A blocking point. If it is cancelled in the middle of a line, the characters that were read
    /// are in `buf`, and the next call reads the rest.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData) for a line that is not UTF-8. It is skipped.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let mut line = String::new();
    /// taskgroup::io::stdin().read_line(&mut line)?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_line(buf)
    }

    /// Locks standard input, and returns an iterator over its lines.
    ///
    /// After a cancel it yields one error and then the end.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// for line in taskgroup::io::stdin().lines() {
    ///     println!("{}", line?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn lines(self) -> Lines<StdinLock<'static>> {
        self.lock().lines()
    }

    /// Returns whether standard input is a terminal.
    ///
    /// ```
    /// use std::io::IsTerminal;
    /// assert_eq!(taskgroup::io::stdin().is_terminal(), std::io::stdin().is_terminal());
    /// ```
    pub fn is_terminal(&self) -> bool {
        rustix::stdio::stdin().is_terminal()
    }
}

/// Implements `Read` by a lock for each call, so that no other thread reads in the middle of it.
macro_rules! read_by_lock {
    ($type:ty) => {
        impl Read for $type {
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.lock().read(buf)
            }

            #[track_caller]
            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.lock().read_vectored(bufs)
            }

            #[track_caller]
            fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
                self.lock().read_to_end(buf)
            }

            #[track_caller]
            fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
                self.lock().read_to_string(buf)
            }

            #[track_caller]
            fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
                self.lock().read_exact(buf)
            }
        }
    };
}

read_by_lock!(Stdin);
read_by_lock!(&Stdin);

/// Standard input, locked for one thread. [`Stdin::lock`] makes it.
///
/// Like std's [`StdinLock`](std::io::StdinLock), but its calls are blocking points of this crate:
/// see [`Stdin`].
///
/// ```no_run
/// use std::io::Read;
///
/// # fn main() -> std::io::Result<()> {
/// let mut text = String::new();
/// taskgroup::io::stdin().lock().read_to_string(&mut text)?;
/// # Ok(())
/// # }
/// ```
pub struct StdinLock<'a> {
    /// None if a cancel has ended the wait for it.
    guard: Option<MutexGuard<'static, StdinBuffer>>,
    _lifetime: PhantomData<&'a ()>,
}

impl StdinLock<'_> {
    /// Returns an iterator over the lines.
    ///
    /// After a cancel it yields one error and then the end. This method is found before
    /// [`BufRead::lines`], which would repeat the error.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// for line in taskgroup::io::stdin().lock().lines() {
    ///     println!("{}", line?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn lines(self) -> Lines<Self> {
        lines(self)
    }

    #[track_caller]
    fn input(&mut self) -> io::Result<&mut StdinBuffer> {
        match &mut self.guard {
            Some(guard) => Ok(guard),
            // The scope may be another by now, or not be cancelled in a shield.
            none => Ok(none.insert(STDIN.lock()?)),
        }
    }
}

impl Read for StdinLock<'_> {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.input()?.read(buf)
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.input()?.read_text(None, buf)
    }
}

impl BufRead for StdinLock<'_> {
    #[track_caller]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input()?.fill()
    }

    fn consume(&mut self, amount: usize) {
        // Without the lock `fill_buf` has returned nothing to consume.
        if let Some(guard) = &mut self.guard {
            guard.consume(amount);
        }
    }

    #[track_caller]
    fn read_line(&mut self, buf: &mut String) -> io::Result<usize> {
        self.input()?.read_line(buf)
    }
}

macro_rules! descriptor_zero {
    ($type:ty, $name:literal) => {
        impl AsFd for $type {
            fn as_fd(&self) -> BorrowedFd<'_> {
                rustix::stdio::stdin()
            }
        }

        impl AsRawFd for $type {
            fn as_raw_fd(&self) -> RawFd {
                rustix::stdio::stdin().as_raw_fd()
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let fd = self.as_raw_fd();
                f.debug_struct($name)
                    .field("fd", &fd)
                    .finish_non_exhaustive()
            }
        }
    };
}

descriptor_zero!(Stdin, "Stdin");
descriptor_zero!(StdinLock<'_>, "StdinLock");
