//! Selects: one of several cases is chosen, never two, and the cases that were not chosen lose
//! nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::channels::{SHORT, is_deserted, until_blocked, with_cancel};
use crate::support::{Drops, LONG, watch};
use proptest::prelude::*;
use taskgroup::channel::{Disconnected, Receiver, Select, Sender, bounded, select, unbounded};
use taskgroup::{CancelToken, Cancelled, GroupError, TaskGroup};

/// Opens a scope that is cancelled, and so fails, if code in it hangs.
fn scope<T>(
    body: impl for<'scope> FnOnce(&'scope TaskGroup<'scope, 'static>) -> anyhow::Result<T>,
) -> Result<T, GroupError> {
    let _watch = watch();
    TaskGroup::builder().timeout(LONG).scope(body)
}

#[test]
fn one_of_the_ready_cases_is_chosen() -> anyhow::Result<()> {
    let ((numbers, incoming), (outgoing, sent)) = (unbounded(), bounded(1));
    let mut message = Some("word");
    numbers.send(1)?;
    outgoing.send("full")?;
    let number = select! {
        recv(incoming) -> number => number?,
        send(outgoing, &mut message) -> sent => sent.map(|()| 0)?,
    }?;
    assert_eq!((number, message), (1, Some("word")));
    assert_eq!(sent.recv()?, "full");
    let number = select! {
        recv(incoming) -> number => number?,
        send(outgoing, &mut message) -> sent => sent.map(|()| 0)?,
    }?;
    assert_eq!((number, message), (0, None));
    assert_eq!(sent.recv()?, "word");
    Ok(())
}

#[test]
fn every_ready_case_is_chosen_in_turn() -> anyhow::Result<()> {
    const ROUNDS: usize = 1_000;
    let channels: Vec<_> = (0..4).map(|_| unbounded()).collect();
    for (sender, _) in &channels {
        (0..ROUNDS).try_for_each(|n| sender.send(n))?;
    }
    let mut select = Select::new();
    for (index, (_, receiver)) in channels.iter().enumerate() {
        select.recv(receiver, move |message| message.map(|_| index));
    }
    let mut chosen = [0; 4];
    for _ in 0..ROUNDS {
        chosen[select.select()??] += 1;
    }
    assert!(chosen.iter().all(|&times| times > ROUNDS / 8), "{chosen:?}");

    let mut chosen = [0; 3];
    let (sender, receiver) = unbounded();
    for _ in 0..ROUNDS {
        let index = select! {
            recv(channels[0].1) -> message => message.map(|_| 0)?,
            recv(channels[1].1) -> message => message.map(|_| 1)?,
            send(sender, &mut Some(())) -> sent => sent.map(|()| 2)?,
        }?;
        chosen[index] += 1;
    }
    assert!(chosen.iter().all(|&times| times > ROUNDS / 6), "{chosen:?}");
    assert_eq!(receiver.len(), chosen[2]);
    Ok(())
}

/// Fails unless each of two cases was chosen about as often as the other. By chance it fails once
/// in 10^8 times.
fn assert_even(chosen: [usize; 2], what: &str) {
    let [first, second] = chosen;
    let deviation = ((first + second) as f64).sqrt();
    assert!(
        (first.abs_diff(second) as f64) < 6.0 * deviation,
        "{what}: {chosen:?}"
    );
}

#[test]
fn idle_cases_make_no_difference() -> anyhow::Result<()> {
    const ROUNDS: usize = 10_000;
    for (before, between) in [(0, 0), (2, 0), (30, 0), (3, 5), (0, 20)] {
        let ready: Vec<_> = (0..2).map(|_| unbounded()).collect();
        let idle: Vec<_> = (0..before + between).map(|_| unbounded::<()>()).collect();
        for (sender, _) in &ready {
            (0..ROUNDS).try_for_each(|_| sender.send(()))?;
        }
        let mut select = Select::new();
        for (_, receiver) in &idle[..before] {
            select.recv(receiver, |_| 2);
        }
        select.recv(&ready[0].1, |_| 0);
        for (_, receiver) in &idle[before..] {
            select.recv(receiver, |_| 2);
        }
        select.recv(&ready[1].1, |_| 1);
        let mut chosen = [0; 2];
        for _ in 0..ROUNDS {
            chosen[select.select()?] += 1;
        }
        assert_even(
            chosen,
            &format!("{before} idle cases before, {between} between"),
        );
    }
    Ok(())
}

