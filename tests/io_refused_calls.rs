//! Waits where the system refuses what they ask of it: as an old one, one without a descriptor or
//! memory left, or a filter of system calls does. A filter holds for one thread and for those that
//! it starts.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    feature = "net",
    feature = "process"
))]

#[path = "support/blocked.rs"]
mod blocked;
#[path = "support/descriptors.rs"]
mod descriptors;
mod support;

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use blocked::{cancelled_while_blocked, the_cancel, when_blocked};
use descriptors::terminal;
use nix::libc::{
    O_CLOEXEC, O_NONBLOCK, SYS_eventfd2, SYS_flock, SYS_openat, SYS_ppoll, SYS_preadv2,
    SYS_pwritev2,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};
use support::{Gate, alone, watch};
use taskgroup::CancelToken;
use taskgroup::io::{Cancellable, lock_file, pipe, stdin};
use taskgroup::net::TcpListener;
use taskgroup::process::{Command, Stdio};

#[cfg(target_arch = "x86_64")]
const POLLS: &[i64] = &[SYS_ppoll, nix::libc::SYS_poll];
#[cfg(target_arch = "aarch64")]
const POLLS: &[i64] = &[SYS_ppoll];

/// Runs `body` on a new thread, on which the system answers `calls` with `answer`.
#[track_caller]
fn refused(calls: &[i64], answer: Errno, body: impl FnOnce() + Send) {
    let rules = calls.iter().map(|&call| (call, Vec::new()));
    refused_if(rules, answer, body);
}

/// Like [`refused`], for calls that one of their rules describes, or without rules for all.
#[track_caller]
fn refused_if(
    rules: impl IntoIterator<Item = (i64, Vec<SeccompRule>)>,
    answer: Errno,
    body: impl FnOnce() + Send,
) {
    let rules = rules.into_iter();
    let refusal = SeccompAction::Errno(answer.raw_os_error().unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules.collect(), SeccompAction::Allow, refusal, arch);
    let program: BpfProgram = filter.unwrap().try_into().unwrap();

    thread::scope(|threads| {
        let filtered = threads.spawn(|| {
            apply_filter(&program).expect("the system has filters");
            body()
        });
        filtered.join().expect("the body does not panic")
    });
}

/// A wait of a read takes the bytes that come, and a cancel ends the next.
fn a_read_waits_and_is_cancelled() {
    let (mut reader, mut writer) = pipe().unwrap();
    let mut byte = [0];

    let read = thread::scope(|threads| {
        // In a scope, since no cancel could come outside of any, and no waker would be made.
        let reading = when_blocked(threads, || {
            CancelToken::new().run(|| reader.read(&mut byte))
        });
        writer.write_all(b"x").unwrap();
        reading.join().unwrap()
    });
    assert_eq!((read.unwrap(), byte), (1, *b"x"));

    the_cancel(cancelled_while_blocked(|| reader.read(&mut byte)));
    writer.write_all(b"y").unwrap();
    assert_eq!(reader.read(&mut byte).unwrap(), 1);
    assert_eq!(byte, *b"y", "the cancelled read has taken nothing");
}

/// A wait of an accept takes the connection that comes, and a cancel ends the next.
fn an_accept_waits_and_is_cancelled() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepted = thread::scope(|threads| {
        let accepting = when_blocked(threads, || CancelToken::new().run(|| listener.accept()));
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        accepting.join().unwrap()
    });
    assert!(accepted.is_ok());
    the_cancel(cancelled_while_blocked(|| listener.accept()));
}

/// A wait for a child sees its end, and a cancel ends the next.
fn a_wait_for_a_child_waits_and_is_cancelled() {
    let mut cat = Command::new("cat");
    let cat = cat.stdin(Stdio::piped());
    let mut child = cat.spawn().unwrap();
    let stdin = child.stdin.take();
    let status = thread::scope(|threads| {
        let waiting = when_blocked(threads, || CancelToken::new().run(|| child.wait()));
        drop(stdin);
        waiting.join().unwrap()
    });
    assert!(status.unwrap().success());

    let mut child = cat.spawn().unwrap();
    let _stdin = child.stdin.take();
    the_cancel(cancelled_while_blocked(|| child.wait()));
}

