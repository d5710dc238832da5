//! The time from a cancel to the end of a call that waits for the outside world.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use taskgroup::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use taskgroup::process::Command;
use taskgroup::{TaskGroup, io};

use crate::process::{in_child, need_descriptors};
use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, micros, millis};
use crate::wake::latency;

pub(crate) fn io_wake(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let contestants = vec![
        Contestant::new("bare eventfd wake of a poll", || bare(0)),
        Contestant::new("the same, the sleeper having yielded", || bare(4)),
        Contestant::new(
            "the same, and the close of a connecting socket",
            bare_connect,
        ),
        cancelled("TcpListener::accept", || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            latency(Box::new(|| listener.accept().is_err()))
        }),
        cancelled("TcpStream::connect", connect),
        cancelled("TcpStream::read", || {
            let (near, _far) = pair()?;
            latency(Box::new(|| (&near).read(&mut [0]).is_err()))
        }),
        cancelled("TcpStream::write", || {
            let (near, _far) = pair()?;
            let bytes = vec![0; 64 << 20];
            latency(Box::new(|| (&near).write_all(&bytes).is_err()))
        }),
        cancelled("UdpSocket::recv", || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            latency(Box::new(|| socket.recv(&mut [0]).is_err()))
        }),
        cancelled("PipeReader::read", || {
            let (reader, _writer) = io::pipe()?;
            latency(Box::new(|| (&reader).read(&mut [0]).is_err()))
        }),
        // In a new process, of which it is the first cancel.
        Contestant::new("Stdin::read_line", || in_child(STDIN)).goal(Goal::Largest(10_000.0)),
        // The child has to end first: it gets a signal, and is reaped.
        Contestant::new("Child::wait", || {
            let child = Command::new("sleep").arg("60").spawn()?;
            latency(Box::new(|| child.wait().is_err()))
        })
        .goal(Goal::Largest(10_000.0)),
    ];
    let title = Title {
        row: "io-wake",
        case: "one task blocked, cancel to awake",
        unit: "us",
    };
    report.table(&title, contestants, effort.rounds(61))
}

fn cancelled(name: &str, sample: fn() -> anyhow::Result<f64>) -> Contestant<'static> {
    Contestant::new(name, sample)
        .goal(Goal::InverseRatio(1.2))
        .goal(Goal::Largest(10_000.0))
}

/// The figure of a child process with a standard input that is a pipe and stays empty.
pub(crate) const STDIN: &str = "cancel-of-stdin";

pub(crate) fn of_stdin() -> anyhow::Result<f64> {
    latency(Box::new(|| {
        io::stdin().read_line(&mut String::new()).is_err()
    }))
}

fn pair() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    Ok((near, listener.accept()?.0))
}

/// A listener with a full queue, so that a further connect is never answered.
struct Unanswered {
    address: SocketAddr,
    _listener: std::net::TcpListener,
    _queued: Vec<TcpStream>,
}

impl Unanswered {
    fn new() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        rustix::net::listen(&listener, 0)?;
        let address = listener.local_addr()?;
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(20)) {
            queued.push(stream);
            ensure!(queued.len() < 100, "the queue does not get full");
        }
        Ok(Unanswered {
            address,
            _listener: listener,
            _queued: queued,
        })
    }
}

fn connect() -> anyhow::Result<f64> {
    let unanswered = Unanswered::new()?;
    latency(Box::new(|| TcpStream::connect(unanswered.address).is_err()))
}

/// A thread in `poll` that another wakes by an eventfd. A thread that has yielded before has less
/// of a claim to the core when it is woken.
fn bare(yields: usize) -> anyhow::Result<f64> {
    let (near, _far) = UnixStream::pair()?;
    wake_of_a_poll(near.into(), PollFlags::IN, yields)
}

/// Measures a connect that is cancelled by hand: the woken thread closes the socket.
fn bare_connect() -> anyhow::Result<f64> {
    let unanswered = Unanswered::new()?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    let started = rustix::net::connect(&socket, &unanswered.address);
    ensure!(started == Err(Errno::INPROGRESS), "the connect is answered");
    wake_of_a_poll(socket, PollFlags::OUT, 0)
}

