//! Looking names up, with resolvers that answer and a resolver that hangs.

use std::net::ToSocketAddrs as _;
use std::sync::{Arc, Mutex};

use crate::blocked::{in_a_cancelled_scope, the_cancel};
use crate::support::{Listener, is_child};
#[cfg(target_os = "linux")]
use crate::support::{run_test, this_test};
use taskgroup::net::{TcpListener, TcpStream, UdpSocket, lookup};

#[test]
fn a_name_has_the_addresses_that_std_finds() {
    let mut theirs: Vec<_> = "localhost:80".to_socket_addrs().unwrap().collect();
    let mut ours = lookup("localhost:80").unwrap();
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);
    assert_eq!(lookup(("localhost", 80)).unwrap().len(), theirs.len());
}

#[test]
fn a_name_that_does_not_exist_fails_as_in_std() {
    let name = ("no name can hold a space", 80);
    let theirs = name.to_socket_addrs().map(Iterator::count).unwrap_err();
    for ours in [
        lookup(name).unwrap_err(),
        TcpStream::connect(name).unwrap_err(),
        TcpListener::bind(name).unwrap_err(),
        UdpSocket::bind(name).unwrap_err(),
    ] {
        assert_eq!(
            (ours.kind(), ours.to_string()),
            (theirs.kind(), theirs.to_string())
        );
    }
}

#[test]
fn a_look_up_is_a_blocking_point_for_numbers_too() {
    the_cancel(in_a_cancelled_scope(|| lookup("127.0.0.1:80")));
    the_cancel(in_a_cancelled_scope(|| lookup("localhost:80")));
    the_cancel(in_a_cancelled_scope(|| TcpListener::bind("localhost:0")));
    the_cancel(in_a_cancelled_scope(|| TcpStream::connect("localhost:80")));
}

#[test]
fn a_name_can_be_bound_and_connected_to() {
    let listener = TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stream = TcpStream::connect(("localhost", port)).unwrap();
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(peer, stream.local_addr().unwrap());
}

#[test]
fn a_number_takes_no_thread() {
    const NAME: &str = "a_number_takes_no_thread";
    if !is_child() {
        let output = crate::support::run_in_child_without_threads(NAME);
        assert!(output.status.success(), "{output:?}");
        return;
    }

    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let listener = Listener {
        level: tracing::Level::WARN,
        hears: move |event| hears.lock().unwrap().push(event),
    };
    tracing::subscriber::with_default(listener, || {
        assert_eq!(lookup("127.0.0.1:80").unwrap().len(), 1);
        TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert_eq!(heard.lock().unwrap().len(), 0);

        // Without a thread a name is looked up all the same.
        assert!(!lookup("localhost:80").unwrap().is_empty());
        assert_eq!(heard.lock().unwrap().len(), 1);
    });
}

/// Starts this test again in a network of its own, with the test as its name server. Returns false
/// in there. Returns true out here, even if the system allows no such network.
#[cfg(target_os = "linux")]
fn with_a_mute_name_server(test: &str) -> bool {
    use std::process::Command;

    if is_child() {
        return false;
    }

    let script =
        "mount --bind \"$RESOLV_CONF\" /etc/resolv.conf && ip link set lo up && exec \"$@\"";
    let mut isolated = Command::new("unshare");
    isolated.args(["--map-root-user", "--mount", "--net", "sh", "-c"]);
    let conf = std::env::temp_dir().join(format!(
        "taskgroup-resolv-{}-{}",
        std::process::id(),
        test.replace("::", "-")
    ));
    std::fs::write(
        &conf,
        "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n",
    )
    .unwrap();
    isolated.arg(script).arg("sh").env("RESOLV_CONF", &conf);

    let mut probe = Command::new("unshare");
    probe.args(["--map-root-user", "--mount", "--net", "sh", "-c"]);
    probe
        .arg(script)
        .args(["sh", "true"])
        .env("RESOLV_CONF", &conf);
    let allowed = probe.output().is_ok_and(|output| output.status.success());
    if allowed {
        let output = run_test(isolated.arg(this_test()), test).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    } else {
        eprintln!("SKIPPED {test}: this system allows no network namespace");
    }
    std::fs::remove_file(&conf).unwrap();
    true
}

