//! Unix sockets that listen.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net;
use std::path::Path;

use super::UnixSocketAddr;
use super::like_std::{like_std, listener_type};
use super::listening::Listening;
use super::unix_stream::UnixStream;
use crate::waiting::WaitKind;

/// A Unix socket that listens for connections. Like std's
/// [`UnixListener`](std::os::unix::net::UnixListener), but its `accept` wakes on a cancel.
///
/// Its description becomes nonblocking, like that of a [`TcpListener`](super::TcpListener).
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::io::Read;
/// use taskgroup::net::{UnixListener, UnixStream};
///
/// let path = std::env::temp_dir().join(format!("taskgroup-listener-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// drop(UnixStream::connect(&path)?);
/// let (mut stream, _) = listener.accept()?;
/// assert_eq!(stream.read(&mut [0])?, 0);
/// std::fs::remove_file(&path)?;
/// # Ok(())
/// # }
/// ```
pub struct UnixListener {
    socket: net::UnixListener,
    listening: Listening,
}

impl UnixListener {
    /// Binds a listener to a path. Like std's [`bind`](std::os::unix::net::UnixListener::bind).
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("taskgroup-bind-{}", std::process::id()));
    /// let listener = taskgroup::net::UnixListener::bind(&path)?;
    /// assert_eq!(listener.local_addr()?.as_pathname(), Some(&*path));
    /// std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        net::UnixListener::bind(path)?.try_into()
    }

    /// Binds a listener to an address, which may be an abstract name. Like std's
    /// [`bind_addr`](std::os::unix::net::UnixListener::bind_addr).
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use taskgroup::net::{UnixListener, UnixSocketAddr};
    ///
    /// let path = std::env::temp_dir().join(format!("taskgroup-bind-addr-{}", std::process::id()));
    /// UnixListener::bind_addr(&UnixSocketAddr::from_pathname(&path)?)?;
    /// std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_addr(address: &UnixSocketAddr) -> io::Result<Self> {
        net::UnixListener::bind_addr(address)?.try_into()
    }

    /// Blocks until a connection comes, and returns it with the address of the peer.
    ///
    /// The stream is blocking and closed at an `exec`.
    ///
    /// # Cancellation
    ///
    /// Like [`TcpListener::accept`](super::TcpListener::accept).
    ///
    /// # Errors
    ///
    /// The errors of std, or the cancel of the scope.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use std::time::Duration;
    /// use taskgroup::net::UnixListener;
    ///
    /// let path = std::env::temp_dir().join(format!("taskgroup-accept-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let none = taskgroup::timeout(Duration::from_millis(1), || listener.accept())?;
    /// assert!(none.is_none());
    /// std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn accept(&self) -> io::Result<(UnixStream, UnixSocketAddr)> {
        let accept = || self.socket.accept();
        let (stream, peer) =
            self.listening
                .accept_stream(WaitKind::AcceptUnix, self.socket.as_fd(), accept)?;
        Ok((UnixStream::of_own(stream), peer))
    }
}

like_std! {
    impl UnixListener = "std::os::unix::net::UnixListener" {
        /// Returns the address that the listener is bound to.
        fn local_addr(&self) -> io::Result<UnixSocketAddr>;
    }
}

listener_type!(
    UnixListener,
    net::UnixListener,
    "std::os::unix::net::UnixListener"
);
