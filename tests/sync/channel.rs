//! Channels: order, room, disconnection, and messages that no cancel loses.

mod cancelled;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::channel::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
    bounded, unbounded,
};
use taskgroup::{CancelToken, TaskGroup};

use crate::channels::{SHORT, until_blocked};
use crate::support::{Drops, LONG};

#[test]
fn messages_arrive_in_order() -> anyhow::Result<()> {
    for capacity in [0, 1, 3, usize::MAX] {
        let (sender, receiver) = bounded(capacity);
        let received = TaskGroup::scope(|g| {
            g.spawn(move || {
                for n in 0..200 {
                    sender.send(n)?;
                }
                Ok(())
            });
            Ok(receiver.iter().collect::<Result<Vec<_>, _>>()?)
        })?;
        assert_eq!(received, (0..200).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn a_message_that_comes_between_two_looks_is_received() -> anyhow::Result<()> {
    let _watch = crate::support::watch();
    const MESSAGES: usize = 50_000;
    for capacity in [1, usize::MAX] {
        let (sender, receiver) = bounded(capacity);
        let received = TaskGroup::scope(|g| {
            g.spawn(move || Ok((0..MESSAGES).try_for_each(|n| sender.send(n))?));
            Ok(receiver.iter().collect::<Result<Vec<_>, _>>()?)
        })?;
        assert_eq!(received.len(), MESSAGES);
    }
    Ok(())
}

#[test]
fn each_message_goes_to_one_receiver() -> anyhow::Result<()> {
    for capacity in [0, 1, 16, usize::MAX] {
        let (sender, receiver) = bounded(capacity);
        let (count, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
        TaskGroup::scope(|g| {
            for first in 0..3 {
                let sender = sender.clone();
                g.spawn(move || {
                    for n in 0..300 {
                        sender.send(first * 300 + n)?;
                    }
                    Ok(())
                });
            }
            drop(sender);
            for _ in 0..3 {
                let receiver = receiver.clone();
                let (count, sum) = (&count, &sum);
                g.spawn(move || {
                    for n in &receiver {
                        sum.fetch_add(n?, Ordering::Relaxed);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                });
            }
            Ok(())
        })?;
        assert_eq!((count.into_inner(), sum.into_inner()), (900, 900 * 899 / 2));
    }
    Ok(())
}

#[test]
fn a_channel_has_the_room_that_was_asked_for() {
    let (sender, receiver) = bounded(2);
    assert_eq!((sender.capacity(), receiver.capacity()), (Some(2), Some(2)));
    assert!(sender.is_empty());
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!((sender.len(), receiver.len()), (2, 2));
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert!(matches!(
        sender.send_timeout(3, SHORT),
        Err(SendTimeoutError::Timeout(3))
    ));
    assert_eq!(receiver.recv().unwrap(), 1);
    assert_eq!(sender.try_send(3), Ok(()));
    assert_eq!(unbounded::<u8>().0.capacity(), None);
}

#[test]
fn deadlines_and_ends_can_be_queried() {
    let (sender, receiver) = bounded(1);
    assert!(!sender.is_full() && bounded::<u8>(0).0.is_full() && !unbounded::<u8>().1.is_full());
    let soon = std::time::Instant::now() + SHORT;
    assert!(matches!(
        receiver.recv_deadline(soon),
        Err(RecvTimeoutError::Timeout)
    ));
    sender.send_deadline(1, soon).unwrap();
    assert!(matches!(
        sender.send_deadline(2, soon),
        Err(SendTimeoutError::Timeout(2))
    ));
    assert!(sender.is_full() && receiver.is_full());
    assert_eq!(
        receiver.recv_deadline(soon).unwrap(),
        1,
        "a message is received even after the deadline"
    );
    assert!(sender.same_channel(&sender.clone()) && !receiver.same_channel(&bounded(1).1));
    let never = taskgroup::channel::never::<u8>();
    assert_eq!(
        (never.try_recv(), never.len()),
        (Err(TryRecvError::Empty), 0)
    );
    assert!(matches!(
        never.recv_timeout(SHORT),
        Err(RecvTimeoutError::Timeout)
    ));
    assert!(never.same_channel(&never.clone()) && never.same_channel(&taskgroup::channel::never()));
    assert!(!never.same_channel(&bounded(0).1) && !bounded(0).1.same_channel(&never));
    drop(sender);
    assert!(matches!(
        receiver.recv_deadline(soon),
        Err(RecvTimeoutError::Disconnected(_))
    ));
}

#[test]
fn a_rendezvous_waits_for_the_other_side() -> anyhow::Result<()> {
    let (sender, receiver) = bounded(0);
    assert_eq!(sender.try_send(0), Err(TrySendError::Full(0)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    TaskGroup::scope(|g| {
        let send = g.spawn(|| Ok(sender.send(1)?));
        until_blocked(&receiver, 1, 0);
        assert!(!send.is_finished() && receiver.is_empty());
        assert_eq!(receiver.recv()?, 1);
        send.join()?;
        let receive = g.spawn(|| Ok(receiver.recv()?));
        until_blocked(&receiver, 0, 1);
        assert_eq!(sender.try_send(2), Ok(()));
        assert_eq!(receive.join()?, 2);
        Ok(())
    })?;
    Ok(())
}

/// One thread has both parts of a conversation over one channel. It never receives its own message.
#[test]
fn a_rendezvous_hands_the_message_to_the_receiver() -> anyhow::Result<()> {
    let _watch = crate::support::watch();
    const ROUNDS: usize = 2_000;
    let (sender, receiver) = bounded(0);
    TaskGroup::builder().timeout(LONG).scope(|g| {
        g.spawn(|| {
            for _ in 0..ROUNDS {
                let n: usize = receiver.recv()?;
                sender.send(n + 1)?;
            }
            Ok(())
        });
        for n in 0..ROUNDS {
            sender.send(2 * n)?;
            assert_eq!((sender.len(), receiver.is_empty()), (0, true));
            assert_eq!(
                receiver.recv()?,
                2 * n + 1,
                "the sender received its own message"
            );
        }
        Ok(())
    })?;
    Ok(())
}

/// The message was handed to the receiver, which has not run since.
#[test]
fn a_message_that_was_handed_over_cannot_be_taken() -> anyhow::Result<()> {
    let (sender, receiver) = bounded(0);
    for n in 0..200 {
        TaskGroup::scope(|g| {
            let received = g.spawn(|| Ok(receiver.recv()?));
            until_blocked(&receiver, 0, 1);
            assert_eq!(sender.try_send(n), Ok(()));
            assert!(receiver.try_recv().is_err() && sender.is_empty());
            assert!(
                sender.try_send(0).is_err(),
                "the wait of the receiver is over"
            );
            assert_eq!(received.join()?, n);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn messages_are_all_dropped_though_the_drop_of_each_panics() {
    let drops = Drops::default();
    let (sender, receiver) = unbounded();
    for _ in 0..3 {
        sender
            .send((crate::support::Bomb("from a message"), drops.counted()))
            .unwrap();
    }
    let ended = catch_unwind(AssertUnwindSafe(|| drop(receiver)));
    assert_eq!(
        ended
            .unwrap_err()
            .downcast_ref::<String>()
            .map(String::as_str),
        Some("from a message")
    );
    assert_eq!(drops.count(), 3);
}

#[test]
fn the_last_sender_wakes_the_receivers() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded::<u8>();
    let other = sender.clone();
    TaskGroup::scope(|g| {
        for _ in 0..2 {
            g.spawn(|| {
                assert!(matches!(receiver.recv(), Err(RecvError::Disconnected(_))));
                assert!(matches!(
                    receiver.recv_timeout(LONG),
                    Err(RecvTimeoutError::Disconnected(_))
                ));
                Ok(())
            });
        }
        until_blocked(&receiver, 0, 2);
        drop(sender);
        until_blocked(&receiver, 0, 2);
        drop(other);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn messages_are_received_after_the_last_sender() {
    let (sender, receiver) = unbounded();
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), 1);
    assert!(matches!(
        receiver.try_recv(),
        Err(TryRecvError::Disconnected(_))
    ));
    assert!(receiver.iter().next().is_none());
}

#[test]
fn the_last_receiver_gives_the_senders_their_messages_back() -> anyhow::Result<()> {
    for capacity in [0, 1] {
        let (sender, receiver) = bounded(capacity);
        if capacity == 1 {
            sender.send(0)?;
        }
        TaskGroup::scope(|g| {
            for n in 1..3 {
                let sender = &sender;
                g.spawn(move || {
                    assert!(
                        matches!(sender.send(n), Err(SendError::Disconnected(back, _)) if back == n)
                    );
                    assert!(
                        matches!(sender.send(n), Err(SendError::Disconnected(back, _)) if back == n)
                    );
                    Ok(())
                });
            }
            until_blocked(&receiver, 2, 0);
            drop(receiver);
            Ok(())
        })?;
        assert!(matches!(
            sender.try_send(5),
            Err(TrySendError::Disconnected(5, _))
        ));
        assert!(sender.is_empty());
    }
    Ok(())
}

#[test]
fn unread_messages_are_dropped_once() {
    let drops = Drops::default();
    let (sender, receiver) = bounded(3);
    for _ in 0..3 {
        sender.send(drops.counted()).unwrap();
    }
    drop(receiver.recv().unwrap());
    assert_eq!(drops.count(), 1);
    drop(receiver);
    assert_eq!(drops.count(), 3);
    drop(sender.send(drops.counted()).unwrap_err());
    assert_eq!(drops.count(), 4);
}

#[test]
fn a_message_may_hold_an_end_of_its_channel() {
    struct Loop(#[allow(dead_code, reason = "held")] Sender<Loop>);
    let (sender, receiver) = unbounded();
    sender.send(Loop(sender.clone())).unwrap();
    drop(receiver);
    assert!(sender.send(Loop(sender.clone())).is_err());
}

#[test]
fn an_iterator_may_own_its_receiver() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded();
    (1..=3).try_for_each(|n| sender.send(n))?;
    let mut messages = receiver.into_iter();
    assert!(matches!(messages.next(), Some(Ok(1))));
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        assert!(matches!(
            messages.next(),
            Some(Err(RecvError::Cancelled(_)))
        ));
        assert!(messages.next().is_none());
    });
    assert!(
        matches!(messages.next(), Some(Ok(2))),
        "the iterator can be used again"
    );
    drop(messages);
    assert!(
        matches!(sender.send(4), Err(SendError::Disconnected(4, _))),
        "the receiver is dropped with the iterator"
    );

    let (sender, receiver) = unbounded();
    (1..=3).try_for_each(|n| sender.send(n))?;
    drop(sender);
    assert_eq!(receiver.into_iter().sum::<Result<u32, _>>()?, 6);
    Ok(())
}

#[test]
fn messages_in_the_channel_are_taken_without_a_wait() -> anyhow::Result<()> {
    let (sender, receiver) = bounded(0);
    assert_eq!(receiver.try_iter().next(), None);
    TaskGroup::scope(|g| {
        for n in 1..=2 {
            let sender = &sender;
            g.spawn(move || Ok(sender.send(n)?));
        }
        until_blocked(&receiver, 2, 0);
        let token = CancelToken::new();
        token.cancel();
        assert_eq!(token.run(|| receiver.try_iter().sum::<i32>()), 3);
        Ok(())
    })?;
    drop(sender);
    assert_eq!(receiver.try_iter().count(), 0);
    Ok(())
}

#[test]
fn outside_of_any_scope_a_channel_works_like_the_one_of_std() {
    let (sender, receiver) = bounded(1);
    let thread = std::thread::spawn(move || receiver.iter().map(|n| n.unwrap()).sum::<u32>());
    for n in 1..=100 {
        sender.send(n).unwrap();
    }
    drop(sender);
    assert_eq!(thread.join().unwrap(), 5_050);
}

#[test]
fn errors_of_plain_calls_become_those_of_other_calls() {
    let (sender, receiver) = (bounded(1).0, unbounded::<u32>().1);
    let same = || {
        let sent = || sender.send(1).unwrap_err();
        assert_eq!(TrySendError::from(sent()), sender.try_send(1).unwrap_err());
        let timed = sender.send_timeout(1, SHORT).unwrap_err();
        assert_eq!(SendTimeoutError::from(sent()), timed);

        let received = || receiver.recv().unwrap_err();
        let tried = receiver.try_recv().unwrap_err();
        assert_eq!(TryRecvError::from(received()), tried);
        let timed = receiver.recv_timeout(SHORT).unwrap_err();
        assert_eq!(RecvTimeoutError::from(received()), timed);
        sent()
    };
    assert!(matches!(same(), SendError::Disconnected(1, _)));

    let token = CancelToken::new();
    token.cancel();
    assert!(matches!(token.run(same), SendError::Cancelled(1, _)));
}

#[test]
fn a_channel_shows_how_full_it_is() -> anyhow::Result<()> {
    let (bounded, _receiver) = bounded(7);
    bounded.send(1)?;
    let shown = format!("{bounded:?}");
    assert!(
        shown.contains("len: 1") && shown.contains("capacity: 7"),
        "{shown}"
    );

    let (_sender, unbounded) = unbounded::<i32>();
    let shown = format!("{unbounded:?}");
    assert!(
        shown.contains("len: 0") && !shown.contains("capacity"),
        "{shown}"
    );
    Ok(())
}
