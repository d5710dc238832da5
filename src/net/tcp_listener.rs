//! TCP sockets that listen.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::addrs::ToSocketAddrs;
use super::like_std::{like_std, listener_type};
use super::listening::Listening;
use super::lookup::resolve;
use super::tcp_stream::TcpStream;
use crate::waiting::WaitKind;

/// A TCP socket that listens for connections. Like std's
/// [`TcpListener`](std::net::TcpListener), but its `accept` wakes on a cancel.
///
/// The listener makes its open file description nonblocking, because no system call accepts without
/// blocking otherwise. Other handles of the same description see the flag: clones that std made
/// before, and other processes that share the socket. A conversion into std's type clears the flag,
/// unless the user has set it or a clone of this crate is left. `TryFrom` std's type says what to
/// do about a flag that is there already.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::io::Read;
/// use taskgroup::TaskGroup;
/// use taskgroup::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// TaskGroup::scope(|g| {
///     g.spawn(|| Ok(drop(TcpStream::connect(address)?)));
///     let (mut stream, _) = listener.accept()?;
///     assert_eq!(stream.read(&mut [0])?, 0);
///     Ok(())
/// })?;
/// # Ok(())
/// # }
/// ```
pub struct TcpListener {
    socket: std::net::TcpListener,
    listening: Listening,
}

impl TcpListener {
    /// Binds a listener to an address. Like std's [`bind`](std::net::TcpListener::bind).
    ///
    /// # Cancellation
    ///
    /// A blocking point if `addr` has a name to look up: see [`lookup`](super::lookup()). An
    /// address is bound in a cancelled scope too.
    ///
    /// # Errors
    ///
    /// The errors of std and of [`lookup`](super::lookup()).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = taskgroup::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        std::net::TcpListener::bind(&*resolve(addr)?)?.try_into()
    }

    /// Blocks until a connection comes, and returns it with the address of the peer.
    ///
    /// The stream is blocking and closed at an `exec`, whatever the flags of the listener are. A
    /// connection that its peer gave up in the queue is passed over, where std returns
    /// `ConnectionAborted`.
    ///
    /// # Cancellation
    ///
    /// A blocking point. A connection that was taken from the queue is returned. If the call fails,
    /// none was taken.
    ///
    /// # Errors
    ///
    /// The errors of std, or the cancel of the scope.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use std::time::Duration;
    /// use taskgroup::net::TcpListener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let none = taskgroup::timeout(Duration::from_millis(1), || listener.accept())?;
    /// assert!(none.is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accept = || self.socket.accept();
        let (stream, peer) =
            self.listening
                .accept_stream(WaitKind::Accept, self.socket.as_fd(), accept)?;
        Ok((TcpStream::of_own(stream), peer))
    }
}

like_std! {
    impl TcpListener = "std::net::TcpListener" {
        /// Returns the address that the listener is bound to.
        fn local_addr(&self) -> io::Result<SocketAddr>;
        /// Sets the time to live of the packets of accepted connections, in hops.
        fn set_ttl(&self, ttl: u32) -> io::Result<()>;
        /// Returns the time to live, in hops.
        fn ttl(&self) -> io::Result<u32>;
    }
}

listener_type!(TcpListener, std::net::TcpListener, "std::net::TcpListener");
