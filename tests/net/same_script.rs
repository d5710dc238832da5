//! Streams of std and of this crate answer the same script of calls alike, where no cancel is
//! involved. The scripts are drawn by a seed, and no call of them waits for ever.

use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net as std_unix;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_timeout};
use taskgroup::CancelToken;
use taskgroup::net::UnixStream;

use crate::support::watch;

const SCRIPTS: u64 = 100;

/// More than a socket takes.
const MUCH: usize = 400_000;

/// Numbers that differ from seed to seed, and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % limit
    }

    fn lengths(&mut self) -> Vec<usize> {
        let count = self.below(4);
        (0..count).map(|_| self.below(20) as usize).collect()
    }

    fn limit(&mut self) -> Option<Duration> {
        [None, Some(0), Some(1), Some(2)][self.below(4) as usize].map(Duration::from_millis)
    }
}

/// A handle of a stream. The methods are std's, and this crate's of the same names.
trait Handle: From<OwnedFd> + Into<OwnedFd> + Read + Write + AsFd {
    fn another(&self) -> io::Result<Self>;
    fn shut(&self, how: Shutdown) -> io::Result<()>;
    fn be_nonblocking(&self, nonblocking: bool) -> io::Result<()>;
    fn limit(&self, which: Timeout, limit: Option<Duration>) -> io::Result<()>;
    fn limits(&self) -> io::Result<[Option<Duration>; 2]>;
    fn error(&self) -> io::Result<Option<io::Error>>;
    fn there_and_back(self) -> Self;
}

macro_rules! handle {
    ($type:ty) => {
        impl Handle for $type {
            fn another(&self) -> io::Result<Self> {
                self.try_clone()
            }

            fn shut(&self, how: Shutdown) -> io::Result<()> {
                self.shutdown(how)
            }

            fn be_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
                self.set_nonblocking(nonblocking)
            }

            fn limit(&self, which: Timeout, limit: Option<Duration>) -> io::Result<()> {
                match which {
                    Timeout::Recv => self.set_read_timeout(limit),
                    Timeout::Send => self.set_write_timeout(limit),
                }
            }

            fn limits(&self) -> io::Result<[Option<Duration>; 2]> {
                Ok([self.read_timeout()?, self.write_timeout()?])
            }

            fn error(&self) -> io::Result<Option<io::Error>> {
                self.take_error()
            }

            fn there_and_back(self) -> Self {
                std_unix::UnixStream::from(self).into()
            }
        }
    };
}
handle!(std_unix::UnixStream);
handle!(UnixStream);

#[derive(Debug)]
enum Call {
    Write(usize),
    WriteVectored(Vec<usize>),
    WriteAll(usize),
    Read(usize),
    ReadVectored(Vec<usize>),
    ReadExact(usize),
    ReadToEnd,
    SetNonblocking(bool),
    SetLimit(Timeout, Option<Duration>),
    Limits,
    TakeError,
    Shutdown(Shutdown),
    TryClone,
    DropOne,
    DropAll,
    IntoStdAndBack,
    IntoDescriptorAndBack,
    /// Through a descriptor that this crate does not know of.
    SetNonblockingElsewhere(bool),
    SetLimitElsewhere(Timeout, Option<Duration>),
}

impl Call {
    fn draw(numbers: &mut Numbers) -> Self {
        let half = numbers.below(2) == 0;
        let which = if half { Timeout::Recv } else { Timeout::Send };
        let length = numbers.below(50) as usize;
        match numbers.below(40) {
            0..=6 => Call::Write(length),
            7 => Call::Write(MUCH),
            8..=9 => Call::WriteVectored(numbers.lengths()),
            10 => Call::WriteAll(length),
            11 => Call::WriteAll(MUCH),
            12..=17 => Call::Read(length),
            18..=19 => Call::ReadVectored(numbers.lengths()),
            20 => Call::ReadExact(length),
            21 => Call::ReadToEnd,
            22..=24 => Call::SetNonblocking(half),
            25..=27 => Call::SetLimit(which, numbers.limit()),
            28 => Call::Limits,
            29 => Call::TakeError,
            30 => {
                let ways = [Shutdown::Read, Shutdown::Write, Shutdown::Both];
                Call::Shutdown(ways[numbers.below(3) as usize])
            }
            31..=32 => Call::TryClone,
            33 => Call::DropOne,
            34 if half => Call::DropAll,
            34..=35 => Call::IntoStdAndBack,
            36 => Call::IntoDescriptorAndBack,
            37 => Call::SetNonblockingElsewhere(half),
            _ => Call::SetLimitElsewhere(which, numbers.limit()),
        }
    }