/// The flag of a call that must not block is unknown to some systems and emulations of one, and
/// filters forbid the calls that take it. A pipe is opened once more there.
#[test]
fn a_pipe_does_without_the_flag_of_its_calls() {
    for answer in [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::PERM] {
        a_pipe_does_without(Vec::new(), answer);
    }
}

/// Where it cannot be opened either, a pipe is polled before each call.
#[test]
fn a_pipe_that_cannot_be_opened_again_does_without_the_flag_of_its_calls() {
    let is_nonblocking = SeccompCondition::new(
        2,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(O_NONBLOCK as u64),
        O_NONBLOCK as u64,
    );
    let rule = SeccompRule::new(vec![is_nonblocking.unwrap()]).unwrap();
    a_pipe_does_without(vec![(SYS_openat, vec![rule])], Errno::OPNOTSUPP);
}

/// Fails unless pipes work without the calls that take the flag, and without those of the rules.
#[track_caller]
fn a_pipe_does_without(mut rules: Vec<(i64, Vec<SeccompRule>)>, answer: Errno) {
    let _watch = watch();
    rules.extend([SYS_preadv2, SYS_pwritev2].map(|call| (call, Vec::new())));
    refused_if(rules, answer, || {
        let (mut reader, mut writer) = pipe().unwrap();
        let flags = ReadWriteFlags::NOWAIT;
        let read = preadv2(&reader, &mut [IoSliceMut::new(&mut [0])], u64::MAX, flags);
        let written = pwritev2(&writer, &[IoSlice::new(b"x")], u64::MAX, flags);
        // glibc gives its own answer for a call that is unknown to the system.
        for refusal in [read.unwrap_err(), written.unwrap_err()] {
            let is_of_glibc = answer == Errno::NOSYS && refusal == Errno::OPNOTSUPP;
            assert!(refusal == answer || is_of_glibc, "{refusal}");
        }

        a_read_waits_and_is_cancelled();

        // More than fits: all that has room is written, and the cancel ends the rest.
        let much = vec![7; 1 << 20];
        the_cancel(cancelled_while_blocked(|| writer.write_all(&much)));
        drop(writer);
        let mut there = Vec::new();
        reader.read_to_end(&mut there).unwrap();
        assert!(!there.is_empty() && there.len() < much.len());
        assert!(there.iter().all(|&byte| byte == 7));
    });
}

/// A clone knows what the system has refused to the first, and does not ask again.
#[test]
fn a_clone_of_a_pipe_does_without_the_flag_too() {
    const CALLS: &[i64] = &[SYS_preadv2, SYS_pwritev2];
    let _watch = watch();
    refused(CALLS, Errno::OPNOTSUPP, || {
        let (mut reader, mut writer) = pipe().unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 1);

        let mut clones = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
        // The later filter gives the answer, which is an error of its own for those that ask.
        refused(CALLS, Errno::IO, || {
            assert!(pipe().unwrap().1.write(b"x").is_err());
            clones.1.write_all(b"y").unwrap();
            assert_eq!(clones.0.read(&mut [0]).unwrap(), 1);
        });
    });
}

/// Another error is not taken for such a refusal: it comes out.
#[test]
fn another_error_of_a_pipe_comes_out() {
    let _watch = watch();
    refused(&[SYS_preadv2, SYS_pwritev2], Errno::IO, || {
        let (mut reader, mut writer) = pipe().unwrap();
        let read = reader.read(&mut [0]).unwrap_err();
        let written = writer.write(b"x").unwrap_err();
        for error in [read, written] {
            assert_eq!(Errno::from_io_error(&error), Some(Errno::IO), "{error}");
        }
    });
}

/// Without a waker, a waiting thread looks for its cancel by itself. The limit of the process and
/// the one of the system are the same to it, and so is a lack of memory.
#[test]
fn a_cancel_ends_a_wait_for_which_the_system_makes_no_waker() {
    let _watch = watch();
    for answer in [Errno::NFILE, Errno::MFILE, Errno::NOMEM] {
        refused(&[SYS_eventfd2], answer, || {
            let made = eventfd(0, EventfdFlags::CLOEXEC);
            assert_eq!(made.err(), Some(answer));

            a_read_waits_and_is_cancelled();
            an_accept_waits_and_is_cancelled();
            a_wait_for_a_child_waits_and_is_cancelled();

            // A busy machine may hold any of them up, but not each.
            let is_short = |_| time_to_end() < Duration::from_millis(20);
            assert!((0..20).any(is_short));
        });
    }
}

