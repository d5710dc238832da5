//! A thousand connections in one scope: tasks that are cancelled, one by one and together, and
//! peers that go away.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use taskgroup::net::{TcpListener, TcpStream};
use taskgroup::{TaskGroup, TaskHandle, shield};

use crate::blocked::the_cancel;
use crate::support::{Gate, alone, watch};

/// More than the buffers of both ends hold.
const MUCH: usize = 1 << 19;

/// A small generator of numbers, so that a run can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// All that the peer sends comes back to it.
    Echoed,
    /// The task is cancelled in a read, or before it.
    CutRead,
    /// The task is cancelled in the middle of a write.
    CutWrite,
    /// The peer closes the connection.
    Closed,
    /// The peer resets the connection.
    Reset,
    /// The scope is cancelled.
    Kept,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    number: usize,
    end: End,
    /// How many bytes the peer sends.
    length: usize,
}

impl Plan {
    /// The first bytes of the stream, which differ from connection to connection.
    fn bytes(self, length: usize) -> Vec<u8> {
        // A prime, so that bytes that are lost or come twice shift the rest.
        const PERIOD: u32 = 4093;

        let seed = (self.number as u32).wrapping_mul(PERIOD);
        let mixed = |at: u32| (seed + at).wrapping_mul(0x9E37_79B9).to_be_bytes()[0];
        let period: Vec<_> = (0..PERIOD).map(mixed).collect();
        let mut bytes = period.repeat(length / period.len() + 1);
        bytes.truncate(length);
        bytes
    }
}

/// Reads a little more of a stream, and returns how much. Zero is the end.
fn read_on(stream: &mut TcpStream, received: &mut Vec<u8>) -> std::io::Result<usize> {
    // Short, so that a cancel can come between two reads.
    let mut buf = [0; 700];
    let length = stream.read(&mut buf)?;
    received.extend_from_slice(&buf[..length]);
    Ok(length)
}

/// Reads until there is an error.
fn read_to_error(stream: &mut TcpStream, received: &mut Vec<u8>) -> std::io::Error {
    loop {
        match read_on(stream, received) {
            Ok(length) => assert_ne!(length, 0, "this is no end"),
            Err(error) => return error,
        }
    }
}

/// The side of the task.
fn serve(plan: Plan, mut stream: TcpStream) {
    let mut received = Vec::new();
    match plan.end {
        End::Echoed => {
            let mut begin = 0;
            while read_on(&mut stream, &mut received).unwrap() > 0 {
                stream.write_all(&received[begin..]).unwrap();
                begin = received.len();
            }
        }
        End::CutRead | End::Kept => {
            let cut = read_to_error(&mut stream, &mut received);
            the_cancel(Err::<(), _>(cut));
            // The rest is still there, and the stream is whole.
            shield(|| {
                while received.len() < plan.length {
                    assert_ne!(read_on(&mut stream, &mut received).unwrap(), 0);
                }
                stream.write_all(b"x").unwrap();
            });
        }
        End::CutWrite => {
            the_cancel(stream.write_all(&plan.bytes(MUCH)));
            let broken = shield(|| stream.write(b"x")).unwrap_err();
            assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
            assert!(broken.to_string().contains("cancelled"), "{broken}");
            return;
        }
        End::Closed => {
            while read_on(&mut stream, &mut received).unwrap() > 0 {}
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
        End::Reset => {
            stream.write_all(b"x").unwrap();
            let reset = read_to_error(&mut stream, &mut received);
            assert_eq!(reset.kind(), ErrorKind::ConnectionReset, "{reset}");
        }
    }

    // The length first: a text with all the bytes would be long.
    assert_eq!(received.len(), plan.length, "{plan:?}");
    assert!(received == plan.bytes(plan.length), "{plan:?}");
}

/// The side of the peer. Returns the stream if the connection is kept.
fn play(
    plan: Plan,
    mut stream: std::net::TcpStream,
    task: &TaskHandle<'_, ()>,
) -> Option<std::net::TcpStream> {
    if plan.end == End::CutWrite {
        // From the first byte on the message is cut, since it cannot fit.
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        task.cancel();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received.len() < MUCH, "{plan:?}");
        assert!(received == plan.bytes(received.len()), "{plan:?}");
        task.wait().unwrap();
        return None;
    }

    stream.write_all(&plan.bytes(plan.length)).unwrap();
    let mut answer = Vec::new();
    match plan.end {
        End::Echoed => {
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer == plan.bytes(plan.length), "{plan:?}");
        }
        End::CutRead => {
            task.cancel();
            stream.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"x", "{plan:?}");
        }
        // A close with a byte that was not read is a reset.
        End::Reset => assert_eq!(stream.peek(&mut [0]).unwrap(), 1),
        End::Kept => return Some(stream),
        End::Closed | End::CutWrite => {}
    }

    // The cancel of the scope must not be quicker than what this end tells the task.
    drop(stream);
    task.wait().unwrap();
    None
}

