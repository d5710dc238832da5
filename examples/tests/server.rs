//! The server and its twin by hand: requests, deadlines, the limit, and the end in good order.
#![cfg(unix)]

mod run;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use run::{Live, Run, assert_no_thread_left};
use rustix::process::{Pid, Signal, kill_process};

/// Both servers have to do the same, or their comparison would say nothing.
const SERVERS: [&str; 2] = ["server", "server_by_hand"];

/// Longer than any test takes.
const NEVER: &str = "600";

/// Longer than an answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first part of a request, and the rest.
const REQUEST: (&str, &str) = ("POST /sum HTTP/1.1\r\nContent-Length: 5\r\n\r\n1\n", "22\n");

/// Starts a server in which nothing ends by itself before the test does.
fn start(name: &str, args: &[&str]) -> (Live, String) {
    // Later options override these.
    let mut all = vec![];
    for option in ["--within", "--idle", "--grace"] {
        if !args.contains(&option) {
            all.extend([option, NEVER]);
        }
    }
    all.extend(args);
    let mut server = Live::start(name, &all, Stdio::null());
    let address = server.wait_for("listening on ");
    (server, address)
}

/// A client that keeps its connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, text: &str) {
        self.0
            .get_mut()
            .write_all(text.as_bytes())
            .expect("the server reads");
    }

    /// Returns the status, whether the connection is kept, and the text.
    fn answer(&mut self) -> (u16, bool, String) {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            let read = self.0.read_line(&mut head).expect("the server answers");
            assert_ne!(
                read, 0,
                "the server has closed the connection after {head:?}"
            );
            if let Some(value) = head[start..].strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }

        let mut text = vec![0; length];
        self.0.read_exact(&mut text).expect("the answer is whole");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let kept = head.contains("Connection: keep-alive\r\n");
        (status, kept, String::from_utf8(text).unwrap())
    }

    fn get(&mut self, path: &str) -> (u16, bool, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }

    /// Waits until the server has closed the connection.
    fn end(&mut self) {
        match self.0.read_to_end(&mut Vec::new()) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("more than the end: {other:?}"),
        }
    }

    /// Sends a whole request, and a part of another in the same segment. So the second has begun
    /// when the answer to the first is there.
    fn begin(&mut self) {
        self.send(&format!("GET / HTTP/1.1\r\n\r\n{}", REQUEST.0));
        assert_eq!(self.answer(), (200, true, "hello\n".to_owned()));
    }
}

/// Waits until the server accepts no more.
fn wait_for_refusal(address: &str) {
    let start = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < PATIENCE, "the server still listens");
        thread::sleep(Duration::from_millis(5));
    }
}

fn assert_ended_well(name: &str, output: &Run) {
    assert!(output.status.success(), "{name}: {output:?}");
    if name == "server" {
        assert_eq!(output.stderr, "", "{output:?}");
        assert_no_thread_left(&output.stdout);
    }
}