#[test]
fn two_sends_to_one_channel_are_chosen_in_turn() -> anyhow::Result<()> {
    const ROUNDS: usize = 10_000;
    for capacity in [0, 1, 16] {
        let (sender, receiver) = bounded::<usize>(capacity);
        let chosen = scope(move |g| {
            let counting = g.spawn(move || {
                let mut chosen = [0; 2];
                for message in &receiver {
                    chosen[message?] += 1;
                }
                Ok(chosen)
            });
            for _ in 0..ROUNDS {
                select! {
                    send(sender, &mut Some(0)) -> sent => sent?,
                    send(sender, &mut Some(1)) -> sent => sent?,
                }?;
            }
            drop(sender);
            Ok(counting.join()?)
        })?;
        assert_even(chosen, &format!("capacity {capacity}"));
    }
    Ok(())
}

/// Chance decides the order in which two waiting sends of a select enter the queue of a channel.
#[test]
fn two_waiting_sends_are_chosen_in_turn() -> anyhow::Result<()> {
    const ROUNDS: usize = 1_000;
    let (sender, receiver) = bounded::<usize>(0);
    let mut chosen = [0; 2];
    scope(|g| {
        let sending = g.spawn(move || {
            for _ in 0..ROUNDS {
                select! {
                    send(sender, &mut Some(0)) -> sent => sent?,
                    send(sender, &mut Some(1)) -> sent => sent?,
                }?;
            }
            Ok(())
        });
        for _ in 0..ROUNDS {
            until_blocked(&receiver, 2, 0);
            chosen[receiver.try_recv()?] += 1;
        }
        Ok(sending.join()?)
    })?;
    assert_even(chosen, "waiting sends");
    Ok(())
}

#[test]
fn threads_do_not_make_the_same_choices() -> anyhow::Result<()> {
    let first_choices = || -> anyhow::Result<Vec<usize>> {
        let ready: Vec<_> = (0..2).map(|_| unbounded()).collect();
        for (sender, _) in &ready {
            (0..64).try_for_each(|_| sender.send(()))?;
        }
        let choose = || Ok(select! { recv(ready[0].1) -> _ => 0, recv(ready[1].1) -> _ => 1 }?);
        (0..64).map(|_| choose()).collect()
    };
    let [one, other] = [(); 2].map(|()| std::thread::spawn(first_choices));
    assert_ne!(one.join().unwrap()?, other.join().unwrap()?);
    Ok(())
}

