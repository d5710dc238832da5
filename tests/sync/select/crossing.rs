//! Selects of many threads that meet.

use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::TaskGroup;
use taskgroup::channel::{Receiver, Select, Sender, bounded, select};

use super::scope;
use crate::channels::{is_deserted, with_cancel};
use crate::support::{Counted, Drops, LONG, watch};

/// Two threads send to each other, each ready for either direction. One message passes each round,
/// and both know which.
#[test]
fn two_selects_serve_each_other() -> anyhow::Result<()> {
    const ROUNDS: usize = 2_000;
    let (there, back) = (bounded(0), bounded(0));
    scope(move |g| {
        let (to, from) = (there.0.clone(), back.1.clone());
        let first = g.spawn(move || {
            (0..ROUNDS)
                .map(|n| {
                    Ok(select! { send(to, &mut Some(n)) -> _ => true, recv(from) -> _ => false }?)
                })
                .collect()
        });
        let (to, from) = (back.0.clone(), there.1.clone());
        let second = g.spawn(move || {
            (0..ROUNDS)
                .map(|n| {
                    Ok(select! { recv(from) -> _ => true, send(to, &mut Some(n)) -> _ => false }?)
                })
                .collect()
        });
        let (first, second): (Vec<bool>, Vec<bool>) = (first.join()?, second.join()?);
        assert_eq!(first, second);
        assert!(is_deserted(&there.1) && is_deserted(&back.1));
        Ok(())
    })?;
    Ok(())
}

/// Each thread of a ring sends to the next or receives from the one before, whichever is ready
/// first.
#[test]
fn a_ring_of_selects_does_not_stand_still() -> anyhow::Result<()> {
    const EACH: usize = 500;
    for capacity in [0, 1] {
        let ring: Vec<_> = (0..3).map(|_| bounded(capacity)).collect();
        let total = scope(move |g| {
            let tasks: Vec<_> = (0..3)
                .map(|n| {
                    let (to, from) = (ring[n].0.clone(), ring[(n + 2) % 3].1.clone());
                    g.spawn(move || {
                        let (mut left, mut received, mut next) = (EACH, 0, Some(1));
                        while left > 0 || received < EACH {
                            select! {
                                send(to, &mut next) -> sent => {
                                    sent?;
                                    left -= 1;
                                    next = (left > 0).then_some(1);
                                }
                                recv(from) -> message => received += message?,
                            }?;
                        }
                        Ok(received)
                    })
                })
                .collect();
            // Keep the ends until all threads are done: a finished thread must not disconnect
            // its neighbours.
            let mut total = 0;
            for task in tasks {
                total += task.join()?;
            }
            drop(ring);
            Ok(total)
        })?;
        assert_eq!(total, 3 * EACH);
    }
    Ok(())
}

#[test]
fn ten_thousand_messages_are_counted() -> anyhow::Result<()> {
    let _watch = watch();
    const EACH: usize = 2_500;
    for capacity in [0, 1, 8] {
        let (left, right) = (bounded(capacity), bounded(capacity));
        let drops = Drops::default();
        let (sent, received) = (AtomicUsize::new(0), AtomicUsize::new(0));
        TaskGroup::builder().timeout(LONG).scope(|g| {
            for _ in 0..4 {
                let (left, right, drops, sent) = (left.0.clone(), right.0.clone(), &drops, &sent);
                g.spawn(move || {
                    for _ in 0..EACH {
                        let mut message = Some(drops.counted());
                        select! {
                            send(left, &mut message) -> sent => sent?,
                            send(right, &mut Some(drops.counted())) -> sent => sent?,
                        }?;
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                });
            }
            for mut selects in [true, true, false] {
                let (left, right, received) = (left.1.clone(), right.1.clone(), &received);
                g.spawn(move || {
                    while selects {
                        let message = select! {
                            recv(left) -> message => message,
                            recv(right) -> message => message,
                        }?;
                        match message {
                            Ok(_) => drop(received.fetch_add(1, Ordering::Relaxed)),
                            Err(_) => selects = false,
                        }
                    }
                    for receiver in [left, right] {
                        for message in &receiver {
                            drop(message?);
                            received.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    Ok(())
                });
            }
            drop((left, right));
            Ok(())
        })?;
        assert_eq!(
            (sent.into_inner(), received.into_inner(), drops.count()),
            (4 * EACH, 4 * EACH, 8 * EACH)
        );
    }
    Ok(())
}

/// The counts of what the threads of a round have done.
#[derive(Default)]
struct Tally {
    drops: Drops,
    sent: AtomicUsize,
    received: AtomicUsize,
    kept: AtomicUsize,
}

#[test]
fn cancels_and_selects_that_cross_lose_nothing() -> anyhow::Result<()> {
    let _watch = watch();
    const ROUNDS: usize = 200;
    for capacity in [0, 1, 4] {
        let (left, right) = (bounded(capacity), bounded(capacity));
        let tally = Tally::default();
        TaskGroup::builder().timeout(LONG).scope(|g| {
            for worker in 0..2 {
                let (senders, tally) = ([left.0.clone(), right.0.clone()], &tally);
                g.spawn(move || {
                    (0..ROUNDS).try_for_each(|round| {
                        send_either(&senders, (round + worker) % 3 == 0, tally)
                    })
                });
                let (receivers, tally) = ([left.1.clone(), right.1.clone()], tally);
                g.spawn(move || receive_all(&receivers, worker, tally));
            }
            drop((left, right));
            Ok(())
        })?;
        let (sent, kept) = (tally.sent.into_inner(), tally.kept.into_inner());
        assert_eq!(
            (
                tally.received.into_inner(),
                sent + kept,
                tally.drops.count()
            ),
            (sent, 4 * ROUNDS, 4 * ROUNDS)
        );
    }
    Ok(())
}

/// Offers a message to each of two channels. The messages that a select has not sent are left.
fn send_either(
    [left, right]: &[Sender<Counted>; 2],
    cancelled: bool,
    tally: &Tally,
) -> anyhow::Result<()> {
    let (mut one, mut two) = (Some(tally.drops.counted()), Some(tally.drops.counted()));
    let done = with_cancel(cancelled, || {
        select! {
            send(left, &mut one) -> sent => sent.is_ok(),
            send(right, &mut two) -> sent => sent.is_ok(),
        }
    })?;
    let done = usize::from(done.unwrap_or(false));
    tally.sent.fetch_add(done, Ordering::Relaxed);
    let left_over = usize::from(one.is_some()) + usize::from(two.is_some());
    assert_eq!(left_over, 2 - done);
    tally.kept.fetch_add(left_over, Ordering::Relaxed);
    Ok(())
}

/// Receives from both channels until both have ended. A third of the selects is cancelled.
fn receive_all(
    receivers: &[Receiver<Counted>; 2],
    worker: usize,
    tally: &Tally,
) -> anyhow::Result<()> {
    let mut is_open = [true, true];
    for round in 0.. {
        let mut select = Select::new();
        for (index, receiver) in receivers.iter().enumerate() {
            if is_open[index] {
                select.recv(receiver, move |message| (index, message.is_ok()));
            }
        }
        match with_cancel((round + worker) % 3 == 0, || select.select())? {
            Ok((_, true)) => _ = tally.received.fetch_add(1, Ordering::Relaxed),
            Ok((index, false)) => is_open[index] = false,
            Err(_) => {}
        }
        if is_open == [false, false] {
            break;
        }
    }
    Ok(())
}
