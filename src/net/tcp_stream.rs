//! TCP connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::AddressFamily;

use super::addrs::ToSocketAddrs;
use super::connect::connect;
use super::like_std::{like_std, stream_type};
use super::lookup::resolve;
use super::stream_state::StreamState;
use crate::readiness::Patience;

/// A TCP connection. Like std's [`TcpStream`](std::net::TcpStream), but its calls wake on a cancel.
///
/// A write returns when the system has taken the whole buffer, like a write to a blocking socket of
/// std. A write that a cancel cuts after its first byte breaks the stream and its clones: see
/// [broken streams](super#broken-streams).
///
/// Time limits and `set_nonblocking` keep std's meaning, even if they are set through a clone of
/// std's type.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use taskgroup::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut stream = TcpStream::connect(listener.local_addr()?)?;
/// stream.write_all(b"a question")?;
/// // No answer comes. The deadline holds for all the reads together.
/// let answer = taskgroup::timeout(Duration::from_millis(1), || stream.read_exact(&mut [0; 8]))?;
/// assert!(answer.is_none());
/// # Ok(())
/// # }
/// ```
pub struct TcpStream {
    socket: std::net::TcpStream,
    state: Arc<StreamState>,
}

impl TcpStream {
    /// Connects to the first of the addresses that accepts. Like std's
    /// [`connect`](std::net::TcpStream::connect).
    ///
    /// # Cancellation
    ///
    /// A blocking point. A deadline of the scope holds for all addresses together. If the call
    /// fails, no socket is left open.
    ///
    /// # Errors
    ///
    /// The error of the last address, the errors of [`lookup`](super::lookup()), or the cancel of
    /// the scope.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use taskgroup::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        let mut failed = None;
        for address in resolve(addr)?.iter() {
            match Self::connect_to(address, Patience::Forever) {
                // A cancel ends the calls for the addresses after it too, at their entry.
                Err(error) => failed = Some(error),
                connected => return connected,
            }
        }

        // std's words for a list without addresses.
        Err(failed.unwrap_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "could not resolve to any addresses",
            )
        }))
    }

    /// Connects to an address in at most `timeout`. Like std's
    /// [`connect_timeout`](std::net::TcpStream::connect_timeout).
    ///
    /// # Cancellation
    ///
    /// Like [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// `TimedOut` after `timeout`, `InvalidInput` for a timeout of zero, and the errors of
    /// [`connect`](Self::connect).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use std::time::Duration;
    /// use taskgroup::net::{TcpListener, TcpStream};
    ///
    /// let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?; // closed again
    /// let error = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<Self> {
        // std refuses it too, since a limit of zero means none for the options of a socket.
        if timeout.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "cannot set a 0 duration timeout",
            ));
        }

        // A time that is too long to express is not a limit.
        let limit = Instant::now().checked_add(timeout);
        let patience = limit.map_or(Patience::Forever, Patience::Until);
        match Self::connect_to(addr, patience) {
            // The patience was at its end. std has this kind and text for it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "connection timed out",
            )),
            connected => connected,
        }
    }

    #[track_caller]
    fn connect_to(address: &SocketAddr, patience: Patience) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = connect(family, address, patience)?;
        Ok(Self::of_own(socket.into()))
    }

    /// Copies data into `buf` and leaves it in the stream. Like std's
    /// [`peek`](std::net::TcpStream::peek).
    ///
    /// # Cancellation
    ///
    /// A blocking point.
    ///
    /// # Errors
    ///
    /// The errors of std, or the cancel of the scope.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use std::io::{Read, Write};
    /// use taskgroup::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut here = TcpStream::connect(listener.local_addr()?)?;
    /// listener.accept()?.0.write_all(b"x")?;
    /// let mut byte = [0];
    /// assert_eq!(here.peek(&mut byte)?, 1);
    /// assert_eq!(here.read(&mut [0])?, 1);
    /// assert_eq!(byte, *b"x");
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream().peek(buf)
    }

    /// Returns another handle of the same connection. Like std's
    /// [`try_clone`](std::net::TcpStream::try_clone).
    ///
    /// If the stream breaks, all handles are broken.
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use taskgroup::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.try_clone()?.local_addr()?, stream.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(TcpStream {
            socket: self.socket.try_clone()?,
            state: self.state.clone(),
        })
    }
}

like_std! {
    impl TcpStream = "std::net::TcpStream" {
        /// Returns the address of the peer.
        fn peer_addr(&self) -> io::Result<SocketAddr>;
        /// Returns the address of this end.
        fn local_addr(&self) -> io::Result<SocketAddr>;
        /// Makes the system send small pieces at once, or collect them.
        fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;
        /// Returns whether small pieces are sent at once.
        fn nodelay(&self) -> io::Result<bool>;
        /// Sets the time to live of packets, in hops.
        fn set_ttl(&self, ttl: u32) -> io::Result<()>;
        /// Returns the time to live, in hops.
        fn ttl(&self) -> io::Result<u32>;
    }
}

stream_type!(TcpStream, std::net::TcpStream, "std::net::TcpStream");