/// Returns the time from the write to an eventfd until a thread in a poll of `fd` and the eventfd
/// has woken and closed `fd`, unless that is to be readable.
fn wake_of_a_poll(fd: OwnedFd, flags: PollFlags, yields: usize) -> anyhow::Result<f64> {
    let waker = eventfd(0, EventfdFlags::empty())?;
    let (entering, entered) = std::sync::mpsc::channel();
    thread::scope(|threads| {
        let waker = &waker;
        let sleeper = threads.spawn(move || -> anyhow::Result<Instant> {
            entering.send(())?;
            let mut fds = [
                PollFd::from_borrowed_fd(fd.as_fd(), flags),
                PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN),
            ];
            (0..yields).for_each(|_| thread::yield_now());
            poll(&mut fds, None)?;
            if flags == PollFlags::OUT {
                drop(fd);
            }
            Ok(Instant::now())
        });
        entered.recv()?;
        thread::sleep(Duration::from_millis(3));
        let called = Instant::now();
        rustix::io::write(waker, &1_u64.to_ne_bytes())?;
        let awake = sleeper.join().ok().context("the sleeper panicked")??;
        Ok(micros(awake.saturating_duration_since(called)))
    })
}

/// Connections that are blocked in a read.
pub(crate) const MANY: usize = 1_000;

pub(crate) fn io_cancel(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    // Each connection has two ends, and a thread that waits has its waker.
    need_descriptors(3 * MANY)?;
    let contestants = vec![
        Contestant::new("taskgroup: cancel, end of scope", many_of_ours),
        Contestant::new("by hand: shut each down, join each thread", many_by_hand)
            .goal(Goal::Ratio(1.0)),
    ];
    let title = Title {
        row: "io-cancel",
        case: "1 000 connections blocked in a read",
        unit: "ms",
    };
    report.table(&title, contestants, effort.rounds(11))
}

/// Returns when all have begun to block, and most have fallen asleep.
pub(crate) fn settle(begun: &AtomicUsize) {
    while begun.load(Ordering::Relaxed) < MANY {
        thread::sleep(Duration::from_micros(200));
    }
    thread::sleep(Duration::from_millis(50));
}

fn many_of_ours() -> anyhow::Result<f64> {
    let pairs = (0..MANY).map(|_| UnixStream::pair());
    let pairs: Vec<_> = pairs.collect::<Result<_, _>>()?;
    let begun = &AtomicUsize::new(0);
    let mut cancelled = None;
    TaskGroup::scope(|g| {
        for (near, _far) in &pairs {
            g.spawn(move || {
                begun.fetch_add(1, Ordering::Relaxed);
                let mut near = near;
                near.read_exact(&mut [0])?;
                Ok(())
            });
        }
        settle(begun);
        cancelled = Some(Instant::now());
        g.cancel();
        Ok(())
    })?;
    Ok(millis(cancelled.context("it was cancelled")?.elapsed()))
}

fn many_by_hand() -> anyhow::Result<f64> {
    let pairs = (0..MANY).map(|_| std::os::unix::net::UnixStream::pair());
    let pairs: Vec<_> = pairs.collect::<Result<_, _>>()?;
    let begun = &AtomicUsize::new(0);
    thread::scope(|threads| {
        let readers: Vec<_> = pairs
            .iter()
            .map(|(near, _far)| {
                threads.spawn(move || {
                    begun.fetch_add(1, Ordering::Relaxed);
                    let mut near = near;
                    near.read(&mut [0])
                })
            })
            .collect();
        settle(begun);
        let stopped = Instant::now();
        for (near, _far) in &pairs {
            near.shutdown(std::net::Shutdown::Both)?;
        }
        for reader in readers {
            reader.join().ok().context("a reader panicked")??;
        }
        Ok(millis(stopped.elapsed()))
    })
}
