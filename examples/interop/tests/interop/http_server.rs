//! A real server of tiny_http with several threads that take its requests.

use std::net::SocketAddr;

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
