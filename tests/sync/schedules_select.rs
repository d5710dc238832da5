//! Threads that select, send and receive at once, each by a random plan, and cancels in between.
//!
//! What each select does depends on the others, so there is no sequential model. These rules hold
//! in any order: Each message that was sent is received once or left in its channel, and the
//! messages of one sender come in order. A message that was not sent is where it was. An end is
//! reported when the last sender has gone and no message is left. No thread sleeps beside an
//! operation that it could do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::actors::{ACTORS, runs};
use crate::support::{Counted, Drops, until, watch};
use proptest::prelude::*;
use taskgroup::CancelToken;
use taskgroup::channel::{Disconnected, Receiver, RecvError, Select, SendError, Sender, bounded};

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

struct Message {
    sender: usize,
    /// Counts the offers of its sender, over all channels.
    number: usize,
    #[allow(dead_code, reason = "for its drop")]
    counted: Counted,
}

/// The state that all threads share.
struct World {
    receivers: Vec<Receiver<Message>>,
    capacities: [usize; CHANNELS],
    /// The number of senders of each channel, counted down before a drop.
    senders: [AtomicUsize; CHANNELS],
    root: CancelToken,
    tokens: [Mutex<CancelToken>; ACTORS],
    /// Whether each thread is in a step that ends by a step of another one.
    waits: [AtomicBool; ACTORS],
    ended: AtomicUsize,
}

impl World {
    /// Whether all threads that have not ended wait, and none of them for something that is there.
    fn is_at_rest(&self) -> bool {
        let waiting = self
            .waits
            .iter()
            .filter(|waits| waits.load(Ordering::SeqCst))
            .count();
        let sleeps_beside = |(receiver, &capacity): (&Receiver<Message>, &usize)| {
            let shown = format!("{receiver:?}");
            let field = |name: &str| -> usize {
                let rest = shown
                    .split(&format!("{name}: "))
                    .nth(1)
                    .expect("Debug names it");
                rest.chars()
                    .take_while(char::is_ascii_digit)
                    .collect::<String>()
                    .parse()
                    .expect("a number")
            };
            let (len, sending, receiving) = (field("len"), field("sending"), field("receiving"));
            receiving > 0 && (len > 0 || sending > 0 || field("senders") == 0)
                || sending > 0 && len < capacity
        };
        self.ended.load(Ordering::SeqCst) + waiting >= ACTORS
            && !self
                .receivers
                .iter()
                .zip(&self.capacities)
                .any(sleeps_beside)
    }
}

/// One thread and its record.
struct Actor<'a> {
    number: usize,
    world: &'a World,
    drops: &'a Drops,
    senders: Vec<Option<Sender<Message>>>,
    offered: usize,
    sent: Vec<(usize, usize)>,
    /// Channel, sender, number.
    received: Vec<(usize, usize, usize)>,
    saw_end_of: BTreeSet<usize>,
}