    /// How many bytes the call writes at most, in one piece.
    fn most(&self) -> usize {
        match self {
            Call::Write(length) | Call::WriteAll(length) => *length,
            Call::WriteVectored(lengths) => lengths.iter().copied().max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether the call would wait for ever on this socket.
    fn waits_for_ever(&self, socket: BorrowedFd<'_>) -> bool {
        let (which, flags) = match self {
            Call::Write(_) | Call::WriteAll(_) => (Timeout::Send, PollFlags::OUT),
            Call::WriteVectored(lengths) if lengths.iter().any(|length| *length > 0) => {
                (Timeout::Send, PollFlags::OUT)
            }
            Call::ReadVectored(lengths) if lengths.iter().any(|length| *length > 0) => {
                (Timeout::Recv, PollFlags::IN)
            }
            Call::Read(_) | Call::ReadExact(_) | Call::ReadToEnd => (Timeout::Recv, PollFlags::IN),
            _ => return false,
        };
        let is_nonblocking = rustix::fs::fcntl_getfl(socket).unwrap() & OFlags::NONBLOCK;
        if !is_nonblocking.is_empty() || socket_timeout(socket, which).unwrap().is_some() {
            return false;
        }

        let ready = ready(socket);
        match self {
            Call::Write(MUCH) | Call::WriteAll(MUCH) | Call::ReadExact(_) | Call::ReadToEnd => {
                !ready.contains(PollFlags::HUP)
            }
            _ => !ready.intersects(flags | PollFlags::HUP),
        }
    }
}

fn ready(socket: BorrowedFd<'_>) -> PollFlags {
    let flags = PollFlags::IN | PollFlags::OUT;
    let mut sockets = [PollFd::from_borrowed_fd(socket, flags)];
    poll(&mut sockets, Some(&rustix::event::Timespec::default())).unwrap();
    sockets[0].revents()
}

/// Both ends of a connection, each with its handles.
struct Ends<H> {
    handles: [Vec<H>; 2],
    /// The last byte that was written.
    last: u8,
}

impl<H: Handle> Ends<H> {
    fn new((here, there): (H, H)) -> Self {
        Ends {
            handles: [vec![here], vec![there]],
            last: 0,
        }
    }

    fn bytes(&self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|at| self.last.wrapping_add(at as u8))
            .collect()
    }

    /// Makes a call, and returns all that can be seen of it.
    fn call(&mut self, end: usize, handle: usize, call: &Call) -> String {
        let first = self.bytes(call.most());
        let handles = &mut self.handles[end];
        let handle = handle % handles.len();
        let with = &mut handles[handle];
        match call {
            Call::Write(length) => {
                let written = with.write(&first[..*length]);
                self.last = self
                    .last
                    .wrapping_add(*written.as_ref().unwrap_or(&0) as u8);
                text(written)
            }
            Call::WriteVectored(lengths) => {
                let pieces: Vec<_> = lengths
                    .iter()
                    .map(|length| IoSlice::new(&first[..*length]))
                    .collect();
                text(with.write_vectored(&pieces))
            }
            Call::WriteAll(length) => text(with.write_all(&first[..*length])),
            Call::Read(length) => {
                let mut buf = vec![0; *length];
                text(with.read(&mut buf).map(|read| (read, buf)))
            }
            Call::ReadVectored(lengths) => {
                let mut bufs: Vec<_> = lengths.iter().map(|length| vec![0; *length]).collect();
                let mut slices: Vec<_> = bufs.iter_mut().map(|b| IoSliceMut::new(b)).collect();
                let read = with.read_vectored(&mut slices);
                text(read.map(|read| (read, bufs)))
            }
            Call::ReadExact(length) => {
                let mut buf = vec![0; *length];
                let read = text(with.read_exact(&mut buf));
                format!("{read} {buf:?}")
            }
            Call::ReadToEnd => {
                let mut buf = Vec::new();
                let read = text(with.read_to_end(&mut buf));
                format!("{read} {buf:?}")
            }
            Call::SetNonblocking(nonblocking) => text(with.be_nonblocking(*nonblocking)),
            Call::SetLimit(which, limit) => text(with.limit(*which, *limit)),
            Call::Limits => text(with.limits()),
            Call::TakeError => text(with.error().map(|error| error.map(|error| error.kind()))),
            Call::Shutdown(how) => text(with.shut(*how)),
            Call::TryClone => {
                let another = with.another().unwrap();
                handles.push(another);
                String::new()
            }
            Call::DropOne => {
                if handles.len() > 1 {
                    handles.remove(handle);
                }
                String::new()
            }
            Call::DropAll => {
                handles.clear();
                String::new()
            }
            Call::IntoStdAndBack => {
                let back = handles.remove(handle).there_and_back();
                handles.insert(handle, back);
                String::new()
            }
            Call::IntoDescriptorAndBack => {
                let descriptor: OwnedFd = handles.remove(handle).into();
                handles.insert(handle, descriptor.into());
                String::new()
            }
            Call::SetNonblockingElsewhere(nonblocking) => {
                let elsewhere = with.as_fd().try_clone_to_owned().unwrap();
                text(rustix::io::ioctl_fionbio(elsewhere, *nonblocking).map_err(io::Error::from))
            }
            Call::SetLimitElsewhere(which, limit) => {
                let elsewhere = with.as_fd().try_clone_to_owned().unwrap();
                text(set_socket_timeout(elsewhere, *which, *limit).map_err(io::Error::from))
            }
        }
    }

    /// Returns the state of both sockets, as the system sees it.
    fn state(&self) -> String {
        let sockets = self.handles.iter().map(|handles| {
            let socket = handles.first()?.as_fd();
            Some((
                rustix::fs::fcntl_getfl(socket).unwrap(),
                rustix::io::ioctl_fionread(socket).unwrap(),
                ready(socket),
                socket_timeout(socket, Timeout::Recv).unwrap(),
                socket_timeout(socket, Timeout::Send).unwrap(),
            ))
        });
        format!("{:?}", sockets.collect::<Vec<_>>())
    }
}

fn text<T: Debug>(outcome: io::Result<T>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?} {:?}", error.kind(), error.raw_os_error()),
    }
}

