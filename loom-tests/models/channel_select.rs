//! Models of selects: one of several cases is done, or none.

use std::sync::Arc;

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::support::{block, must_see, saw};
use super::{Model, Watched};
use crate::CancelToken;
use crate::channel::{RecvError, bounded, select, unbounded};
use crate::facade::Track;

pub(super) const MODELS: &[Model] = &[
    holds!(
        channel_select_against_two_senders,
        Preemptions(3),
        Preemptions(4),
        "a select takes one of two messages, and the other stays"
    ),
    holds!(
        channel_select_against_two_rendezvous,
        Preemptions(3),
        Preemptions(4),
        "a select ends one of two sends that wait for a receiver, and the other keeps waiting"
    ),
    breaks!(
        broken_channel_select_is_claimed_twice,
        "wait-is-claimed-twice" in channel_select_against_two_rendezvous,
        Preemptions(3),
        "left == right",
        "two senders that both end the wait of one select both believe that their message was \
         received"
    ),
    holds!(
        channel_select_against_one_sender,
        Exhaustive,
        Exhaustive,
        "a message that comes at any moment ends a select"
    ),
    breaks!(
        broken_channel_select_enters_unseeing,
        "select-misses-a-message" in channel_select_against_one_sender,
        Preemptions(2),
        "deadlock",
        "a select that enters a queue without checking the channel sleeps beside its message"
    ),
    breaks!(
        broken_channel_select_misses_a_waiting_sender,
        "select-misses-a-waiting-sender" in channel_select_against_two_rendezvous,
        Preemptions(2),
        "deadlock",
        "a select that enters a queue without checking for waiting senders sleeps beside one"
    ),
    holds!(
        channel_select_send_against_room,
        Exhaustive,
        Exhaustive,
        "the room that a receive makes in one of its channels ends a select that sends"
    ),
    breaks!(
        broken_channel_select_misses_room,
        "select-misses-room" in channel_select_send_against_room,
        Exhaustive,
        "deadlock",
        "a select that enters a queue without checking for room sleeps beside it"
    ),
    holds!(
        channel_select_against_cancel,
        Preemptions(3),
        Preemptions(4),
        "a message for a cancelled select is received by it or stays"
    ),
    breaks!(
        broken_channel_cancelled_select_drops_message,
        "cancelled-select-drops-its-message" in channel_select_against_cancel,
        Preemptions(2),
        "lost",
        "a cancelled select that drops its grant loses a message"
    ),
    holds!(
        channel_select_send_against_cancel,
        Preemptions(3),
        Preemptions(4),
        "the message of a cancelled select is received, and the work before the receive \
             happens before the return of the select, or it stays with the select"
    ),
    holds!(
        channel_select_against_last_sender,
        Exhaustive,
        Exhaustive,
        "the drop of the last sender of one of its channels ends a select"
    ),
    breaks!(
        broken_channel_last_sender_tells_no_select,
        "last-sender-tells-nothing" in channel_select_against_last_sender,
        Preemptions(2),
        "deadlock",
        "a last sender that wakes no waiter leaves a select waiting"
    ),
    breaks!(
        broken_channel_select_misses_the_last_sender,
        "select-misses-the-last-sender" in channel_select_against_last_sender,
        Preemptions(2),
        "deadlock",
        "a select that enters the queue of a channel without senders sleeps for ever"
    ),
    holds!(
        channel_select_against_last_receiver,
        Exhaustive,
        Exhaustive,
        "the drop of the last receiver ends a select, which keeps its message"
    ),
    breaks!(
        broken_channel_select_misses_the_last_receiver,
        "select-misses-the-last-receiver" in channel_select_against_last_receiver,
        Preemptions(2),
        "deadlock",
        "a select that enters the queue of a channel without receivers sleeps for ever"
    ),
    holds!(
        channel_select_meets_select,
        Preemptions(3),
        Exhaustive,
        "two selects that could serve each other either way agree on one"
    ),
    breaks!(
        broken_channel_select_misses_a_waiting_receiver,
        "select-misses-a-waiting-receiver" in channel_select_meets_select,
        Preemptions(2),
        "deadlock",
        "a select that enters a queue without checking for waiting receivers sleeps beside one"
    ),
    holds!(
        channel_cancel_of_both_selects,
        Preemptions(2),
        Preemptions(4),
        "a select that is woken by a disconnect which its own cancel caused returns the cancel"
    ),
    breaks!(
        broken_channel_cancel_reaches_one_select_first,
        "own-node-alone-is-asked" in channel_cancel_of_both_selects,
        Preemptions(2),
        "was told of an end",
        "a select that asks only its own node reports a disconnect caused by a cancel that \
         has not reached it yet"
    ),
    holds!(
        channel_select_default_is_right_about_an_instant,
        Preemptions(3),
        Preemptions(4),
        "a select that reports that no case is ready is right about one instant"
    ),
    breaks!(
        broken_channel_select_tries_each_once,
        "each-case-is-tried-once" in channel_select_default_is_right_about_an_instant,
        Preemptions(2),
        "a message was there all the time",
        "a select that tries each case once misses a message that is in one of its channels \
         at every instant"
    ),
    holds!(
        channel_select_against_token,
        Preemptions(3),
        Preemptions(4),
        "the cancel of another token ends a select, and a message that was not received stays"
    ),
];

