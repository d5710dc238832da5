//! The web server, with a client that goes away.

#![cfg(unix)]

mod run;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use run::{Live, assert_no_thread_left, duration, in_order, row, run_well};

#[test]
fn a_client_that_goes_away_takes_the_work_of_its_request_along() {
    let output = run_well("web", &[]);
    let parts = [
        "serving http://127.0.0.1:",
        "\nthe client that waits: 78498 primes below 1000000",
        "\nthe other client has gone",
        "\nits count was cut short ",
        "\nstopped by SIGTERM",
    ];

    assert!(in_order(&output, &parts), "{output}");
    let later = row(&output, "its count was cut short");
    let later = later.strip_suffix(" later").map(duration).unwrap();
    assert!(later < Duration::from_secs(30), "{output}");
    assert_no_thread_left(&output);
}

#[test]
fn it_serves_until_ctrl_c_and_then_finishes_its_requests() {
    let mut server = Live::start("web", &["--serve"], Stdio::null());
    let url = server.wait_for("serving http://");
    let (address, path) = url.split_once('/').unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let head = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(
        answer.ends_with("\r\n78498 primes below 1000000"),
        "{answer}"
    );

    server.interrupt();
    let output = server.end();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, "", "{output:?}");
    assert!(
        output.stdout.contains("\nstopped by SIGINT\n"),
        "{output:?}"
    );
    assert_no_thread_left(&output.stdout);
}
