//! The text of a snapshot for waits in the system: the crate's own by name, place and descriptor,
//! those of other code by the call of the system.
#![cfg(all(unix, feature = "net", feature = "io", feature = "process"))]

#[cfg(target_os = "linux")]
mod foreign;
#[path = "../support/snapshots.rs"]
mod snapshots;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, Read, Write};
use std::panic::Location;
#[cfg(target_os = "linux")]
use std::time::Duration;

use snapshots::until;
#[cfg(target_os = "linux")]
use support::{LONG, run_test, this_test};
use support::{is_child, test_in_child, watch};
use taskgroup::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use taskgroup::{CancelToken, TaskSnapshot, TaskState};

/// Runs `block` on a thread under a token, and fails unless a snapshot names its wait at `what`,
/// called at most six lines below `line`, for something that contains `target`. Then it is
/// cancelled.
#[track_caller]
fn waits<T>(what: &str, target: &str, line: u32, block: impl FnOnce() -> T + Send) {
    let (here, token) = (Location::caller().file(), CancelToken::new());
    let is_there = |seen: &TaskSnapshot| {
        let wait = seen.waits().filter(|wait| wait.what() == what);
        let place = wait.and_then(|wait| wait.location());
        place.is_some_and(|place| place.file() == here && (line..line + 7).contains(&place.line()))
    };
    std::thread::scope(|threads| {
        threads.spawn(|| token.run(|| drop(block())));
        let seen = until(|seen| seen.threads().iter().find(|task| is_there(task)).cloned());
        token.cancel();
        assert_eq!(seen.state(), TaskState::Waiting);
        let shown = seen
            .waits()
            .and_then(|wait| wait.target())
            .unwrap_or_default();
        // Other systems do not tell what a descriptor is.
        if cfg!(target_os = "linux") || target.starts_with("fd ") || target.is_empty() {
            assert!(shown.contains(target), "{seen}");
        }
        assert!(seen.to_string().contains(what), "{seen}");
    });
}

/// Connects again and again: those that fit into the queue of a listener at once, and the next
/// waits for an answer. Returns its error.
fn until_no_answer<T>(connect: impl Fn() -> std::io::Result<T>) -> std::io::Error {
    let mut queued = Vec::new();
    loop {
        match connect() {
            Ok(stream) => queued.push(stream),
            Err(error) => return error,
        }
    }
}

/// A folder of its own, removed at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("taskgroup-snapshot-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the folder can be made");
        Folder(path)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the folder is there");
    }
}