#[cfg(target_os = "linux")]
#[test]
fn a_look_up_is_named_in_a_snapshot() {
    use taskgroup::TaskGroup;

    if with_a_mute_name_server("a_look_up_is_named_in_a_snapshot") {
        return;
    }
    // It gets the question, and never answers.
    let server = std::net::UdpSocket::bind("127.0.0.1:53").unwrap();
    let outcome = TaskGroup::scope(|g| {
        let line = line!() + 1;
        let task = g.task().name("asks").spawn(|| Ok(lookup("slow.test:80")?));
        let seen = crate::snapshots::task_at("net::lookup", task.id());
        let wait = seen.waits().expect("it waits");
        let location = wait.location().expect("the call is ours");
        assert_eq!((location.file(), location.line()), (file!(), line));
        assert!(wait.is_cancellable() && !wait.has_seen_cancel());
        assert!(
            seen.to_string()
                .contains("net::lookup (tests/net/lookup.rs:"),
            "{seen}"
        );
        // A thread that has not asked yet may end with the cancel.
        server.recv(&mut [0; 512])?;
        g.cancel();
        Ok(())
    });
    outcome.expect("a scope absorbs its own cancel");

    // The thread that asks is left behind, and shown with its name.
    let left = crate::snapshots::until(|seen| seen.abandoned().first().cloned());
    assert_eq!(left.name.as_deref(), Some("lookup slow.test"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_resolver_that_hangs_holds_up_neither_the_scope_nor_the_process() {
    use std::thread;
    use std::time::{Duration, Instant};

    use crate::support::LONG;
    use taskgroup::CancelToken;

    if with_a_mute_name_server("a_resolver_that_hangs_holds_up_neither_the_scope_nor_the_process") {
        return;
    }
    // It gets the questions, and never answers.
    let server = std::net::UdpSocket::bind("127.0.0.1:53").unwrap();
    let token = CancelToken::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    thread::scope(|threads| {
        let looks_up = threads.spawn(|| token.run(|| lookup("one.test:80")));
        let connects = threads.spawn(|| token.run(|| TcpStream::connect("two.test:80")));
        let sends = threads.spawn(|| token.run(|| socket.send_to(b"x", "three.test:80")));
        let mut names = std::collections::BTreeSet::new();
        while names.len() < 3 {
            names.insert(asked_name(&server));
        }
        token.cancel();
        the_cancel(looks_up.join().unwrap());
        the_cancel(connects.join().unwrap());
        the_cancel(sends.join().unwrap());
    });
    assert_eq!(
        stuck(),
        ["lookup one.test", "lookup three.test", "lookup two.test"]
    );

    // Each that gets a place takes it along, and beyond the eighth there is none.
    let is_cut = |name: String| {
        let none = taskgroup::timeout(Duration::from_millis(100), || lookup((name, 80)));
        none.unwrap().is_none()
    };
    let mut more = (0..).map(|number| format!("more{number}.test"));
    while stuck().len() < 8 {
        assert!(more.next().is_some_and(is_cut));
    }
    assert!(more.next().is_some_and(is_cut));
    assert_eq!(stuck().len(), 8);
    // Numbers need none.
    assert_eq!(lookup("127.0.0.1:80").unwrap().len(), 1);
    assert!(begun.elapsed() < LONG / 2, "no resolver was waited for");
}

/// Receives a question, and returns the first part of its name. A resolver may ask for one name
/// several times.
#[cfg(target_os = "linux")]
fn asked_name(server: &std::net::UdpSocket) -> String {
    // The name comes after twelve bytes, each part after its length.
    let mut question = [0; 512];
    server.recv(&mut question).unwrap();
    let length = usize::from(question[12]);
    String::from_utf8(question[13..13 + length].to_vec()).unwrap()
}

/// The names of the calls that were left behind.
#[cfg(target_os = "linux")]
fn stuck() -> Vec<String> {
    let abandoned = taskgroup::abandoned();
    let mut names: Vec<_> = abandoned.iter().filter_map(|it| it.name.clone()).collect();
    names.sort();
    names
}