impl Actor<'_> {
    fn offer(&mut self) -> Message {
        self.offered += 1;
        Message {
            sender: self.number,
            number: self.offered,
            counted: self.drops.counted(),
        }
    }

    fn run(mut self, plan: Vec<Step>) -> Self {
        struct Ended<'a>(&'a AtomicUsize);
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let _ended = Ended(&self.world.ended);
        for step in plan {
            let token = self.world.root.child();
            *self.world.tokens[self.number].lock().unwrap() = token.clone();
            match step {
                Step::Select { cases, patience } => token.run(|| self.select(&cases, patience)),
                Step::Plain { channel, way } => token.run(|| self.plain(channel, way)),
                Step::Close { channel } => self.close(channel),
            }
            self.waits(false);
        }
        (0..CHANNELS).for_each(|channel| self.close(channel));
        self
    }

    fn waits(&self, waits: bool) {
        self.world.waits[self.number].store(waits, Ordering::SeqCst);
    }

    fn close(&mut self, channel: usize) {
        if let Some(sender) = self.senders[channel].take() {
            self.world.senders[channel].fetch_sub(1, Ordering::SeqCst);
            drop(sender);
        }
    }

    fn note_received(&mut self, channel: usize, received: Result<Message, Disconnected>) {
        match received {
            Ok(message) => self
                .received
                .push((channel, message.sender, message.number)),
            Err(_) => {
                assert_eq!(
                    self.world.senders[channel].load(Ordering::SeqCst),
                    0,
                    "the disconnect came before the senders were dropped"
                );
                self.saw_end_of.insert(channel);
            }
        }
    }

    fn select(&mut self, cases: &[(usize, Way)], patience: Patience) {
        let world = self.world;
        let mut messages: Vec<_> = cases.iter().map(|_| Some(self.offer())).collect();
        let numbers: Vec<_> = messages
            .iter()
            .flatten()
            .map(|message| message.number)
            .collect();
        let mut select = Select::new();
        let mut added = 0;
        for ((index, &(channel, way)), message) in cases.iter().enumerate().zip(&mut messages) {
            match (way, &self.senders[channel]) {
                (Way::Receive, _) => {
                    select.recv(&world.receivers[channel], move |got| (index, got.map(Some)));
                }
                (Way::Send, Some(sender)) => {
                    select.send(sender, message, move |sent| (index, sent.map(|()| None)));
                }
                (Way::Send, None) => continue,
            }
            added += 1;
        }
        if added == 0 {
            return;
        }
        let done = match patience {
            Patience::Try => select.try_select().unwrap_or(None),
            Patience::Briefly => select
                .select_timeout(Duration::from_micros(50))
                .unwrap_or(None),
            Patience::UntilCancelled => {
                self.waits(true);
                select.select().ok()
            }
        };
        drop(select);
        for (index, (message, number)) in messages.iter().zip(&numbers).enumerate() {
            let is_sent = matches!(done, Some((chosen, Ok(None))) if chosen == index);
            let left = message
                .as_ref()
                .map(|message| (message.sender, message.number));
            assert_eq!(
                left,
                (!is_sent).then_some((self.number, *number)),
                "a message is sent or stays with its sender"
            );
        }
        match done {
            None => {}
            Some((chosen, Ok(None))) => self.sent.push((cases[chosen].0, numbers[chosen])),
            Some((chosen, Ok(Some(message)))) => self.note_received(cases[chosen].0, Ok(message)),
            Some((chosen, Err(disconnected))) => {
                assert_eq!(cases[chosen].1, Way::Receive, "there are receivers");
                self.note_received(cases[chosen].0, Err(disconnected));
            }
        }
    }

    fn plain(&mut self, channel: usize, way: Way) {
        match way {
            Way::Receive => {
                self.waits(true);
                match self.world.receivers[channel].recv() {
                    Ok(message) => self.note_received(channel, Ok(message)),
                    Err(RecvError::Disconnected(disconnected)) => {
                        self.note_received(channel, Err(disconnected))
                    }
                    Err(RecvError::Cancelled(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            Way::Send => {
                let message = self.offer();
                let Some(sender) = &self.senders[channel] else {
                    return;
                };
                self.waits(true);
                match sender.send(message) {
                    Ok(()) => self.sent.push((channel, self.offered)),
                    Err(SendError::Cancelled(back, _)) => {
                        assert_eq!((back.sender, back.number), (self.number, self.offered))
                    }
                    Err(other) => panic!("there are receivers: {other}"),
                }
            }
        }
    }
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
                prop_oneof![(0..20_usize).prop_map(Before::Turns), Just(Before::Rest)],
            ),
            1..20,
        ),
    ) {
        let _watch = watch();
        let (senders, receivers): (Vec<_>, Vec<_>) =
            capacities.iter().map(|&capacity| bounded(capacity)).unzip();
        let root = CancelToken::new();
        let world = World {
            receivers,
            capacities,
            senders: [(); CHANNELS].map(|()| AtomicUsize::new(ACTORS)),
            tokens: [(); ACTORS].map(|()| Mutex::new(root.child())),
            root,
            waits: Default::default(),
            ended: AtomicUsize::new(0),
        };
        let drops = Drops::default();
        let actors: Vec<_> = (0..ACTORS)
            .map(|number| Actor {
                number,
                world: &world,
                drops: &drops,
                senders: senders.iter().cloned().map(Some).collect(),
                offered: 0,
                sent: Vec::new(),
                received: Vec::new(),
                saw_end_of: BTreeSet::new(),
            })
            .collect();
        drop(senders);
        let actors: Vec<_> = std::thread::scope(|threads| {
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
        });

        // By channel and sender: the messages that were sent, in order, and the last that arrived.
        let mut sent: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        let mut arrived: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for actor in &actors {
            for &(channel, number) in &actor.sent {
                sent.entry((channel, actor.number))
                    .or_default()
                    .push(number);
            }
            let mut last = BTreeMap::new();
            for &(channel, sender, number) in &actor.received {
                let before = last.insert((channel, sender), number);
                prop_assert!(before.is_none_or(|before| before < number), "out of order");
                arrived.entry((channel, sender)).or_default().push(number);
            }
        }
        arrived
            .values_mut()
            .for_each(|numbers| numbers.sort_unstable());
        for (channel, receiver) in world.receivers.iter().enumerate() {
            let ended = actors
                .iter()
                .any(|actor| actor.saw_end_of.contains(&channel));
            prop_assert!(
                !ended || receiver.is_empty(),
                "the disconnect came before a message"
            );
            while let Ok(message) = receiver.try_recv() {
                // After all received messages: the two are compared in this order.
                arrived
                    .entry((channel, message.sender))
                    .or_default()
                    .push(message.number);
            }
            let shown = format!("{receiver:?}");
            prop_assert!(
                shown.contains("senders: 0, receivers: 1, sending: 0, receiving: 0 "),
                "{}",
                shown
            );
        }
        prop_assert_eq!(arrived, sent);
        prop_assert_eq!(
            drops.count(),
            actors.iter().map(|actor| actor.offered).sum::<usize>()
        );
    }
}
