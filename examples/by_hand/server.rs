//! The server of `server.rs` by hand, on std: for the comparison on the page of the examples.
//!
//! Its accept loop sleeps, its reads have time-outs after which they look at a flag, and its
//! deadlines are turned into a time-out before each call. A request that computes or sleeps has to
//! look at the flag and the clock by itself.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{cell::Cell, process, thread};

use clap::Parser;
use taskgroup_examples::{Refused, Request, println, respond, seconds};

const REFUSALS: usize = 16;
const MOMENT: Duration = Duration::from_secs(1);

/// How long a thread does not look at the flag.
const NAP: Duration = Duration::from_millis(10);

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    #[arg(long, value_name = "N", default_value_t = 1000)]
    connections: usize,
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    within: Duration,
    #[arg(long, value_name = "S", default_value = "60", value_parser = seconds)]
    idle: Duration,
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    grace: Duration,
}

struct Server {
    options: Options,
    served: AtomicUsize,
    refused: AtomicUsize,
    /// A signal has come.
    stop: AtomicBool,
    /// The grace is over.
    quit: AtomicBool,
}

/// Counts a connection for as long as it lasts, even if its thread panics.
struct Place {
    server: Arc<Server>,
    full: bool,
}

impl Place {
    fn take(server: &Arc<Server>) -> Option<Self> {
        let limits = [
            (&server.served, server.options.connections, false),
            (&server.refused, REFUSALS, true),
        ];

        for (count, limit, full) in limits {
            let more = |count| (count < limit).then_some(count + 1);
            if count.fetch_update(Relaxed, Relaxed, more).is_ok() {
                let server = server.clone();
                return Some(Place { server, full });
            }
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let count = if self.full {
            &self.server.refused
        } else {
            &self.server.served
        };
        count.fetch_sub(1, Relaxed);
    }
}

/// A stream with a deadline for all calls together, and an eye on a flag.
struct Timed<'a> {
    stream: &'a TcpStream,
    end: Cell<Instant>,
    flag: Cell<&'a AtomicBool>,
}

impl Timed<'_> {
    fn retry<T>(&self, mut call: impl FnMut(Duration) -> io::Result<T>) -> io::Result<T> {
        loop {
            let left = self.end.get().saturating_duration_since(Instant::now());
            if left.is_zero() || self.flag.get().load(Relaxed) {
                return Err(ErrorKind::TimedOut.into());
            }
            match call(left.min(NAP).max(Duration::from_micros(1))) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                outcome => return outcome,
            }
        }
    }
}

impl Read for &Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retry(|time| {
            self.stream.set_read_timeout(Some(time))?;
            (&mut &*self.stream).read(buffer)
        })
    }
}

impl Write for &Timed<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.retry(|time| {
            self.stream.set_write_timeout(Some(time))?;
            (&mut &*self.stream).write(buffer)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let (listen, grace) = (options.listen.clone(), options.grace);
    let server = Arc::new(Server {
        options,
        served: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        quit: AtomicBool::new(false),
    });

    let signalled = server.clone();
    ctrlc::set_handler(move || {
        if signalled.stop.swap(true, Relaxed) {
            process::exit(130);
        }
    })?;

    let listener = TcpListener::bind(&*listen)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    let connections = accept(&server, &listener)?;
    drop(listener);
    let end = Instant::now() + grace;
    while !connections.iter().all(thread::JoinHandle::is_finished) {
        thread::sleep(Duration::from_millis(1));
        server.quit.store(Instant::now() > end, Relaxed);
    }

    for connection in connections {
        // Its panic has been printed.
        let _ = connection.join();
    }
    Ok(())
}

/// Serves connections until a signal comes. Returns the threads of those that are left.
fn accept(
    server: &Arc<Server>,
    listener: &TcpListener,
) -> anyhow::Result<Vec<thread::JoinHandle<()>>> {
    let mut connections: Vec<thread::JoinHandle<()>> = Vec::new();
    while !server.stop.load(Relaxed) {
        // The handles of threads that have ended would pile up.
        connections.retain(|connection| !connection.is_finished());
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    eprintln!("accept: {error}");
                }
                thread::sleep(NAP);
                continue;
            }
        };
        let place = loop {
            if let Some(place) = Place::take(server) {
                break place;
            }
            thread::sleep(NAP);
        };
        stream.set_nonblocking(false)?;
        let connection =
            thread::Builder::new().spawn(move || place.server.connection(&stream, place.full));
        match connection {
            Ok(connection) => connections.push(connection),
            Err(error) => eprintln!("no thread: {error}"),
        }
    }
    Ok(connections)
}

impl Server {
    fn connection(&self, stream: &TcpStream, full: bool) {
        if let Err(error) = self.converse(stream, full) {
            let peer = stream.peer_addr().map(|peer| peer.to_string());
            eprintln!(
                "{}: {error}",
                peer.unwrap_or_else(|_| "a client".to_owned())
            );
        }
    }

    fn converse(&self, stream: &TcpStream, full: bool) -> io::Result<()> {
        let (end, flag) = (Cell::new(Instant::now()), Cell::new(&self.stop));
        let timed = Timed { stream, end, flag };
        let mut reader = BufReader::new(&timed);
        let idle = if full { MOMENT } else { self.options.idle };
        loop {
            timed.end.set(Instant::now() + idle);
            timed.flag.set(&self.stop);
            match reader.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(()),
                Err(error) => return Err(error),
            }
            timed.flag.set(&self.quit);
            if !self.answer(&mut reader, &timed, full)? {
                break;
            }
        }

        stream.shutdown(Shutdown::Write)?;
        timed.end.set(Instant::now() + MOMENT);
        timed.flag.set(&self.stop);
        match io::copy(&mut reader, &mut io::sink()) {
            Err(error) if error.kind() != ErrorKind::TimedOut => Err(error),
            _ => Ok(()),
        }
    }

    fn answer(
        &self,
        reader: &mut BufReader<&Timed<'_>>,
        timed: &Timed<'_>,
        full: bool,
    ) -> io::Result<bool> {
        let end = Instant::now() + if full { MOMENT } else { self.options.within };
        timed.end.set(end);
        let (status, text, keep) = match Request::read(reader) {
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                (408, "the request came too slowly\n".to_owned(), false)
            }
            Err(error) => return Err(error),
            Ok(Err(Refused(status))) => (status, String::new(), false),
            Ok(Ok(_)) if full => (503, "all places are taken\n".to_owned(), false),
            Ok(Ok(request)) => {
                let answer = self.route(&request, end);
                let (status, text) = answer.unwrap_or((504, "it took too long\n".to_owned()));
                let keep = request.keep_alive && !self.stop.load(Relaxed);
                (status, text, keep)
            }
        };

        timed.end.set(Instant::now() + MOMENT);
        respond(&mut { timed }, status, &text, keep)?;
        Ok(keep)
    }

    fn route(&self, request: &Request, end: Instant) -> Option<(u16, String)> {
        Some(match (&*request.method, &*request.path) {
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
                    self.sleep(time, end)?;
                    (200, format!("slept {time:?}\n"))
                }
                Some(Err(error)) => (422, format!("{error}\n")),
                None => (404, "no such page\n".to_owned()),
            },
            _ => (405, "no such method here\n".to_owned()),
        })
    }

    fn sleep(&self, time: Duration, end: Instant) -> Option<()> {
        let wake = Instant::now() + time;
        loop {
            let now = Instant::now();
            if now >= wake {
                return Some(());
            }
            if now >= end || self.quit.load(Relaxed) {
                return None;
            }
            thread::sleep(NAP.min(wake - now).min(end - now));
        }
    }
}
