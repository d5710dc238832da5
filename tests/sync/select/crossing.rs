//! Selects of many threads that meet.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use taskgroup::channel::{Select, bounded, select};
use taskgroup::{Cancelled, TaskGroup};

use super::scope;
use crate::channels::{is_deserted, with_cancel};
use crate::support::{Drops, LONG, watch};

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
