//! Connections of Unix sockets.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix};

use super::UnixSocketAddr;
use super::connect::connect;
use super::like_std::{descriptor, like_std};
use super::stream::{Stream, read_and_write};
use super::stream_state::StreamState;
use super::unix_addr;
use crate::readiness::Patience;

/// A connection of Unix sockets. Like std's [`UnixStream`](std::os::unix::net::UnixStream), but its
/// calls wake on a cancel.
///
/// Reads and writes are like a [`TcpStream`](super::TcpStream)'s. A stream that is cut in the
/// middle of a write is [broken](super#broken-streams).
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::io::{Read, Write};
/// use taskgroup::TaskGroup;
/// use taskgroup::net::UnixStream;
///
/// let (mut here, mut there) = UnixStream::pair()?;
/// let mut text = String::new();
/// TaskGroup::scope(|g| {
///     g.task().with(there).spawn(|there: &mut UnixStream| Ok(there.write_all(b"hello")?));
///     here.read_to_string(&mut text)?;
///     Ok(())
/// })?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
pub struct UnixStream {
    socket: net::UnixStream,
    state: Arc<StreamState>,
}

impl UnixStream {
    /// Connects to the listener at a path. Like std's
    /// [`connect`](std::os::unix::net::UnixStream::connect): if the queue of the listener is full,
    /// the call waits.
    ///
    /// # Cancellation
    ///
    /// A blocking point. The system cannot say when a full queue has room. So the call tries again
    /// after pauses that grow from 1 ms to 10 ms, which a cancel ends.
    ///
    /// # Errors
    ///
    /// The errors of std, or the cancel of the scope.
    ///
    /// ```
    /// let error = taskgroup::net::UnixStream::connect("/no/such/socket").unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    #[track_caller]
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::connect_to(&unix_addr::of_path(path.as_ref())?)
    }

    /// Connects to an address, which may be an abstract name. Like std's
    /// [`connect_addr`](std::os::unix::net::UnixStream::connect_addr).
    ///
    /// # Cancellation
    ///
    /// Like [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// Like [`connect`](Self::connect).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use taskgroup::net::{UnixSocketAddr, UnixStream};
    ///
    /// let address = UnixSocketAddr::from_pathname("/no/such/socket")?;
    /// assert!(UnixStream::connect_addr(&address).is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn connect_addr(address: &UnixSocketAddr) -> io::Result<Self> {
        Self::connect_to(&unix_addr::to_system(address)?)
    }

    #[track_caller]
    fn connect_to(address: &SocketAddrUnix) -> io::Result<Self> {
        let socket = connect(AddressFamily::UNIX, address, Patience::Forever)?;
        Ok(net::UnixStream::from(socket).into())
    }

    /// Makes two streams that are connected to each other. Like std's
    /// [`pair`](std::os::unix::net::UnixStream::pair).
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (here, there) = taskgroup::net::UnixStream::pair()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pair() -> io::Result<(Self, Self)> {
        let (here, there) = net::UnixStream::pair()?;
        Ok((here.into(), there.into()))
    }

    /// Returns another handle of the same connection. Like std's
    /// [`try_clone`](std::os::unix::net::UnixStream::try_clone).
    ///
    /// If the stream breaks, all handles are broken.
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (here, _there) = taskgroup::net::UnixStream::pair()?;
    /// let (reader, writer) = (here.try_clone()?, here);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(UnixStream {
            socket: self.socket.try_clone()?,
            state: self.state.clone(),
        })
    }

    #[inline]
    fn stream(&self) -> Stream<'_> {
        Stream::new(self.socket.as_fd(), &self.state)
    }
}

like_std! {
    impl UnixStream = "std::os::unix::net::UnixStream" {
        /// Returns the address of this end.
        fn local_addr(&self) -> io::Result<UnixSocketAddr>;
        /// Returns the address of the peer.
        fn peer_addr(&self) -> io::Result<UnixSocketAddr>;
        /// Shuts the reading side, the writing side, or both. Calls of other threads wake.
        fn shutdown(&self, how: Shutdown) -> io::Result<()>;
        /// Sets how long one read waits. After that time it fails with `WouldBlock`. There is no
        /// limit by default.
        fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()>;
        /// Sets how long one write waits. After that time it fails with `WouldBlock`, or returns
        /// how many bytes were written. There is no limit by default.
        fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()>;
        /// Returns how long one read waits.
        fn read_timeout(&self) -> io::Result<Option<Duration>>;
        /// Returns how long one write waits.
        fn write_timeout(&self) -> io::Result<Option<Duration>>;
        /// Takes the error that the system keeps for the socket, if there is one.
        fn take_error(&self) -> io::Result<Option<io::Error>>;
        /// Makes calls return `WouldBlock` instead of waiting, or wait again. Holds for all handles
        /// of the connection.
        fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()>;
    }
}

descriptor!(UnixStream);
read_and_write!(UnixStream);

/// Nothing of the connection changes.
impl From<net::UnixStream> for UnixStream {
    fn from(socket: net::UnixStream) -> Self {
        UnixStream {
            socket,
            state: Arc::default(),
        }
    }
}

/// Nothing of the connection changes.
impl From<OwnedFd> for UnixStream {
    fn from(fd: OwnedFd) -> Self {
        net::UnixStream::from(fd).into()
    }
}

/// The connection is as it was. std's type does not know whether the stream is
/// [broken](super#broken-streams).
impl From<UnixStream> for net::UnixStream {
    fn from(stream: UnixStream) -> Self {
        stream.socket
    }
}

/// The connection is as it was.
impl From<UnixStream> for OwnedFd {
    fn from(stream: UnixStream) -> Self {
        stream.socket.into()
    }
}
