//! The calls: each in a small world of its own, in which nothing comes that the call waits for.

use std::io::{BufReader, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use taskgroup::io;

use crate::support::LONG;

mod files;
mod pace;
mod processes;
mod ready;
mod sockets;

pub(crate) use sockets::mute;

/// A call that blocks, and what it waits for.
pub(crate) struct World {
    pub(crate) block: Box<dyn FnMut() -> io::Result<()> + Send>,
    /// Lets come what the call waits for.
    pub(crate) feed: Box<dyn FnOnce() -> IsWhole>,
}

/// Fails unless nothing was lost. Runs outside of all scopes, after the feed and the call.
pub(crate) type IsWhole = Box<dyn FnOnce()>;

impl World {
    fn new<F: FnOnce() + 'static>(
        block: impl FnMut() -> io::Result<()> + Send + 'static,
        feed: impl FnOnce() -> F + 'static,
    ) -> Self {
        World {
            block: Box::new(block),
            feed: Box::new(|| Box::new(feed())),
        }
    }
}

/// A call with its name.
pub(crate) type Named = (&'static str, fn() -> World);

/// The calls that no event but a cancel ends.
pub(crate) fn that_block() -> Vec<Named> {
    [sockets::CALLS, files::CALLS, pace::CALLS, processes::CALLS].concat()
}

/// Calls that are done at once, without a cancel.
pub(crate) fn that_need_not_block() -> Vec<Named> {
    ready::CALLS.to_vec()
}

/// Shorter than what the other side of a cut write gets, and longer than a buffer of the system.
const MUCH: usize = 1 << 20;

/// Calls in a scope that lasts long, and fails unless the call is done.
#[track_caller]
fn done<T>(call: impl FnOnce() -> io::Result<T>) -> T {
    let done = taskgroup::timeout(LONG, call).expect("nothing is cancelled any more");
    done.expect("the call ends")
}

/// The world of a read from `here`. Its peer `there` writes.
fn read_world<R: Send + Sync + 'static, W: Write + 'static>(
    here: R,
    mut there: W,
    read: impl Fn(&R, &mut [u8]) -> io::Result<usize> + Send + Sync + 'static,
) -> World {
    let here = Arc::new(here);
    let read = Arc::new(read);
    let (theirs, reads) = (here.clone(), read.clone());
    World::new(
        move || reads(&theirs, &mut [0; 8]).map(drop),
        move || {
            there.write_all(b"next").expect("the reader is there");
            move || {
                let mut buf = [0; 8];
                assert_eq!(done(|| read(&here, &mut buf)), 4);
                assert_eq!(&buf[..4], b"next");
            }
        },
    )
}

/// The world of a small write to `here`, which has no room. Its peer `there` reads.
fn write_world<W: AsFd + Send + Sync + 'static, R: Read + 'static>(
    here: W,
    mut there: R,
    write: impl Fn(&W, &[u8]) -> io::Result<()> + Send + Sync + 'static,
) -> World {
    let filled = crate::descriptors::fill(&here);
    let here = Arc::new(here);
    let write = Arc::new(write);
    let (theirs, writes) = (here.clone(), write.clone());
    World::new(
        move || writes(&theirs, b"never"),
        move || {
            let mut old = vec![0; filled];
            there.read_exact(&mut old).expect("the writer is there");
            assert!(old.iter().all(|&byte| byte == 0));
            move || {
                done(|| write(&here, b"next"));
                drop((here, write));
                let mut next = Vec::new();
                let read = there.read_to_end(&mut next);
                read.expect("the writer is there");
                assert_eq!(next, b"next");
            }
        },
    )
}

/// The world of a write of much to `here`, which a cancel cuts in the middle or before its first
/// byte. Its peer `there` reads.
fn cut_write_world<W: Send + Sync + 'static, R: Read + 'static>(
    here: W,
    mut there: R,
    write_all: impl Fn(&W, &[u8]) -> io::Result<()> + Send + Sync + 'static,
) -> World {
    let here = Arc::new(here);
    let write_all = Arc::new(write_all);
    let (theirs, writes) = (here.clone(), write_all.clone());
    World::new(
        move || writes(&theirs, &vec![7; MUCH]),
        // There is room already.
        || {
            move || {
                let refused = write_all(&here, b"next");
                drop((here, write_all));
                let mut received = Vec::new();
                let read = there.read_to_end(&mut received);
                read.expect("the writer is there");
                match refused {
                    // Cut before its first byte.
                    Ok(()) => assert_eq!(received, b"next"),
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
                        assert!(error.to_string().contains("broken"), "{error}");
                        assert!((1..MUCH).contains(&received.len()));
                        assert!(received.iter().all(|&byte| byte == 7));
                    }
                }
            }
        },
    )
}