/// Returns how long after its cancel a blocked read ends.
fn time_to_end() -> Duration {
    let (mut reader, _writer) = pipe().unwrap();
    let token = CancelToken::new();
    thread::scope(|threads| {
        let read = || (token.run(|| reader.read(&mut [0])), Instant::now());
        let reading = when_blocked(threads, read);
        let cancelled = Instant::now();
        token.cancel();
        let (read, ended) = reading.join().unwrap();
        the_cancel(read);
        ended - cancelled
    })
}

/// A thread that cannot poll tries its call again and again, and sleeps in between: the test sees
/// it asleep, which a thread that only tried would never be.
#[test]
fn a_wait_that_cannot_poll_sleeps_between_its_tries() {
    let _watch = watch();
    for answer in [Errno::NOMEM, Errno::INVAL] {
        refused(POLLS, answer, || {
            let (reader, _writer) = pipe().unwrap();
            let polled = poll(&mut [PollFd::new(&reader, PollFlags::IN)], None);
            assert_eq!(polled, Err(answer));

            a_read_waits_and_is_cancelled();
        });
    }
}

/// A stream with calls that block. It cancels when it is looked at for the third time.
struct Blocks<'t> {
    socket: UnixStream,
    looks: AtomicUsize,
    token: &'t CancelToken,
}

impl AsFd for Blocks<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.looks.fetch_add(1, Ordering::Relaxed) == 2 {
            self.token.cancel();
        }
        self.socket.as_fd()
    }
}

impl Read for Blocks<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("nothing has said that it is ready")
    }
}

/// Where the system cannot say that a foreign stream is ready, its calls are not made: they could
/// block.
#[test]
fn a_foreign_stream_that_cannot_be_polled_is_not_called() {
    let _watch = watch();
    let (socket, _other) = UnixStream::pair().unwrap();
    let token = CancelToken::new();
    let stream = Blocks {
        socket,
        looks: AtomicUsize::new(0),
        token: &CancelToken::new(),
    };
    let mut stream = Cancellable::new(stream).unwrap();
    stream.get_mut().token = &token;
    stream.get_mut().looks = AtomicUsize::new(0);

    refused(POLLS, Errno::NOMEM, || {
        the_cancel(token.run(|| stream.read(&mut [0; 4])));
        assert_eq!(stream.get_ref().looks.load(Ordering::Relaxed), 3);
    });
}

/// A lock of a file on another machine may be interrupted, although it does not wait.
#[test]
fn a_lock_that_is_interrupted_is_tried_again() {
    let _watch = watch();
    let file = File::open("Cargo.toml").unwrap();
    refused(&[SYS_flock], Errno::INTR, || {
        let (token, tried) = (CancelToken::new(), Gate::default());
        thread::scope(|threads| {
            let locks = threads.spawn(|| {
                tried.open();
                token.run(|| lock_file(&file))
            });
            tried.wait();
            (0..3).for_each(|_| thread::yield_now());
            token.cancel();
            the_cancel(locks.join().unwrap());
        });
    });
}

/// A child that starts meanwhile does not inherit the description: each open of the terminal says
/// that it is closed there.
#[test]
fn a_terminal_is_opened_for_this_process_alone() {
    alone("a_terminal_is_opened_for_this_process_alone", || {
        let _watch = watch();
        let (program, user) = terminal();
        rustix::stdio::dup2_stdin(&program).unwrap();
        drop(program);
        rustix::io::write(&user, b"x\n").unwrap();

        let is_open_in_children = SeccompCondition::new(
            2,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(O_CLOEXEC as u64),
            0,
        );
        let rule = SeccompRule::new(vec![is_open_in_children.unwrap()]).unwrap();
        refused_if([(SYS_openat, vec![rule])], Errno::PERM, || {
            assert_eq!(stdin().read(&mut [0; 4]).unwrap(), 2);
        });

        let path = fs::read_link("/proc/self/fd/0").unwrap();
        let open = (0..100).filter_map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).ok());
        assert_eq!(open.filter(|open| *open == path).count(), 2);
    });
}
