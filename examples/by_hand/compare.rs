//! Compares the server of `server.rs` with its twin by hand: requests in a second, and the time
//! from a SIGTERM to the end of an idle server.
//!
//! ```text
//! cargo build --release --examples && cargo run --release --example compare_servers
//! ```

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use taskgroup::net::TcpStream;
use taskgroup::process::{Child, Command};
use taskgroup_examples::{println, seconds};

const SERVERS: [&str; 2] = ["server", "server_by_hand"];

#[derive(Parser)]
struct Options {
    /// How often each figure is taken; the table has the medians
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// How long requests are sent for a figure
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    time: Duration,
    /// How many clients there are
    #[arg(long, value_name = "N", default_value_t = 8)]
    clients: usize,
    /// How many connections are idle when the signal comes
    #[arg(long, value_name = "N", default_value_t = 100)]
    idle: usize,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();

    // The servers take turns, so that both meet the same noise.
    let mut figures = [(); SERVERS.len()].map(|()| [const { Vec::new() }; 3]);
    for _ in 0..options.rounds {
        for (name, figures) in SERVERS.iter().zip(&mut figures) {
            figures[0].push(requests(name, &options, true)?);
            figures[1].push(requests(name, &options, false)?);
            figures[2].push(exit(name, &options)?);
        }
    }

    let rows = [
        "requests/s, kept connections",
        "requests/s, a connection each",
        "SIGTERM to exit, ms",
    ];

    println!("{:<32}{:>16}{:>16}", "", SERVERS[0], SERVERS[1]);
    for (at, row) in rows.iter().enumerate() {
        let [ours, by_hand] = figures.each_mut().map(|figures| {
            figures[at].sort_by(f64::total_cmp);
            figures[at][options.rounds / 2]
        });
        println!("{row:<32}{ours:>16.2}{by_hand:>16.2}");
    }
    Ok(())
}

fn start(name: &str) -> anyhow::Result<(Child, String)> {
    let path = env::current_exe()?.with_file_name(name);
    let mut command = Command::new(path);
    let mut server = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} is not built"))?;
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().context("it is piped")?).read_line(&mut line)?;
    let address = line
        .trim()
        .strip_prefix("listening on ")
        .context("no address")?;
    Ok((server, address.to_owned()))
}

/// Returns the requests in a second of all clients.
fn requests(name: &str, options: &Options, keep: bool) -> anyhow::Result<f64> {
    let (server, address) = start(name)?;
    let end = Instant::now() + options.time;
    let client = |_| {
        let mut stream = None;
        for count in 0.. {
            if Instant::now() >= end {
                return anyhow::Ok(count);
            }
            let mut kept = match stream.take() {
                Some(kept) => kept,
                None => BufReader::new(TcpStream::connect(&*address)?),
            };
            ask(&mut kept, keep)?;
            stream = keep.then_some(kept);
        }
        unreachable!("the numbers have no end")
    };

    let counts = taskgroup::map(0..options.clients, options.clients, client)?;
    server.stop()?;
    Ok(counts.iter().sum::<u64>() as f64 / options.time.as_secs_f64())
}

fn ask(stream: &mut BufReader<TcpStream>, keep: bool) -> anyhow::Result<()> {
    let connection = if keep { "keep-alive" } else { "close" };
    let request = format!("GET / HTTP/1.1\r\nConnection: {connection}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    if keep {
        while !answer.ends_with(b"hello\n") {
            ensure!(
                stream.read_until(b'\n', &mut answer)? > 0,
                "the answer is cut"
            );
        }
    } else {
        stream.read_to_end(&mut answer)?;
    }

    ensure!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// Returns the milliseconds from a SIGTERM to the end of a server with idle connections.
fn exit(name: &str, options: &Options) -> anyhow::Result<f64> {
    let (server, address) = start(name)?;
    let mut idle = Vec::new();
    for _ in 0..options.idle {
        let mut stream = BufReader::new(TcpStream::connect(&*address)?);
        ask(&mut stream, true)?;
        idle.push(stream);
    }

    let start = Instant::now();
    let status = server.stop()?;
    let took = start.elapsed();
    ensure!(status.success(), "{name}: {status}");
    Ok(took.as_secs_f64() * 1e3)
}
