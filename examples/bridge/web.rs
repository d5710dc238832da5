//! A web server on tokio (axum), with requests that do blocking work on threads. When a client goes
//! away, the work behind its request stops.
//!
//! A request for `/count/N` counts the primes below N, in a group with one task for each core.
//!
//! ```text
//! cargo run --release --example web               two clients: one waits, one goes away
//! cargo run --release --example web -- --serve    serves until Ctrl-C
//! ```
//!
//! Look at the second client: it asks for a count that takes days, and goes away. On tokio's own
//! `spawn_blocking` its threads would count on, and the program could not end. Here they stop
//! within milliseconds. Then the program sends itself a SIGTERM, which stops the server: the first
//! direction of the bridge cancels blocking work, the second wakes futures.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use axum::{Router, extract::Path, http::StatusCode, routing::get};
use clap::Parser;
use rustix::process::{Signal, getpid, kill_process};
use taskgroup::tokio_bridge::{spawn_blocking, token_into};
use taskgroup::{CancellableExt, GroupError, TaskGroup, signal, sync::Event};
use taskgroup_examples::{left_behind, println};
use tokio::{net::TcpListener, runtime::Runtime};

/// Numbers that one task tests at once.
const BLOCK: u64 = 10_000;

/// Set when the count of a request has begun, and when one has been cut short.
static BEGUN: Event = Event::new();
static CUT: Event = Event::new();

#[derive(Parser)]
struct Options {
    /// Serve until Ctrl-C, without clients of its own
    #[arg(long)]
    serve: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime = Runtime::new()?;
    runtime.block_on(serve(options))?;

    // This waits for all blocking work.
    drop(runtime);
    println!("threads left: {}", left_behind());
    Ok(())
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let stop = signal::termination()?;
    let (stopped, _link) = token_into(&stop);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("serving http://{address}/count/1000000");
    let clients = thread::spawn(move || {
        if options.serve {
            Ok(())
        } else {
            visit(address)
        }
    });

    let routes = Router::new().route("/count/{below}", get(count));
    let server = axum::serve(listener, routes);
    server
        .with_graceful_shutdown(stopped.cancelled_owned())
        .await?;

    clients.join().expect("the clients do not panic")?;
    let cause = stop
        .cancelled()
        .map(|cancelled| cancelled.cause().to_string());
    println!("stopped by {}", cause.unwrap_or_default());
    Ok(())
}

/// Answers a request. The server drops this future if the client goes away.
async fn count(Path(below): Path<u64>) -> Result<String, StatusCode> {
    let counted = spawn_blocking(move || {
        let counted = count_primes(below);
        if counted
            .as_ref()
            .is_err_and(|error| error.cancelled().is_some())
        {
            CUT.set();
        }
        counted
    });

    match counted.await {
        Ok(Ok(count)) => Ok(format!("{count} primes below {below}")),
        Ok(Err(_)) | Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn count_primes(below: u64) -> Result<u64, GroupError> {
    let next = AtomicU64::new(0);
    TaskGroup::scope(|g| {
        let cores = thread::available_parallelism()?.get();
        let tasks: Vec<_> = (0..cores)
            .map(|_| g.spawn(|| count_blocks(&next, below)))
            .collect();
        BEGUN.set();
        let mut sum = 0;
        for task in tasks {
            sum += task.join()?;
        }
        Ok(sum)
    })
}

/// Counts in one block after the other, until none is left.
fn count_blocks(next: &AtomicU64, below: u64) -> anyhow::Result<u64> {
    let starts = std::iter::from_fn(|| Some(next.fetch_add(BLOCK, Relaxed)));
    let mut count = 0;
    for start in starts.take_while(|start| *start < below).cancellable() {
        let start = start?;
        let block = start.max(2)..below.min(start + BLOCK);
        count += block.filter(|n| is_prime(*n)).count() as u64;
    }
    Ok(count)
}

fn is_prime(n: u64) -> bool {
    (2..)
        .take_while(|factor| factor * factor <= n)
        .all(|factor| n % factor != 0)
}

/// The clients, which are ordinary blocking programs.
fn visit(address: SocketAddr) -> anyhow::Result<()> {
    println!("the client that waits: {}", ask(address, 1_000_000)?);

    BEGUN.reset();
    let client = request(address, 1 << 60)?;
    BEGUN.wait()?;
    let gone = Instant::now();
    drop(client);
    println!("the other client has gone");
    CUT.wait()?;
    println!("its count was cut short {:.1?} later", gone.elapsed());

    kill_process(getpid(), Signal::TERM)?;
    Ok(())
}

fn request(address: SocketAddr, below: u64) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let head =
        format!("GET /count/{below} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

fn ask(address: SocketAddr, below: u64) -> anyhow::Result<String> {
    let mut answer = String::new();
    request(address, below)?.read_to_string(&mut answer)?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}
