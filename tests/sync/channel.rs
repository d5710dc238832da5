//! Channels: order, room, disconnection, and messages that no cancel loses.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::channels::{SHORT, cross_with_cancels, until_blocked};
use crate::support::{Drops, LONG, until};
use taskgroup::channel::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
    bounded, unbounded,
};
use taskgroup::{CancelToken, Cancelled, TaskError, TaskGroup};

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
fn a_cancelled_send_gives_the_message_back() -> anyhow::Result<()> {
    let (sender, receiver) = bounded(1);
    sender.send(String::from("first"))?;
    TaskGroup::scope(|g| {
        let blocked = g.spawn_isolated(|| match sender.send(String::from("kept")) {
            Err(SendError::Cancelled(message, cancelled)) => Ok((message, cancelled)),
            other => anyhow::bail!("{other:?}"),
        });
        until_blocked(&receiver, 1, 0);
        blocked.cancel();
        let (message, _) = blocked.join()??;
        assert_eq!(message, "kept");
        Ok(())
    })?;
    assert_eq!(receiver.recv()?, "first");
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    Ok(())
}

#[test]
fn a_cancelled_scope_fails_at_each_entry_without_effect() {
    let (sender, receiver) = bounded(2);
    sender.send(1).unwrap();
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        for _ in 0..2 {
            assert!(matches!(
                sender.send(2),
                Err(SendError::Cancelled(2, why)) if why.origin() == token.id()
            ));
            assert!(matches!(
                sender.send_timeout(2, LONG),
                Err(SendTimeoutError::Cancelled(2, _))
            ));
            assert!(matches!(
                receiver.recv(),
                Err(RecvError::Cancelled(why)) if why.origin() == token.id()
            ));
            assert!(matches!(
                receiver.recv_timeout(LONG),
                Err(RecvTimeoutError::Cancelled(_))
            ));
        }
        assert_eq!(receiver.len(), 1);
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(sender.try_send(3), Ok(()));
    });
    assert_eq!(receiver.recv().unwrap(), 3);
}

#[test]
fn a_cancelled_loop_does_not_look_finished() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded::<u8>();
    sender.send(1)?;
    let token = CancelToken::new();
    token.run(|| {
        let mut messages = receiver.iter();
        assert!(matches!(messages.next(), Some(Ok(1))));
        token.cancel();
        assert!(matches!(messages.next(), Some(Err(_))));
        assert!(
            messages.next().is_none(),
            "a loop that drops errors must not spin"
        );
        assert!(
            matches!(messages.next(), Some(Err(_))),
            "the iterator can be used again"
        );
        assert!(messages.next().is_none());
        assert!(matches!(receiver.iter().next(), Some(Err(_))));
        sender.send(2).unwrap_err();
        assert_eq!(sender.try_send(3), Ok(()));
        assert!(matches!(taskgroup::shield(|| messages.next()), Some(Ok(3))));
        assert!(matches!(messages.next(), Some(Err(_))));
    });
    let mut messages = receiver.iter();
    assert!(matches!(token.run(|| messages.next()), Some(Err(_))));
    sender.send(4)?;
    assert!(
        matches!(messages.next(), Some(Ok(4))),
        "the scope is another one"
    );
    drop(sender);
    assert!(messages.next().is_none() && messages.next().is_none());
    assert!(matches!(token.run(|| messages.next()), Some(Err(_))));
    Ok(())
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

/// A stage of a pipeline, in the scope of its task or in one below.
type Stage = fn(&mut dyn FnMut() -> anyhow::Result<()>) -> anyhow::Result<()>;

const STAGES: [Stage; 3] = [
    |stage| stage(),
    |stage| taskgroup::timeout(LONG, stage).map(drop),
    |stage| Ok(TaskGroup::scope(|_| stage())?),
];

#[test]
fn a_cancelled_pipeline_does_not_fail() -> anyhow::Result<()> {
    let _watch = crate::support::watch();
    for round in 0..100 {
        for (one, other) in [(0, 0), (1, 2), (2, 1), (0, 1)] {
            let (one, other) = (STAGES[one], STAGES[other]);
            // The receiver is dropped while a send is blocked.
            let (sender, receiver) = bounded(round % 2);
            let watched = sender.clone();
            TaskGroup::scope(|g| {
                g.spawn(move || one(&mut || Ok((0..).try_for_each(|n: u64| sender.send(n))?)));
                g.spawn(move || {
                    other(&mut || {
                        receiver.recv()?;
                        Ok(taskgroup::sleep(LONG)?)
                    })
                });
                until(|| format!("{watched:?}").contains("sending: 1"));
                g.cancel();
                Ok(())
            })?;

            // The sender is dropped while a receive is blocked.
            let (sender, receiver) = bounded(8);
            let (watched, committed) = (receiver.clone(), AtomicUsize::new(0));
            TaskGroup::scope(|g| {
                g.spawn(|| {
                    one(&mut || {
                        for message in &receiver {
                            message?;
                        }
                        committed.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    })
                });
                g.spawn(move || {
                    other(&mut || {
                        sender.send(1)?;
                        Ok(taskgroup::sleep(LONG)?)
                    })
                });
                until_blocked(&watched, 0, 1);
                until(|| watched.is_empty());
                g.cancel();
                Ok(())
            })?;
            assert_eq!(
                committed.into_inner(),
                0,
                "a stream that was cut short looks complete"
            );
        }
    }
    Ok(())
}

