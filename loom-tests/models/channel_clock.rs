//! Models of the channels of the clock: a message goes to one receiver, and a wait ends when it is
//! due.

use std::time::{Duration, Instant};

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::Model;
use super::support::{must_see, saw};
use crate::CancelToken;
use crate::channel::{Receiver, after, select, tick, unbounded};
use crate::facade::{now, pass, start_clock};

/// Much longer than a model takes.
const HOUR: Duration = Duration::from_secs(3_600);

pub(super) const MODELS: &[Model] = &[
    holds!(
        channel_tick_against_two_receivers,
        Preemptions(3),
        Preemptions(4),
        "a tick that comes due while two receivers wait is received by one of them"
    ),
    breaks!(
        broken_channel_tick_is_found_and_taken,
        "tick-is-found-and-then-taken" in channel_tick_against_two_receivers,
        Preemptions(3),
        "left == right",
        "a tick that is found due in one critical section and taken in another is received \
         twice"
    ),
    holds!(
        channel_after_comes_due_while_two_wait,
        Preemptions(2),
        Preemptions(3),
        "if two receivers wait for one message of the clock, one receives it, and the other \
             waits until it is cancelled"
    ),
    breaks!(
        broken_channel_after_is_found_and_taken,
        "tick-is-found-and-then-taken" in channel_after_comes_due_while_two_wait,
        Preemptions(2),
        "left == right",
        "a message of the clock that is found due in one critical section and taken in \
         another is received twice"
    ),
    holds!(
        channel_select_against_the_clock,
        Exhaustive,
        Exhaustive,
        "a select beside an idle channel ends when its case of the clock is due"
    ),
    breaks!(
        broken_channel_select_ignores_the_clock,
        "select-ignores-the-clock" in channel_select_against_the_clock,
        Exhaustive,
        "deadlock",
        "a select that waits only for its queues sleeps although a message of the clock is due"
    ),
    holds!(
        channel_select_between_the_clock_and_a_message,
        Preemptions(3),
        Preemptions(4),
        "if a message and a message of the clock come at the same time, a select takes one, \
             and the other stays"
    ),
    holds!(
        channel_select_times_out_with_a_grant,
        Preemptions(2),
        Preemptions(3),
        "a select that is told of a message, loses it to another thread, and is at its limit \
             by then, finds the message that came before the limit"
    ),
    breaks!(
        broken_channel_select_times_out_with_a_grant,
        "select-times-out-with-a-grant" in channel_select_times_out_with_a_grant,
        Preemptions(2),
        "missed a message",
        "a select that was told of one message is not told of the next, and must look again"
    ),
    holds!(
        channel_clock_against_cancel,
        Preemptions(3),
        Exhaustive,
        "a receive that is cancelled as its message comes due returns the message or leaves it"
    ),
];

fn channel_tick_against_two_receivers() {
    start_clock();
    let limit = now() + 3 * HOUR / 2;
    let ticks = tick(HOUR);
    let receive = |receiver: Receiver<Instant>| {
        thread::spawn(move || usize::from(receiver.recv_deadline(limit).is_ok()))
    };
    let receivers = [receive(ticks.clone()), receive(ticks)];
    pass(2 * HOUR);
    let received: usize = receivers
        .into_iter()
        .map(|receiver| receiver.join().unwrap())
        .sum();
    assert_eq!(received, 1);
}

fn channel_after_comes_due_while_two_wait() {
    start_clock();
    let once = after(HOUR);
    let token = CancelToken::new();
    let receivers = [(); 2].map(|()| {
        let (once, token) = (once.clone(), token.clone());
        thread::spawn(move || {
            let received = token.run(|| once.recv()).is_ok();
            if received {
                token.cancel();
            }
            usize::from(received)
        })
    });
    pass(2 * HOUR);
    let received: usize = receivers
        .into_iter()
        .map(|receiver| receiver.join().unwrap())
        .sum();
    assert_eq!(received, 1);
}

fn channel_select_against_the_clock() {
    start_clock();
    let once = after(HOUR);
    let (_sender, idle) = unbounded::<u8>();
    let clock = thread::spawn(|| pass(2 * HOUR));
    let is_due = select! { recv(once) -> at => at.is_ok(), recv(idle) -> _ => false }.unwrap();
    assert!(is_due);
    clock.join().unwrap();
}

fn channel_select_between_the_clock_and_a_message() {
    must_see(["the clock", "the message"]);
    start_clock();
    let once = after(HOUR);
    let (sender, receiver) = unbounded();
    let clock = thread::spawn(|| pass(2 * HOUR));
    let sending = thread::spawn(move || sender.send(1).unwrap());
    let chosen = select! {
        recv(once) -> _ => "the clock",
        recv(receiver) -> n => n.map(|_| "the message").unwrap(),
    }
    .unwrap();
    saw(chosen);
    clock.join().unwrap();
    sending.join().unwrap();
    assert_eq!(
        (once.len(), receiver.len()),
        if chosen == "the clock" {
            (0, 1)
        } else {
            (1, 0)
        }
    );
}

fn channel_select_times_out_with_a_grant() {
    start_clock();
    let ((first, receiver), (second, other)) = (unbounded(), unbounded());
    let thread = thread::spawn({
        let receiver = receiver.clone();
        move || {
            first.send(1).unwrap();
            let _ = receiver.try_recv();
            second.send(2).unwrap();
            pass(2 * HOUR);
            // A channel without senders would end the select.
            (first, second)
        }
    });
    let received = select! {
        recv(receiver) -> n => n.unwrap(),
        recv(other) -> n => n.unwrap(),
        default(HOUR) => 0,
    }
    .unwrap();
    assert_ne!(received, 0, "the select missed a message");
    drop(thread.join().unwrap());
}

fn channel_clock_against_cancel() {
    must_see(["the message", "the cancel"]);
    start_clock();
    let once = after(HOUR);
    let token = CancelToken::new();
    let clock = thread::spawn(|| pass(2 * HOUR));
    let canceller = thread::spawn({
        let token = token.clone();
        move || {
            token.cancel();
        }
    });
    let received = token.run(|| once.recv()).is_ok();
    saw(if received {
        "the message"
    } else {
        "the cancel"
    });
    clock.join().unwrap();
    canceller.join().unwrap();
    assert_eq!(once.len(), usize::from(!received));
}