fn channel_select_against_one_sender() {
    let ((sender, receiver), (_quiet, silent)) = (bounded(1), bounded::<()>(1));
    let selecting = thread::spawn(move || {
        select! {
            recv(silent) -> _ => unreachable!(),
            recv(receiver) -> message => drop::<Track>(message.unwrap()),
        }
        .unwrap();
    });
    sender.send(Track::new()).unwrap();
    selecting.join().unwrap();
}

fn channel_select_against_two_senders() {
    let (one, two) = (bounded(1), bounded(1));
    let senders =
        [one.0, two.0].map(|sender| thread::spawn(move || sender.send(Track::new()).unwrap()));
    select! {
        recv(one.1) -> message => drop(message.unwrap()),
        recv(two.1) -> message => drop(message.unwrap()),
    }
    .unwrap();
    for sender in senders {
        sender.join().unwrap();
    }
    assert_eq!(one.1.len() + two.1.len(), 1);
}

fn channel_select_against_two_rendezvous() {
    must_see(["the first was received", "the second was received"]);
    let (one, two) = (bounded(0), bounded(0));
    let senders = [one.0, two.0].map(|sender| thread::spawn(move || sender.send(()).is_ok()));
    let first = select! {
        recv(one.1) -> message => message.map(|()| true).unwrap(),
        recv(two.1) -> message => message.map(|()| false).unwrap(),
    }
    .unwrap();
    saw(if first {
        "the first was received"
    } else {
        "the second was received"
    });
    // Ends the other send: it returns its message, because no receiver took it.
    drop((one.1, two.1));
    let sent = senders.map(|sender| sender.join().unwrap());
    assert_eq!(sent, [first, !first]);
}

fn channel_select_send_against_room() {
    let ((sender, receiver), (_quiet, silent)) = (bounded(1), bounded::<()>(1));
    sender.send(Track::new()).unwrap();
    let selecting = thread::spawn(move || {
        let mut message = Some(Track::new());
        select! {
            send(sender, &mut message) -> sent => sent.unwrap(),
            recv(silent) -> _ => unreachable!(),
        }
        .unwrap();
    });
    drop(receiver.recv().unwrap());
    selecting.join().unwrap();
    assert_eq!(receiver.len(), 1);
}