#[test]
fn in_a_cancelled_scope_a_disconnect_is_reported_as_the_cancel() {
    let (sender, receiver) = unbounded();
    sender.send(1).unwrap();
    drop(sender);
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        assert_eq!(receiver.try_recv(), Ok(1), "no value is lost by that");
        assert!(matches!(
            receiver.try_recv(),
            Err(TryRecvError::Cancelled(why)) if why.origin() == token.id()
        ));
        taskgroup::shield(|| {
            assert!(matches!(
                receiver.try_recv(),
                Err(TryRecvError::Disconnected(_))
            ));
        });
    });
    let (sender, _) = unbounded();
    token.run(|| {
        assert!(matches!(
            sender.try_send(2),
            Err(TrySendError::Cancelled(2, why)) if why.origin() == token.id()
        ));
    });
    assert!(matches!(
        sender.try_send(3),
        Err(TrySendError::Disconnected(3, _))
    ));
    let error = anyhow::Error::from(token.run(|| receiver.try_recv()).unwrap_err());
    assert_eq!(error.cancelled().map(Cancelled::origin), Some(token.id()));
}

/// The deadline passes without a check of the clock.
#[test]
fn a_deadline_that_has_passed_is_a_cancel_too() {
    let (sender, receiver) = unbounded::<u8>();
    drop(sender);
    let token = CancelToken::new();
    token.child().run(|| {
        assert!(matches!(
            receiver.try_recv(),
            Err(TryRecvError::Disconnected(_))
        ));
        token.cancel_at(std::time::Instant::now() + SHORT);
        std::thread::sleep(2 * SHORT);
        assert!(matches!(
            receiver.try_recv(),
            Err(TryRecvError::Cancelled(_))
        ));
    });
}

/// The cancel above spares a region that winds down. So an end that has gone is reported there as
/// an end.
#[test]
fn a_region_that_winds_down_gets_the_disconnect() {
    let (sender, receiver) = unbounded::<u8>();
    drop(sender);
    let token = CancelToken::new();
    token.run(|| {
        taskgroup::winding_down(|| {
            token.cancel_gracefully(LONG);
            assert!(matches!(
                receiver.try_recv(),
                Err(TryRecvError::Disconnected(_))
            ));
            assert!(matches!(receiver.recv(), Err(RecvError::Disconnected(_))));
            token
                .child()
                .run(|| assert!(matches!(receiver.recv(), Err(RecvError::Cancelled(_)))));
            token.cancel();
            assert!(matches!(
                receiver.try_recv(),
                Err(TryRecvError::Cancelled(_))
            ));
        });
    });
}

#[test]
fn anyhow_knows_the_cancel_inside_of_each_error() {
    let (sender, receiver) = bounded::<u8>(0);
    let token = CancelToken::new();
    token.cancel();
    let errors: [anyhow::Error; 4] = token.run(|| {
        [
            sender.send(1).unwrap_err().into(),
            sender.send_timeout(1, LONG).unwrap_err().into(),
            receiver.recv().unwrap_err().into(),
            receiver.recv_timeout(LONG).unwrap_err().into(),
        ]
    });
    for error in errors {
        assert_eq!(
            error.cancelled().map(Cancelled::origin),
            Some(token.id()),
            "{error:?}"
        );
    }
    drop(sender);
    let ended = receiver.recv().unwrap_err();
    assert!(matches!(ended, RecvError::Disconnected(_)));
    assert!(anyhow::Error::from(ended).cancelled().is_none());
}

#[test]
fn a_group_absorbs_its_own_cancel_of_blocked_ends() -> anyhow::Result<()> {
    let (sender, receiver) = bounded(0);
    let (_unused, silent) = bounded::<u8>(0);
    TaskGroup::scope(|g| {
        g.spawn(|| Ok(sender.send(1)?));
        g.spawn(|| Ok(silent.recv().map(drop)?));
        until_blocked(&receiver, 1, 0);
        until_blocked(&silent, 0, 1);
        g.cancel();
        Ok(())
    })?;
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
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
fn cancels_and_messages_that_cross_lose_nothing() -> anyhow::Result<()> {
    for capacity in [0, 1, 4] {
        cross_with_cancels(
            bounded(capacity),
            |sender, message| sender.send(message),
            |receiver| receiver.recv(),
        )?;
    }
    Ok(())
}