#[test]
fn sockets_by_name_and_peer() {
    let _watch = watch();
    let folder = Folder::new("sockets");
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let expected = format!("a TCP listener on {address}");
    waits("TcpListener::accept", &expected, line!(), || {
        listener.accept()
    });
    waits("TcpListener::accept", &expected, line!(), || {
        listener.incoming().next()
    });

    let stream = TcpStream::connect(address).expect("the listener listens");
    let (there, _) = listener.accept().expect("there is a peer");
    let expected = format!("a TCP socket to {address}");
    waits("read from a socket", &expected, line!(), || {
        (&stream).read(&mut [0])
    });
    let much = vec![0; 32 << 20];
    waits("write to a socket", &expected, line!(), || {
        (&stream).write_all(&much)
    });
    drop(there);

    let path = folder.file("listener");
    let listener = UnixListener::bind(&path).expect("the path is free");
    let expected = format!("a Unix socket on {}", path.display());
    waits("UnixListener::accept", &expected, line!(), || {
        listener.accept()
    });
    rustix::net::listen(&listener, 0).expect("it listens");
    waits("UnixStream::connect", "", line!(), || {
        until_no_answer(|| UnixStream::connect(&path))
    });

    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    let address = socket.local_addr().expect("it is bound");
    let expected = format!("a UDP socket on {address}");
    waits("recv from a socket", &expected, line!(), || {
        socket.recv(&mut [0])
    });
    let (socket, _there) = UnixDatagram::pair().expect("there is a descriptor");
    socket.set_nonblocking(true).expect("it is open");
    while socket.send(b"x").is_ok() {}
    socket.set_nonblocking(false).expect("it is open");
    waits("send to a socket", "a Unix socket", line!(), || {
        socket.send(b"x")
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_connect_that_gets_no_answer() {
    let _watch = watch();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    rustix::net::listen(&listener, 0).expect("it listens");
    let address = listener.local_addr().expect("it is bound");
    let expected = format!("a TCP socket to {address}");
    waits("TcpStream::connect", &expected, line!(), || {
        until_no_answer(|| TcpStream::connect(address))
    });
}

#[test]
fn pipes_files_and_children() {
    let _watch = watch();
    let folder = Folder::new("pipes");
    let (reader, writer) = taskgroup::io::pipe().expect("there are descriptors");
    waits("read", "a pipe", line!(), || (&reader).read(&mut [0]));
    let much = vec![0; 4 << 20];
    waits("write", "a pipe", line!(), || (&writer).write_all(&much));

    let fifo = folder.file("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("there is mkfifo").success());
    let options = std::fs::OpenOptions::new().read(true).clone();
    waits("io::open_fifo", "", line!(), || {
        taskgroup::io::open_fifo(&fifo, &options)
    });

    let path = folder.file("lock");
    let first = std::fs::File::create(&path).expect("the folder is there");
    taskgroup::io::lock_file(&first).expect("nothing holds it");
    let second = std::fs::File::open(&path).expect("it was made");
    waits("io::lock_file", "", line!(), || {
        taskgroup::io::lock_file(&second)
    });

    let mut sleeps = taskgroup::process::Command::new("sleep");
    let child = sleeps.arg("60").spawn().expect("there is sleep");
    let expected = format!("process {}", child.id());
    waits("Child::wait", &expected, line!(), || child.wait());
    let mut sleeps = taskgroup::process::Command::new("sleep");
    waits("Child::wait", "process ", line!(), || {
        sleeps.arg("60").output()
    });
}

#[test]
fn standard_input() {
    const TEST: &str = "standard_input";
    let _watch = watch();
    if is_child() {
        waits("read from stdin", "fd 0", line!(), || {
            taskgroup::io::stdin().lock().read_line(&mut String::new())
        });
        return;
    }

    // Its standard input stays open, and nothing comes.
    let mut child = test_in_child(TEST)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("the test binary starts");
    let open = child.stdin.take();
    assert!(child.wait().expect("it is a child").success());
    drop(open);
}

/// Without a /proc, in a mount namespace of its own, where the system allows one.
#[cfg(target_os = "linux")]
#[test]
fn a_system_that_tells_nothing_gives_one_note_and_no_error() {
    const TEST: &str = "a_system_that_tells_nothing_gives_one_note_and_no_error";
    let _watch = watch();
    if is_child() {
        return without_proc();
    }

    let Some(mut isolated) = support::without_proc() else {
        return eprintln!("SKIPPED {TEST}: this system allows no mount namespace");
    };
    let output = run_test(isolated.arg(this_test()), TEST).output();
    let output = output.expect("it has worked before");
    assert!(output.status.success(), "{output:?}");
}

#[cfg(target_os = "linux")]
fn without_proc() {
    use taskgroup::TaskGroup;

    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let (reader, writer) = taskgroup::io::pipe().expect("there are descriptors");
    TaskGroup::scope(|g| {
        let elsewhere = g.spawn(move || {
            // It ends with its sender.
            let _ = receiver.recv_timeout(LONG);
            Ok(())
        });
        let ours = g.spawn(move || Ok((&reader).read(&mut [0])?));
        let seen = until(|seen| {
            let state = |id| Some(seen.tasks().find(|seen| seen.id() == id)?.state());
            let states = (state(elsewhere.id())?, state(ours.id())?);
            (states == (TaskState::Elsewhere, TaskState::Waiting)).then(|| seen.clone())
        });
        assert_eq!((seen.notes().len(), seen.incomplete()), (1, 0), "{seen}");
        let of = |id| {
            seen.tasks()
                .find(|seen| seen.id() == id)
                .map(ToString::to_string)
        };
        let found = of(elsewhere.id()).unwrap_or_default();
        assert!(
            found.ends_with("in code that is not of this crate"),
            "{found}"
        );
        assert!(
            of(ours.id()).is_some_and(|found| found.contains("read (")),
            "{seen}"
        );
        assert!(seen.to_string().contains("\nnote: "));
        drop((sender, writer));
        Ok(())
    })
    .expect("no task fails");
}
