//! Calls of the system in code that is not of the crate.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;

use rustix::event::{PollFd, PollFlags, epoll};
use rustix::fs::FlockOperation;
use taskgroup::TaskGroup;

use super::*;

/// Runs `block` in a task, and fails unless a snapshot shows it in one of `calls`, for
/// something that contains `target`. Then `end` ends the call.
#[track_caller]
fn calls(calls: &[&str], target: &str, block: impl FnOnce() + Send, end: impl FnOnce()) {
    TaskGroup::scope(|g| {
        let task = g.spawn(move || {
            block();
            Ok(())
        });
        let seen = until(|seen| {
            let task = seen.tasks().find(|seen| seen.id() == task.id())?;
            let what = task.waits()?.what();
            let expected = |call: &&str| what == format!("{call} (system call, not of this crate)");
            calls
                .iter()
                .any(|call| expected(call))
                .then(|| task.clone())
        });
        end();
        let wait = seen.waits().expect("it is blocked");
        assert_eq!(seen.state(), TaskState::Foreign);
        assert!(wait.target().unwrap_or_default().contains(target), "{seen}");
        assert!(
            wait.location().is_none() && !wait.is_cancellable(),
            "{seen}"
        );
        Ok(())
    })
    .expect("no task fails");
}

#[test]
fn reads_and_writes() {
    let _watch = watch();
    let (reader, writer) = std::os::unix::net::UnixStream::pair().expect("descriptors");
    let block = || drop((&reader).read(&mut [0]));
    calls(&["recvfrom", "read"], "a Unix socket", block, || {
        (&writer).write_all(b"x").expect("it is open");
    });
    let (from, into) = rustix::pipe::pipe().expect("there are descriptors");
    let block = || assert_eq!(rustix::io::read(&from, &mut [0]), Ok(1));
    calls(&["read"], "a pipe", block, || {
        rustix::io::write(&into, b"x").expect("it is open");
    });
    let much = vec![0; 4 << 20];
    let mut sink = std::fs::File::from(into.try_clone().expect("descriptors"));
    let block = || drop(sink.write_all(&much));
    calls(&["write"], "a pipe", block, move || {
        let mut rest = std::fs::File::from(from).take(4 << 20);
        std::io::copy(&mut rest, &mut std::io::sink()).expect("it is a pipe");
    });
}

#[test]
fn sockets() {
    let _watch = watch();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let expected = format!("a TCP listener on {address}");
    let block = || drop(listener.accept());
    calls(&["accept4", "accept"], &expected, block, || {
        std::net::TcpStream::connect(address)
            .map(drop)
            .expect("it listens");
    });

    rustix::net::listen(&listener, 0).expect("it listens");
    let expected = format!("a TCP socket to {address}");
    let block = || drop(until_no_answer(|| std::net::TcpStream::connect(address)));
    calls(&["connect"], &expected, block, move || drop(listener));

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    let address = socket.local_addr().expect("it is bound");
    let block = || drop(socket.recv(&mut [0]));
    calls(
        &["recvfrom"],
        &format!("a UDP socket on {address}"),
        block,
        || {
            socket
                .send_to(b"x", address)
                .map(drop)
                .expect("it is bound");
        },
    );
}

#[test]
fn polls() {
    let _watch = watch();
    let (reader, writer) = rustix::pipe::pipe().expect("there are descriptors");
    let block = || {
        let mut fds = [PollFd::new(&reader, PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, None), Ok(1));
    };
    let write = || assert_eq!(rustix::io::write(&writer, b"x"), Ok(1));
    calls(&["poll", "ppoll"], "", block, write);

    rustix::io::read(&reader, &mut [0]).expect("a byte is there");
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).expect("descriptors");
    let data = epoll::EventData::new_u64(1);
    epoll::add(&queue, &reader, data, epoll::EventFlags::IN).expect("it is a pipe");
    let block = || {
        let mut events = Vec::with_capacity(1);
        let room = rustix::buffer::spare_capacity(&mut events);
        assert_eq!(epoll::wait(&queue, room, None), Ok(1));
    };
    calls(
        &["epoll_wait", "epoll_pwait", "epoll_pwait2"],
        "eventpoll",
        block,
        write,
    );
}

#[test]
fn locks_of_files() {
    let _watch = watch();
    let folder = Folder::new("flock");
    let path = folder.file("lock");
    let first = std::fs::File::create(&path).expect("the folder is there");
    let second = std::fs::File::open(&path).expect("it was made");
    rustix::fs::flock(&first, FlockOperation::LockExclusive).expect("nothing holds it");
    let expected = path.display().to_string();
    let block = || {
        rustix::fs::flock(&second, FlockOperation::LockExclusive).expect("it comes free");
    };
    calls(&["flock"], &expected, block, || {
        rustix::fs::flock(&first, FlockOperation::Unlock).expect("it is held");
    });
}

