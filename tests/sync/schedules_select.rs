//! Threads that select, send and receive at once, each by a random plan, and cancels in between.
//!
//! What each select does depends on the others, so there is no sequential model. These rules hold
//! in any order: Each message that was sent is received once or left in its channel, and the
//! messages of one sender come in order. A message that was not sent is where it was. An end is
//! reported when the last sender has gone and no message is left. No thread sleeps beside an
//! operation that it could do.

mod actor;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use taskgroup::channel::bounded;

use self::actor::{Actor, World};
use crate::actors::{ACTORS, runs};
use crate::support::{Drops, until, watch};

const CHANNELS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Send,
    Receive,
}

#[derive(Clone, Debug)]
enum Step {
    /// A select over these cases.
    Select {
        cases: Vec<(usize, Way)>,
        patience: Patience,
    },
    /// The operation of a select with one case, without a select.
    Plain {
        channel: usize,
        way: Way,
    },
    Close {
        channel: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Patience {
    Try,
    Briefly,
    UntilCancelled,
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::Send), Just(Way::Receive)]
}

fn step() -> impl Strategy<Value = Step> {
    let patience = prop_oneof![
        1 => Just(Patience::Try),
        1 => Just(Patience::Briefly),
        6 => Just(Patience::UntilCancelled),
    ];
    // A select that could serve itself would wait although two of its cases fit: so each channel is
    // used in one direction only.
    let cases = (
        prop::array::uniform3(way()),
        prop::collection::vec(0..CHANNELS, 1..5),
    )
        .prop_map(|(ways, channels)| {
            channels
                .into_iter()
                .map(|channel| (channel, ways[channel]))
                .collect()
        });
    prop_oneof![
        12 => (cases, patience).prop_map(|(cases, patience)| Step::Select { cases, patience }),
        6 => (0..CHANNELS, way()).prop_map(|(channel, way)| Step::Plain { channel, way }),
        1 => (0..CHANNELS).prop_map(|channel| Step::Close { channel }),
    ]
}

/// The condition for the next cancel.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// The other threads have had this many turns.
    Turns(usize),
    /// Until each thread waits for something that is not there.
    Rest,
}

/// Runs the actors on threads of their own, and cancels their steps until all have ended.
fn perform<'a>(
    world: &'a World,
    actors: Vec<Actor<'a>>,
    plans: Vec<Vec<Step>>,
    cancels: &[(usize, Before)],
) -> Vec<Actor<'a>> {
    std::thread::scope(|threads| {
        // Waiting threads are let go even if this thread fails.
        let _end = world.root.clone().drop_guard();
        let threads: Vec<_> = actors
            .into_iter()
            .zip(plans)
            .map(|(actor, plan)| threads.spawn(|| actor.run(plan)))
            .collect();

        // Again and again, and each time for the next in turn, so that each thread is let go.
        let mut cancels = (0..).flat_map(|round| {
            cancels
                .iter()
                .map(move |&(actor, before)| ((actor + round) % ACTORS, before))
        });
        while world.ended.load(Ordering::SeqCst) < ACTORS {
            let (actor, before) = cancels.next().expect("there is always one");
            match before {
                Before::Turns(turns) => (0..turns).for_each(|_| std::thread::yield_now()),
                Before::Rest => until(|| world.is_at_rest()),
            }
            world.tokens[actor].lock().unwrap().cancel();
        }
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

/// The numbers of messages, by channel and sender.
type Numbers = BTreeMap<(usize, usize), Vec<usize>>;

/// The messages that were sent, in order.
fn sent_by(actors: &[Actor<'_>]) -> Numbers {
    let mut sent = Numbers::new();
    for actor in actors {
        for &(channel, number) in &actor.sent {
            let numbers = sent.entry((channel, actor.number)).or_default();
            numbers.push(number);
        }
    }
    sent
}

/// The messages that were received, and after these the ones that are left in the channels.
fn arrived_at(actors: &[Actor<'_>], world: &World) -> Numbers {
    let mut arrived = Numbers::new();
    for actor in actors {
        let mut last = BTreeMap::new();
        for &(channel, sender, number) in &actor.received {
            let before = last.insert((channel, sender), number);
            assert!(before.is_none_or(|before| before < number), "out of order");
            arrived.entry((channel, sender)).or_default().push(number);
        }
    }
    for numbers in arrived.values_mut() {
        numbers.sort_unstable();
    }

    for (channel, receiver) in world.receivers.iter().enumerate() {
        let mut actors = actors.iter();
        let ended = actors.any(|actor| actor.saw_end_of.contains(&channel));
        assert!(
            !ended || receiver.is_empty(),
            "the disconnect came before a message"
        );
        while let Ok(message) = receiver.try_recv() {
            let numbers = arrived.entry((channel, message.sender)).or_default();
            numbers.push(message.number);
        }
        let shown = format!("{receiver:?}");
        assert!(
            shown.contains("senders: 0, receivers: 1, sending: 0, receiving: 0 "),
            "{shown}"
        );
    }
    arrived
}

proptest! {
    // The same plans need not fail again, so there is nothing to shrink.
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 0, ..runs() })]

    #[test]
    fn selects_of_many_threads_lose_nothing(
        capacities in prop::array::uniform3(prop_oneof![
            3 => Just(0),
            2 => Just(1),
            2 => Just(2),
            1 => Just(usize::MAX),
        ]),
        plans in prop::collection::vec(prop::collection::vec(step(), 1..40), ACTORS),
        cancels in prop::collection::vec(
            (
                0..ACTORS,
                prop_oneof![(0..8_usize).prop_map(Before::Turns), Just(Before::Rest)],
            ),
            1..20,
        ),
    ) {
        let _watch = watch();
        let (senders, receivers): (Vec<_>, Vec<_>) =
            capacities.iter().map(|&capacity| bounded(capacity)).unzip();
        let world = World::new(receivers, capacities);
        let drops = Drops::default();
        let actors = (0..ACTORS)
            .map(|number| Actor::new(number, &world, &drops, &senders))
            .collect();
        drop(senders);
        let actors = perform(&world, actors, plans, &cancels);

        prop_assert_eq!(arrived_at(&actors, &world), sent_by(&actors));
        prop_assert_eq!(
            drops.count(),
            actors.iter().map(|actor| actor.offered).sum::<usize>()
        );
    }
}
