//! Iterators over the connections of a listener.

use std::fmt;
use std::io;
use std::mem;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::tcp_listener::TcpListener;
use super::tcp_stream::TcpStream;
use super::unix_listener::UnixListener;
use super::unix_stream::UnixStream;
use crate::blocking::CancelFuse;
use crate::cancel::{Cancelled, context};
use crate::waiting::WaitKind;

/// How long an iteration waits after the system had no descriptor or no memory for a connection.
/// The connection stays in the queue, so the next accept would fail at once.
const AFTER_EXHAUSTION: Duration = Duration::from_millis(10);

/// Decides what an iteration yields, and when it pauses and ends.
struct Steps {
    /// The accept that it is about.
    kind: WaitKind,
    fuse: CancelFuse,
    /// The last accept found no descriptor or no memory.
    is_exhausted: bool,
}

impl Steps {
    fn new(kind: WaitKind) -> Self {
        Steps {
            kind,
            fuse: CancelFuse::default(),
            is_exhausted: false,
        }
    }

    /// To be called before each accept. Returns none at the end of the iteration.
    #[track_caller]
    fn before(&mut self) -> Option<Result<(), Cancelled>> {
        if self.fuse.ends() {
            return None;
        }

        if !mem::take(&mut self.is_exhausted) {
            return Some(Ok(()));
        }

        // Before the accept and not after the error: the caller has the error at once, and may free
        // a descriptor meanwhile.
        let until = Instant::now() + AFTER_EXHAUSTION;
        Some(context::wait(self.kind, Some(until), || false).map(drop))
    }

    /// Returns the next item.
    fn after<T>(&mut self, accepted: io::Result<T>) -> Option<io::Result<T>> {
        // By number: std has kinds for some of these only.
        let number = accepted.as_ref().err().and_then(Errno::from_io_error);
        self.is_exhausted = matches!(
            number,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
        );

        // A cancel ends the iteration. Other errors do not: the next accept may succeed.
        self.fuse.after(accepted.map(Some))
    }
}

macro_rules! incoming {
    (
        $(#[$attribute:meta])*
        $incoming:ident, $listener:ident, $stream:ident, $kind:ident
    ) => {
        $(#[$attribute])*
        #[must_use = "iterators are lazy: nothing is accepted until `next` is called"]
        pub struct $incoming<'l> {
            listener: &'l $listener,
            steps: Steps,
        }

        impl<'l> $incoming<'l> {
            fn new(listener: &'l $listener) -> Self {
                $incoming {
                    listener,
                    steps: Steps::new(WaitKind::$kind),
                }
            }
        }

        // Without the size hint of std's iterators, which say that they are endless: a cancel ends
        // these, so their items may be collected.
        impl Iterator for $incoming<'_> {
            type Item = io::Result<$stream>;

            #[track_caller]
            fn next(&mut self) -> Option<Self::Item> {
                let accepted = match self.steps.before()? {
                    Ok(()) => self.listener.accept(),
                    Err(cancelled) => Err(cancelled.into()),
                };
                self.steps.after(accepted.map(|(stream, _)| stream))
            }
        }

        impl fmt::Debug for $incoming<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($incoming))
                    .field("listener", self.listener)
                    .finish_non_exhaustive()
            }
        }
    };
}

incoming! {
    /// Yields the connections of a [`TcpListener`]. [`TcpListener::incoming`] makes it.
    ///
    /// Like std's [`Incoming`](std::net::Incoming), but it ends when the scope is cancelled.
    ///
    /// # Cancellation
    ///
    /// [`next`](Iterator::next) is a blocking point. In a cancelled scope it yields the cancel, as
    /// an error, and then the end. So a loop that only logs errors stops too.
    ///
    /// # Errors
    ///
    /// The errors of [`accept`](TcpListener::accept). If the process has no descriptor left for a
    /// connection, the iterator yields that error and waits 10 ms before the next attempt. The
    /// connection stays in the queue meanwhile.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use taskgroup::CancelToken;
    /// use taskgroup::net::TcpListener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let token = CancelToken::new();
    /// token.cancel();
    /// let errors = token.run(|| listener.incoming().filter(|stream| stream.is_err()).count());
    /// assert_eq!(errors, 1);
    /// # Ok(())
    /// # }
    /// ```
    Incoming, TcpListener, TcpStream, Accept
}

incoming! {
    /// Yields the connections of a [`UnixListener`]. [`UnixListener::incoming`] makes it.
    ///
    /// # Cancellation
    ///
    /// Like [`Incoming`].
    ///
    /// # Errors
    ///
    /// Like [`Incoming`].
    ///
    /// ```
    /// use taskgroup::net::{UnixIncoming, UnixStream};
    ///
    /// fn first(mut connections: UnixIncoming<'_>) -> Option<std::io::Result<UnixStream>> {
    ///     connections.next()
    /// }
    /// ```
    UnixIncoming, UnixListener, UnixStream, AcceptUnix
}

impl TcpListener {
    /// Returns an iterator over the connections that come. It ends when the scope is cancelled: see
    /// [`Incoming`].
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// use std::io::Write;
    ///
    /// for stream in taskgroup::net::TcpListener::bind("127.0.0.1:80")?.incoming() {
    ///     stream?.write_all(b"hello")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming::new(self)
    }
}

impl UnixListener {
    /// Returns an iterator over the connections that come. It ends when the scope is cancelled: see
    /// [`UnixIncoming`].
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// use std::io::Write;
    ///
    /// for stream in taskgroup::net::UnixListener::bind("/run/hello")?.incoming() {
    ///     stream?.write_all(b"hello")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn incoming(&self) -> UnixIncoming<'_> {
        UnixIncoming::new(self)
    }
}

impl<'l> IntoIterator for &'l UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = UnixIncoming<'l>;

    fn into_iter(self) -> UnixIncoming<'l> {
        self.incoming()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_system_without_descriptors_or_memory_makes_an_iteration_pause() {
        for (number, pauses) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOBUFS, true),
            (Errno::NOMEM, true),
            (Errno::PROTO, false),
        ] {
            let mut steps = Steps::new(WaitKind::Accept);
            let item = steps.after::<()>(Err(number.into()));
            assert!(item.expect("the error is an item").is_err());
            assert_eq!(steps.is_exhausted, pauses, "{number:?}");
        }
    }
}