/// A lock by `fcntl` belongs to a process, so another one holds it.
#[test]
fn locks_of_processes() {
    const TEST: &str = "locks_of_processes";
    let lock = |path: &std::path::Path| {
        let options = std::fs::OpenOptions::new().write(true).create(true).clone();
        options.open(path).expect("the folder is there")
    };
    if is_child() {
        let file = lock(
            std::env::var("TASKGROUP_TEST_ARGUMENT")
                .expect("set")
                .as_ref(),
        );
        rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive).expect("it is free");
        rustix::io::write(std::io::stdout(), b"\nlocked\n").expect("it is open");
        std::io::stdin()
            .read_line(&mut String::new())
            .expect("the test lives");
        return;
    }

    let _watch = watch();
    let folder = Folder::new("fcntl");
    let path = folder.file("lock");
    let mut child = test_in_child(TEST)
        .env("TASKGROUP_TEST_ARGUMENT", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary starts");
    let said = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
    let mut said = said.lines();
    assert!(said.any(|line| line.expect("it is text") == "locked"));

    let file = lock(&path);
    let expected = path.display().to_string();
    let block = || {
        rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive).expect("it comes free");
    };
    calls(&["fcntl"], &expected, block, || {
        drop(child.stdin.take());
        // Its last words must not meet a closed pipe.
        said.for_each(drop);
        assert!(child.wait().expect("it is a child").success());
    });
}

#[test]
fn sleeps_and_children() {
    let _watch = watch();
    let woken = AtomicBool::new(false);
    let block = || {
        while !woken.load(SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
    };
    calls(&["clock_nanosleep", "nanosleep"], "", block, || {
        woken.store(true, SeqCst)
    });

    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .spawn()
        .expect("there is cat");
    let open = child.stdin.take();
    let expected = format!("process {}", child.id());
    let block = || assert!(child.wait().expect("it is a child").success());
    calls(&["wait4"], &expected, block, || drop(open));
}

#[test]
fn locks_of_std() {
    let _watch = watch();
    let mutex = Mutex::new(false);
    let held = mutex.lock().expect("no thread panics");
    calls(&["futex"], "", || drop(mutex.lock()), move || drop(held));

    let condvar = Condvar::new();
    let block = || {
        let is_over = mutex.lock().expect("no thread panics");
        drop(condvar.wait_while(is_over, |is_over| !*is_over));
    };
    calls(&["futex"], "", block, || {
        *mutex.lock().expect("no thread panics") = true;
        condvar.notify_all();
    });

    let (sender, receiver) = mpsc::channel::<()>();
    calls(
        &["futex"],
        "",
        move || assert!(receiver.recv().is_err()),
        move || drop(sender),
    );

    let (sender, threads) = mpsc::channel();
    let is_over = AtomicBool::new(false);
    let block = || {
        sender.send(thread::current()).expect("the test receives");
        while !is_over.load(SeqCst) {
            thread::park();
        }
    };
    calls(&["futex"], "", block, || {
        is_over.store(true, SeqCst);
        threads.recv().expect("it has begun").unpark();
    });
}

#[test]
fn a_task_that_spins_runs() {
    let _watch = watch();
    let (spins, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            while !is_over.load(SeqCst) {
                spins.store(true, SeqCst);
                std::hint::spin_loop();
            }
            Ok(())
        });
        support::until(|| spins.load(SeqCst));
        let seen = until(|seen| {
            let task = seen.tasks().find(|seen| seen.id() == task.id())?;
            (task.state() == TaskState::Running).then(|| task.clone())
        });
        is_over.store(true, SeqCst);
        assert!(
            seen.waits().is_none() && seen.to_string().ends_with(": running"),
            "{seen}"
        );
        Ok(())
    })
    .expect("no task fails");
}

/// The thread goes from one descriptor to another of the same number while snapshots are taken.
#[test]
fn a_descriptor_that_was_closed_and_made_again_is_never_named_wrongly() {
    let _watch = watch();
    let is_over = AtomicBool::new(false);
    TaskGroup::scope(|g| {
        let reads = g.spawn(|| {
            while !is_over.load(SeqCst) {
                // A pipe is only read here, a socket is only polled.
                let (from, into) = rustix::pipe::pipe()?;
                rustix::io::write(&into, b"x")?;
                rustix::io::read(&from, &mut [0])?;
                drop((from, into));
                let (near, _far) = std::os::unix::net::UnixStream::pair()?;
                let mut fds = [PollFd::from_borrowed_fd(near.as_fd(), PollFlags::OUT)];
                rustix::event::poll(&mut fds, None)?;
            }
            Ok(())
        });
        for _ in 0..2_000 {
            let seen = taskgroup::snapshot();
            let task = seen.tasks().find(|seen| seen.id() == reads.id());
            let wait = task.and_then(|task| task.waits().cloned());
            if let Some(wait) = wait.filter(|wait| wait.what().starts_with("read ")) {
                let target = wait.target().unwrap_or_default();
                assert!(!target.contains("socket"), "{target}");
            }
        }
        is_over.store(true, SeqCst);
        Ok(())
    })
    .expect("no task fails");
}
