//! The kernel itself, where the models have a stand-in for it.

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::io::FdFlags;
use rustix::net::{RecvFlags, SendFlags};

use super::*;
use crate::{CancelToken, TaskGroup};

/// Takes a byte from the socket, or waits for it.
fn take(socket: &UnixStream) -> io::Result<u8> {
    let mut byte = [0];
    let call = || {
        let (_, length) = rustix::net::recv(socket, &mut byte, RecvFlags::DONTWAIT)?;
        Ok(length)
    };
    let read = WaitKind::SocketRead;
    let length = retry(
        read,
        socket.as_fd(),
        Interest::Read,
        || Ok(Patience::Forever),
        call,
    )?;
    assert_eq!(length, 1, "the other end is open");
    Ok(byte[0])
}

fn put(socket: &UnixStream, byte: u8) {
    let sent = rustix::net::send(socket, &[byte], SendFlags::empty());
    assert_eq!(sent.expect("there is room"), 1);
}

fn is_a_cancel(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && Cancelled::find(error).is_some()
}

/// The wake of a wait that has ended is drained, so the next wait sleeps.
#[test]
fn a_wake_does_not_keep_the_processor_busy_in_the_next_wait() {
    let (near, _far) = UnixStream::pair().expect("there are descriptors left");
    let (inner, asleep) = (CancelToken::new(), AtomicBool::new(false));
    thread::scope(|threads| {
        threads.spawn(|| {
            while !asleep.load(Ordering::Acquire) {
                thread::yield_now();
            }
            // Where the other thread is slow, its call is cut at the entry.
            thread::sleep(Duration::from_millis(20));
            inner.cancel();
        });
        asleep.store(true, Ordering::Release);
        let cut = inner.run(|| take(&near));
        assert!(cut.is_err_and(|error| is_a_cancel(&error)));

        let processor_time = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let before = processor_time();
        let limit = Duration::from_secs(1);
        let none = crate::timeout(limit, || take(&near)).expect("nothing is cancelled here");
        assert_eq!(none, None);
        let used = Duration::try_from(processor_time() - before).expect("time goes on");
        assert!(used < limit / 2, "{used:?} of a second");
    });
}

#[test]
fn a_call_that_need_not_wait_asks_for_no_patience() {
    let (near, far) = UnixStream::pair().expect("there are descriptors left");
    put(&far, 7);
    let asked = AtomicBool::new(false);
    let patience = || {
        asked.store(true, Ordering::Relaxed);
        Ok(Patience::None)
    };
    let mut calls = 0;
    let value = retry(
        WaitKind::SocketRead,
        near.as_fd(),
        Interest::Read,
        patience,
        || {
            calls += 1;
            match calls {
                // An interrupt is not a reason to wait either.
                1 => Err(io::ErrorKind::Interrupted.into()),
                _ => Ok(calls),
            }
        },
    );
    assert_eq!(value.expect("the second call succeeds"), 2);
    assert!(!asked.load(Ordering::Relaxed));
}

#[test]
fn without_patience_the_error_is_the_one_of_the_system() {
    let (near, _far) = UnixStream::pair().expect("there are descriptors left");
    for patience in [Patience::None, Patience::Until(Instant::now())] {
        let mut calls = 0;
        let error = retry::<()>(
            WaitKind::SocketRead,
            near.as_fd(),
            Interest::Read,
            || Ok(patience),
            || {
                calls += 1;
                Err(io::ErrorKind::WouldBlock.into())
            },
        )
        .expect_err("the call never succeeds");
        // With its number, which programs compare.
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(error.raw_os_error(), Some(Errno::AGAIN.raw_os_error()));
        // A nonblocking call is one call.
        assert!(calls == 1 || patience != Patience::None, "{calls} calls");
    }
}

#[test]
fn a_descriptor_that_is_ready_comes_before_the_waker() {
    let (near, far) = UnixStream::pair().expect("there are descriptors left");
    let waker = Waker::new().expect("there is a descriptor left");
    let poll = || {
        let near = PollFd::from_borrowed_fd(near.as_fd(), PollFlags::IN);
        let waker = PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN);
        poll_once(&mut [near, waker], Last::Waker, Some(Duration::ZERO))
    };
    assert_eq!(poll(), Polled::Neither);
    waker.wake();
    assert_eq!(poll(), Polled::Woken);
    put(&far, 1);
    assert_eq!(poll(), Polled::Ready);
    waker.drain();
    assert_eq!(poll(), Polled::Ready);
}

