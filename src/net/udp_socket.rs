//! UDP sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::addrs::ToSocketAddrs;
use super::like_std::{datagram_type, like_std};
use super::lookup::resolve;
use super::socket::Take;
use crate::waiting::KnownPatience;

/// A UDP socket. Like std's [`UdpSocket`](std::net::UdpSocket), but its calls wake on a cancel.
///
/// An empty datagram is `Ok(0)`. It does not mean that the peer has gone.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::net::UdpSocket;
///
/// let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
/// here.send_to(b"hello", there.local_addr()?)?;
/// let mut buffer = [0; 16];
/// let (length, from) = there.recv_from(&mut buffer)?;
/// assert_eq!((&buffer[..length], from), (&b"hello"[..], here.local_addr()?));
/// # Ok(())
/// # }
/// ```
pub struct UdpSocket {
    socket: std::net::UdpSocket,
    known: Arc<KnownPatience>,
}

impl UdpSocket {
    /// Binds a socket to an address. Like std's [`bind`](std::net::UdpSocket::bind).
    ///
    /// # Cancellation
    ///
    /// A blocking point if `addr` has a name to look up: see [`lookup`](super::lookup()).
    ///
    /// # Errors
    ///
    /// The errors of std and of [`lookup`](super::lookup()).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = taskgroup::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        Ok(Self::of_own(std::net::UdpSocket::bind(&*resolve(addr)?)?))
    }

    /// Sets the peer: `send` sends to it, and only its datagrams are received. Like std's
    /// [`connect`](std::net::UdpSocket::connect).
    ///
    /// # Cancellation
    ///
    /// Like [`bind`](Self::bind).
    ///
    /// # Errors
    ///
    /// Like [`bind`](Self::bind).
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = taskgroup::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(socket.local_addr()?)?;
    /// assert_eq!(socket.peer_addr()?, socket.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        self.socket.connect(&*resolve(addr)?)
    }

    /// Blocks until a datagram comes, and returns its length and sender. Like std's
    /// [`recv_from`](std::net::UdpSocket::recv_from): what does not fit into `buf` is lost.
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
    /// # fn main() -> anyhow::Result<()> {
    /// use std::time::Duration;
    /// use taskgroup::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let none = taskgroup::timeout(Duration::from_millis(1), || socket.recv_from(&mut [0]))?;
    /// assert!(none.is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buf, Take::It)
    }

    /// Like [`recv_from`](Self::recv_from), but the datagram stays in the queue. Like std's
    /// [`peek_from`](std::net::UdpSocket::peek_from).
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
    /// # fn main() -> std::io::Result<()> {
    /// let socket = taskgroup::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.send_to(b"x", socket.local_addr()?)?;
    /// assert_eq!(socket.peek_from(&mut [0])?, socket.recv_from(&mut [0])?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buf, Take::Nothing)
    }

    #[track_caller]
    fn receive_from(&self, buf: &mut [u8], take: Take) -> io::Result<(usize, SocketAddr)> {
        let (length, from) = self.datagrams().receive_from(buf, take)?;

        // A descriptor of another kind may have been put into this type.
        match from.map(SocketAddr::try_from) {
            Some(Ok(from)) => Ok((length, from)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the sender has no IP address",
            )),
        }
    }

    /// Blocks until a datagram comes from the peer, and returns its length. Like std's
    /// [`recv`](std::net::UdpSocket::recv).
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
    /// # fn main() -> std::io::Result<()> {
    /// let socket = taskgroup::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(socket.local_addr()?)?;
    /// socket.send(b"abc")?;
    /// assert_eq!(socket.recv(&mut [0; 16])?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.datagrams().receive(buf, Take::It)
    }

    /// Like [`recv`](Self::recv), but the datagram stays in the queue. Like std's
    /// [`peek`](std::net::UdpSocket::peek).
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
    /// # fn main() -> std::io::Result<()> {
    /// let socket = taskgroup::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(socket.local_addr()?)?;
    /// socket.send(b"abc")?;
    /// assert_eq!(socket.peek(&mut [0; 2])?, 2);
    /// assert_eq!(socket.recv(&mut [0; 16])?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.datagrams().receive(buf, Take::Nothing)
    }

    /// Sends a datagram to the first of the addresses. Like std's
    /// [`send_to`](std::net::UdpSocket::send_to).
    ///
    /// # Cancellation
    ///
    /// A blocking point: it waits for room in the buffer of the socket, and for the look-up of a
    /// name. If the call fails, nothing was sent.
    ///
    /// # Errors
    ///
    /// The errors of std and of [`lookup`](super::lookup()), or the cancel of the scope.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = taskgroup::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(socket.send_to(b"abc", socket.local_addr()?)?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        match resolve(addr)?.first() {
            // Only the first, like std: a datagram that was sent says nothing about the others.
            Some(to) => self.datagrams().send_to(buf, to),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no addresses to send data to",
            )),
        }
    }

    /// Sends a datagram to the peer. Like std's [`send`](std::net::UdpSocket::send).
    ///
    /// # Cancellation
    ///
    /// A blocking point. If the call fails, nothing was sent.
    ///
    /// # Errors
    ///
    /// The errors of std, or the cancel of the scope.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = taskgroup::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(socket.local_addr()?)?;
    /// assert_eq!(socket.send(b"abc")?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.datagrams().send(buf)
    }

    /// Returns another handle of the same socket. Like std's
    /// [`try_clone`](std::net::UdpSocket::try_clone).
    ///
    /// # Errors
    ///
    /// The errors of std.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = taskgroup::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(socket.try_clone()?.local_addr()?, socket.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(UdpSocket {
            socket: self.socket.try_clone()?,
            known: self.known.clone(),
        })
    }
}

like_std! {
    impl UdpSocket = "std::net::UdpSocket" {
        /// Returns the address that the socket is bound to.
        fn local_addr(&self) -> io::Result<SocketAddr>;
        /// Returns the address of the peer.
        fn peer_addr(&self) -> io::Result<SocketAddr>;
        /// Allows or forbids sending to a broadcast address.
        fn set_broadcast(&self, broadcast: bool) -> io::Result<()>;
        /// Returns whether sending to a broadcast address is allowed.
        fn broadcast(&self) -> io::Result<bool>;
        /// Makes IPv4 multicasts come back to this machine, or not.
        fn set_multicast_loop_v4(&self, looped: bool) -> io::Result<()>;
        /// Returns whether IPv4 multicasts come back.
        fn multicast_loop_v4(&self) -> io::Result<bool>;
        /// Sets the time to live of IPv4 multicasts, in hops.
        fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()>;
        /// Returns the time to live of IPv4 multicasts, in hops.
        fn multicast_ttl_v4(&self) -> io::Result<u32>;
        /// Makes IPv6 multicasts come back to this machine, or not.
        fn set_multicast_loop_v6(&self, looped: bool) -> io::Result<()>;
        /// Returns whether IPv6 multicasts come back.
        fn multicast_loop_v6(&self) -> io::Result<bool>;
        /// Sets the time to live of packets, in hops.
        fn set_ttl(&self, ttl: u32) -> io::Result<()>;
        /// Returns the time to live, in hops.
        fn ttl(&self) -> io::Result<u32>;
        /// Joins an IPv4 multicast group.
        fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()>;
        /// Joins an IPv6 multicast group.
        fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()>;
        /// Leaves an IPv4 multicast group.
        fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()>;
        /// Leaves an IPv6 multicast group.
        fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()>;
    }
}

datagram_type!(UdpSocket, std::net::UdpSocket, "std::net::UdpSocket");
