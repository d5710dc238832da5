//! The actions and masks of signals are the program's: no module changes them but `signal`.
#![cfg(all(target_os = "linux", feature = "net", feature = "process"))]

#[path = "support/blocked.rs"]
mod blocked;
#[path = "support/children.rs"]
mod children;
mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use blocked::{cancelled_while_blocked, in_a_cancelled_scope, the_cancel};
use children::{SHORT, has_children, is_a_cancel, ready, sh};
use signal_hook::consts::{SIGALRM, SIGCHLD, SIGIO, SIGURG, SIGUSR1, SIGUSR2};
use signal_hook::flag::register;
use signal_hook::low_level::raise;
use support::{MOMENT, alone, until, watch};
use taskgroup::TaskGroup;
use taskgroup::net::{TcpListener, TcpStream, UdpSocket, UnixStream};

/// Signals that a library may be tempted to use: they tell of children, of descriptors and of time.
const TEMPTING: [i32; 6] = [SIGCHLD, SIGIO, SIGURG, SIGALRM, SIGUSR1, SIGUSR2];

/// Returns the lines about signals that are blocked, ignored and caught.
fn lines(status: &str) -> Vec<String> {
    let lines = status.lines();
    let kept = lines.filter(|line| {
        ["SigBlk:", "SigIgn:", "SigCgt:"]
            .iter()
            .any(|label| line.starts_with(label))
    });
    kept.map(str::to_owned).collect()
}

/// Returns these lines of this thread, the masks of all threads, and the actions of the process.
fn here() -> Vec<String> {
    lines(&fs::read_to_string("/proc/thread-self/status").unwrap())
}

/// Whether a thread of this process blocks a signal.
fn is_one_blocked() -> bool {
    let mut threads = fs::read_dir("/proc/self/task").unwrap();
    threads.any(|thread| {
        // A thread may leave meanwhile.
        let status = fs::read_to_string(thread.unwrap().path().join("status"));
        status.is_ok_and(|status| !lines(&status)[0].ends_with("\t0000000000000000"))
    })
}

/// Runs the test of this name in a process of its own, where `uses` must leave the signals as they
/// are: those with the default action, those that are ignored, and those with a handler.
fn leaves_the_signals_alone(test: &str, uses: impl Fn()) {
    alone(test, || {
        let _watch = watch();
        let defaults = here();
        uses();
        assert_eq!(here(), defaults);
        // The library of C blocks all signals while a thread begins or ends.
        until(|| !is_one_blocked());

        let heard = TEMPTING.map(|signal| {
            let heard = Arc::new(AtomicBool::new(false));
            register(signal, heard.clone()).unwrap();
            heard
        });
        let caught = here();
        assert_ne!(caught, defaults);
        uses();
        assert_eq!(here(), caught);
        until(|| !is_one_blocked());

        // The handlers are the program's still.
        for (signal, heard) in TEMPTING.into_iter().zip(heard) {
            heard.store(false, SeqCst);
            raise(signal).unwrap();
            until(|| heard.load(SeqCst));
        }
    });
}

#[test]
fn sockets_leave_the_signals_alone() {
    leaves_the_signals_alone("sockets_leave_the_signals_alone", || {
        let listener = TcpListener::bind("localhost:0").unwrap();
        the_cancel(cancelled_while_blocked(|| listener.accept()));
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (there, _) = listener.accept().unwrap();
        the_cancel(cancelled_while_blocked(|| (&here).read(&mut [0])));
        let none = taskgroup::timeout(MOMENT, || (&here).read(&mut [0]));
        assert!(none.unwrap().is_none());
        (&there).write_all(b"x").unwrap();
        assert_eq!((&here).read(&mut [0]).unwrap(), 1);

        let (mut gone, _) = UnixStream::pair().unwrap();
        let broken = gone.write_all(b"x").unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        the_cancel(cancelled_while_blocked(|| socket.recv(&mut [0])));
    });
}

#[test]
fn pipes_and_files_leave_the_signals_alone() {
    leaves_the_signals_alone("pipes_and_files_leave_the_signals_alone", || {
        let (mut reader, mut writer) = taskgroup::io::pipe().unwrap();
        the_cancel(cancelled_while_blocked(|| reader.read(&mut [0])));
        writer.write_all(b"x").unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 1);
        drop(reader);
        let broken = writer.write_all(b"x").unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);

        the_cancel(in_a_cancelled_scope(|| {
            taskgroup::io::stdin().read(&mut [0])
        }));
        assert_eq!(taskgroup::io::stdin().read(&mut [0]).unwrap(), 0);
        let file = fs::File::open(std::env::current_exe().unwrap()).unwrap();
        taskgroup::io::lock_file(&file).unwrap();
        let mut first = (&file).take(1 << 20);
        let copied = taskgroup::io::copy(&mut first, &mut std::io::sink()).unwrap();
        assert_eq!(copied, 1 << 20);
        taskgroup::io::unlock_file(&file).unwrap();
    });
}

#[test]
fn children_leave_the_signals_alone() {
    leaves_the_signals_alone("children_leave_the_signals_alone", || {
        let by_a_worker = TaskGroup::scope(|g| {
            let task = g.task().dedicated();
            Ok(task.spawn(|| Ok(sh("exit 0").status()?)).join()?)
        });
        assert!(by_a_worker.unwrap().success());
        assert_eq!(sh("echo hello").output().unwrap().stdout, b"hello\n");
        let sleeps = || ready(&mut sh("echo ready; exec sleep 60"));
        let child = sleeps();
        assert!(is_a_cancel(
            &cancelled_while_blocked(|| child.wait()).unwrap_err()
        ));
        assert!(!sleeps().stop().unwrap().success());
        let mut stubborn = sh("trap '' TERM; echo ready; exec sleep 60");
        ready(stubborn.own_group().grace(SHORT)).stop().unwrap();
        // The thread that reaps takes these over.
        drop(sleeps());
        sh("exit 0").spawn().unwrap().detach();
        until(|| !has_children());
    });
}
