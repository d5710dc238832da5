//! Models of channels: a message is delivered or given back, and no thread sleeps while a message
//! waits for it.

use std::sync::Arc;

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::support::{Drops, block, here, must_see, saw};
use super::{Model, Watched};
use crate::cancel::actor::TaskIdentity;
use crate::cancel::{TokenId, current};
use crate::channel::{Disconnected, RecvError, SendError, bounded, unbounded};
use crate::facade::Track;
use crate::{CancelToken, TaskId};

pub(super) const MODELS: &[Model] = &[
    holds!(
        channel_send_against_cancel,
        Preemptions(3),
        Preemptions(4),
        "the message of a cancelled send is delivered or given back, never both and never \
             neither"
    ),
    breaks!(
        broken_channel_send_looks_before_it_takes_back,
        "wait-settles-after-the-look" in channel_send_against_cancel,
        Preemptions(3),
        "invalid key",
        "a cancelled sender that checks in one critical section and takes back in another \
         finds its message gone"
    ),
    holds!(
        channel_recv_against_cancel,
        Preemptions(3),
        Preemptions(4),
        "a message for a cancelled receiver is received by it or by the next"
    ),
    breaks!(
        broken_channel_cancelled_receiver_leaves_message,
        "cancel-beats-the-grant" in channel_recv_against_cancel,
        Preemptions(3),
        "deadlock",
        "a cancelled receiver that was woken for a message and does not take it leaves the \
         next one asleep beside it"
    ),
    holds!(
        channel_cancelled_receiver_is_not_told,
        Preemptions(2),
        Preemptions(3),
        "a message that comes after a receiver was cancelled is received by another"
    ),
    breaks!(
        broken_channel_cancelled_receiver_stays,
        "cancelled-waiter-stays" in channel_cancelled_receiver_is_not_told,
        Preemptions(2),
        "deadlock",
        "a cancelled receiver that stays in the queue is woken for a message that it never \
         takes"
    ),
    holds!(
        channel_last_sender_against_recv,
        Exhaustive,
        Exhaustive,
        "the drop of the last sender ends a receive"
    ),
    breaks!(
        broken_channel_last_sender_tells_no_receiver,
        "last-sender-tells-nothing" in channel_last_sender_against_recv,
        Exhaustive,
        "deadlock",
        "a last sender that wakes no waiter leaves the receivers waiting"
    ),
    holds!(
        channel_last_receiver_against_send,
        Exhaustive,
        Exhaustive,
        "the drop of the last receiver gives a message back, or drops it if it was delivered"
    ),
    breaks!(
        broken_channel_last_receiver_tells_no_sender,
        "last-receiver-tells-nothing" in channel_last_receiver_against_send,
        Exhaustive,
        "deadlock",
        "a last receiver that wakes no waiter leaves the senders waiting"
    ),
    holds!(
        channel_ill_sender_against_last_sender,
        Preemptions(3),
        Preemptions(4),
        "a receiver that finds no sender left also finds the sender that was dropped by a \
             failing task"
    ),
    breaks!(
        broken_channel_ill_sender_is_noted_late,
        "sender-is-noted-late" in channel_ill_sender_against_last_sender,
        Preemptions(2),
        "a cut stream looks complete",
        "a failed end that is recorded after it is counted off is missed by a receiver that \
         looks in between"
    ),
    holds!(
        channel_ill_receiver_against_last_receiver,
        Preemptions(3),
        Preemptions(4),
        "a sender that finds no receiver left also finds the receiver that was dropped by a \
             failing task"
    ),
    breaks!(
        broken_channel_ill_receiver_is_noted_late,
        "receiver-is-noted-late" in channel_ill_receiver_against_last_receiver,
        Preemptions(2),
        "a cut stream looks complete",
        "a failed end that is recorded after it is counted off is missed by a sender that \
         looks in between"
    ),
    holds!(
        channel_room_against_two_senders,
        Preemptions(3),
        Preemptions(4),
        "two messages pass through a channel with room for one"
    ),
    holds!(
        channel_room_lets_a_sender_go_on,
        Exhaustive,
        Exhaustive,
        "a receive from a full channel lets a sender continue, even if no message is received \
             after it"
    ),
    breaks!(
        broken_channel_room_is_left_empty,
        "room-is-left-empty" in channel_room_lets_a_sender_go_on,
        Exhaustive,
        "deadlock",
        "a receiver that takes a message and does not look for senders leaves one waiting \
         although there is room"
    ),
    holds!(
        channel_last_receiver_drops_messages,
        Exhaustive,
        Exhaustive,
        "no message stays in a channel after its last receiver, whether it was sent before \
             the drop or during it"
    ),
    breaks!(
        broken_channel_last_receiver_leaves_messages,
        "last-receiver-leaves-the-messages" in channel_last_receiver_drops_messages,
        Exhaustive,
        "a message is kept for no receiver",
        "a last receiver that does not drop the messages leaves them there for as long as \
         there are senders"
    ),
    holds!(
        channel_rendezvous_happens_before,
        Exhaustive,
        Exhaustive,
        "the work before a send happens before the return of the receive, also in a channel \
             without room"
    ),
    holds!(
        channel_rendezvous_is_handed_over,
        Preemptions(3),
        Exhaustive,
        "a message sent through a channel without room goes to the waiting receiver, and is \
             never in the channel"
    ),
    breaks!(
        broken_channel_rendezvous_is_left_in_the_channel,
        "message-is-left-in-the-channel" in channel_rendezvous_is_handed_over,
        Preemptions(2),
        "a channel without room holds a message",
        "a message that is left in the channel for a woken receiver is taken by another thread"
    ),
    holds!(
        channel_rendezvous_recv_against_cancel,
        Preemptions(3),
        Preemptions(4),
        "a cancelled receiver returns the message that it was handed, and a message that was \
             not handed over is given back"
    ),
    breaks!(
        broken_channel_rendezvous_recv_drops_message,
        "cancel-beats-the-grant" in channel_rendezvous_recv_against_cancel,
        Preemptions(3),
        "sent and not received",
        "a cancelled receiver that drops the message it was handed loses it"
    ),
    holds!(
        channel_two_receivers_two_messages,
        Preemptions(3),
        Preemptions(4),
        "each of two receivers gets one of two messages, whichever receiver is woken"
    ),
    holds!(
        channel_two_receivers_room_for_one,
        Preemptions(2),
        Preemptions(3),
        "each of two receivers gets one of two messages, also where the second has to wait \
             for room"
    ),
    breaks!(
        broken_channel_room_is_filled_silently,
        "room-is-filled-silently" in channel_two_receivers_room_for_one,
        Preemptions(2),
        "deadlock",
        "a message that moves in from the queue of senders and wakes no receiver leaves a \
         receiver asleep beside it"
    ),
    holds!(
        channel_cancel_of_both_ends,
        Preemptions(2),
        Preemptions(4),
        "if a cancel reaches both ends of a channel, in any order, neither of them reports \
             that the other is disconnected"
    ),
    breaks!(
        broken_channel_cancel_reaches_one_end_first,
        "own-node-alone-is-asked" in channel_cancel_of_both_ends,
        Preemptions(2),
        "was told of an end",
        "a call that asks only its own node reports a disconnect caused by a cancel that \
         has not reached it yet"
    ),
];

