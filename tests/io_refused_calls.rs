//! Pipes where the system refuses what a wait asks of it: as an old one, one without a descriptor
//! or memory left, or a filter of system calls does. A filter holds for one thread and for those
//! that it starts.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    feature = "io"
))]

#[path = "support/blocked.rs"]
mod blocked;
mod support;

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::thread;

use blocked::{cancelled_while_blocked, the_cancel, when_blocked};
use nix::libc::{SYS_eventfd2, SYS_ppoll, SYS_preadv2, SYS_pwritev2};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use support::watch;
use taskgroup::CancelToken;
use taskgroup::io::pipe;

#[cfg(target_arch = "x86_64")]
const POLLS: &[i64] = &[SYS_ppoll, nix::libc::SYS_poll];
#[cfg(target_arch = "aarch64")]
const POLLS: &[i64] = &[SYS_ppoll];

/// Runs `body` on a new thread, on which the system answers `calls` with `answer`.
#[track_caller]
fn refused(calls: &[i64], answer: Errno, body: impl FnOnce() + Send) {
    let rules = calls.iter().map(|&call| (call, Vec::new()));
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

/// The flag of a call that must not block is unknown to some systems and emulations of one, and
/// filters forbid the calls that take it. A pipe is polled there, before each call.
#[test]
fn a_pipe_does_without_the_flag_of_its_calls() {
    let _watch = watch();
    for answer in [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::PERM] {
        refused(&[SYS_preadv2, SYS_pwritev2], answer, || {
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
        });
    }
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
