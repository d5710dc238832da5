//! Requests of ureq to a real server on the loopback interface, cut where they wait.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::StreamOwned;
use taskgroup::net::{TcpListener, TcpStream};
use taskgroup::{CancelToken, Cancelled, TaskGroup};
use taskgroup_interop::{Connections, Names, agent, request};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::{Connector, RustlsConnector};

use crate::support::{Gate, watch};
use crate::{assert_cancel, cancelled_during, tls};

fn client() -> Agent {
    agent(Agent::config_builder().proxy(None).build())
}

fn get(client: &Agent, address: SocketAddr) -> anyhow::Result<String> {
    let url = format!("http://{address}/");
    request(|| client.get(url).call()?.into_body().read_to_string())
}

/// Returns an agent for `https` that trusts the certificate of the tests.
fn client_over_tls() -> Agent {
    let certificate = Certificate::from_pem(tls::CERTIFICATE).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(vec![certificate])))
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build();
    let config = Agent::config_builder().proxy(None).tls_config(tls);
    let connector = Connections.chain(RustlsConnector::default());
    Agent::with_parts(config.build(), connector, Names)
}

/// A connection at the server.
struct Peer<S: Read = TcpStream>(BufReader<S>);

impl Peer {
    fn accept(listener: &TcpListener) -> Self {
        Peer(BufReader::new(listener.accept().unwrap().0))
    }
}

impl<S: Read + Write> Peer<S> {
    /// Reads a request up to its end. Returns false if the client has closed the connection.
    fn request(&mut self) -> bool {
        let mut line = String::new();
        let mut any = false;
        while self.0.read_line(&mut line).unwrap() > 0 {
            any = true;
            if line == "\r\n" {
                return true;
            }
            line.clear();
        }
        assert!(!any, "a request was cut");
        false
    }

    fn send(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
        self.0.get_mut().flush().unwrap();
    }

