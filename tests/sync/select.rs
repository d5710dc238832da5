//! Selects: one of several cases is chosen, never two, and the cases that were not chosen lose
//! nothing.

mod cancelled;
mod crossing;
mod fair;
mod one_case;
mod syntax;

use std::time::{Duration, Instant};

use taskgroup::channel::{Disconnected, Receiver, Select, bounded, select, unbounded};
use taskgroup::{CancelToken, GroupError, TaskGroup};

use crate::channels::{SHORT, is_deserted, until_blocked};
use crate::support::{Drops, LONG, watch};

/// Opens a scope that is cancelled, and so fails, if code in it hangs.
fn scope<T>(
    body: impl for<'scope> FnOnce(&'scope TaskGroup<'scope, 'static>) -> anyhow::Result<T>,
) -> Result<T, GroupError> {
    let _watch = watch();
    TaskGroup::builder().timeout(LONG).scope(body)
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