/// Handlers that run all the time are like a system that answers each poll with an interrupt.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#[test]
fn an_interrupted_wait_is_no_sign_that_a_descriptor_is_ready() {
    use nix::libc;
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

    #[cfg(target_arch = "x86_64")]
    const POLLS: &[i64] = &[libc::SYS_ppoll, libc::SYS_poll];
    #[cfg(target_arch = "aarch64")]
    const POLLS: &[i64] = &[libc::SYS_ppoll];
    let rules = POLLS.iter().map(|&call| (call, Vec::new())).collect();
    let interrupted = SeccompAction::Errno(Errno::INTR.raw_os_error().unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().expect("it is known");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, interrupted, arch);
    let filter: BpfProgram = filter
        .and_then(BpfProgram::try_from)
        .expect("the filter is valid");

    let (near, _far) = UnixStream::pair().expect("there are descriptors left");
    let waits = || {
        apply_filter(&filter).expect("the system has filters");
        let mut watched = [Watched::new(near.as_fd(), Interest::Read)];
        let limit = Instant::now() + Duration::from_millis(20);
        let ended = poll(WaitKind::SocketRead, &mut watched, Some(limit));
        assert_eq!(ended.ok(), Some(false));
        assert!(Instant::now() >= limit && !watched[0].is_ready());
    };
    thread::scope(|threads| threads.spawn(waits).join().expect("no assertion fails"));
}

#[test]
fn several_descriptors_say_which_is_ready() {
    let (near, far) = UnixStream::pair().expect("there are descriptors left");
    let (other, _other_far) = UnixStream::pair().expect("there are descriptors left");
    let mut watched = [
        Watched::new(other.as_fd(), Interest::Read),
        Watched::new(near.as_fd(), Interest::Read),
    ];
    let now = Some(Instant::now());

    // A limit that has passed ends the wait before the kernel is asked.
    assert_eq!(
        poll(WaitKind::SocketRead, &mut watched, now).ok(),
        Some(false)
    );

    put(&far, 1);
    let ready = poll(WaitKind::SocketRead, &mut watched, None);
    assert!(ready.expect("nothing is cancelled"));
    assert_eq!(watched.map(|one| one.is_ready()), [false, true]);

    // A cancel comes before data, but where cancels are ignored.
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        assert!(poll(WaitKind::SocketRead, &mut watched, None).is_err());
        assert!(poll_uncancellable(WaitKind::SocketRead, &mut watched, None));
    });
}

/// The writing end of a pipe without readers has an error for ever, and nothing to read. The same
/// is true of a socket with a notice in its error queue.
#[test]
fn an_error_that_the_call_does_not_take_is_no_reason_to_spin() {
    let (reader, writer) = rustix::pipe::pipe().expect("there are descriptors left");
    drop(reader);
    let calls = Cell::new(0);
    let call = || -> io::Result<()> {
        calls.set(calls.get() + 1);
        Err(would_block())
    };

    let wait = |patience| {
        calls.set(0);
        let (kind, interest) = (WaitKind::DescriptorRead, Interest::Read);
        retry(kind, writer.as_fd(), interest, || Ok(patience), call)
    };
    let patience = Patience::Until(Instant::now() + Duration::from_millis(100));
    let outcome = wait(patience);
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    // After pauses of 1, 2, 4, 8 and then 10 ms, and before them a spin if it pays.
    let bound = 1_000;
    assert!(calls.get() < bound, "{} calls", calls.get());

    let cut = crate::timeout(Duration::from_millis(100), || wait(Patience::Forever));
    assert!(cut.expect("only the timeout ends it").is_none());
    assert!(calls.get() < bound, "{} calls", calls.get());
}

