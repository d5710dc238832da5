//! Sockets with the names and the behaviour of [`std::net`], and with calls that wake on a cancel.
//!
//! Every call that can block is a blocking point: [`accept`](TcpListener::accept),
//! [`connect`](TcpStream::connect), reads, writes, the receipt and the sending of datagrams, and
//! the look-up of a name. In a cancelled scope it fails immediately; if it is blocked when the
//! cancel comes, it wakes. Deadlines of the scope hold too: a peer that sends a byte a second
//! cannot hold a `read_exact` beyond the deadline around it.
//!
//! ```
//! use std::io::{Read, Write};
//! use taskgroup::TaskGroup;
//! use taskgroup::net::{TcpListener, TcpStream};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let answer = TaskGroup::scope(|g| {
//!     // Blocks in `accept` when the scope is over, and is woken.
//!     g.spawn_daemon(|| {
//!         for stream in listener.incoming() {
//!             let mut stream = stream?;
//!             stream.write_all(b"hello")?;
//!         }
//!         Ok(())
//!     });
//!     let mut answer = String::new();
//!     TcpStream::connect(address)?.read_to_string(&mut answer)?;
//!     Ok(answer)
//! })?;
//! assert_eq!(answer, "hello");
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! # A server
//!
//! This server runs a task for each connection until a token is cancelled: for example by a signal,
//! with the token of `signal::termination`.
//!
//! ```
//! use taskgroup::net::{TcpListener, TcpStream};
//! use taskgroup::{CancelToken, Cancelled, GroupError, TaskGroup};
//!
//! fn serve(listener: &TcpListener, stop: &CancelToken) -> Result<(), GroupError> {
//!     TaskGroup::builder().parent(stop).scope(|g| {
//!         for stream in listener.incoming() {
//!             match stream {
//!                 // Isolated: a connection that fails ends no other.
//!                 Ok(stream) => drop(g.spawn_isolated(move || echo(&stream))),
//!                 Err(error) if Cancelled::find(&error).is_some() => {} // the end comes next
//!                 Err(error) => eprintln!("no connection: {error}"),
//!             }
//!         }
//!         Ok(())
//!     })
//! }
//!
//! fn echo(mut stream: &TcpStream) -> anyhow::Result<u64> {
//!     let mut reader = stream;
//!     Ok(std::io::copy(&mut reader, &mut stream)?)
//! }
//!
//! # fn main() -> anyhow::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let stop = CancelToken::new();
//! # let _client = TcpStream::connect(listener.local_addr()?)?;
//! # stop.cancel_at(std::time::Instant::now() + std::time::Duration::from_millis(20));
//! match serve(&listener, &stop) {
//!     // Connections that were cut short.
//!     Err(error) if error.cancelled().is_some() && error.failures().is_empty() => {}
//!     served => served?,
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Here a signal cuts requests short. The page of the module `signal` shows how the requests that
//! have begun are finished. The example program `server` does this, and bounds the connections.
//!
//! # Errors of a cancel
//!
//! The error of a cancelled call is an [`io::Error`](std::io::Error) of the kind
//! [`Other`](std::io::ErrorKind::Other) that holds the [`Cancelled`](crate::Cancelled). Code that
//! retries errors of some kinds, like `read_exact` does for `Interrupted`, does not retry this one.
//! `?` passes it on, and [`Cancelled::find`](crate::Cancelled::find) finds it.
//!
//! Everything else is as in std: the same error kinds, time limits of a socket that end a call with
//! `WouldBlock`, and calls that return immediately on a socket that the user made nonblocking.
//!
//! # What a cancelled call leaves behind
//!
//! | call | after a cancel |
//! |---|---|
//! | `accept` | the connection stays in the queue of the listener |
//! | `connect` | the connection is given up, its socket is closed |
//! | `read`, `peek` | nothing was read; the bytes stay |
//! | `read_exact`, `read_to_end` | the bytes that were read are in the buffer of the caller; the rest stays |
//! | `read_to_string` | the same, but text that ends in the middle of a character is lost, as in std after every error |
//! | `write`, `write_all`, `write!`, before the first byte | nothing was written |
//! | the same, after the first byte | the stream is *broken*: later writes fail |
//! | `recv`, `recv_from` | the datagram stays in the queue |
//! | `send`, `send_to` | the datagram was not sent |
//! | [`lookup`] | a thread of its own may go on: see [`abandoned`](crate::abandoned) |
//!
//! # Broken streams
//!
//! If a write was cut after its first byte, the peer has a part of a message. To continue with
//! another message would only confuse it. So a write that a cancel cut in the middle breaks the
//! stream and all its clones: every later write fails with
//! [`BrokenPipe`](std::io::ErrorKind::BrokenPipe) and a text that names the cancel. Reads go on.
//! To finish a message in spite of a cancel, write it in a [`shield_for`](crate::shield_for).
//!
//! # The ends of streams
//!
//! The end of a stream is not a value. If the peer has gone because of the same cancel, a read
//! returns the cancel and not `Ok(0)`, so that a stream that was cut does not look complete.

// How a call waits. A call is tried first, in a form that cannot block, and waits for its
// descriptor only if it would block (`readiness`). So a call that finds its data costs one system
// call. A read that will find nothing, by the reads before it, waits at once (`first_look`). The
// options that limit a wait are asked for only where they can have changed (`KnownPatience`).
//
// Invariants:
//
// 1. No call of this module blocks in the kernel but in `readiness`. A stream or datagram socket is
//    tried with MSG_DONTWAIT; a listener has O_NONBLOCK; a socket that connects has it until it is
//    connected. Between the wait and the call another thread or process may take what the wait saw.
// 2. The flags of a description belong to the user, since other processes may share it. The one
//    exception is the O_NONBLOCK of a listener, which has no call with a flag (`listening`).
// 3. A call that took something out of the kernel returns it, even if a cancel comes meanwhile.
// 4. A handle owns its descriptor and is borrowed by each call. So no call uses a descriptor that
//    was closed: its number may be another socket's by now.
//
// Nothing here is locked. What clones share is in `StreamState`, `KnownPatience` and `Listening`.

mod addrs;
mod connect;
mod datagram;
mod first_look;
mod incoming;
mod like_std;
mod listening;
mod lookup;
mod socket;
mod stream;
mod stream_state;
mod tcp_listener;
mod tcp_stream;
mod udp_socket;
mod unix_addr;
mod unix_datagram;
mod unix_listener;
mod unix_stream;

pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};
/// The address of a Unix socket: std's `std::os::unix::net::SocketAddr`.
pub use std::os::unix::net::SocketAddr as UnixSocketAddr;

pub use addrs::ToSocketAddrs;
pub use incoming::{Incoming, UnixIncoming};
pub use lookup::lookup;
pub use tcp_listener::TcpListener;
pub use tcp_stream::TcpStream;
pub use udp_socket::UdpSocket;
pub use unix_datagram::UnixDatagram;
pub use unix_listener::UnixListener;
pub use unix_stream::UnixStream;