    fn answer(&mut self, body: &str) {
        let length = body.len();
        self.send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn a_connection_is_used_again() {
    let _watch = watch();
    let (listener, address) = listener();
    let client = client();
    TaskGroup::scope(|g| {
        g.spawn(|| {
            let mut peer = Peer::accept(&listener);
            while peer.request() {
                peer.answer("hello");
            }
            Ok(())
        });
        for _ in 0..3 {
            assert_eq!(get(&client, address)?, "hello");
        }
        client.shutdown();
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_request_without_an_answer_ends_and_is_not_made_again() {
    let _watch = watch();
    let (listener, address) = listener();
    let client = client();
    let mut peer = None;
    let error = cancelled_during(
        || get(&client, address),
        || {
            let mut asked = Peer::accept(&listener);
            assert!(asked.request());
            peer = Some(asked);
        },
    );

    assert_cancel(&error);

    // Its connection is closed, and no other one was made.
    assert!(!peer.unwrap().request());
    listener.set_nonblocking(true).unwrap();
    let none = listener.accept().unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn without_the_function_no_cancel_is_found_in_an_error() {
    let _watch = watch();
    let (listener, address) = listener();
    let client = client();
    let mut peer = None;
    let error = cancelled_during(
        || Ok(client.get(format!("http://{address}/")).call()?),
        || assert!(peer.insert(Peer::accept(&listener)).request()),
    );
    // The error of ureq has no source.
    assert!(Cancelled::find(error.as_ref()).is_none(), "{error:?}");
    let error = error.downcast::<ureq::Error>().unwrap().into_io();
    assert!(Cancelled::find(&error).is_some(), "{error:?}");
}

#[test]
fn a_shutdown_is_final_and_a_body_without_a_length_looks_complete_after_it() {
    let _watch = watch();
    let (listener, address) = listener();
    let client = client();
    let begun = Gate::default();
    let body = TaskGroup::scope(|g| {
        let read = g.spawn(|| {
            let mut answer = client.get(format!("http://{address}/")).call()?;
            begun.open();
            Ok(answer.body_mut().read_to_string()?)
        });
        let mut peer = Peer::accept(&listener);
        assert!(peer.request());
        peer.send("HTTP/1.1 200 OK\r\n\r\nhalf");
        begun.wait();
        client.clone().shutdown();
        Ok(read.join()?)
    });
    assert_eq!(body.unwrap(), "half");
    assert!(get(&client, address).is_err());
}

#[test]
fn a_connection_with_half_an_answer_is_not_used_again() {
    let _watch = watch();
    let (listener, address) = listener();
    let client = client();
    let half = Gate::default();
    let mut first = None;
    let read = || {
        let mut answer = request(|| client.get(format!("http://{address}/")).call())?;
        half.open();
        request(|| answer.body_mut().read_to_string())
    };

    let error = cancelled_during(read, || {
        let mut peer = Peer::accept(&listener);
        assert!(peer.request());
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        half.wait();
        first = Some(peer);
    });

    assert_cancel(&error);

    // The rest of the first answer comes, and the next request gets its own.
    let rest = first.unwrap().0.get_mut().write_all(b"-rest");
    let answer = TaskGroup::scope(|g| {
        g.spawn(|| {
            let mut peer = Peer::accept(&listener);
            assert!(peer.request());
            peer.answer("the second");
            Ok(())
        });
        get(&client, address)
    });

    assert_eq!(answer.unwrap(), "the second");

    // The client has closed its end or not; neither is a fault of this test.
    drop(rest);
}

#[test]
fn an_idle_connection_that_the_server_closed_is_replaced() {
    let _watch = watch();
    let (listener, address) = listener();
    let client = client();
    for round in 0..10 {
        let closed = Gate::default();
        TaskGroup::scope(|g| {
            g.spawn(|| {
                let mut peer = Peer::accept(&listener);
                assert!(peer.request());
                peer.answer("hello");
                drop(peer);
                closed.open();
                Ok(())
            });
            assert_eq!(get(&client, address)?, "hello", "round {round}");
            closed.wait();
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn a_deadline_holds_for_the_whole_of_an_answer() {
    let _watch = watch();
    let (listener, address) = listener();
    let client = client();
    TaskGroup::scope(|g| {
        g.spawn_daemon(|| {
            let mut peer = Peer::accept(&listener);
            assert!(peer.request());
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
            // A byte at a time, each in time for a limit of one read, until the client has gone.
            while peer.0.get_mut().write_all(b"x").is_ok() {
                taskgroup::sleep(Duration::from_millis(1))?;
            }
            Ok(())
        });
        let url = format!("http://{address}/");
        let mut answer = request(|| client.get(url).call())?;
        let read = || request(|| answer.body_mut().read_to_string());
        assert_eq!(taskgroup::timeout(Duration::from_millis(30), read)?, None);
        drop(answer);
        g.cancel();
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_request_over_tls_is_answered_and_a_cancel_ends_the_next() {
    let _watch = watch();
    let (listener, address) = listener();
    let client = client_over_tls();
    let url = format!("https://localhost:{}/", address.port());
    let get = || request(|| client.get(&url).call()?.into_body().read_to_string());
    let asked = Gate::default();
    TaskGroup::scope(|g| {
        g.spawn(|| {
            let (_, session) = tls::sides();
            let stream = StreamOwned::new(session, listener.accept()?.0);
            let mut peer = Peer(BufReader::new(stream));
            assert!(peer.request());
            peer.answer("hello");
            assert!(peer.request());
            asked.open();
            // The client closes the connection without a word of TLS.
            let end = peer.0.read(&mut [0]);
            assert!(!matches!(end, Ok(1..)), "{end:?}");
            Ok(())
        });
        assert_eq!(get()?, "hello");
        assert_cancel(&cancelled_during(get, || asked.wait()));
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_time_limit_of_ureq_is_its_own_error() {
    let _watch = watch();
    let (_listener, address) = listener();
    let config = Agent::config_builder()
        .proxy(None)
        .timeout_recv_response(Some(Duration::from_millis(5)));
    let error = get(&agent(config.build()), address).unwrap_err();
    let error = error.downcast_ref::<ureq::Error>();
    assert!(matches!(error, Some(ureq::Error::Timeout(_))), "{error:?}");
}

#[test]
fn a_request_in_a_cancelled_scope_takes_no_connection() {
    let _watch = watch();
    let (listener, address) = listener();
    let token = CancelToken::new();
    token.cancel();
    let error = token.run(|| get(&client(), address)).unwrap_err();
    assert!(Cancelled::find(error.as_ref()).is_some());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn names_are_looked_up() {
    let _watch = watch();
    let (listener, address) = listener();
    let client = client();
    let answer = TaskGroup::scope(|g| {
        g.spawn(|| {
            let mut peer = Peer::accept(&listener);
            assert!(peer.request());
            peer.answer("hello");
            Ok(())
        });
        let url = format!("http://localhost:{}/", address.port());
        Ok(client.get(url).call()?.into_body().read_to_string()?)
    });
    assert_eq!(answer.unwrap(), "hello");
}