#[test]
fn a_deadline_that_is_set_while_a_thread_waits_ends_the_wait() {
    let (near, far) = UnixStream::pair().expect("there are descriptors left");
    let ended = TaskGroup::scope(|g| {
        let token = g.token();
        let reader = g.spawn_isolated(|| Ok(take(&near)?));
        // The reader waits now, or will find the deadline when it begins to.
        token.cancel_at(Instant::now() + Duration::from_millis(5));
        Ok(reader.join().is_err())
    });

    // The deadline may have passed before the join, which then fails with the scope.
    assert!(ended.is_err() || ended.is_ok_and(|failed| failed));

    // Until here: an end of the stream would end the wait too.
    drop(far);
}

/// A small generator of numbers, so that a run can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// An error that the system returns now and then, in one call of four.
    fn fault(&mut self) -> io::Result<()> {
        match self.below(8) {
            0 => Err(Errno::INTR.into()),
            1 => Err(Errno::AGAIN.into()),
            _ => Ok(()),
        }
    }
}

fn byte(index: usize) -> u8 {
    (index as u32).wrapping_mul(0x9E37_79B9).to_be_bytes()[0]
}

/// Sends this many bytes, with faults between them, and closes the socket.
fn send_with_faults(far: UnixStream, seed: u64, length: usize) {
    let mut chance = Chance(seed);
    let bytes: Vec<_> = (0..length).map(byte).collect();
    let mut rest = &bytes[..];

    while !rest.is_empty() {
        let call = || {
            chance.fault()?;
            let length = rest.len().min(1 + chance.below(3_000) as usize);
            let flags = SendFlags::DONTWAIT;
            Ok(rustix::net::send(&far, &rest[..length], flags)?)
        };
        let (write, forever) = (WaitKind::SocketWrite, || Ok(Patience::Forever));
        let sent = retry(write, far.as_fd(), Interest::Write, forever, call);
        rest = &rest[sent.expect("nothing cancels the sender")..];
    }

    // The end of the stream, and of the loop of the receiver.
    drop(far);
}

/// Calls are interrupted, have nothing to read or no room for no reason, and are short. Each
/// read is cancelled now and then and goes on afterwards. All bytes arrive, once and in order.
#[test]
fn faults_of_calls_neither_lose_nor_repeat_a_byte() {
    const LENGTH: usize = 200_000;
    for seed in 1..=5 {
        let (near, far) = UnixStream::pair().expect("there are descriptors left");
        thread::scope(|threads| {
            threads.spawn(|| send_with_faults(far, seed, LENGTH));

            let mut chance = Chance(seed + 100);
            let mut received = 0;

            loop {
                // Often enough to meet all steps of a read, and not in each read.
                let token = CancelToken::new();
                let canceller = (chance.below(16) == 0).then(|| {
                    let token = token.clone();
                    threads.spawn(move || token.cancel())
                });
                let mut buffer = [0; 4_000];

                let call = || {
                    chance.fault()?;
                    let length = 1 + chance.below(4_000) as usize;
                    let flags = RecvFlags::DONTWAIT;
                    let (_, length) = rustix::net::recv(&near, &mut buffer[..length], flags)?;
                    Ok(length)
                };
                let (read, forever) = (WaitKind::SocketRead, || Ok(Patience::Forever));
                let read = token.run(|| retry(read, near.as_fd(), Interest::Read, forever, call));
                // It may have come too late for this read, and is over before the next.
                if let Some(canceller) = canceller {
                    canceller.join().expect("the cancelling thread ends");
                }

                match read {
                    // The faults return errors, so this is the end of the stream.
                    Ok(0) => break,
                    Ok(length) => {
                        let expected = (received..received + length).map(byte);
                        assert!(buffer[..length].iter().copied().eq(expected));
                        received += length;
                    }
                    Err(error) => assert!(is_a_cancel(&error), "{error:?}"),
                }
            }
            assert_eq!(received, LENGTH);
        });
    }
}

#[test]
fn the_waker_is_closed_in_children() {
    let waker = Waker::new().expect("there is a descriptor left");
    let flags = rustix::io::fcntl_getfd(&waker).expect("it is open");
    assert!(flags.contains(FdFlags::CLOEXEC));
}
