//! A real server of tiny_http with several threads that take its requests.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use taskgroup::{CancelToken, Cancelled, TaskGroup};
use taskgroup_interop::accept;
use tiny_http::{Response, Server};

use crate::support::watch;
use crate::{assert_cancel, cancelled_during};

fn server() -> (Server, SocketAddr) {
    let server = Server::http("127.0.0.1:0").unwrap();
    let address = server.server_addr().to_ip().unwrap();
    (server, address)
}

fn get(address: SocketAddr) -> anyhow::Result<String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    Ok(agent
        .get(format!("http://{address}/"))
        .call()?
        .into_body()
        .read_to_string()?)
}

/// Answers requests until the scope is cancelled.
fn answer(server: &Server) -> anyhow::Result<()> {
    loop {
        accept(server)?.respond(Response::from_string("hello"))?;
    }
}

#[test]
fn every_waiting_thread_ends_at_a_cancel() {
    let _watch = watch();
    for _ in 0..20 {
        let (server, address) = server();
        TaskGroup::scope(|g| {
            for _ in 0..8 {
                g.spawn(|| answer(&server));
            }
            assert_eq!(get(address)?, "hello");
            g.cancel();
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn one_unblock_wakes_one_thread() {
    let _watch = watch();
    let (server, _) = server();
    TaskGroup::scope(|g| {
        let waits: Vec<_> = (0..2)
            .map(|_| g.spawn(|| Ok(server.recv().is_err())))
            .collect();
        server.unblock();
        while waits.iter().all(|wait| !wait.is_finished()) {
            std::thread::yield_now();
        }
        assert_eq!(waits.iter().filter(|wait| wait.is_finished()).count(), 1);
        server.unblock();
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_unblock_that_is_left_over_ends_no_other_wait() {
    let _watch = watch();
    let (server, address) = server();
    server.unblock();
    TaskGroup::scope(|g| {
        g.spawn(|| answer(&server));
        assert_eq!(get(address)?, "hello");
        g.cancel();
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_cancel_in_one_scope_leaves_the_threads_of_another() {
    let _watch = watch();
    let (server, address) = server();
    TaskGroup::scope(|g| {
        g.spawn(|| answer(&server));
        for _ in 0..20 {
            assert_cancel(&cancelled_during(|| answer(&server), || ()));
            assert_eq!(get(address)?, "hello");
        }
        g.cancel();
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_request_is_not_taken_in_a_cancelled_scope() {
    let _watch = watch();
    let (server, address) = server();
    TaskGroup::scope(|g| {
        let client = g.spawn(|| get(address));
        let token = CancelToken::new();
        token.cancel();
        let refused = token.run(|| accept(&server).map(drop)).unwrap_err();
        assert!(Cancelled::find(refused.as_ref()).is_some());
        // It is still there for a scope that goes on.
        accept(&server)?.respond(Response::from_string("hello"))?;
        assert_eq!(client.join()?, "hello");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_connection_outlives_the_scope_that_took_its_first_request() {
    let _watch = watch();
    let (server, address) = server();
    let mut client = TcpStream::connect(address).unwrap();
    let mut ask = || client.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n");
    ask().unwrap();
    TaskGroup::scope(|g| {
        accept(&server)?.respond(Response::from_string("hello"))?;
        g.cancel();
        Ok(())
    })
    .unwrap();

    // The thread of tiny_http that reads this connection is in no scope.
    ask().unwrap();
    assert_eq!(accept(&server).unwrap().url(), "/");
}

#[test]
fn the_read_of_a_body_goes_on_after_a_cancel() {
    let _watch = watch();
    let (server, address) = server();
    let mut client = TcpStream::connect(address).unwrap();
    let head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5000\r\n\r\n";
    client.write_all(head).unwrap();
    let mut request = accept(&server).unwrap();
    let token = CancelToken::new();
    let length = TaskGroup::scope(|g| {
        let body = g.spawn(|| {
            token.run(|| {
                let mut body = Vec::new();
                request.as_reader().read_to_end(&mut body)?;
                Ok(body.len())
            })
        });
        token.cancel();
        // Only now the body comes, and the read takes all of it.
        client.write_all(&[b'x'; 5000])?;
        Ok(body.join()?)
    });
    assert_eq!(length.unwrap(), 5000);
}
