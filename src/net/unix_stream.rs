//! Connections of Unix sockets.

use std::io;
use std::os::unix::net;
use std::path::Path;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketAddrUnix};

use super::UnixSocketAddr;
use super::connect::connect;
use super::like_std::{like_std, stream_type};
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
        Ok(Self::of_own(socket.into()))
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
        Ok((Self::of_own(here), Self::of_own(there)))
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
}

like_std! {
    impl UnixStream = "std::os::unix::net::UnixStream" {
        /// Returns the address of this end.
        fn local_addr(&self) -> io::Result<UnixSocketAddr>;
        /// Returns the address of the peer.
        fn peer_addr(&self) -> io::Result<UnixSocketAddr>;
    }
}

stream_type!(
    UnixStream,
    net::UnixStream,
    "std::os::unix::net::UnixStream"
);