/// Runs the script of this seed on both.
fn compare(seed: u64, std: &mut Ends<std_unix::UnixStream>, ours: &mut Ends<UnixStream>) {
    let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut script = Vec::new();
    for _ in 0..5 + numbers.below(60) {
        let call = Call::draw(&mut numbers);
        let (end, handle) = (numbers.below(2) as usize, numbers.below(4) as usize);
        let Some(socket) = std.handles[end].first() else {
            continue;
        };
        if call.waits_for_ever(socket.as_fd()) {
            continue;
        }

        let expected = std.call(end, handle, &call);
        let got = ours.call(end, handle, &call);
        script.push((end, handle, call));
        assert!(
            got == expected,
            "seed {seed}, {script:#?}: {got:.200} is not {expected:.200}"
        );
    }
    assert_eq!(ours.state(), std.state(), "seed {seed}, {script:#?}");
}

#[test]
fn a_script_of_calls_has_the_answers_of_std() {
    let _watch = watch();
    let mut numbers = Numbers(7);
    for seed in 1..=SCRIPTS {
        let std = std_unix::UnixStream::pair().unwrap();
        // Of its own sockets this crate knows more than of those that it is handed.
        let ours = if numbers.below(2) == 0 {
            UnixStream::pair().unwrap()
        } else {
            let (here, there) = std_unix::UnixStream::pair().unwrap();
            (here.into(), there.into())
        };
        let (mut std, mut ours) = (Ends::new(std), Ends::new(ours));
        let mut run = || compare(seed, &mut std, &mut ours);
        match numbers.below(2) {
            0 => run(),
            _ => CancelToken::new().run(run),
        }
    }
}

#[test]
fn vectored_calls_without_a_byte_ask_the_socket_nothing() {
    fn none_twice(mut stream: impl Read + Write) {
        let (empty, room) = ([IoSlice::new(&[]); 2], &mut [][..]);
        for pieces in [&empty[..], &[]] {
            assert_eq!(stream.write_vectored(pieces).unwrap(), 0);
        }
        assert_eq!(stream.read_vectored(&mut []).unwrap(), 0);
        let read = stream.read_vectored(&mut [IoSliceMut::new(room)]);
        assert_eq!(read.unwrap(), 0);
    }

    let _watch = watch();
    let (std, _peer) = std_unix::UnixStream::pair().unwrap();
    let (ours, _peer_of_ours) = UnixStream::pair().unwrap();
    // Nothing is there to be read, and nothing more may be written.
    std.shutdown(Shutdown::Write).unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    none_twice(std);
    none_twice(&ours);

    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        assert!((&mut &ours).write_vectored(&[]).is_err());
        assert!((&mut &ours).read_vectored(&mut []).is_err());
    });
}
