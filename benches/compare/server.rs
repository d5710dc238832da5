//! A server with a thread for each connection, beside the same server on std, on tokio and on the
//! green threads of `may`.
//!
//! A request is 32 bytes and so is its answer. All servers get the same clients: blocking ones for
//! connections that are closed at once, and one thread with a future for each connection where
//! connections are kept.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::Context;
use taskgroup::{TaskGroup, net};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::process::need_descriptors;
use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, Rounds, micros};

const REQUEST: [u8; 32] = [7; 32];

/// Connections that are opened and closed in one sample, by `CLIENTS` clients.
const SHORT: usize = 2_000;
const CLIENTS: usize = 4;

/// Requests on each kept connection.
const REQUESTS: usize = 1_000;

/// Gives the load to a server at this address, and returns the microseconds of one request.
type Load<'a> = &'a (dyn Fn(SocketAddr) -> anyhow::Result<f64> + Sync);

pub(crate) fn server(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let case = "connect, request, answer, close";
    table(effort.rounds(9), report, case, &short)?;
    for (connections, rounds) in [
        (1, effort.rounds(9)),
        (100, effort.rounds(5)),
        // A sample is a million requests and takes some 20 seconds, which warms up by itself.
        (1_000, effort.cold_rounds(3)),
    ] {
        // Each connection has two ends in this process, and a thread that waits has its waker.
        need_descriptors(3 * connections)?;
        let case = format!("{connections} kept connections, {REQUESTS} requests on each");
        table(rounds, report, &case, &move |address| {
            kept(address, connections)
        })?;
    }
    Ok(())
}

fn table(rounds: Rounds, report: &mut Report, case: &str, load: Load<'_>) -> anyhow::Result<()> {
    let contestants = vec![
        Contestant::new("taskgroup", || ours(load)),
        Contestant::new("std, a thread each", || by_hand(load)).goal(Goal::Ratio(1.05)),
        Contestant::new("tokio", || on_tokio(load)),
        Contestant::new("may", || on_may(load)),
    ];
    let title = Title {
        row: "server",
        case,
        unit: "us",
    };
    report.table(&title, contestants, rounds)
}

fn short(address: SocketAddr) -> anyhow::Result<f64> {
    let started = Instant::now();
    thread::scope(|threads| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                threads.spawn(move || -> io::Result<()> {
                    for _ in 0..SHORT / CLIENTS {
                        let mut stream = TcpStream::connect(address)?;
                        stream.write_all(&REQUEST)?;
                        let mut answer = [0; REQUEST.len()];
                        stream.read_exact(&mut answer)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for client in clients {
            client.join().ok().context("a client panicked")??;
        }
        Ok(micros(started.elapsed()) / SHORT as f64)
    })
}

fn kept(address: SocketAddr, connections: usize) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let took = runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let started = Instant::now();
        let clients: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                tokio::spawn(async move {
                    let mut answer = [0; REQUEST.len()];
                    for _ in 0..REQUESTS {
                        stream.write_all(&REQUEST).await?;
                        stream.read_exact(&mut answer).await?;
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for client in clients {
            client.await??;
        }
        anyhow::Ok(started.elapsed())
    })?;
    Ok(micros(took) / (connections * REQUESTS) as f64)
}

/// Answers the requests of one connection, until its client closes it.
fn serve(mut stream: impl Read + Write) -> io::Result<()> {
    let mut request = [0; REQUEST.len()];
    loop {
        match stream.read_exact(&mut request) {
            Ok(()) => stream.write_all(&request)?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn ours(load: Load<'_>) -> anyhow::Result<f64> {
    let listener = net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    Ok(TaskGroup::scope(|g| {
        g.spawn_daemon(|| {
            for stream in listener.incoming() {
                let stream = stream?;
                stream.set_nodelay(true)?;
                g.spawn(move || Ok(serve(stream)?));
            }
            Ok(())
        });
        let took = load(address)?;
        g.cancel();
        Ok(took)
    })?)
}

fn by_hand(load: Load<'_>) -> anyhow::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        let acceptor = threads.spawn(|| -> io::Result<()> {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let stream = stream?;
                stream.set_nodelay(true)?;
                threads.spawn(move || serve(stream));
            }
            Ok(())
        });
        let took = load(address)?;
        over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(address)?);
        acceptor.join().ok().context("the server panicked")??;
        Ok(took)
    })
}

fn on_tokio(load: Load<'_>) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_io()
        .build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let mut request = [0; REQUEST.len()];
                while stream.read_exact(&mut request).await.is_ok() {
                    if stream.write_all(&request).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    load(address)
}

fn on_may(load: Load<'_>) -> anyhow::Result<f64> {
    let listener = Arc::new(may::net::TcpListener::bind("127.0.0.1:0")?);
    let address = listener.local_addr()?;

    // It waits for connections until the process ends: only unsafe code could cancel it.
    drop(may::go!(move || {
        while let Ok((stream, _)) = listener.accept() {
            let _ = stream.set_nodelay(true);
            may::go!(move || serve(stream));
        }
    }));
    load(address)
}
