//! Servers that find themselves, clients that wait for that, and the end of all of them.
#![cfg(unix)]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::Stdio,
};

use crate::run::{Live, Run, assert_no_thread_left, assert_over_soon, in_order, row};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process, test_kill_process},
};

const WAITS: &str = "a client waits until this server has found itself";

fn start() -> Live {
    Live::start("find_self", &[], Stdio::null())
}

/// Fails if one of the servers that printed its id still exists, dead or alive: each is in a
/// process group of its own.
fn assert_no_server_left(output: &Run) {
    let ids = output.stdout.lines().filter_map(|line| {
        line.split_once(": process ")?
            .1
            .parse()
            .ok()
            .and_then(Pid::from_raw)
    });

    let ids: Vec<_> = ids.collect();
    assert_eq!(ids.len(), 3, "{output:?}");
    assert!(
        ids.iter()
            .all(|id| test_kill_process(*id) == Err(Errno::SRCH)),
        "{output:?}"
    );
}

fn assert_interrupted(output: &Run, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert_eq!(output.stderr, "", "{output:?}");
    assert_no_thread_left(&output.stdout);
    assert_over_soon(&output.stdout);
}

#[test]
fn a_client_that_asks_early_is_answered_and_ctrl_c_ends_all() {
    for (signal, code) in [
        (Live::interrupt as fn(&Live), 130),
        (Live::interrupt_group, 130),
        (Live::terminate, 143),
    ] {
        let mut servers = start();
        servers.wait_for("Ctrl-C ends all three");
        signal(&servers);
        let output = servers.end();
        assert_interrupted(&output, code);
        assert_no_server_left(&output);

        let waits = format!("server 2: {WAITS}\n");
        let answered = [
            "server 2: process ",
            &waits,
            "client: server 2 is number 2, it says after ",
        ];
        assert!(in_order(&output.stdout, &answered), "{output:?}");
        let answers = [
            "client: server 0 is number 0\n",
            "client: server 1 is number 1\n",
            "client: server 2 is number 2\n",
        ];
        assert!(in_order(&output.stdout, &answers), "{output:?}");
        for n in 0..3 {
            assert_eq!(
                row(&output.stdout, &format!("server {n}: found itself:")),
                format!("number {n}"),
                "{output:?}"
            );
            assert_eq!(
                row(&output.stdout, &format!("server {n}: threads left:")),
                "none",
                "{output:?}"
            );
            assert!(
                n == 2 || in_order(&output.stdout, &[&waits, &format!("server {n}: process ")]),
                "{output:?}"
            );
        }
    }
}

#[test]
fn a_server_that_dies_takes_the_others_along_and_is_named() {
    let mut servers = start();
    let id = servers
        .wait_for("server 1: process")
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .expect("it says its id");
    servers.wait_for("Ctrl-C ends all three");
    kill_process(id, Signal::KILL).expect("the server is there");
    let output = servers.end();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_no_server_left(&output);
    let tree = [
        "group `servers` (",
        "): 1 failure\n",
        "task `server 1` (",
        "signal: 9",
    ];

    assert!(in_order(&output.stderr, &tree), "{output:?}");
    assert_no_thread_left(&output.stdout);
}

/// Returns a server with a list of hosts of which the first never answers, and its address.
fn lost(hosts: &[&str], within: &str) -> (Live, TcpStream, TcpListener) {
    let [silent, own] =
        [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 has free ports"));
    let [first, second] =
        [&silent, &own].map(|socket| socket.local_addr().expect("it is bound").to_string());
    let hosts: Vec<_> = hosts
        .iter()
        .map(|host| if *host == "silent" { &*first } else { &*second })
        .collect();
    let client = TcpStream::connect(&second).expect("the socket listens");
    let server = Live::start(
        "find_self",
        &[&["--within", within], &hosts[..]].concat(),
        OwnedFd::from(own).into(),
    );
    (server, client, silent)
}

#[test]
fn ctrl_c_ends_a_search_and_those_who_wait_for_it() {
    let (mut server, mut client, _silent) = lost(&["silent", "own"], "600");
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("the socket is open");
    server.wait_for(WAITS);
    server.interrupt();
    assert_interrupted(&server.end(), 130);
    let mut reply = String::new();

    // An error, or nothing at all: the process has gone.
    let _ = client.read_to_string(&mut reply);
    assert!(!reply.contains("number"), "{reply}");
}

#[test]
fn a_server_that_is_none_of_the_hosts_gives_up() {
    let (server, _client, _silent) = lost(&["silent"], "1");
    let output = server.end();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        output.stderr.contains("this server is none of the hosts"),
        "{output:?}"
    );
    assert_no_thread_left(&output.stdout);
}