/// Returns how many files the process has open, apart from the wakers of its threads.
fn open_files() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    targets
        .filter(|target| !target.to_string_lossy().contains("eventfd"))
        .count()
}

/// Lets the process have as many descriptors as it may, and returns how many connections it can
/// have then: each is two sockets and a waker.
fn possible_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = limit.maximum.map_or(usize::MAX, |most| most as usize);
    1_000.min(most / 4)
}

#[test]
fn of_a_thousand_connections_each_ends_as_it_must() {
    alone("of_a_thousand_connections_each_ends_as_it_must", || {
        let _watch = watch();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let before = open_files();

        let mut chance = Chance(0x5EED);
        let plans = plans(possible_connections(), &mut chance);
        let connections = plans.len();
        let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let all_have_begun = Gate::default();
        let kept = TaskGroup::scope(|g| {
            let mut peers = Vec::new();
            for plan in plans {
                let (peer, stream) = connect(&listener, plan.end)?;
                let (begun, ended, all_have_begun) = (&begun, &ended, &all_have_begun);
                let task = g.spawn(move || {
                    if begun.fetch_add(1, Ordering::SeqCst) + 1 == connections {
                        all_have_begun.open();
                    }
                    serve(plan, stream);
                    ended.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                });
                peers.push((plan, peer, task));
            }
            // A task that has not begun would not begin after its cancel.
            all_have_begun.wait();

            let kept = play_all(peers, &mut chance);
            g.cancel();
            Ok(kept)
        });

        // A task that failed its assertions would be in the report.
        let kept = kept.unwrap();
        assert_eq!(ended.load(Ordering::SeqCst), connections);
        assert!(!kept.is_empty());
        for mut peer in kept {
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"x", "a cancelled read breaks no stream");
        }
        assert_eq!(open_files(), before);
    });
}

fn plans(connections: usize, chance: &mut Chance) -> Vec<Plan> {
    let ends = [
        End::Echoed,
        End::CutRead,
        End::CutWrite,
        End::Closed,
        End::Reset,
        End::Kept,
    ];
    (0..connections)
        .map(|number| Plan {
            number,
            end: ends[chance.below(ends.len())],
            length: chance.below(20_000),
        })
        .collect()
}

/// Makes a connection. Returns the end of the peer, and the one of the task.
fn connect(listener: &TcpListener, end: End) -> anyhow::Result<(std::net::TcpStream, TcpStream)> {
    let peer = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (stream, _) = listener.accept()?;
    if end == End::CutWrite {
        // Only here: a receive buffer below the size of a segment makes the system wait for its
        // timers.
        set_socket_send_buffer_size(&stream, 1 << 16)?;
    }
    Ok((peer, stream))
}

/// Plays the peers in an order of their own, and several at once. Returns those that are kept.
fn play_all(
    mut peers: Vec<(Plan, std::net::TcpStream, TaskHandle<'_, ()>)>,
    chance: &mut Chance,
) -> Vec<std::net::TcpStream> {
    for at in (1..peers.len()).rev() {
        peers.swap(at, chance.below(at + 1));
    }
    let mut shares = [const { Vec::new() }; 4];
    for (at, peer) in peers.into_iter().enumerate() {
        shares[at % 4].push(peer);
    }
    thread::scope(|threads| {
        let players = shares.map(|share| {
            threads.spawn(move || {
                let played = share.into_iter();
                let kept = played.filter_map(|(plan, peer, task)| play(plan, peer, &task));
                kept.collect::<Vec<_>>()
            })
        });
        let kept = players.map(|player| player.join().unwrap());
        kept.into_iter().flatten().collect()
    })
}
