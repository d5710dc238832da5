//! Unix sockets for datagrams.

use std::io;
use std::net::Shutdown;
use std::os::unix::net;
use std::path::Path;
use std::sync::Arc;

use super::UnixSocketAddr;
use super::like_std::{datagram_type, like_std};
use super::socket::Take;
use super::unix_addr;
use crate::waiting::KnownPatience;

/// A Unix socket for datagrams. Like std's [`UnixDatagram`](std::os::unix::net::UnixDatagram), but
/// its calls wake on a cancel.
///
/// No datagram is lost between two such sockets: a send waits while the queue of the receiver is
/// full.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let (here, there) = taskgroup::net::UnixDatagram::pair()?;
/// here.send(b"hello")?;
/// let mut buffer = [0; 16];
/// let length = there.recv(&mut buffer)?;
/// assert_eq!(&buffer[..length], b"hello");
/// # Ok(())
/// # }
/// ```
pub struct UnixDatagram {
    socket: net::UnixDatagram,
    known: Arc<KnownPatience>,
}

impl UnixDatagram {
    /// Binds a socket to a path. Like std's [`bind`](std::os::unix::net::UnixDatagram::bind).
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("taskgroup-dgram-{}", std::process::id()));
    /// let socket = taskgroup::net::UnixDatagram::bind(&path)?;
    /// std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Ok(Self::of_own(net::UnixDatagram::bind(path)?))
    }

    /// Binds a socket to an address, which may be an abstract name. Like std's
    /// [`bind_addr`](std::os::unix::net::UnixDatagram::bind_addr).
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use taskgroup::net::{UnixDatagram, UnixSocketAddr};
    ///
    /// let path = std::env::temp_dir().join(format!("taskgroup-dgram-at-{}", std::process::id()));
    /// UnixDatagram::bind_addr(&UnixSocketAddr::from_pathname(&path)?)?;
    /// std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_addr(address: &UnixSocketAddr) -> io::Result<Self> {
        Ok(Self::of_own(net::UnixDatagram::bind_addr(address)?))
    }

    /// Makes a socket without an address. Like std's
    /// [`unbound`](std::os::unix::net::UnixDatagram::unbound).
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = taskgroup::net::UnixDatagram::unbound()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn unbound() -> io::Result<Self> {
        Ok(Self::of_own(net::UnixDatagram::unbound()?))
    }

    /// Makes two sockets that are connected to each other. Like std's
    /// [`pair`](std::os::unix::net::UnixDatagram::pair).
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (here, there) = taskgroup::net::UnixDatagram::pair()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pair() -> io::Result<(Self, Self)> {
        let (here, there) = net::UnixDatagram::pair()?;
        Ok((Self::of_own(here), Self::of_own(there)))
    }

    /// Sets the peer that `send` sends to, by its path. Like std's
    /// [`connect`](std::os::unix::net::UnixDatagram::connect). It never blocks.
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// let socket = taskgroup::net::UnixDatagram::unbound()?;
    /// assert!(socket.connect("/no/such/socket").is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.socket.connect(path)
    }

    /// Blocks until a datagram comes, and returns its length and sender. Like std's
    /// [`recv_from`](std::os::unix::net::UnixDatagram::recv_from).
    ///
    /// # Cancellation
    ///
    /// A blocking point. A datagram that was taken is returned. If the call fails, none was taken.
    ///
    /// # Errors
    ///
    /// The errors of std, or the cancel of the scope.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (here, there) = taskgroup::net::UnixDatagram::pair()?;
    /// here.send(b"abc")?;
    /// let (length, from) = there.recv_from(&mut [0; 16])?;
    /// assert!(length == 3 && from.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, UnixSocketAddr)> {
        let (length, from) = self.datagrams().receive_from(buf, Take::It)?;
        Ok((length, unix_addr::from_system(from)?))
    }

    /// Blocks until a datagram comes, and returns its length. Like std's
    /// [`recv`](std::os::unix::net::UnixDatagram::recv).
    ///
    /// # Cancellation
    ///
    /// Like [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    ///
    /// The errors of std, or the cancel of the scope.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use std::time::Duration;
    ///
    /// let (here, _there) = taskgroup::net::UnixDatagram::pair()?;
    /// let none = taskgroup::timeout(Duration::from_millis(1), || here.recv(&mut [0]))?;
    /// assert!(none.is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.datagrams().receive(buf, Take::It)
    }

    /// Sends a datagram to the socket at a path. Like std's
    /// [`send_to`](std::os::unix::net::UnixDatagram::send_to).
    ///
    /// # Cancellation
    ///
    /// A blocking point. If the call fails, nothing was sent. The system cannot say when a receiver
    /// has room that this socket is not connected to. So the call tries again after pauses that
    /// grow from 1 ms to 10 ms, which a cancel ends.
    ///
    /// # Errors
    ///
    /// The errors of std, or the cancel of the scope.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use taskgroup::net::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("taskgroup-send-to-{}", std::process::id()));
    /// let there = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to(b"abc", &path)?;
    /// assert_eq!(there.recv(&mut [0; 16])?, 3);
    /// std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        let to = unix_addr::of_path(path.as_ref())?;
        self.datagrams().send_to_unix(buf, &to)
    }

    /// Sends a datagram to an address, which may be an abstract name. Like std's
    /// [`send_to_addr`](std::os::unix::net::UnixDatagram::send_to_addr).
    ///
    /// # Cancellation
    ///
    /// Like [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// The errors of std, or the cancel of the scope.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use taskgroup::net::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("taskgroup-to-addr-{}", std::process::id()));
    /// let there = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to_addr(b"abc", &there.local_addr()?)?;
    /// std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn send_to_addr(&self, buf: &[u8], address: &UnixSocketAddr) -> io::Result<usize> {
        let to = unix_addr::to_system(address)?;
        self.datagrams().send_to_unix(buf, &to)
    }

    /// Sends a datagram to the peer. Like std's [`send`](std::os::unix::net::UnixDatagram::send).
    ///
    /// # Cancellation
    ///
    /// A blocking point: it waits while the queue of the peer is full. If the call fails, nothing
    /// was sent.
    ///
    /// # Errors
    ///
    /// The errors of std, or the cancel of the scope.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (here, _there) = taskgroup::net::UnixDatagram::pair()?;
    /// assert_eq!(here.send(b"abc")?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.datagrams().send(buf)
    }

    /// Returns another handle of the same socket. Like std's
    /// [`try_clone`](std::os::unix::net::UnixDatagram::try_clone).
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (here, _there) = taskgroup::net::UnixDatagram::pair()?;
    /// let (receiver, sender) = (here.try_clone()?, here);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(UnixDatagram {
            socket: self.socket.try_clone()?,
            known: self.known.clone(),
        })
    }
}

like_std! {
    impl UnixDatagram = "std::os::unix::net::UnixDatagram" {
        /// Sets the peer that `send` sends to, by its address. It never blocks.
        fn connect_addr(&self, address: &UnixSocketAddr) -> io::Result<()>;
        /// Returns the address of this socket.
        fn local_addr(&self) -> io::Result<UnixSocketAddr>;
        /// Returns the address of the peer.
        fn peer_addr(&self) -> io::Result<UnixSocketAddr>;
        /// Shuts the receiving side, the sending side, or both. Calls of other threads wake.
        fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    }
}

datagram_type!(
    UnixDatagram,
    net::UnixDatagram,
    "std::os::unix::net::UnixDatagram"
);
