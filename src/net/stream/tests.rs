use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::io::Errno;

use super::*;
use crate::CancelToken;
use crate::error::TaskError;

/// Numbers that differ from seed to seed, and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// Returns how many bytes the next call may move, or the error that it returns instead.
    fn fault(&mut self, length: usize) -> io::Result<usize> {
        match self.below(5) {
            0 => Err(Errno::INTR.into()),
            1 => Err(Errno::AGAIN.into()),
            2 => Ok(length.min(1)),
            3 => Ok(length.min(1 + self.below(4096))),
            _ => Ok(length),
        }
    }
}

fn data(length: usize) -> Vec<u8> {
    let mut numbers = Numbers(99);
    (0..length).map(|_| numbers.below(256) as u8).collect()
}

fn send_faultily(stream: Stream<'_>, bytes: &[u8], numbers: &mut Numbers) -> io::Result<usize> {
    stream.send_all(bytes.len(), |sent| {
        let rest = &bytes[sent..];
        socket::send(stream.fd, &rest[..numbers.fault(rest.len())?])
    })
}

fn receive_faultily(
    stream: Stream<'_>,
    buf: &mut [u8],
    numbers: &mut Numbers,
) -> io::Result<usize> {
    stream.receive(Room::of(buf), || {
        let most = numbers.fault(buf.len())?;
        socket::receive(stream.fd, &mut buf[..most], Take::It)
    })
}

#[test]
fn short_counts_interrupts_and_false_readiness_lose_and_repeat_no_byte() {
    let sent = data(200_000);
    for seed in 1..=8 {
        let (here, there) = UnixStream::pair().unwrap();
        let received = thread::scope(|threads| {
            let sent = &sent;
            threads.spawn(move || {
                let (state, mut numbers) = (StreamState::default(), Numbers(seed));
                let stream = Stream::new(here.as_fd(), &state);
                for piece in sent.chunks(30_000) {
                    let length = send_faultily(stream, piece, &mut numbers).unwrap();
                    assert_eq!(length, piece.len(), "a write is whole");
                }
            });

            let (state, mut numbers) = (StreamState::default(), Numbers(seed + 100));
            let stream = Stream::new(there.as_fd(), &state);
            let (mut received, mut buf) = (Vec::new(), [0; 5000]);
            loop {
                match receive_faultily(stream, &mut buf, &mut numbers).unwrap() {
                    0 => return received,
                    length => received.extend_from_slice(&buf[..length]),
                }
            }
        });
        assert!(received == sent, "seed {seed}");
    }
}

#[test]
fn a_cancel_in_the_middle_breaks_the_stream_under_faults_too() {
    for seed in 1..=50 {
        let (here, there) = UnixStream::pair().unwrap();
        let (state, mut numbers) = (StreamState::default(), Numbers(seed));
        let stream = Stream::new(here.as_fd(), &state);
        let token = CancelToken::new();
        let (mut moved, limit) = (0, numbers.below(3000));

        let written = token.run(|| {
            stream.send_all(4000, |sent| {
                assert_eq!(moved, sent, "no byte is sent twice");
                if sent > limit {
                    token.cancel();
                }
                let rest = 4000 - sent;
                let most = numbers.fault(rest)?.min(500);
                moved += socket::send(stream.fd, &data(most))?;
                Ok(most)
            })
        });
        assert!(written.unwrap_err().cancelled().is_some());
        let refused = stream.write(b"more").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe, "seed {seed}");

        // The peer gets the bytes that were sent, and none beyond.
        drop(here);
        let mut received = Vec::new();
        io::Read::read_to_end(&mut &there, &mut received).unwrap();
        assert_eq!(received.len(), moved, "seed {seed}");
    }
}

#[test]
fn an_error_after_the_first_byte_is_kept_for_the_next_call() {
    let (here, there) = UnixStream::pair().unwrap();
    let state = StreamState::default();
    let stream = Stream::new(here.as_fd(), &state);
    let reset_after_three = |sent| match sent {
        0 => Ok(3),
        _ => Err(io::Error::from(Errno::CONNRESET)),
    };

    assert_eq!(stream.send_all(5, reset_after_three).unwrap(), 3);
    let error = stream.write(b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    // A read into nothing has found no end.
    io::Write::write_all(&mut &there, b"last").unwrap();
    assert_eq!(stream.send_all(5, reset_after_three).unwrap(), 3);
    assert_eq!(stream.read(&mut []).unwrap(), 0);
    assert_eq!(stream.read_vectored(&mut []).unwrap(), 0);
    assert_eq!(stream.peek(&mut []).unwrap(), 0);
    let error = stream.write(b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    // A read that finds the end returns it as well, but data comes first.
    assert_eq!(stream.send_all(5, reset_after_three).unwrap(), 3);
    drop(there);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 4);
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_peer_that_goes_while_the_scope_is_cancelled_is_the_cancel() {
    let (here, _there) = UnixStream::pair().unwrap();
    let state = StreamState::default();
    let stream = Stream::new(here.as_fd(), &state);

    for gone in [Errno::PIPE, Errno::CONNRESET] {
        let token = CancelToken::new();
        let gone = |token: &CancelToken| {
            token.cancel();
            Err(io::Error::from(gone))
        };
        let read = token.run(|| stream.receive(Room::Some, || gone(&token)));
        assert!(read.unwrap_err().cancelled().is_some());
        let token = CancelToken::new();
        let write = token.run(|| stream.send_all(5, |_| gone(&token)));
        assert!(write.unwrap_err().cancelled().is_some());
    }
    assert_eq!(stream.write(b"x").unwrap(), 1, "nothing was cut");
}

#[test]
fn a_write_that_would_block_after_the_first_byte_leaves_no_error() {
    let (here, _there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let state = StreamState::default();
    let stream = Stream::new(here.as_fd(), &state);
    let full_after_three = |sent| match sent {
        0 => Ok(3),
        _ => Err(io::Error::from(Errno::AGAIN)),
    };
    assert_eq!(stream.send_all(5, full_after_three).unwrap(), 3);
    assert_eq!(stream.write(b"x").unwrap(), 1);
}

/// An error of the system may be one that it gives once. A cancel that comes with it must not take
/// its place.
#[test]
fn an_error_is_not_lost_to_a_cancel_that_comes_with_it() {
    let (near, _far) = UnixStream::pair().unwrap();
    let state = StreamState::default();
    let stream = Stream::new(near.as_fd(), &state);
    let fails_beside_a_cancel = |call: &dyn Fn(&CancelToken) -> io::Result<usize>| {
        let token = CancelToken::new();
        let error = token.run(|| call(&token)).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(Errno::NOBUFS.raw_os_error()),
            "{error:?}"
        );
    };
    let fails = |token: &CancelToken| {
        token.cancel();
        Err(Errno::NOBUFS.into())
    };
    fails_beside_a_cancel(&|token| stream.send_all(1, |_| fails(token)));
    fails_beside_a_cancel(&|token| stream.receive(Room::Some, || fails(token)));
}
