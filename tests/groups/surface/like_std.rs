//! Sockets, pipes and children, most of which have the names of std.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use taskgroup::Cancelled;
use taskgroup::{io, net, process};

fn stream<T>()
where
    T: io::Read + io::Write + Debug + AsFd + AsRawFd + Send + Sync + 'static,
    for<'a> &'a T: io::Read + io::Write,
{
}

fn descriptor<T: Debug + AsFd + AsRawFd + Send + Sync + 'static>() {}

/// The methods of the sockets for the Internet, of a module like `std::net`.
macro_rules! internet {
    ($name:ident, $net:path) => {
        mod $name {
            use super::*;
            use $net::{
                Incoming, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4,
                SocketAddrV6, TcpListener, TcpStream, ToSocketAddrs, UdpSocket,
            };

            type Limit = Option<Duration>;

            pub(super) fn tcp() {
                stream::<TcpStream>();
                descriptor::<TcpListener>();
                is![
                    TcpListener::bind::<&str> => fn(&'static str) -> io::Result<TcpListener>,
                    TcpListener::accept => fn(&TcpListener) -> io::Result<(TcpStream, SocketAddr)>,
                    TcpListener::incoming => fn(&TcpListener) -> Incoming<'_>,
                    |incoming| incoming.next()
                        => fn(&mut Incoming<'_>) -> Option<io::Result<TcpStream>>,
                    TcpListener::local_addr => fn(&TcpListener) -> io::Result<SocketAddr>,
                    TcpListener::try_clone => fn(&TcpListener) -> io::Result<TcpListener>,
                    TcpListener::set_nonblocking => fn(&TcpListener, bool) -> io::Result<()>,
                    TcpListener::set_ttl => fn(&TcpListener, u32) -> io::Result<()>,
                    TcpListener::ttl => fn(&TcpListener) -> io::Result<u32>,
                    TcpListener::take_error => fn(&TcpListener) -> io::Result<Option<io::Error>>,
                    TcpStream::connect::<(&str, u16)>
                        => fn((&'static str, u16)) -> io::Result<TcpStream>,
                    TcpStream::connect_timeout
                        => fn(&SocketAddr, Duration) -> io::Result<TcpStream>,
                    TcpStream::local_addr => fn(&TcpStream) -> io::Result<SocketAddr>,
                    TcpStream::peer_addr => fn(&TcpStream) -> io::Result<SocketAddr>,
                    TcpStream::peek => fn(&TcpStream, &mut [u8]) -> io::Result<usize>,
                    TcpStream::shutdown => fn(&TcpStream, Shutdown) -> io::Result<()>,
                    TcpStream::try_clone => fn(&TcpStream) -> io::Result<TcpStream>,
                    TcpStream::set_nonblocking => fn(&TcpStream, bool) -> io::Result<()>,
                    TcpStream::set_nodelay => fn(&TcpStream, bool) -> io::Result<()>,
                    TcpStream::nodelay => fn(&TcpStream) -> io::Result<bool>,
                    TcpStream::set_read_timeout => fn(&TcpStream, Limit) -> io::Result<()>,
                    TcpStream::set_write_timeout => fn(&TcpStream, Limit) -> io::Result<()>,
                    TcpStream::read_timeout => fn(&TcpStream) -> io::Result<Limit>,
                    TcpStream::write_timeout => fn(&TcpStream) -> io::Result<Limit>,
                    TcpStream::set_ttl => fn(&TcpStream, u32) -> io::Result<()>,
                    TcpStream::ttl => fn(&TcpStream) -> io::Result<u32>,
                    TcpStream::take_error => fn(&TcpStream) -> io::Result<Option<io::Error>>,
                ];
            }

            pub(super) fn udp() {
                descriptor::<UdpSocket>();
                is![
                    UdpSocket::bind::<SocketAddr> => fn(SocketAddr) -> io::Result<UdpSocket>,
                    UdpSocket::connect::<&str> => fn(&UdpSocket, &'static str) -> io::Result<()>,
                    UdpSocket::send => fn(&UdpSocket, &[u8]) -> io::Result<usize>,
                    UdpSocket::send_to::<SocketAddr>
                        => fn(&UdpSocket, &[u8], SocketAddr) -> io::Result<usize>,
                    UdpSocket::recv => fn(&UdpSocket, &mut [u8]) -> io::Result<usize>,
                    UdpSocket::recv_from
                        => fn(&UdpSocket, &mut [u8]) -> io::Result<(usize, SocketAddr)>,
                    UdpSocket::peek => fn(&UdpSocket, &mut [u8]) -> io::Result<usize>,
                    UdpSocket::peek_from
                        => fn(&UdpSocket, &mut [u8]) -> io::Result<(usize, SocketAddr)>,
                    UdpSocket::local_addr => fn(&UdpSocket) -> io::Result<SocketAddr>,
                    UdpSocket::peer_addr => fn(&UdpSocket) -> io::Result<SocketAddr>,
                    UdpSocket::try_clone => fn(&UdpSocket) -> io::Result<UdpSocket>,
                    UdpSocket::set_nonblocking => fn(&UdpSocket, bool) -> io::Result<()>,
                    UdpSocket::set_read_timeout => fn(&UdpSocket, Limit) -> io::Result<()>,
                    UdpSocket::set_write_timeout => fn(&UdpSocket, Limit) -> io::Result<()>,
                    UdpSocket::read_timeout => fn(&UdpSocket) -> io::Result<Limit>,
                    UdpSocket::write_timeout => fn(&UdpSocket) -> io::Result<Limit>,
                    UdpSocket::take_error => fn(&UdpSocket) -> io::Result<Option<io::Error>>,
                    UdpSocket::set_broadcast => fn(&UdpSocket, bool) -> io::Result<()>,
                    UdpSocket::broadcast => fn(&UdpSocket) -> io::Result<bool>,
                    UdpSocket::set_ttl => fn(&UdpSocket, u32) -> io::Result<()>,
                    UdpSocket::ttl => fn(&UdpSocket) -> io::Result<u32>,
                    UdpSocket::set_multicast_loop_v4 => fn(&UdpSocket, bool) -> io::Result<()>,
                    UdpSocket::multicast_loop_v4 => fn(&UdpSocket) -> io::Result<bool>,
                    UdpSocket::set_multicast_ttl_v4 => fn(&UdpSocket, u32) -> io::Result<()>,
                    UdpSocket::multicast_ttl_v4 => fn(&UdpSocket) -> io::Result<u32>,
                    UdpSocket::set_multicast_loop_v6 => fn(&UdpSocket, bool) -> io::Result<()>,
                    UdpSocket::multicast_loop_v6 => fn(&UdpSocket) -> io::Result<bool>,
                    UdpSocket::join_multicast_v4
                        => fn(&UdpSocket, &Ipv4Addr, &Ipv4Addr) -> io::Result<()>,
                    UdpSocket::leave_multicast_v4
                        => fn(&UdpSocket, &Ipv4Addr, &Ipv4Addr) -> io::Result<()>,
                    UdpSocket::join_multicast_v6
                        => fn(&UdpSocket, &Ipv6Addr, u32) -> io::Result<()>,
                    UdpSocket::leave_multicast_v6
                        => fn(&UdpSocket, &Ipv6Addr, u32) -> io::Result<()>,
                ];
            }

            pub(super) fn addresses(v4: SocketAddrV4, v6: SocketAddrV6) {
                fn host(_: impl ToSocketAddrs) {}
                host("localhost:80");
                host(String::from("localhost:80"));
                host(("localhost", 80));
                host((String::from("localhost"), 80));
                host((IpAddr::from(*v4.ip()), 80));
                host((*v4.ip(), 80));
                host((*v6.ip(), 80));
                host((v4, v6).0);
                host(v6);
                host(SocketAddr::from(v4));
                host(&[SocketAddr::from(v4), v6.into()][..]);
                host(&SocketAddr::from(v4));
            }
        }
    };
}

internet!(std_net, std::net);

internet!(our_net, taskgroup::net);

/// The methods of the Unix sockets of a module like `std::os::unix::net`.
macro_rules! unix {
    ($name:ident, $net:path, $incoming:ident) => {
        mod $name {
            use super::*;
            use std::net::Shutdown;
            use std::os::unix::net::SocketAddr;
            use $net::{$incoming, UnixDatagram, UnixListener, UnixStream};

            type Limit = Option<Duration>;

            pub(super) fn streams() {
                stream::<UnixStream>();
                descriptor::<UnixListener>();
                is![
                    UnixListener::bind::<&Path> => fn(&'static Path) -> io::Result<UnixListener>,
                    UnixListener::bind_addr => fn(&SocketAddr) -> io::Result<UnixListener>,
                    UnixListener::accept
                        => fn(&UnixListener) -> io::Result<(UnixStream, SocketAddr)>,
                    UnixListener::incoming => fn(&UnixListener) -> $incoming<'_>,
                    <&UnixListener as IntoIterator>::into_iter
                        => fn(&'static UnixListener) -> $incoming<'static>,
                    UnixListener::local_addr => fn(&UnixListener) -> io::Result<SocketAddr>,
                    UnixListener::try_clone => fn(&UnixListener) -> io::Result<UnixListener>,
                    UnixListener::set_nonblocking => fn(&UnixListener, bool) -> io::Result<()>,
                    UnixListener::take_error => fn(&UnixListener) -> io::Result<Option<io::Error>>,
                    UnixStream::connect::<&Path> => fn(&'static Path) -> io::Result<UnixStream>,
                    UnixStream::connect_addr => fn(&SocketAddr) -> io::Result<UnixStream>,
                    UnixStream::pair => fn() -> io::Result<(UnixStream, UnixStream)>,
                    UnixStream::try_clone => fn(&UnixStream) -> io::Result<UnixStream>,
                    UnixStream::local_addr => fn(&UnixStream) -> io::Result<SocketAddr>,
                    UnixStream::peer_addr => fn(&UnixStream) -> io::Result<SocketAddr>,
                    UnixStream::set_nonblocking => fn(&UnixStream, bool) -> io::Result<()>,
                    UnixStream::set_read_timeout => fn(&UnixStream, Limit) -> io::Result<()>,
                    UnixStream::set_write_timeout => fn(&UnixStream, Limit) -> io::Result<()>,
                    UnixStream::read_timeout => fn(&UnixStream) -> io::Result<Limit>,
                    UnixStream::write_timeout => fn(&UnixStream) -> io::Result<Limit>,
                    UnixStream::take_error => fn(&UnixStream) -> io::Result<Option<io::Error>>,
                    UnixStream::shutdown => fn(&UnixStream, Shutdown) -> io::Result<()>,
                ];
            }

            pub(super) fn datagrams() {
                descriptor::<UnixDatagram>();
                is![
                    UnixDatagram::bind::<&Path> => fn(&'static Path) -> io::Result<UnixDatagram>,
                    UnixDatagram::bind_addr => fn(&SocketAddr) -> io::Result<UnixDatagram>,
                    UnixDatagram::unbound => fn() -> io::Result<UnixDatagram>,
                    UnixDatagram::pair => fn() -> io::Result<(UnixDatagram, UnixDatagram)>,
                    UnixDatagram::connect::<&Path>
                        => fn(&UnixDatagram, &'static Path) -> io::Result<()>,
                    UnixDatagram::connect_addr => fn(&UnixDatagram, &SocketAddr) -> io::Result<()>,
                    UnixDatagram::try_clone => fn(&UnixDatagram) -> io::Result<UnixDatagram>,
                    UnixDatagram::local_addr => fn(&UnixDatagram) -> io::Result<SocketAddr>,
                    UnixDatagram::peer_addr => fn(&UnixDatagram) -> io::Result<SocketAddr>,
                    UnixDatagram::recv => fn(&UnixDatagram, &mut [u8]) -> io::Result<usize>,
                    UnixDatagram::recv_from
                        => fn(&UnixDatagram, &mut [u8]) -> io::Result<(usize, SocketAddr)>,
                    UnixDatagram::send => fn(&UnixDatagram, &[u8]) -> io::Result<usize>,
                    UnixDatagram::send_to::<&Path>
                        => fn(&UnixDatagram, &[u8], &'static Path) -> io::Result<usize>,
                    UnixDatagram::send_to_addr
                        => fn(&UnixDatagram, &[u8], &SocketAddr) -> io::Result<usize>,
                    UnixDatagram::set_nonblocking => fn(&UnixDatagram, bool) -> io::Result<()>,
                    UnixDatagram::set_read_timeout => fn(&UnixDatagram, Limit) -> io::Result<()>,
                    UnixDatagram::set_write_timeout => fn(&UnixDatagram, Limit) -> io::Result<()>,
                    UnixDatagram::read_timeout => fn(&UnixDatagram) -> io::Result<Limit>,
                    UnixDatagram::write_timeout => fn(&UnixDatagram) -> io::Result<Limit>,
                    UnixDatagram::take_error => fn(&UnixDatagram) -> io::Result<Option<io::Error>>,
                    UnixDatagram::shutdown => fn(&UnixDatagram, Shutdown) -> io::Result<()>,
                ];
            }
        }
    };
}

use std::os::unix::net as os_net;

unix!(std_unix, super::os_net, Incoming);

unix!(our_unix, taskgroup::net, UnixIncoming);

/// The methods of commands and children of a module like `std::process`. A child of this crate
/// takes `&self`, which `&mut self` allows too.
macro_rules! processes {
    ($name:ident, $process:path) => {
        mod $name {
            use super::*;
            use $process::{
                Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio,
            };

            pub(super) fn command(mut command: Command) -> io::Result<(Child, ExitStatus, Output)> {
                Command::new("a")
                    .arg("b")
                    .args(["c", "d"])
                    .env("e", "f")
                    .envs([("g", "h")])
                    .env_remove("i")
                    .env_clear()
                    .current_dir("/")
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::inherit());
                is![
                    command.get_program() => &OsStr,
                    command.get_args().next() => Option<&OsStr>,
                    command.get_envs().next() => Option<(&OsStr, Option<&OsStr>)>,
                    command.get_current_dir() => Option<&Path>,
                ];
                Ok((command.spawn()?, command.status()?, command.output()?))
            }

            pub(super) fn child(mut child: Child) -> io::Result<Output> {
                fn reads<T: io::Read + Debug + AsFd + Into<Stdio> + Into<OwnedFd>>() {}
                fn writes<T: io::Write + Debug + AsFd + Into<Stdio> + Into<OwnedFd>>()
                where
                    for<'a> &'a T: io::Write,
                {
                }
                reads::<ChildStdout>();
                reads::<ChildStderr>();
                writes::<ChildStdin>();
                is![
                    &child.stdin => &Option<ChildStdin>,
                    &child.stdout => &Option<ChildStdout>,
                    &child.stderr => &Option<ChildStderr>,
                    child.id() => u32,
                    child.try_wait()? => Option<ExitStatus>,
                    child.kill()? => (),
                    child.wait()? => ExitStatus,
                ];
                child.wait_with_output()
            }
        }
    };
}

#[allow(
    unused_mut,
    clippy::no_effect,
    reason = "std's child takes `&mut self`"
)]
mod children {
    use super::*;
    processes!(of_std, std::process);
    processes!(of_ours, taskgroup::process);
    pub(super) fn compiled() {
        let _ = (
            of_std::command,
            of_std::child,
            of_ours::command,
            of_ours::child,
        );
    }
}

/// The parts of standard input and of pipes that std has too.
macro_rules! streams {
    ($name:ident, $io:path) => {
        fn $name() {
            use $io as theirs;
            #[allow(unused_imports, reason = "a trait of std, which others cannot implement")]
            use std::io::IsTerminal;
            fn locked<T: io::BufRead>(_: &T) {}
            stream_of_input::<theirs::Stdin>();
            is![
                theirs::stdin => fn() -> theirs::Stdin,
                |stdin| stdin.is_terminal() => fn(&theirs::Stdin) -> bool,
                theirs::Stdin::read_line => fn(&theirs::Stdin, &mut String) -> io::Result<usize>,
                theirs::Stdin::lock => fn(&theirs::Stdin) -> theirs::StdinLock<'static>,
            ];
            let lines = |stdin: theirs::Stdin| stdin.lines().next().map(|line| line.map(drop));
            is![
                lines => fn(theirs::Stdin) -> Option<io::Result<()>>,
                theirs::copy::<File, Vec<u8>> => fn(&mut File, &mut Vec<u8>) -> io::Result<u64>,
                theirs::copy::<dyn io::Read, dyn io::Write>
                    => fn(&mut (dyn io::Read + 'static), &mut (dyn io::Write + 'static))
                        -> io::Result<u64>,
                theirs::read_to_string::<File> => fn(File) -> io::Result<String>,
                |lock: theirs::StdinLock<'_>| locked(&lock) => fn(theirs::StdinLock<'_>),
            ];
        }
    };
}

fn stream_of_input<T: io::Read + AsFd + Debug + Send + Sync>()
where
    for<'a> &'a T: io::Read,
{
}

streams!(streams_of_std, std::io);

streams!(streams_of_ours, taskgroup::io);

#[test]
fn sockets_have_the_names_of_std() {
    std_net::tcp();
    our_net::tcp();
    std_net::udp();
    our_net::udp();
    let _ = (std_net::addresses, our_net::addresses);
    std_unix::streams();
    our_unix::streams();
    std_unix::datagrams();
    our_unix::datagrams();
    is![net::lookup::<&str> => fn(&'static str) -> io::Result<Vec<net::SocketAddr>>];
}

#[test]
fn sockets_come_from_std_and_go_back() {
    use std::os::unix::net as unix;

    fn is_from<O: From<S> + From<OwnedFd>, S: From<O>>() {}
    fn is_taken<O, S: From<O>>()
    where
        O: TryFrom<S, Error = io::Error> + TryFrom<OwnedFd, Error = io::Error>,
    {
    }
    is_from::<net::TcpStream, std::net::TcpStream>();
    is_from::<net::UdpSocket, std::net::UdpSocket>();
    is_from::<net::UnixStream, unix::UnixStream>();
    is_from::<net::UnixDatagram, unix::UnixDatagram>();
    is_taken::<net::TcpListener, std::net::TcpListener>();
    is_taken::<net::UnixListener, unix::UnixListener>();
    fn is_given<S, O: From<S>>() {}
    is_given::<net::TcpStream, OwnedFd>();
    is_given::<net::TcpListener, OwnedFd>();
    is_given::<net::UdpSocket, OwnedFd>();
    is_given::<net::UnixStream, OwnedFd>();
    is_given::<net::UnixListener, OwnedFd>();
    is_given::<net::UnixDatagram, OwnedFd>();
}

#[test]
fn pipes_files_and_foreign_streams_have_their_names() {
    streams_of_std();
    streams_of_ours();

    fn both<T: io::Read + io::Write + AsFd>() {}
    both::<io::Cancellable<std::os::unix::net::UnixStream>>();
    fn reads<T: io::Read + AsFd + Debug + From<OwnedFd> + Into<process::Stdio>>() {}
    fn writes<T: io::Write + AsFd + Debug + From<OwnedFd> + Into<process::Stdio>>() {}
    reads::<io::PipeReader>();
    writes::<io::PipeWriter>();
    stream::<io::Fifo>();

    is![
        io::Cancellable::new => fn(File) -> io::Result<io::Cancellable<File>>,
        io::Cancellable::get_ref => fn(&io::Cancellable<File>) -> &File,
        io::Cancellable::get_mut => fn(&mut io::Cancellable<File>) -> &mut File,
        io::Cancellable::into_inner => fn(io::Cancellable<File>) -> File,
        io::pipe => fn() -> io::Result<(io::PipeReader, io::PipeWriter)>,
        io::PipeReader::try_clone => fn(&io::PipeReader) -> io::Result<io::PipeReader>,
        io::PipeWriter::try_clone => fn(&io::PipeWriter) -> io::Result<io::PipeWriter>,
        io::open_fifo::<&Path> => fn(&'static Path, &OpenOptions) -> io::Result<io::Fifo>,
        io::lock_file => fn(&File) -> io::Result<()>,
    ];
}

#[test]
fn children_have_the_names_of_std_and_more() {
    use process::{Child, Command, ExitStatus, Output, Partial};

    children::compiled();
    // One import serves, and the types that need no cancel are std's.
    is![process::exit => fn(i32) -> !];
    let _ = std::convert::identity::<fn(std::process::Stdio) -> process::Stdio>(|std| std);

    fn is_converted<T: From<std::process::Command> + Debug>() {}
    is_converted::<Command>();
    fn shared<T: Debug + Send + Sync>() {}
    shared::<Child>();
    shared::<Partial>();
    fn error<T: Error + Send + Sync + 'static>() {}
    error::<Partial>();
    is![
        Command::new::<&str> => fn(&'static str) -> Command,
        Command::stop_with => fn(&mut Command, i32) -> &mut Command,
        Command::grace => fn(&mut Command, Duration) -> &mut Command,
        Command::pipe_delay => fn(&mut Command, Duration) -> &mut Command,
        Command::own_group => fn(&mut Command) -> &mut Command,
        Command::process_group => fn(&mut Command, i32) -> &mut Command,
        Child::wait => fn(&Child) -> io::Result<ExitStatus>,
        Child::try_wait => fn(&Child) -> io::Result<Option<ExitStatus>>,
        Child::wait_with_output => fn(Child) -> io::Result<Output>,
        Child::kill => fn(&Child) -> io::Result<()>,
        Child::stop => fn(&Child) -> io::Result<ExitStatus>,
        Child::detach => fn(Child),
        Partial::stdout => fn(&Partial) -> &[u8],
        Partial::stderr => fn(&Partial) -> &[u8],
        Partial::status => fn(&Partial) -> Option<ExitStatus>,
        Partial::cancelled => fn(&Partial) -> Option<&Cancelled>,
    ];
}
