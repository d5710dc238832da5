//! Models of channels: a message is delivered or given back, and nobody sleeps beside one.

use std::sync::Arc;

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::{Model, Watched};
use crate::channel::{bounded, unbounded, RecvError, SendError};
use crate::facade::{take_out, Guard, Track};
use crate::CancelToken;

pub(super) fn models() -> Vec<Model> {
    vec![
        holds!(
            channel_send_against_cancel,
            Preemptions(3),
            Preemptions(4),
            "a message whose send is cancelled is delivered or given back, never both and never neither"
        ),
        breaks!(
            broken_channel_send_looks_before_it_takes_back,
            Preemptions(3),
            "invalid key",
            "a cancelled sender that looks in one critical section and takes back in another finds its message gone"
        ),
        holds!(
            channel_recv_against_cancel,
            Preemptions(3),
            Preemptions(4),
            "a message for a receiver that is cancelled is had by it or by the next"
        ),
        breaks!(
            broken_channel_cancelled_receiver_leaves_message,
            Preemptions(3),
            "deadlock",
            "a cancelled receiver that was told of a message and does not take it leaves the next asleep beside it"
        ),
        holds!(channel_last_sender_against_recv, Exhaustive, Exhaustive, "the end of the last sender ends a receive"),
        breaks!(
            broken_channel_last_sender_tells_nobody,
            Exhaustive,
            "deadlock",
            "a last sender that tells nobody leaves the receivers waiting"
        ),
        holds!(
            channel_last_receiver_against_send,
            Exhaustive,
            Exhaustive,
            "the end of the last receiver gives a message back, or drops it if it was delivered"
        ),
        breaks!(
            broken_channel_last_receiver_tells_nobody,
            Exhaustive,
            "deadlock",
            "a last receiver that tells nobody leaves the senders waiting"
        ),
        holds!(
            channel_room_against_two_senders,
            Preemptions(3),
            Preemptions(4),
            "both of two messages pass a channel with room for one"
        ),
        holds!(
            channel_rendezvous_happens_before,
            Exhaustive,
            Exhaustive,
            "what was done before a send happens before the return of the receive, also without room"
        ),
        holds!(
            channel_two_receivers_two_messages,
            Preemptions(3),
            Preemptions(4),
            "each of two receivers gets one of two messages, whoever is told"
        ),
    ]
}

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
        Err(RecvError::Disconnected) => false,
        Err(other) => panic!("{other:?}"),
    };
    let given_back = sending.join().unwrap();
    canceller.join().unwrap();
    assert!(received != given_back, "received: {received}, given back: {given_back}");
}

fn broken_channel_send_looks_before_it_takes_back() {
    take_out(Guard::SendLooksUnderLock);
    channel_send_against_cancel();
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

fn broken_channel_cancelled_receiver_leaves_message() {
    take_out(Guard::GrantBeatsCancel);
    channel_recv_against_cancel();
}

fn channel_last_sender_against_recv() {
    let (sender, receiver) = unbounded::<()>();
    let receiving = thread::spawn(move || assert!(matches!(receiver.recv(), Err(RecvError::Disconnected))));
    drop(sender);
    receiving.join().unwrap();
}

fn broken_channel_last_sender_tells_nobody() {
    take_out(Guard::LastEndWakes);
    channel_last_sender_against_recv();
}

fn channel_last_receiver_against_send() {
    let (sender, receiver) = bounded(1);
    sender.try_send(Track::new()).unwrap();
    let sending = thread::spawn(move || match sender.send(Track::new()) {
        Err(SendError::Disconnected(_)) => {}
        other => panic!("{other:?}"),
    });
    drop(receiver);
    sending.join().unwrap();
}

fn broken_channel_last_receiver_tells_nobody() {
    take_out(Guard::LastEndWakes);
    channel_last_receiver_against_send();
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

fn channel_two_receivers_two_messages() {
    let (sender, receiver) = bounded(2);
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
