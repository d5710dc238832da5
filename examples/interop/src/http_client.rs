//! ureq: an agent with streams of this crate as connections, so that each of its calls ends with
//! the scope of its thread. Nothing is shut down: the agent and its pool go on for other scopes.

use std::{
    io,
    io::{Read, Write},
    net::Shutdown,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use taskgroup::{
    Cancelled,
    net::{self, TcpStream},
};
use ureq::{
    Agent, Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{
            Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
            ShutdownHandle, Transport,
        },
    },
};

/// Most addresses that ureq has room for.
const MOST_ADDRESSES: usize = 16;

/// Returns an agent. Its requests end with the scope of the thread that makes them.
///
/// # Cancellation
///
/// Look-ups, connects, writes and reads end, with an error that [`request`] turns into the cancel.
/// The connection is closed, since the rest of an answer may still come.
pub fn agent(config: Config) -> Agent {
    // For `https`, chain ureq's `RustlsConnector` behind: it takes any transport.
    Agent::with_parts(config, Connections, Names)
}

/// Runs a request of an [`agent`], or the read of a body, so that its cancel is seen.
///
/// `ureq::Error` has no source, so neither `timeout` nor a task group would find the `Cancelled` in
/// it. An `io::Error` has.
///
/// # Errors
///
/// `std::io::Error` for what ureq has as `Error::Io`, which holds the `Cancelled` after a cancel.
/// Otherwise `ureq::Error`.
pub fn request<T>(run: impl FnOnce() -> Result<T, Error>) -> anyhow::Result<T> {
    match run() {
        Err(Error::Io(error)) => Err(error.into()),
        outcome => Ok(outcome?),
    }
}

/// Opens streams of this crate.
#[derive(Debug)]
pub struct Connections;

impl<In: Transport> Connector<In> for Connections {
    type Out = Either<In, Connection>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        // A connector before this one, such as the connector of a proxy, has connected.
        if let Some(connected) = chained {
            return Ok(Some(Either::A(connected)));
        }

        let stream = connect(details)?;
        if details.config.no_delay() {
            stream.set_nodelay(true)?;
        }
        let socket = Arc::new(Socket(stream));
        let handle: Weak<dyn ShutdownHandle> = Arc::downgrade(&socket) as _;
        (details.register_shutdown)(handle)?;
        let config = details.config;
        Ok(Some(Either::B(Connection {
            socket,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        })))
    }
}

/// Connects to the first address that accepts, in the time that ureq leaves.
fn connect(details: &ConnectionDetails) -> Result<TcpStream, Error> {
    let begun = Instant::now();
    let limit = details.timeout.not_zero().map(|limit| *limit);
    let mut failed = None;
    for address in &details.addrs {
        let connected = match limit {
            Some(limit) => match limit.checked_sub(begun.elapsed()) {
                Some(left) if !left.is_zero() => TcpStream::connect_timeout(address, left),
                _ => return Err(Error::Timeout(details.timeout.reason)),
            },
            None => TcpStream::connect(*address),
        };
        match connected {
            Ok(stream) => return Ok(stream),
            // The cancel is not the fault of this address.
            Err(error) if Cancelled::find(&error).is_some() => return Err(error.into()),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.map_or(Error::HostNotFound, |error| timed(error, details.timeout)))
}

/// The time limit of ureq, if it is that, and otherwise the error.
fn timed(error: io::Error, limit: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(limit.reason),
        _ => error.into(),
    }
}

/// A stream that `Agent::shutdown` can reach.
#[derive(Debug)]
struct Socket(TcpStream);

impl ShutdownHandle for Socket {
    fn shutdown(&self) {
        // An error means that the connection is closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// A connection of an [`agent`].
#[derive(Debug)]
pub struct Connection {
    socket: Arc<Socket>,
    buffers: LazyBuffers,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, limit: NextTimeout) -> Result<(), Error> {
        let limit = limit.for_write();
        let mut stream = &self.socket.0;
        stream.set_write_timeout(of_call(limit))?;
        stream
            .write_all(&self.buffers.output()[..amount])
            .map_err(|error| timed(error, limit))
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, Error> {
        let limit = limit.for_read();
        let mut stream = &self.socket.0;
        stream.set_read_timeout(of_call(limit))?;
        let amount = stream
            .read(self.buffers.input_append_buf())
            .map_err(|error| timed(error, limit))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        let stream = &self.socket.0;

        // Open if there is nothing to read: neither the end nor bytes without a request. ureq asks
        // after an answer that was complete, even in a scope that was cancelled meanwhile.
        taskgroup::shield(|| {
            let asked = stream.set_nonblocking(true);
            let nothing = asked.and_then(|()| stream.peek(&mut [0]));
            let nothing = nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            stream.set_nonblocking(false).is_ok() && nothing
        })
    }
}

/// Returns the limit of one call on a socket.
fn of_call(limit: NextTimeout) -> Option<Duration> {
    limit.not_zero().map(|limit| *limit)
}

/// Looks names up so that a cancel ends the wait.
#[derive(Debug)]
pub struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        limit: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let parts = uri.scheme().zip(uri.authority());
        let host =
            parts.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let host = host.ok_or_else(|| Error::BadUri(uri.to_string()))?;

        // The deadline around holds for the look-up too. `None` is the limit of ureq.
        let look_up = || net::lookup(host);
        let found = match of_call(limit) {
            Some(limit) => taskgroup::timeout(limit, look_up)?,
            None => Some(look_up()?),
        };

        let found = found.ok_or(Error::Timeout(limit.reason))?;

        let mut addresses = self.empty();
        let family = config.ip_family();
        family
            .keep_wanted(found.into_iter())
            .take(MOST_ADDRESSES)
            .for_each(|address| addresses.push(address));
        if addresses.is_empty() {
            return Err(Error::HostNotFound);
        }
        Ok(addresses)
    }
}