fn channel_select_against_cancel() {
    must_see(["it was received", "it was cancelled"]);
    let ((sender, receiver), (_quiet, silent)) = (bounded(1), bounded::<()>(1));
    let token = CancelToken::new();
    let selecting = thread::spawn({
        let (receiver, token) = (receiver.clone(), token.clone());
        move || {
            token
                .run(|| {
                    select! {
                        recv(receiver) -> message => drop::<Track>(message.unwrap()),
                        recv(silent) -> _ => unreachable!(),
                    }
                })
                .is_ok()
        }
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    sender.send(Track::new()).unwrap();
    let received = selecting.join().unwrap();
    canceller.join().unwrap();
    saw(if received {
        "it was received"
    } else {
        "it was cancelled"
    });
    assert!(received != (receiver.len() == 1), "the message was lost");
}

fn channel_select_send_against_cancel() {
    must_see(["it was sent", "it was cancelled"]);
    let ((sender, receiver), (_quiet, silent)) = (bounded(0), bounded::<()>(1));
    let (token, memory) = (CancelToken::new(), Arc::new(Watched::new()));
    let selecting = thread::spawn({
        let (token, memory) = (token.clone(), memory.clone());
        move || {
            let mut message = Some(Track::new());
            let done = token.run(|| {
                select! {
                    send(sender, &mut message) -> sent => sent.unwrap(),
                    recv(silent) -> _ => unreachable!(),
                }
            });
            assert!(done.is_ok() == message.is_none());
            if done.is_ok() {
                memory.read();
            }
            done.is_ok()
        }
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    memory.write();
    let received = match receiver.recv() {
        Ok(_) => true,
        Err(RecvError::Disconnected(_)) => false,
        Err(other) => panic!("{other:?}"),
    };
    let sent = selecting.join().unwrap();
    canceller.join().unwrap();
    saw(if sent {
        "it was sent"
    } else {
        "it was cancelled"
    });
    assert!(received == sent, "received: {received}, sent: {sent}");
}

fn channel_select_against_last_sender() {
    let ((sender, receiver), (_quiet, silent)) = (unbounded::<()>(), bounded::<()>(1));
    let selecting = thread::spawn(move || {
        let message = select! {
            recv(silent) -> message => message,
            recv(receiver) -> message => message,
        };
        assert!(message.unwrap().is_err());
    });
    drop(sender);
    selecting.join().unwrap();
}

fn channel_select_against_last_receiver() {
    let ((sender, receiver), (_quiet, silent)) = (bounded(0), bounded::<()>(1));
    let selecting = thread::spawn(move || {
        let mut message = Some(Track::new());
        let sent = select! {
            recv(silent) -> _ => unreachable!(),
            send(sender, &mut message) -> sent => sent,
        };
        assert!(sent.unwrap().is_err());
        assert!(message.is_some());
    });
    drop(receiver);
    selecting.join().unwrap();
}

fn channel_select_meets_select() {
    must_see(["there", "back"]);
    let (there, back) = (bounded(0), bounded(0));
    let other = thread::spawn(move || {
        select! {
            send(back.0, &mut Some(())) -> sent => sent.map(|()| "back").unwrap(),
            recv(there.1) -> message => message.map(|()| "there").unwrap(),
        }
        .unwrap()
    });
    let passed = select! {
        send(there.0, &mut Some(())) -> sent => sent.map(|()| "there").unwrap(),
        recv(back.1) -> message => message.map(|()| "back").unwrap(),
    }
    .unwrap();
    saw(passed);
    assert_eq!(other.join().unwrap(), passed);
}

fn channel_cancel_of_both_selects() {
    let ((sender, receiver), (_quiet, silent)) = (bounded::<()>(1), bounded::<()>(1));
    let token = CancelToken::new();
    let (first, second) = (token.child(), token.child());
    let sending = thread::spawn(move || {
        first.run(|| {
            assert!(block().is_err());
            drop(sender);
        })
    });
    let selecting = thread::spawn(move || {
        second.run(|| {
            select! {
                recv(silent) -> _ => unreachable!(),
                recv(receiver) -> _ => panic!("a cancelled select was told of an end"),
            }
        })
    });
    token.cancel();
    assert!(selecting.join().unwrap().is_err());
    sending.join().unwrap();
}

fn channel_select_default_is_right_about_an_instant() {
    must_see(["it moved before", "it moved meanwhile or later"]);
    let (one, two) = (bounded(1), bounded(1));
    one.0.try_send(()).unwrap();
    // At every instant one of the channels holds a message.
    let mover = thread::spawn({
        let (taker, sender) = (one.1.clone(), two.0.clone());
        move || {
            sender.try_send(()).unwrap();
            taker.try_recv().is_ok()
        }
    });
    // In a model the first case of the list is tried first.
    let found = select! {
        recv(two.1) -> _ => true,
        recv(one.1) -> _ => true,
        default => false,
    }
    .unwrap();
    let moved = mover.join().unwrap();
    saw(if moved {
        "it moved before"
    } else {
        "it moved meanwhile or later"
    });
    assert!(found, "a message was there all the time");
}

fn channel_select_against_token() {
    must_see(["it was received", "it was cancelled"]);
    let (sender, receiver) = bounded(1);
    let token = CancelToken::new();
    let canceller = thread::spawn({
        let token = token.clone();
        move || {
            token.cancel();
        }
    });
    let sending = thread::spawn(move || sender.send(()).unwrap());
    let received = select! {
        recv(receiver) -> message => message.map(|()| true).unwrap(),
        cancelled(token) -> _ => false,
    }
    .unwrap();
    saw(if received {
        "it was received"
    } else {
        "it was cancelled"
    });
    canceller.join().unwrap();
    sending.join().unwrap();
    assert_eq!(receiver.len(), usize::from(!received));
}