/// At every instant one of the two channels holds a message: it is sent to the second channel
/// before it is taken from the first.
#[test]
fn a_default_runs_only_if_no_case_was_ready_at_one_instant() -> anyhow::Result<()> {
    const ROUNDS: usize = 20_000;
    let (one, two) = (unbounded::<u8>(), unbounded::<u8>());
    let ((go, begin), (end, ended)) = (bounded::<()>(1), bounded::<()>(1));
    let (sender, taker) = (two.0, one.1.clone());
    scope(move |g| {
        g.task().dedicated().spawn(move || {
            while begin.recv().is_ok() {
                sender.send(2)?;
                let _ = taker.try_recv();
                end.send(())?;
            }
            Ok(())
        });
        for round in 0..ROUNDS {
            go.send(())?;
            one.0.send(1)?;
            let mut select = Select::new();
            select.recv(&one.1, |message| message.is_ok());
            select.recv(&two.1, |message| message.is_ok());
            let done = match round % 3 {
                0 => select.try_select()?,
                1 => select.select_timeout(Duration::ZERO)?,
                _ => select! {
                    recv(one.1) -> _ => Some(true),
                    recv(two.1) -> _ => Some(true),
                    default => None,
                }?,
            };
            assert_eq!(done, Some(true), "a message was there all the time");
            ended.recv()?;
            while one.1.try_recv().is_ok() {}
            while two.1.try_recv().is_ok() {}
        }
        drop(go);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_message_ends_the_wait() -> anyhow::Result<()> {
    for capacity in [0, 1, usize::MAX] {
        let ((first, incoming), (_second, silent)) = (bounded(capacity), bounded::<u8>(capacity));
        scope(move |g| {
            let other = incoming.clone();
            let received = g.spawn(move || {
                let received = select! {
                    recv(incoming) -> message => message?,
                    recv(silent) -> message => u32::from(message?),
                }?;
                assert!(is_deserted(&incoming) && is_deserted(&silent));
                Ok(received)
            });
            until_blocked(&other, 0, 1);
            first.send(5)?;
            assert_eq!(received.join()?, 5);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn room_ends_the_wait() -> anyhow::Result<()> {
    for capacity in [0, 1] {
        let ((sender, receiver), (_other, silent)) = (bounded(capacity), unbounded::<u8>());
        let buffered = sender.try_send(0).is_ok();
        scope(move |g| {
            let sent = g.spawn(move || {
                let mut message = Some(1);
                select! {
                    send(sender, &mut message) -> sent => sent?,
                    recv(silent) -> _ => anyhow::bail!("nothing was sent"),
                }?;
                assert!(is_deserted(&silent));
                Ok(message)
            });
            until_blocked(&receiver, 1, 0);
            if buffered {
                assert_eq!(receiver.recv()?, 0);
            }
            assert_eq!(receiver.recv()?, 1);
            assert_eq!(sent.join()?, None);
            assert!(is_deserted(&receiver));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_rendezvous_completes_whichever_side_waits() -> anyhow::Result<()> {
    let ((sender, receiver), (_other, silent)) = (bounded(0), unbounded::<u8>());
    assert!(select_of(&receiver).try_select()?.is_none());
    scope(move |g| {
        let (plain, watched) = (sender.clone(), receiver.clone());
        let sending = g.spawn(move || Ok(plain.send(1)?));
        until_blocked(&watched, 1, 0);
        let received = select! {
            recv(receiver) -> message => message?,
            recv(silent) -> _ => anyhow::bail!("nothing was sent"),
        }?;
        assert_eq!(received, 1);
        sending.join()?;

        let receiving = g.spawn(move || Ok(receiver.recv()?));
        until_blocked(&watched, 0, 1);
        select! {
            send(sender, &mut Some(2)) -> sent => sent?,
            recv(silent) -> _ => anyhow::bail!("nothing was sent"),
        }?;
        assert_eq!(receiving.join()?, 2);
        Ok(())
    })?;
    Ok(())
}

fn select_of<T>(receiver: &Receiver<T>) -> Select<'_, Result<T, Disconnected>> {
    let mut select = Select::new();
    select.recv(receiver, |message| message);
    select
}

#[test]
fn a_select_does_not_receive_from_itself() -> anyhow::Result<()> {
    let (sender, receiver) = bounded(0);
    let mut message = Some(1);
    select! {
        send(sender, &mut message) -> _ => anyhow::bail!("sent to itself"),
        recv(receiver) -> _ => anyhow::bail!("received from itself"),
        default(SHORT) => {}
    }?;
    assert_eq!(message, Some(1));
    assert!(is_deserted(&receiver));
    Ok(())
}

#[test]
fn a_channel_may_be_in_several_cases() -> anyhow::Result<()> {
    let (sender, receiver) = bounded(0);
    let watched = receiver.clone();
    scope(move |g| {
        let sent = g.spawn(move || {
            let (mut odd, mut even) = (Some(1), Some(2));
            let first = select! {
                send(sender, &mut odd) -> sent => sent.map(|()| 1)?,
                send(sender, &mut even) -> sent => sent.map(|()| 2)?,
            }?;
            assert_eq!(
                (odd, even),
                if first == 1 {
                    (None, Some(2))
                } else {
                    (Some(1), None)
                }
            );
            Ok(first)
        });
        until_blocked(&watched, 2, 0);
        let received = receiver.recv()?;
        assert_eq!(sent.join()?, received);
        assert!(is_deserted(&watched));
        Ok(())
    })?;
    Ok(())
}

#[test]
fn the_drop_of_the_last_sender_ends_the_wait() -> anyhow::Result<()> {
    let ((first, incoming), (_second, silent)) = (unbounded::<u8>(), bounded::<u8>(0));
    scope(move |g| {
        let watched = incoming.clone();
        g.spawn(move || {
            for _ in 0..2 {
                let message = select! {
                    recv(incoming) -> message => message,
                    recv(silent) -> message => message,
                }?;
                assert!(message.is_err());
                assert!(is_deserted(&silent));
            }
            Ok(())
        });
        until_blocked(&watched, 0, 1);
        drop(first);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn messages_come_before_the_end() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded();
    sender.send(1)?;
    drop(sender);
    let mut select = select_of(&receiver);
    assert_eq!(select.select()?, Ok(1));
    assert!(select.select()?.is_err());
    assert!(matches!(select.try_select()?, Some(Err(_))));
    Ok(())
}

#[test]
fn the_drop_of_the_last_receiver_leaves_the_message() -> anyhow::Result<()> {
    for capacity in [0, 1] {
        let (sender, receiver) = bounded(capacity);
        let _ = sender.try_send(0);
        scope(move |g| {
            g.spawn(move || {
                let mut message = Some(1);
                for _ in 0..2 {
                    let sent = select! { send(sender, &mut message) -> sent => sent }?;
                    assert!(sent.is_err());
                    assert_eq!(message, Some(1));
                }
                Ok(())
            });
            until_blocked(&receiver, 1, 0);
            drop(receiver);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_cancel_ends_the_wait_without_effect() -> anyhow::Result<()> {
    let ((sender, receiver), (_other, silent)) = (bounded(1), bounded::<u8>(0));
    sender.send("first")?;
    let token = CancelToken::new();
    scope(|g| {
        let (cancelled, watched, quiet) = (token.clone(), receiver.clone(), silent.clone());
        let ended = g.spawn(move || {
            let mut message = Some("second");
            let ended = cancelled.run(|| {
                select! {
                    recv(silent) -> _ => anyhow::bail!("nothing was sent"),
                    send(sender, &mut message) -> _ => anyhow::bail!("the channel is full"),
                }
                .map_err(anyhow::Error::from)
            });
            let why = ended.unwrap_err().downcast::<Cancelled>()?;
            Ok((message, why.origin()))
        });
        until_blocked(&watched, 1, 0);
        token.cancel();
        assert_eq!(ended.join()?, (Some("second"), token.id()));
        assert!(is_deserted(&watched) && is_deserted(&quiet));
        Ok(())
    })?;
    assert_eq!(receiver.try_recv(), Ok("first"));
    assert!(receiver.try_recv().is_err());
    Ok(())
}

#[test]
fn a_cancelled_scope_fails_at_each_entry_without_effect() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded();
    sender.send(1)?;
    let token = CancelToken::new();
    token.cancel();
    let mut message = Some(2);
    token.run(|| {
        for _ in 0..2 {
            let ended: Result<(), Cancelled> = select! {
                recv(receiver) -> _ => {},
                send(sender, &mut message) -> _ => {},
            };
            assert_eq!(ended.unwrap_err().origin(), token.id());
            let ended: Result<(), Cancelled> = select! {
                recv(receiver) -> _ => {},
                default => {}
            };
            assert!(ended.is_err(), "a loop around a select with a default ends");
            assert!(select_of(&receiver).select().is_err());
            assert!(select_of(&receiver).select_timeout(LONG).is_err());
        }
        assert_eq!((receiver.len(), message), (1, Some(2)));
        assert_eq!(select_of(&receiver).try_select().unwrap(), Some(Ok(1)));
    });
    Ok(())
}

#[test]
fn in_a_cancelled_scope_a_disconnect_is_reported_as_the_cancel() -> anyhow::Result<()> {
    let ((sender, receiver), (_, closed), (unread, _)) = (unbounded(), unbounded(), unbounded());
    (0..50).try_for_each(|n| sender.send(n))?;
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        let mut message = Some(7);
        let mut select = Select::new();
        select.recv(&closed, |message: Result<i32, _>| message);
        select.recv(&receiver, |message| message);
        select.send(&unread, &mut message, |sent| sent.map(|()| -1));
        let received: Vec<_> = (0..50)
            .map(|_| select.try_select().unwrap().unwrap().unwrap())
            .collect();
        assert_eq!(
            received,
            (0..50).collect::<Vec<_>>(),
            "a ready case comes before the cancel"
        );
        assert_eq!(select.try_select().unwrap_err().origin(), token.id());
        drop(select);
        assert_eq!(message, Some(7));
        let mut alone = Select::new();
        alone.recv(&closed, |message: Result<i32, _>| message);
        assert_eq!(alone.try_select().unwrap_err().origin(), token.id());
    });
    Ok(())
}

#[test]
fn a_cancelled_pipeline_of_selects_does_not_fail() -> anyhow::Result<()> {
    for _ in 0..200 {
        let ((sender, receiver), (_quiet, silent)) = (bounded(0), unbounded::<u8>());
        let watched = sender.clone();
        scope(move |g| {
            let other = silent.clone();
            g.spawn(move || -> anyhow::Result<()> {
                loop {
                    select! {
                        send(sender, &mut Some(1)) -> sent => sent?,
                        recv(other) -> _ => anyhow::bail!("nothing was sent"),
                    }?;
                }
            });
            g.spawn(move || {
                select! {
                    recv(receiver) -> message => message?,
                    recv(silent) -> message => message?,
                }?;
                taskgroup::sleep(LONG)?;
                drop(receiver);
                Ok(())
            });
            crate::support::until(|| format!("{watched:?}").contains("sending: 1"));
            g.cancel();
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_select_that_times_out_has_no_effect() -> anyhow::Result<()> {
    let ((sender, receiver), (_other, silent)) = (bounded(0), unbounded::<u8>());
    let drops = Drops::default();
    let mut message = Some(drops.counted());
    for _ in 0..2 {
        let late = select! {
            send(sender, &mut message) -> _ => false,
            recv(silent) -> _ => false,
            default(SHORT) => true,
        }?;
        assert!(late);
    }
    assert_eq!(drops.count(), 0);
    assert!(message.is_some() && is_deserted(&receiver) && is_deserted(&silent));
    let mut select = select_of(&silent);
    assert_eq!(
        (select.select_timeout(SHORT)?, select.try_select()?),
        (None, None)
    );
    assert!(is_deserted(&silent));
    Ok(())
}

#[test]
fn a_default_runs_if_no_case_is_ready() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded();
    let poll = || {
        select! {
            recv(receiver) -> message => message.ok(),
            default => None
        }
    };
    assert_eq!(poll()?, None);
    sender.send(3)?;
    assert_eq!(poll()?, Some(3));
    Ok(())
}

#[test]
fn the_cancel_of_another_token_is_a_case() -> anyhow::Result<()> {
    let (_sender, receiver) = bounded::<u8>(0);
    let (token, late) = (CancelToken::new(), CancelToken::new());
    scope(|g| {
        let (stop, watched) = (token.clone(), receiver.clone());
        let why = g.spawn(move || {
            Ok(select! {
                recv(receiver) -> _ => None,
                cancelled(stop) -> why => Some(why.origin()),
            }?)
        });
        until_blocked(&watched, 0, 1);
        token.cancel();
        assert_eq!(why.join()?, Some(token.id()));
        assert!(is_deserted(&watched));

        late.cancel_at(Instant::now() + SHORT);
        let mut select = Select::new();
        select.recv(&watched, |_| None);
        select.cancelled(&late, |why| Some(why.origin()));
        assert_eq!(select.select()?, Some(late.id()));
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_send_without_a_message_is_not_chosen() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded::<u8>();
    let mut message = None;
    for _ in 0..20 {
        let sent = select! {
            send(sender, &mut message) -> _ => true,
            default => false,
        }?;
        assert!(!sent);
    }
    let late = select! { send(sender, &mut message) -> _ => false, default(SHORT) => true }?;
    assert!(late && receiver.is_empty());
    Ok(())
}

#[test]
fn a_select_can_be_used_again_and_loses_finished_cases() -> anyhow::Result<()> {
    let ((sender, receiver), (_, ended)) = (unbounded(), unbounded());
    let mut message = Some('m');
    let mut select = Select::new();
    let first = select.recv(&ended, |message: Result<char, _>| message);
    let sent = select.send(&sender, &mut message, |sent| sent.map(|()| 's'));
    assert_eq!((first, sent), (0, 1));
    while select.select()?.is_ok() {}
    select.remove(first);
    assert!(matches!(select.try_select()?, None | Some(Ok('s'))));
    assert_eq!(
        select.select_timeout(SHORT)?,
        None,
        "it has sent its message"
    );
    assert_eq!(format!("{select:?}"), "Select { cases: 1 }");
    select.recv(&receiver, |message| message);
    assert_eq!(select.select()?, Ok('m'));
    Ok(())
}

#[test]
fn a_receive_without_a_receiver_is_not_chosen() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded();
    let shared = std::sync::Arc::new(receiver);
    sender.send(1)?;
    let off = || false;
    let nothing = select! { recv(off().then_some(&*shared)) -> n => n.ok(), default => None }?;
    assert_eq!(nothing, None);
    assert_eq!(
        select! { recv(off().then_some(&*shared)) -> n => n.ok(), default(SHORT) => None }?,
        None
    );
    assert_eq!(select! { recv(Some(&*shared)) -> n => n? }?, 1);
    // Receivers and options of receivers, owned and behind references.
    sender.send(2)?;
    assert_eq!(select! { recv(shared) -> n => n? }?, 2);
    sender.send(3)?;
    let mut owned = Some(Receiver::clone(&shared));
    assert_eq!(
        select! { recv(owned) -> n => n?, recv(None::<&Receiver<i32>>) -> n => n?, }?,
        3
    );
    sender.send(4)?;
    owned = None;
    assert_eq!(
        select! { recv(&owned) -> n => n?, recv(&&shared) -> n => n? + 1, }?,
        5
    );
    Ok(())
}

#[test]
fn a_paused_case_is_not_chosen() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded();
    let (outgoing, sent) = bounded(1);
    let mut message = Some(7);
    sender.send(1)?;
    let mut select = Select::new();
    let receive = select.recv(&receiver, |n| n.ok());
    let send = select.send(&outgoing, &mut message, |sent| sent.ok().map(|()| 0));
    select.pause(receive);
    assert_eq!(select.select()?, Some(0));
    select.pause(send);
    assert_eq!(
        (select.try_select()?, select.select_timeout(SHORT)?),
        (None, None)
    );
    assert!(is_deserted(&receiver) && is_deserted(&sent));
    select.resume(receive);
    select.resume(receive);
    assert_eq!(select.select()?, Some(1));
    select.remove(receive);
    for call in [Select::pause, Select::resume, Select::remove] {
        let removed =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(&mut select, receive)));
        assert!(removed.is_err(), "the case is already removed");
    }
    Ok(())
}

#[test]
fn a_select_waits_until_a_deadline() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded();
    let (soon, late) = (Instant::now() + SHORT, Instant::now() + LONG);
    let mut select = select_of(&receiver);
    assert_eq!(select.select_deadline(soon)?, None);
    assert!(Instant::now() >= soon && is_deserted(&receiver));
    let none = select! { recv(receiver) -> n => Some(n?), default(soon) => None }?;
    assert_eq!(none, None);
    sender.send(1)?;
    assert_eq!(
        select! { recv(receiver) -> n => Some(n?), default(late) => None }?,
        Some(1)
    );
    sender.send(2)?;
    assert_eq!(
        select.select_deadline(soon)?,
        Some(Ok(2)),
        "a message is received even after the deadline"
    );
    let token = CancelToken::new();
    token.cancel();
    assert!(token.run(|| select.select_deadline(late)).is_err());
    Ok(())
}

#[test]
#[should_panic(expected = "a select without cases would wait for ever")]
fn a_select_of_nothing_panics() {
    let _ = Select::<()>::new().select();
}

#[test]
#[should_panic(expected = "the select has no case 1")]
fn a_case_is_removed_once() {
    let (_sender, receiver) = unbounded::<u8>();
    let mut select = select_of(&receiver);
    select.remove(0);
    select.remove(1);
}

#[test]
fn messages_may_borrow() -> anyhow::Result<()> {
    let text = String::from("borrowed");
    let (sender, receiver) = bounded(1);
    let mut message = Some(&*text);
    select! { send(sender, &mut message) -> sent => sent? }?;
    let received = select! { recv(receiver) -> message => message? }?;
    assert_eq!(received, "borrowed");
    Ok(())
}

#[test]
fn bodies_may_return_break_and_continue() -> anyhow::Result<()> {
    fn first_even(receiver: &Receiver<u32>) -> anyhow::Result<u32> {
        loop {
            let n = select! {
                recv(receiver) -> n => match n? {
                    0 => continue,
                    99 => break,
                    n => n,
                },
            }?;
            if n % 2 == 0 {
                return Ok(n);
            }
            select! { recv(receiver) -> n => if n? == 4 { return Ok(4); } }?;
        }
        Ok(99)
    }
    let (sender, receiver) = unbounded();
    [0, 1, 2, 6, 1, 4, 99]
        .iter()
        .try_for_each(|&n| sender.send(n))?;
    drop(sender);
    assert_eq!(
        (
            first_even(&receiver)?,
            first_even(&receiver)?,
            first_even(&receiver)?
        ),
        (6, 4, 99)
    );
    assert!(first_even(&receiver).unwrap_err().is::<Disconnected>());
    Ok(())
}

#[test]
fn bodies_may_be_expressions_of_a_callers_macro() -> anyhow::Result<()> {
    macro_rules! ask {
        ($receiver:expr, $body:expr, $otherwise:expr) => {
            select! { recv($receiver) -> _ => $body, default => $otherwise }
        };
    }
    macro_rules! ask_last {
        ($receiver:expr, $body:expr, $otherwise:expr) => {
            select! { default => $otherwise, recv($receiver) -> _ => $body }
        };
    }
    let (sender, receiver) = unbounded();
    assert_eq!(
        (ask!(receiver, 1 + 1, 3)?, ask_last!(receiver, 1, { 3 })?),
        (3, 3)
    );
    sender.send(())?;
    sender.send(())?;
    assert_eq!(
        (ask!(receiver, 1 + 1, 3)?, ask_last!(&receiver, 1, 3)?),
        (2, 1)
    );
    Ok(())
}

#[test]
fn operands_may_be_any_expressions() -> anyhow::Result<()> {
    struct Ends(Vec<(Sender<String>, Receiver<String>)>);
    impl Ends {
        fn receiver(&self) -> &Receiver<String> {
            &self.0[0].1
        }
    }
    let ends = Ends(vec![unbounded()]);
    let mut messages = [Some(String::from("a"))];
    select! { send(ends.0[0].0.clone(), &mut messages[0]) -> sent => sent?, }?;
    let received = select! {
        recv(ends.receiver()) -> message => message?,
        recv(ends.receiver().clone()) -> message => message?,
        cancelled(CancelToken::new()) -> why => why.to_string(),
    }?;
    assert_eq!((received.as_str(), &messages[0]), ("a", &None));
    // A long operand stands on lines of its own, with a comma.
    let idle = select! {
        recv(ends.receiver(),) -> message => message?.is_empty(),
        default(SHORT,) => true,
    }?;
    assert!(idle);
    Ok(())
}

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

#[test]
fn cancels_and_selects_that_cross_lose_nothing() -> anyhow::Result<()> {
    let _watch = watch();
    const ROUNDS: usize = 200;
    for capacity in [0, 1, 4] {
        let (left, right) = (bounded(capacity), bounded(capacity));
        let drops = Drops::default();
        let (sent, received, kept) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        let outcome = |done: Result<bool, Cancelled>| done.unwrap_or(false);
        TaskGroup::builder().timeout(LONG).scope(|g| {
            for worker in 0..2 {
                let (left, right, drops, sent, kept) =
                    (left.0.clone(), right.0.clone(), &drops, &sent, &kept);
                g.spawn(move || {
                    for round in 0..ROUNDS {
                        let (mut one, mut two) = (Some(drops.counted()), Some(drops.counted()));
                        let done = outcome(with_cancel((round + worker) % 3 == 0, || {
                            select! {
                                send(left, &mut one) -> sent => sent.is_ok(),
                                send(right, &mut two) -> sent => sent.is_ok(),
                            }
                        })?);
                        sent.fetch_add(usize::from(done), Ordering::Relaxed);
                        let left_over = usize::from(one.is_some()) + usize::from(two.is_some());
                        assert_eq!(left_over, 2 - usize::from(done));
                        kept.fetch_add(left_over, Ordering::Relaxed);
                    }
                    Ok(())
                });
            }
            for worker in 0..2 {
                let (left, right, received) = (left.1.clone(), right.1.clone(), &received);
                g.spawn(move || {
                    let mut is_open = [true, true];
                    for round in 0.. {
                        let mut select = Select::new();
                        for (index, receiver) in [&left, &right].into_iter().enumerate() {
                            if is_open[index] {
                                select.recv(receiver, move |message| (index, message.is_ok()));
                            }
                        }
                        match with_cancel((round + worker) % 3 == 0, || select.select())? {
                            Ok((_, true)) => drop(received.fetch_add(1, Ordering::Relaxed)),
                            Ok((index, false)) => is_open[index] = false,
                            Err(_) => {}
                        }
                        if is_open == [false, false] {
                            break;
                        }
                    }
                    Ok(())
                });
            }
            drop((left, right));
            Ok(())
        })?;
        let (sent, kept) = (sent.into_inner(), kept.into_inner());
        assert_eq!(
            (received.into_inner(), sent + kept, drops.count()),
            (sent, 4 * ROUNDS, 4 * ROUNDS)
        );
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    Send { channel: usize },
    Receive { channel: usize },
    Close { channel: usize },
    Select { cases: Vec<(usize, bool)> },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..3_usize).prop_map(|channel| Step::Send { channel }),
        1 => (0..3_usize).prop_map(|channel| Step::Receive { channel }),
        1 => (0..24_usize).prop_map(|channel| Step::Close { channel }),
        6 => prop::collection::vec((0..3_usize, any::<bool>()), 1..5)
            .prop_map(|cases| Step::Select { cases }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// A select has the effect of one of its ready cases. If none is ready, it has no effect.
    #[test]
    fn a_select_has_the_effect_of_one_ready_case(
        capacities in prop::array::uniform3(prop_oneof![
            Just(0),
            Just(1),
            Just(2),
            Just(usize::MAX),
        ]),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (mut senders, receivers): (Vec<_>, Vec<_>) = capacities
            .iter()
            .map(|&capacity| bounded(capacity))
            .map(|(sender, receiver)| (Some(sender), receiver))
            .unzip();
        let mut model = [(); 3].map(|()| VecDeque::new());
        for (next, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send { channel } => {
                    if let Some(sender) = &senders[channel] {
                        let fits = model[channel].len() < capacities[channel];
                        prop_assert_eq!(sender.try_send(next).is_ok(), fits);
                        model[channel].extend(fits.then_some(next));
                    }
                }
                Step::Receive { channel } => prop_assert_eq!(
                    receivers[channel].try_recv().ok(),
                    model[channel].pop_front()
                ),
                Step::Close { channel } => drop(senders.get_mut(channel).and_then(Option::take)),
                Step::Select { cases } => {
                    let mut messages = vec![Some(next); cases.len()];
                    let mut select = Select::new();
                    for ((index, &(channel, sends)), message) in
                        cases.iter().enumerate().zip(&mut messages)
                    {
                        match (&senders[channel], sends) {
                            (Some(sender), true) => {
                                select.send(sender, message, move |sent| {
                                    (index, sent.map(|()| None))
                                });
                            }
                            _ => drop(select.recv(&receivers[channel], move |received| {
                                (index, received.map(Some))
                            })),
                        }
                    }
                    let done = match next % 2 {
                        0 => select.try_select().unwrap(),
                        _ => select.select_timeout(Duration::ZERO).unwrap(),
                    };
                    drop(select);
                    let is_sent =
                        |index: usize| matches!(done, Some((chosen, Ok(None))) if chosen == index);
                    prop_assert!(
                        messages
                            .iter()
                            .enumerate()
                            .all(|(index, message)| message.is_none() == is_sent(index))
                    );
                    let can = |&(channel, sends): &(usize, bool)| match &senders[channel] {
                        Some(_) if sends => model[channel].len() < capacities[channel],
                        sender => sender.is_none() || !model[channel].is_empty(),
                    };
                    match done {
                        None => prop_assert!(!cases.iter().any(can)),
                        Some((chosen, Ok(None))) => {
                            prop_assert!(can(&cases[chosen]));
                            model[cases[chosen].0].push_back(next);
                        }
                        Some((chosen, Ok(Some(message)))) => {
                            prop_assert_eq!(Some(message), model[cases[chosen].0].pop_front());
                        }
                        Some((chosen, Err(_))) => {
                            prop_assert!(
                                senders[cases[chosen].0].is_none()
                                    && model[cases[chosen].0].is_empty()
                            );
                        }
                    }
                }
            }
            prop_assert!(receivers.iter().all(is_deserted));
        }
        for (receiver, model) in receivers.iter().zip(model) {
            prop_assert_eq!(
                std::iter::from_fn(|| receiver.try_recv().ok()).collect::<Vec<_>>(),
                Vec::from(model)
            );
        }
    }
}