#[test]
fn requests_are_answered_in_turn() {
    for name in SERVERS {
        let (server, address) = start(name, &[]);
        let mut client = Client::connect(&address);
        let answer = |status, kept, text: &str| (status, kept, text.to_owned());
        assert_eq!(client.get("/"), answer(200, true, "hello\n"));
        client.send(&format!("{}{}", REQUEST.0, REQUEST.1));
        assert_eq!(client.answer(), answer(200, true, "23\n"));
        assert_eq!(client.get("/sleep/0.01"), answer(200, true, "slept 10ms\n"));
        assert_eq!(client.get("/sleep/-1").0, 422);
        assert_eq!(client.get("/nothing").0, 404);
        client.send("DELETE / HTTP/1.1\r\n\r\n");
        assert_eq!(client.answer().0, 405);
        client.send("POST /sum HTTP/1.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
        assert_eq!(
            client.answer(),
            answer(422, false, "invalid float literal\n")
        );
        client.end();
        server.terminate();
        assert_ended_well(name, &server.end());
    }
}

#[test]
fn an_idle_server_ends_at_a_signal() {
    for name in SERVERS {
        for signal in [Live::terminate, Live::interrupt] {
            let (server, address) = start(name, &[]);
            let (mut silent, mut kept) = (Client::connect(&address), Client::connect(&address));
            assert_eq!(kept.get("/").0, 200);
            signal(&server);
            assert_ended_well(name, &server.end());
            silent.end();
            kept.end();
        }
    }
}

#[test]
fn a_request_that_has_begun_is_finished() {
    for name in SERVERS {
        let (server, address) = start(name, &[]);
        let (mut idle, mut busy) = (Client::connect(&address), Client::connect(&address));
        assert_eq!(idle.get("/").0, 200);
        busy.begin();
        server.terminate();
        wait_for_refusal(&address);
        idle.end();
        busy.send(REQUEST.1);
        // Another request would be too late.
        assert_eq!(busy.answer(), (200, false, "23\n".to_owned()), "{name}");
        assert_ended_well(name, &server.end());
        busy.end();
    }
}

#[test]
fn a_request_does_not_outlast_the_grace() {
    for name in SERVERS {
        let (server, address) = start(name, &["--grace", "0.1"]);
        let (mut asking, mut asleep) = (Client::connect(&address), Client::connect(&address));
        asking.begin();
        asleep.send(&format!(
            "GET / HTTP/1.1\r\n\r\nGET /sleep/{NEVER} HTTP/1.1\r\n\r\n"
        ));
        assert_eq!(asleep.answer().0, 200);
        server.terminate();
        let output = server.end();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_slow_client_is_cut_at_the_deadline_and_the_others_are_served() {
    for name in SERVERS {
        let (server, address) = start(name, &["--within", "1"]);
        let [mut slow, mut asleep] = [(); 2].map(|()| Client::connect(&address));
        let mut stream = slow.0.get_ref().try_clone().unwrap();
        let drip = thread::spawn(move || {
            // A read never waits as long as a time-out of the socket would allow. The stream is
            // broken when the server has closed it.
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        asleep.send(&format!("GET /sleep/{NEVER} HTTP/1.1\r\n\r\n"));
        assert_eq!(Client::connect(&address).get("/").0, 200);
        let (status, kept, _) = slow.answer();
        assert_eq!((status, kept), (408, false), "{name}");
        assert_eq!(asleep.answer().0, 504, "{name}");
        slow.end();
        drip.join().unwrap();
        server.terminate();
        assert!(server.end().status.success());
    }
}

#[test]
fn an_idle_connection_is_closed_after_a_while() {
    for name in SERVERS {
        let (server, address) = start(name, &["--idle", "1"]);
        let mut client = Client::connect(&address);
        assert_eq!(client.get("/").0, 200);
        client.end();
        server.terminate();
        assert_ended_well(name, &server.end());
    }
}

#[test]
fn one_connection_too_many_is_told_so() {
    for name in SERVERS {
        let (server, address) = start(name, &["--connections", "2"]);
        let mut served = [(); 2].map(|()| Client::connect(&address));
        for client in &mut served {
            assert_eq!(client.get("/").0, 200);
        }
        let mut third = Client::connect(&address);
        assert_eq!(
            third.get("/"),
            (503, false, "all places are taken\n".to_owned()),
            "{name}"
        );
        third.end();
        // The others are still served, and a place that is given up is free again.
        let [first, mut second] = served;
        assert_eq!(second.get("/").0, 200);
        drop(first);
        let start = Instant::now();
        while Client::connect(&address).get("/").0 != 200 {
            assert!(start.elapsed() < PATIENCE, "no place is free");
        }
        server.terminate();
        assert_ended_well(name, &server.end());
    }
}

#[test]
fn what_goes_wrong_in_a_connection_ends_no_other() {
    for name in SERVERS {
        let (server, address) = start(name, &[]);
        let mut bystander = Client::connect(&address);
        assert_eq!(bystander.get("/").0, 200);

        let mut panics = Client::connect(&address);
        panics.send("GET /panic HTTP/1.1\r\n\r\n");
        panics.end();
        let mut cut = Client::connect(&address);
        cut.send(REQUEST.0);
        drop(cut);
        let mut wrong = Client::connect(&address);
        wrong.send("hello\r\n\r\n");
        assert_eq!(wrong.answer().0, 400);
        wrong.end();
        let mut long = Client::connect(&address);
        long.send(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000)));
        assert_eq!(long.answer().0, 431);

        assert_eq!(bystander.get("/").0, 200);
        server.terminate();
        let output = server.end();
        assert!(output.status.success(), "{output:?}");
        assert!(
            output.stderr.contains("a client asked for it"),
            "{output:?}"
        );
    }
}

#[test]
fn a_second_signal_ends_the_process_as_it_is() {
    let (server, address) = start("server", &[]);
    let mut client = Client::connect(&address);
    client.begin();
    server.terminate();
    wait_for_refusal(&address);
    server.terminate();
    let output = server.end();
    assert_eq!(output.status.signal(), Some(15), "{output:?}");
    client.end();
}

/// Each of the connections that fail waits to say so.
#[test]
fn a_signal_ends_it_when_its_errors_are_not_read() {
    let (near, _far) = UnixStream::pair().unwrap();
    run::fill(&near);

    let mut child = Command::new(run::example("server"))
        .stdout(Stdio::piped())
        .stderr(OwnedFd::from(near))
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap();
    for _ in 0..20 {
        TcpStream::connect(address)
            .unwrap()
            .write_all(b"GET")
            .unwrap();
    }
    for _ in 0..20 {
        assert_eq!(Client::connect(address).get("/").0, 200);
    }

    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = run::wait(&mut child).expect("the server ends");
    assert!(status.success(), "{status}");
}

#[test]
fn a_limit_beyond_all_reason_is_refused() {
    for limit in ["0", &u64::MAX.to_string()] {
        let output = run::run("server", &["--connections", limit]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stderr.contains("--connections"), "{output:?}");
    }
}

#[test]
fn an_address_in_use_is_an_error() {
    let (server, address) = start("server", &[]);
    let second = run::run("server", &["--listen", &address]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.stderr.contains("ddress"), "{second:?}");
    server.terminate();
    assert_ended_well("server", &server.end());
}

#[test]
fn the_two_servers_can_be_compared() {
    let output = run::run_well(
        "compare_servers",
        &[
            "--rounds",
            "1",
            "--time",
            "0.05",
            "--clients",
            "2",
            "--idle",
            "3",
        ],
    );

    for row in [
        "requests/s, kept connections",
        "requests/s, a connection each",
        "SIGTERM to exit, ms",
    ] {
        let figures = run::row(&output, row).split_whitespace();
        let figures: Vec<f64> = figures.map(|figure| figure.parse().unwrap()).collect();
        assert!(
            figures.len() == 2 && figures.iter().all(|figure| *figure > 0.0),
            "{output}"
        );
    }
}
