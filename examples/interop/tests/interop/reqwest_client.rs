//! Requests of reqwest's blocking client, which nothing ends from outside.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use reqwest::blocking::Client;

use super::support::{until, watch};
use super::{assert_cancel, cancelled_during};

/// A server, its address, and a client that asks no proxy and has no time limit of its own.
fn start() -> (TcpListener, String, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let client = Client::builder().no_proxy().timeout(None).build();
    (listener, url, client.unwrap())
}

/// Takes a connection, and reads a request.
fn asked(listener: &TcpListener) -> TcpStream {
    let mut stream = BufReader::new(listener.accept().unwrap().0);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0);
    }
    stream.into_inner()
}

fn answer(mut stream: TcpStream) {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    stream.write_all(answer).unwrap();
}

fn get(client: &Client, url: &str) -> anyhow::Result<String> {
    Ok(client.get(url).send()?.text()?)
}

#[test]
fn a_bare_request_holds_up_its_scope_until_it_is_answered() {
    let _watch = watch();
    let (listener, url, client) = start();
    let token = taskgroup::CancelToken::new();
    thread::scope(|threads| {
        let asking = threads.spawn(|| token.run(|| get(&client, &url)));
        let stream = asked(&listener);
        token.cancel();
        answer(stream);
        // The answer, and no cancel.
        assert_eq!(asking.join().unwrap().unwrap(), "hello");
    });
}

#[test]
fn a_request_that_is_abandoned_is_left_behind_until_it_ends() {
    let _watch = watch();
    let (listener, url, client) = start();
    let mut stream = None;
    let request = || taskgroup::abandon(move || get(&client, &url))?;
    let error = cancelled_during(request, || stream = Some(asked(&listener)));
    assert_cancel(&error);

    let left = || {
        let abandoned = taskgroup::abandoned();
        let mut places = abandoned.iter().map(|left| left.location.file());
        places.any(|file| file.ends_with("reqwest_client.rs"))
    };
    assert!(left());
    answer(stream.unwrap());
    until(|| !left());
}

#[test]
fn a_time_limit_of_what_is_left_keeps_the_deadline() {
    let _watch = watch();
    let (_listener, url, client) = start();
    let ask = || -> anyhow::Result<String> {
        let request = client.get(&url);
        let left = taskgroup::remaining().unwrap();
        let error = request.timeout(left).send().unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        // The request may end a moment before the deadline.
        taskgroup::sleep(Duration::from_secs(60))?;
        unreachable!("the deadline has passed")
    };
    let outcome = taskgroup::timeout(Duration::from_millis(50), ask);
    assert!(outcome.unwrap().is_none());
}