fn channel_send_against_cancel() {
    let (sender, receiver) = bounded(0);
    let token = CancelToken::new();
    let sending = thread::spawn({
        let token = token.clone();
        move || match token.run(|| sender.send(Track::new())) {
            Ok(()) => false,
            Err(SendError::Cancelled(..)) => true,
            Err(other) => panic!("{other:?}"),
        }
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    let received = match receiver.recv() {
        Ok(_) => true,
        Err(RecvError::Disconnected(_)) => false,
        Err(other) => panic!("{other:?}"),
    };
    let given_back = sending.join().unwrap();
    canceller.join().unwrap();
    assert!(
        received != given_back,
        "received: {received}, given back: {given_back}"
    );
}

fn channel_recv_against_cancel() {
    let (sender, receiver) = unbounded();
    let token = CancelToken::new();
    let cancelled = thread::spawn({
        let (sender, receiver, token) = (sender.clone(), receiver.clone(), token.clone());
        move || {
            if let Ok(message) = token.run(|| receiver.recv()) {
                sender.try_send(message).unwrap();
            }
        }
    });
    let other = thread::spawn(move || drop(receiver.recv().unwrap()));
    sender.try_send(Track::new()).unwrap();
    token.cancel();
    cancelled.join().unwrap();
    other.join().unwrap();
}

fn channel_cancelled_receiver_is_not_told() {
    let (sender, receiver) = unbounded();
    let token = CancelToken::new();
    let cancelled = thread::spawn({
        let (receiver, token) = (receiver.clone(), token.clone());
        move || assert!(token.run(|| receiver.recv()).is_err(), "nothing was sent")
    });
    let other = thread::spawn(move || receiver.recv().unwrap());
    token.cancel();
    cancelled.join().unwrap();
    sender.try_send(()).unwrap();
    other.join().unwrap();
}

fn channel_last_sender_against_recv() {
    let (sender, receiver) = unbounded::<()>();
    let receiving =
        thread::spawn(move || assert!(matches!(receiver.recv(), Err(RecvError::Disconnected(_)))));
    drop(sender);
    receiving.join().unwrap();
}

fn channel_last_receiver_against_send() {
    let (sender, receiver) = bounded(1);
    sender.try_send(Track::new()).unwrap();
    let sending = thread::spawn(move || match sender.send(Track::new()) {
        Err(SendError::Disconnected(..)) => {}
        other => panic!("{other:?}"),
    });
    drop(receiver);
    sending.join().unwrap();
}

/// Drops `end` as if in a failing task named `ill`.
fn drop_ill(end: impl Sized) {
    let task = TaskIdentity {
        id: TaskId::next(),
        name: Some("ill".into()),
        location: here(),
    };
    let _recorded = current::begin_ill(task, TokenId(0), None);
    drop(end);
}

fn assert_cut(disconnected: &Disconnected) {
    assert!(!disconnected.ended_well(), "a cut stream looks complete");
    assert_eq!(
        disconnected
            .closed_by()
            .and_then(|task| task.name.as_deref()),
        Some("ill")
    );
}

fn channel_ill_sender_against_last_sender() {
    let (sender, receiver) = bounded::<()>(1);
    let other = sender.clone();
    let ill = thread::spawn(move || drop_ill(sender));
    let well = thread::spawn(move || drop(other));
    match receiver.recv() {
        Err(RecvError::Disconnected(disconnected)) => assert_cut(&disconnected),
        other => panic!("{other:?}"),
    }
    ill.join().unwrap();
    well.join().unwrap();
}

fn channel_ill_receiver_against_last_receiver() {
    let (sender, receiver) = bounded(0);
    let other = receiver.clone();
    let ill = thread::spawn(move || drop_ill(receiver));
    let well = thread::spawn(move || drop(other));
    match sender.send(()) {
        Err(SendError::Disconnected((), disconnected)) => assert_cut(&disconnected),
        other => panic!("{other:?}"),
    }
    ill.join().unwrap();
    well.join().unwrap();
}

fn channel_room_against_two_senders() {
    let (sender, receiver) = bounded(1);
    let senders = [1, 2].map(|message| {
        let sender = sender.clone();
        thread::spawn(move || sender.send(message).unwrap())
    });
    let mut received = [receiver.recv().unwrap(), receiver.recv().unwrap()];
    received.sort_unstable();
    assert_eq!(received, [1, 2]);
    for sender in senders {
        sender.join().unwrap();
    }
}

fn channel_room_lets_a_sender_go_on() {
    let (sender, receiver) = bounded(1);
    sender.try_send(1).unwrap();
    let sending = thread::spawn(move || sender.send(2).unwrap());
    assert_eq!(receiver.recv().unwrap(), 1);
    sending.join().unwrap();
    assert_eq!(receiver.try_recv(), Ok(2));
}

fn channel_last_receiver_drops_messages() {
    must_see(["the second was sent", "the second came back"]);
    let (sender, receiver) = bounded(2);
    let drops = Drops::default();
    sender.try_send(drops.value()).unwrap();
    let sending = thread::spawn({
        let (sender, message) = (sender.clone(), drops.value());
        move || sender.send(message).is_ok()
    });
    drop(receiver);
    let sent = sending.join().unwrap();
    saw(if sent {
        "the second was sent"
    } else {
        "the second came back"
    });
    assert_eq!(drops.count(), 2, "a message is kept for no receiver");
    drop(sender);
}

fn channel_rendezvous_happens_before() {
    let (sender, receiver) = bounded(0);
    let memory = Arc::new(Watched::new());
    let sending = thread::spawn({
        let memory = memory.clone();
        move || {
            memory.write();
            sender.send(()).unwrap();
        }
    });
    receiver.recv().unwrap();
    memory.read();
    sending.join().unwrap();
}

fn channel_rendezvous_is_handed_over() {
    let (sender, receiver) = bounded(0);
    let other = thread::spawn({
        let receiver = receiver.clone();
        move || receiver.recv().unwrap()
    });
    sender.send(()).unwrap();
    assert_eq!(receiver.len(), 0, "a channel without room holds a message");
    assert!(
        receiver.try_recv().is_err(),
        "the sender received its own message"
    );
    other.join().unwrap();
}

fn channel_rendezvous_recv_against_cancel() {
    must_see(["it was handed over", "it was given back"]);
    let (sender, receiver) = bounded(0);
    let token = CancelToken::new();
    let receiving = thread::spawn({
        let token = token.clone();
        move || match token.run(|| receiver.recv()) {
            Ok(message) => {
                drop::<Track>(message);
                true
            }
            Err(RecvError::Cancelled(_)) => false,
            Err(other) => panic!("{other:?}"),
        }
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    let sent = sender.send(Track::new()).is_ok();
    let received = receiving.join().unwrap();
    canceller.join().unwrap();
    saw(if sent {
        "it was handed over"
    } else {
        "it was given back"
    });
    assert!(
        sent == received,
        "sent and not received, or received and not sent"
    );
}

fn channel_two_receivers_two_messages() {
    two_receivers(2);
}

fn channel_two_receivers_room_for_one() {
    two_receivers(1);
}

fn two_receivers(capacity: usize) {
    let (sender, receiver) = bounded(capacity);
    let receivers = [(); 2].map(|()| {
        let receiver = receiver.clone();
        thread::spawn(move || receiver.recv().unwrap())
    });
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    let mut received = receivers.map(|receiver| receiver.join().unwrap());
    received.sort_unstable();
    assert_eq!(received, [1, 2]);
}

fn channel_cancel_of_both_ends() {
    let (sender, receiver) = bounded(1);
    let token = CancelToken::new();
    sender.try_send(()).unwrap();
    let (first, second) = (token.child(), token.child());
    let receiving = thread::spawn(move || {
        first.run(|| {
            assert!(block().is_err());
            drop(receiver);
        })
    });
    let sending = thread::spawn(move || second.run(|| sender.send(())));
    token.cancel();
    let sent = sending.join().unwrap();
    assert!(
        matches!(sent, Err(SendError::Cancelled(..))),
        "a cancelled send was told of an end: {sent:?}"
    );
    receiving.join().unwrap();
}
