//! A server with a thread for each connection: HTTP/1.1, a limit on connections, a deadline for
//! each request, and an end in good order.
//!
//! ```text
//! cargo run --release --example server [-- --listen 127.0.0.1:8080 --connections 100]
//! curl http://127.0.0.1:8080/sleep/5     or /, or /sum with lines of numbers to POST
//! ```
//!
//! Watch what a SIGTERM or Ctrl-C does: no more connections are accepted, idle ones close at once,
//! and requests that have begun are answered, for as long as the grace lasts. A second signal ends
//! the process as it is. A client that sends its request byte by byte is cut off at the deadline of
//! the request. No call has a time-out of its own, and the accept loop neither polls nor sleeps.

use std::io::{self, BufRead, BufReader};
use std::time::Duration;

use clap::{Parser, builder::RangedU64ValueParser};
use taskgroup::net::{Shutdown, TcpListener, TcpStream};
use taskgroup::sync::Semaphore;
use taskgroup::{CancelToken, Cancelled, TaskGroup, timeout, winding_down};
use taskgroup_examples::{Refused, Request, left_behind, println, respond, seconds, write_whole};

/// So many clients at once are told that the server is full. Others wait to be accepted.
const REFUSALS: usize = 16;

/// Long enough for a client that listens.
const MOMENT: Duration = Duration::from_secs(1);

/// Serves HTTP/1.1 until a signal comes.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// How many connections are served at once
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000),
    )]
    connections: usize,
    /// How long a request may take, from its first byte on
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    within: Duration,
    /// How long a connection may be idle
    #[arg(long, value_name = "S", default_value = "60", value_parser = seconds)]
    idle: Duration,
    /// How long requests may go on after a signal
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    grace: Duration,
}

struct Server {
    options: Options,
    signal: CancelToken,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let signal = taskgroup::signal::termination()?;
    let listener = TcpListener::bind(&*options.listen)?;
    println!("listening on {}", listener.local_addr()?);
    let places = &Semaphore::new(options.connections);
    let refusals = &Semaphore::new(REFUSALS);
    let server = &Server { options, signal };
    TaskGroup::builder().name("server").scope(|g| {
        // It owns the listener, so that no connection is queued after its end.
        g.task().name("accept").spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream.inspect_err(|error| report("accept", error)) else {
                    // It was reset, or too many files are open. A pause, and others will follow.
                    taskgroup::sleep(Duration::from_millis(50))?;
                    continue;
                };
                let (place, full) = match places.try_acquire() {
                    Some(place) => (place, false),
                    None => (refusals.acquire()?, true),
                };
                // Its errors are reported there, and end no other connection.
                drop(g.spawn_isolated(move || {
                    let _place = place;
                    server.connection(&stream, full);
                    Ok(())
                }));
            }
            Ok(())
        });
        server.signal.wait()?;
        g.cancel_gracefully_because(server.options.grace, "a signal");
        Ok(())
    })?;

    println!("threads left: {}", left_behind());
    Ok(())
}

fn report(what: &str, error: &io::Error) {
    // A cancel is no news.
    if Cancelled::find(error).is_none() {
        // Not `eprintln`, which no cancel ends while its reader does not read. If it cannot be
        // written, there is no place left to say so.
        let _ = write_whole(&io::stderr(), format!("{what}: {error}\n").as_bytes());
    }
}

impl Server {
    fn connection(&self, stream: &TcpStream, full: bool) {
        let outcome = self.converse(stream, full);
        if let Err(error) = outcome {
            let peer = stream.peer_addr().map(|peer| peer.to_string());
            report(&peer.unwrap_or_else(|_| "a client".to_owned()), &error);
        }
    }

    fn converse(&self, stream: &TcpStream, full: bool) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        let idle = if full { MOMENT } else { self.options.idle };
        loop {
            // Here a connection is idle, and a signal closes it.
            match timeout(idle, || Ok::<_, io::Error>(reader.fill_buf()?.is_empty()))? {
                Some(false) => {}
                Some(true) | None => return Ok(()),
            }
            // From its first byte on, a request is finished if it can be.
            if !winding_down(|| self.answer(&mut reader, full))? {
                break;
            }
        }

        // A close with bytes unread is a reset, and could cost the client the answer.
        stream.shutdown(Shutdown::Write)?;
        timeout(MOMENT, || io::copy(&mut reader, &mut io::sink())).map(drop)
    }

    /// Returns whether there may be another request on the connection.
    fn answer(&self, reader: &mut BufReader<&TcpStream>, full: bool) -> io::Result<bool> {
        let within = if full { MOMENT } else { self.options.within };
        let mut asked = None;
        let answer = timeout(within, || match Request::read(reader)? {
            Err(Refused(status)) => Ok((status, String::new())),
            Ok(_) if full => Ok((503, "all places are taken\n".to_owned())),
            Ok(request) => {
                asked = Some(request.keep_alive);
                route(&request)
            }
        })?;

        let (status, text) = answer.unwrap_or_else(|| match asked {
            None => (408, "the request came too slowly\n".to_owned()),
            Some(_) => (504, "it took too long\n".to_owned()),
        });
        let keep = asked == Some(true) && !self.signal.is_cancelled();
        let sent = timeout(MOMENT, || respond(reader.get_mut(), status, &text, keep))?;
        Ok(keep && sent.is_some())
    }
}

fn route(request: &Request) -> io::Result<(u16, String)> {
    Ok(match (&*request.method, &*request.path) {
        ("GET", "/") => (200, "hello\n".to_owned()),
        ("POST", "/sum") => {
            let text = String::from_utf8_lossy(&request.body);
            match text.lines().map(str::parse::<f64>).sum::<Result<f64, _>>() {
                Ok(sum) => (200, format!("{sum}\n")),
                Err(error) => (422, format!("{error}\n")),
            }
        }
        ("GET", "/panic") => panic!("a client asked for it"),
        ("GET", path) => match path.strip_prefix("/sleep/").map(seconds) {
            Some(Ok(time)) => {
                taskgroup::sleep(time)?;
                (200, format!("slept {time:?}\n"))
            }
            Some(Err(error)) => (422, format!("{error}\n")),
            None => (404, "no such page\n".to_owned()),
        },
        _ => (405, "no such method here\n".to_owned()),
    })
}
