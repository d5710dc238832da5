//! Which of several ready cases is chosen.

use taskgroup::channel::{Select, bounded, select, unbounded};

use super::scope;
use crate::channels::until_blocked;

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
