//! A thread of a schedule: it does the steps of its plan, and keeps a record.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use taskgroup::CancelToken;
use taskgroup::channel::{Disconnected, Receiver, RecvError, Select, SendError, Sender};

use super::{CHANNELS, Patience, Step, Way};
use crate::actors::ACTORS;
use crate::support::{Counted, Drops};

pub(super) struct Message {
    pub(super) sender: usize,
    /// Counts the offers of its sender, over all channels.
    pub(super) number: usize,
    #[allow(dead_code, reason = "for its drop")]
    counted: Counted,
}

/// The state that all threads share.
pub(super) struct World {
    pub(super) receivers: Vec<Receiver<Message>>,
    capacities: [usize; CHANNELS],
    /// The number of senders of each channel, counted down before a drop.
    senders: [AtomicUsize; CHANNELS],
    pub(super) root: CancelToken,
    pub(super) tokens: [Mutex<CancelToken>; ACTORS],
    /// Whether each thread is in a step that ends by a step of another one.
    waits: [AtomicBool; ACTORS],
    pub(super) ended: AtomicUsize,
}

impl World {
    pub(super) fn new(receivers: Vec<Receiver<Message>>, capacities: [usize; CHANNELS]) -> World {
        let root = CancelToken::new();
        World {
            receivers,
            capacities,
            senders: [(); CHANNELS].map(|()| AtomicUsize::new(ACTORS)),
            tokens: [(); ACTORS].map(|()| Mutex::new(root.child())),
            root,
            waits: Default::default(),
            ended: AtomicUsize::new(0),
        }
    }

    /// Whether all threads that have not ended wait, and none of them for something that is there.
    pub(super) fn is_at_rest(&self) -> bool {
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
pub(super) struct Actor<'a> {
    pub(super) number: usize,
    world: &'a World,
    drops: &'a Drops,
    senders: Vec<Option<Sender<Message>>>,
    pub(super) offered: usize,
    pub(super) sent: Vec<(usize, usize)>,
    /// Channel, sender, number.
    pub(super) received: Vec<(usize, usize, usize)>,
    pub(super) saw_end_of: BTreeSet<usize>,
}

impl<'a> Actor<'a> {
    pub(super) fn new(
        number: usize,
        world: &'a World,
        drops: &'a Drops,
        senders: &[Sender<Message>],
    ) -> Actor<'a> {
        Actor {
            number,
            world,
            drops,
            senders: senders.iter().cloned().map(Some).collect(),
            offered: 0,
            sent: Vec::new(),
            received: Vec::new(),
            saw_end_of: BTreeSet::new(),
        }
    }

    fn offer(&mut self) -> Message {
        self.offered += 1;
        Message {
            sender: self.number,
            number: self.offered,
            counted: self.drops.counted(),
        }
    }

    pub(super) fn run(mut self, plan: Vec<Step>) -> Self {
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
