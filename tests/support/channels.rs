//! Helpers of the tests of channels: counts of blocked threads, and operations that race with
//! cancels.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of this module"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use taskgroup::channel::{Receiver, RecvError, SendError};
use taskgroup::{CancelToken, TaskGroup};

use super::support::{Counted, Drops, LONG, until, watch};

/// The limit of a wait that is meant to time out.
pub(crate) const SHORT: Duration = Duration::from_millis(1);

/// Whether so many wait to send and to receive, according to `Debug`.
fn shows<T>(receiver: &Receiver<T>, sending: usize, receiving: usize) -> bool {
    format!("{receiver:?}").contains(&format!("sending: {sending}, receiving: {receiving} "))
}

/// Lets other threads run until so many wait to send and to receive.
pub(crate) fn until_blocked<T>(receiver: &Receiver<T>, sending: usize, receiving: usize) {
    until(|| shows(receiver, sending, receiving));
}

/// Whether both queues of the channel are empty.
pub(crate) fn is_deserted<T>(receiver: &Receiver<T>) -> bool {
    shows(receiver, 0, 0)
}

/// Runs `f` in a scope. If `cancel`, another thread cancels the scope at about the same time.
pub(crate) fn with_cancel<T>(cancel: bool, f: impl FnOnce() -> T) -> anyhow::Result<T> {
    let token = CancelToken::new();
    let canceller = token.clone();
    Ok(TaskGroup::scope(|g| {
        g.spawn_daemon(move || {
            if cancel {
                canceller.cancel();
            }
            Ok(())
        });
        Ok(token.run(f))
    })?)
}

/// Runs two senders and two receivers of a channel, with cancels at random moments, and asserts
/// that each message is either delivered once or given back.
pub(crate) fn cross_with_cancels<S: Clone + Send, R: Clone + Send>(
    (sender, receiver): (S, R),
    send: impl Fn(&S, Counted) -> Result<(), SendError<Counted>> + Sync,
    recv: impl Fn(&R) -> Result<Counted, RecvError> + Sync,
) -> anyhow::Result<()> {
    let _watch = watch();
    let drops = Drops::default();
    let (sent, back, received) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    TaskGroup::builder().timeout(LONG).scope(|g| {
        for worker in 0..2 {
            let (sender, send, sent, back, drops) = (sender.clone(), &send, &sent, &back, &drops);
            g.spawn(move || {
                for round in 0..200 {
                    with_cancel((round + worker) % 3 == 0, || {
                        match send(&sender, drops.counted()) {
                            Ok(()) => sent.fetch_add(1, Ordering::Relaxed),
                            Err(SendError::Cancelled(..)) => back.fetch_add(1, Ordering::Relaxed),
                            Err(other) => panic!("{other:?}"),
                        }
                    })?;
                }
                Ok(())
            });
        }
        drop(sender);
        for worker in 0..2 {
            let (receiver, recv, received) = (receiver.clone(), &recv, &received);
            g.spawn(move || {
                for round in 0.. {
                    match with_cancel((round + worker) % 3 == 0, || recv(&receiver))? {
                        Ok(_) => received.fetch_add(1, Ordering::Relaxed),
                        Err(RecvError::Disconnected(_)) => break,
                        Err(_) => continue,
                    };
                }
                Ok(())
            });
        }
        Ok(())
    })?;
    let (sent, back) = (sent.into_inner(), back.into_inner());
    assert_eq!(
        (received.into_inner(), sent + back, drops.count()),
        (sent, 400, 400)
    );
    Ok(())
}
