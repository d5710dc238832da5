//! Signals, descriptors that run out, and peers that have gone.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::net::{TcpListener, TcpStream};
use taskgroup::{CancelToken, TaskGroup};

use super::{mute, pair};
#[cfg(target_os = "linux")]
use crate::blocked::the_cancel;
use crate::support::{LONG, MOMENT, alone, until};

#[test]
fn numbers_of_closed_descriptors_are_never_mixed_up() {
    // Two threads open and close streams, so that numbers are used again at once. Each stream
    // carries its own number, and no reader sees another's.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    TaskGroup::scope(|g| {
        g.spawn_daemon(|| {
            for stream in listener.incoming() {
                let mut stream = stream?;
                let mut number = [0; 4];
                if stream.read_exact(&mut number).is_ok() {
                    stream.write_all(&number)?;
                }
            }
            Ok(())
        });
        for task in 0..2_u32 {
            g.spawn(move || {
                for round in 0..200_u32 {
                    let number = (task << 16 | round).to_be_bytes();
                    let mut stream = TcpStream::connect(address)?;
                    // Every third one is cancelled while its answer is on the way.
                    let token = CancelToken::new();
                    if round % 3 == 0 {
                        stream.write_all(&number)?;
                        thread::scope(|threads| {
                            threads.spawn(|| token.cancel());
                            let mut answer = [0; 4];
                            if token.run(|| stream.read_exact(&mut answer)).is_ok() {
                                assert_eq!(answer, number);
                            }
                        });
                        continue;
                    }
                    stream.write_all(&number)?;
                    let mut answer = [0; 4];
                    stream.read_exact(&mut answer)?;
                    assert_eq!(answer, number);
                }
                Ok(())
            });
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_write_to_a_peer_that_has_gone_raises_no_signal() {
    alone("a_write_to_a_peer_that_has_gone_raises_no_signal", || {
        let raised = std::sync::Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, raised.clone()).unwrap();

        let (here, there) = pair();
        drop(there);
        let gone = loop {
            if let Err(error) = (&here).write(&[0; 64]) {
                break error;
            }
        };
        assert!(matches!(
            gone.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ));
        let gone = (&here).write(&[0]).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
        let gone = (&here).write_vectored(&[IoSlice::new(&[0])]).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
        assert!(!raised.load(Ordering::SeqCst));

        // The signal is seen where it is raised.
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        rustix::io::write(&writer, b"x").unwrap_err();
        until(|| raised.load(Ordering::SeqCst));
    });
}

#[test]
fn a_peer_that_has_gone_does_not_end_a_program_with_the_default_action_of_sigpipe() {
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::os::unix::process::ExitStatusExt;

    use signal_hook::consts::SIGPIPE;
    use signal_hook::flag::register_conditional_default;

    const NAME: &str =
        "a_peer_that_has_gone_does_not_end_a_program_with_the_default_action_of_sigpipe";
    if !crate::support::is_child() {
        let output = crate::support::run_in_child(NAME);
        assert!(String::from_utf8_lossy(&output.stdout).contains("alive"));
        assert_eq!(output.status.signal(), Some(SIGPIPE), "{output:?}");
        return;
    }

    // std ignores the signal from the beginning. From here on it does what it does by default.
    register_conditional_default(SIGPIPE, std::sync::Arc::new(AtomicBool::new(true))).unwrap();
    let is_broken = |write: &dyn Fn() -> io::Result<()>| {
        // The first writes may come before the system knows.
        while write().is_ok() {}
        assert_eq!(write().unwrap_err().kind(), ErrorKind::BrokenPipe);
    };
    let (tcp, there) = pair();
    drop(there);
    let [unix, other] = [(); 2].map(|()| UnixStream::pair().unwrap().0);
    let unix = taskgroup::net::UnixStream::from(unix);
    let datagrams: taskgroup::net::UnixDatagram = UnixDatagram::pair().unwrap().0.into();
    is_broken(&|| (&tcp).write_all(b"x"));
    is_broken(&|| (&tcp).write_vectored(&[IoSlice::new(b"x")]).map(drop));
    is_broken(&|| (&unix).write_all(b"x"));
    datagrams.send(b"x").unwrap_err();
    let mut other = taskgroup::io::Cancellable::new(other).unwrap();
    let broken = other.write_all(b"x").unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
    println!("alive");

    // A pipe has no way to write without the signal.
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    rustix::io::write(&writer, b"x").unwrap_err();
    unreachable!("the signal ends the process");
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_descriptor_for_the_waker_waits_work_and_a_cancel_ends_them() {
    const NAME: &str = "without_a_descriptor_for_the_waker_waits_work_and_a_cancel_ends_them";
    if !crate::support::is_child() {
        let output = crate::support::run_in_child_with_descriptors(NAME, 64);
        assert!(output.status.success(), "{output:?}");
        return;
    }

    let (here, there) = pair();
    let mut spare = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        spare.push(file);
    }

    let token = CancelToken::new();
    thread::scope(|threads| {
        let reader = threads.spawn(|| token.run(|| (&here).read(&mut [0])));
        thread::sleep(MOMENT);
        (&there).write_all(b"x").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 1);

        let reader = threads.spawn(|| token.run(|| (&here).read(&mut [0])));
        thread::sleep(MOMENT);
        token.cancel();
        the_cancel(reader.join().unwrap());
    });
    assert!(!spare.is_empty());
}

#[test]
fn signals_interrupt_no_call_and_stretch_no_limit() {
    alone("signals_interrupt_no_call_and_stretch_no_limit", || {
        // A handler interrupts a poll whatever its flags are. The calls of the test run on its main
        // thread, which the system prefers.
        let heard = std::sync::Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, heard.clone()).unwrap();
        let over = AtomicBool::new(false);
        let (here, there) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_listener, mute, _filling) = mute();

        thread::scope(|threads| {
            threads.spawn(|| {
                let me = rustix::process::getpid();
                while !over.load(Ordering::SeqCst) {
                    rustix::process::kill_process(me, rustix::process::Signal::USR1).unwrap();
                    thread::sleep(MOMENT);
                }
            });

            let limit = Duration::from_millis(200);
            here.set_read_timeout(Some(limit)).unwrap();
            let begun = Instant::now();
            let passed = (&here).read(&mut [0]).unwrap_err();
            assert_eq!(passed.kind(), ErrorKind::WouldBlock);
            assert!(begun.elapsed() >= limit && begun.elapsed() < LONG / 2);

            let begun = Instant::now();
            let late = TcpStream::connect_timeout(&mute, limit).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
            assert!(begun.elapsed() >= limit && begun.elapsed() < LONG / 2);

            let begun = Instant::now();
            let none = taskgroup::timeout(limit, || listener.accept()).unwrap();
            assert!(none.is_none() && begun.elapsed() < LONG / 2);

            // Data goes through whole.
            let sent = vec![5; 8 << 20];
            let reader = threads.spawn(|| {
                let mut all = Vec::new();
                (&there).read_to_end(&mut all).unwrap();
                all
            });
            (&here).write_all(&sent).unwrap();
            here.shutdown(Shutdown::Write).unwrap();
            assert!(reader.join().unwrap() == sent);
            over.store(true, Ordering::SeqCst);
        });
        assert!(heard.load(Ordering::SeqCst));
    });
}
