//! Sockets and pipes: what a call costs if its data is ready, and a round trip that always blocks.

use std::fs::File;
use std::io::{Read, Write};
use std::thread;

use anyhow::Context;
use rustix::pipe::{PipeFlags, pipe_with};
use taskgroup::{TaskGroup, io, net};

use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, repeated};

/// Two ends of a connection.
struct Ends<S>(S, S);

pub(crate) fn ready(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    for length in [1, 65_536] {
        let tcp = vec![
            in_a_scope("taskgroup", length, our_tcp),
            in_a_scope("std", length, std_tcp).goal(Goal::Ratio(1.02)),
        ];
        let unix = vec![
            in_a_scope("taskgroup", length, our_unix),
            in_a_scope("std", length, std_unix).goal(Goal::Ratio(1.02)),
        ];
        let pipe = vec![
            in_a_scope("taskgroup", length, our_pipes),
            in_a_scope("std", length, std_pipes).goal(Goal::Ratio(1.02)),
        ];
        let kinds = [("TCP", tcp), ("Unix socket", unix), ("pipe", pipe)];
        for (kind, contestants) in kinds {
            let case = format!("{kind}, {length} bytes written and read by one thread");
            let title = Title {
                row: "io-ready",
                case: &case,
                unit: "ns",
            };
            report.table(&title, contestants, effort.rounds(61))?;
        }
    }
    Ok(())
}

/// Writes and reads in the body of a scope, so that each call checks one.
fn in_a_scope<S: Read + Write + Send + 'static>(
    name: &str,
    length: usize,
    connect: fn() -> anyhow::Result<Ends<S>>,
) -> Contestant<'static> {
    let mut ends = None;
    let mut buffer = vec![0; length];
    let mut sample = repeated(1, move || {
        let Ends(near, far) = match &mut ends {
            Some(ends) => ends,
            none => none.insert(connect()?),
        };
        near.write_all(&buffer)?;
        far.read_exact(&mut buffer)?;
        Ok(())
    });
    Contestant::new(name, move || Ok(TaskGroup::scope(|_| sample())?))
}

fn our_tcp() -> anyhow::Result<Ends<net::TcpStream>> {
    let listener = net::TcpListener::bind("127.0.0.1:0")?;
    let near = net::TcpStream::connect(listener.local_addr()?)?;
    near.set_nodelay(true)?;
    let (far, _) = listener.accept()?;
    far.set_nodelay(true)?;
    Ok(Ends(near, far))
}

fn std_tcp() -> anyhow::Result<Ends<std::net::TcpStream>> {
    let Ends(near, far) = our_tcp()?;
    Ok(Ends(near.into(), far.into()))
}

fn our_unix() -> anyhow::Result<Ends<net::UnixStream>> {
    let (near, far) = net::UnixStream::pair()?;
    Ok(Ends(near, far))
}

fn std_unix() -> anyhow::Result<Ends<std::os::unix::net::UnixStream>> {
    let (near, far) = std::os::unix::net::UnixStream::pair()?;
    Ok(Ends(near, far))
}

/// Round trips in one sample.
const TRIPS: usize = 500;

pub(crate) fn ping_pong(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let tables = [
        (
            "TCP",
            vec![
                ours("taskgroup", our_tcp),
                std_threads("std", std_tcp).goal(Goal::Ratio(1.05)),
            ],
        ),
        (
            "Unix socket",
            vec![
                ours("taskgroup", our_unix),
                std_threads("std", std_unix).goal(Goal::Ratio(1.05)),
            ],
        ),
        (
            "two pipes",
            vec![
                ours("taskgroup", our_pipes),
                std_threads("std", std_pipes).goal(Goal::Ratio(1.05)),
            ],
        ),
    ];
    for (case, contestants) in tables {
        let title = Title {
            row: "io-ping-pong",
            case: &format!("{case}, one byte there and back"),
            unit: "ns",
        };
        report.table(&title, contestants, effort.rounds(41))?;
    }
    Ok(())
}

/// A pipe each way.
struct Pipes<R, W>(R, W);

impl<R: Read, W> Read for Pipes<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R, W: Write> Write for Pipes<R, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn our_pipes() -> anyhow::Result<Ends<Pipes<io::PipeReader, io::PipeWriter>>> {
    let ((near_read, far_write), (far_read, near_write)) = (io::pipe()?, io::pipe()?);
    Ok(Ends(
        Pipes(near_read, near_write),
        Pipes(far_read, far_write),
    ))
}

/// Files, since std has pipes only since 1.87: their calls are the same.
fn std_pipes() -> anyhow::Result<Ends<Pipes<File, File>>> {
    let pipe = || -> anyhow::Result<(File, File)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((reader.into(), writer.into()))
    };
    let ((near_read, far_write), (far_read, near_write)) = (pipe()?, pipe()?);
    Ok(Ends(
        Pipes(near_read, near_write),
        Pipes(far_read, far_write),
    ))
}

fn echo(mut end: impl Read + Write) -> std::io::Result<()> {
    let mut byte = [0];
    for _ in 0..TRIPS {
        end.read_exact(&mut byte)?;
        end.write_all(&byte)?;
    }
    Ok(())
}

/// Returns the nanoseconds of one round trip.
fn trips(mut end: impl Read + Write) -> anyhow::Result<f64> {
    let mut byte = [0];
    let started = std::time::Instant::now();
    for _ in 0..TRIPS {
        end.write_all(&byte)?;
        end.read_exact(&mut byte)?;
    }
    Ok(crate::sampling::nanos(started.elapsed()) / TRIPS as f64)
}

fn ours<S: Read + Write + Send + 'static>(
    name: &str,
    connect: fn() -> anyhow::Result<Ends<S>>,
) -> Contestant<'static> {
    Contestant::new(name, move || {
        let Ends(near, far) = connect()?;
        Ok(TaskGroup::scope(|g| {
            g.spawn(move || Ok(echo(far)?));
            trips(near)
        })?)
    })
}

fn std_threads<S: Read + Write + Send + 'static>(
    name: &str,
    connect: fn() -> anyhow::Result<Ends<S>>,
) -> Contestant<'static> {
    Contestant::new(name, move || {
        let Ends(near, far) = connect()?;
        thread::scope(|threads| {
            let echo = threads.spawn(move || echo(far));
            let took = trips(near)?;
            echo.join().ok().context("the echo panicked")??;
            Ok(took)
        })
    })
}
