//! Random schedules of operations on a semaphore and on channels, against a sequential model.
//!
//! A few actors, each a thread with a token, do one operation at a time. After each step everybody is either done or in the
//! queue of the primitive, which is then compared with the model: who waits, who has been served and with what. In the end
//! everything is cancelled, and nothing may be missing.

mod support;

use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc;

use proptest::prelude::*;
use support::until;
use taskgroup::channel::{self, RecvError, SendError};
use taskgroup::sync::{Permit, Semaphore};
use taskgroup::CancelToken;

const ACTORS: usize = 4;

fn runs() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() }
}

/// What an actor is told to do.
type Command<'a, S> = Box<dyn FnOnce(&mut S) + Send + 'a>;

/// Runs `script` with actors, each with a state of its own made from `make`.
fn with_actors<'env, S: 'env>(make: impl Fn() -> S + Sync, script: impl FnOnce(&[mpsc::Sender<Command<'env, S>>])) {
    std::thread::scope(|threads| {
        let actors: Vec<_> = (0..ACTORS)
            .map(|_| {
                let (tell, told) = mpsc::channel::<Command<'env, S>>();
                let make = &make;
                threads.spawn(move || {
                    let mut state = make();
                    for command in told {
                        command(&mut state);
                    }
                });
                tell
            })
            .collect();
        script(&actors);
    });
}

#[derive(Clone, Debug)]
enum OnSemaphore {
    Acquire { actor: usize, count: usize },
    Release { actor: usize },
    Forget { actor: usize },
    Cancel { actor: usize },
    Add { count: usize },
    Try { count: usize },
}

fn on_semaphore() -> impl Strategy<Value = OnSemaphore> {
    let actor = 0..ACTORS;
    prop_oneof![
        4 => (actor.clone(), 1..=3_usize).prop_map(|(actor, count)| OnSemaphore::Acquire { actor, count }),
        3 => actor.clone().prop_map(|actor| OnSemaphore::Release { actor }),
        1 => actor.clone().prop_map(|actor| OnSemaphore::Forget { actor }),
        2 => actor.prop_map(|actor| OnSemaphore::Cancel { actor }),
        1 => (1..=2_usize).prop_map(|count| OnSemaphore::Add { count }),
        1 => (1..=3_usize).prop_map(|count| OnSemaphore::Try { count }),
    ]
}

/// What a semaphore is, one step at a time.
struct Permits {
    free: usize,
    all: usize,
    waiting: VecDeque<(usize, usize)>,
    held: [Option<usize>; ACTORS],
}

impl Permits {
    fn serve(&mut self) {
        while let Some(&(actor, count)) = self.waiting.front() {
            if count > self.free {
                return;
            }
            self.waiting.pop_front();
            self.free -= count;
            self.held[actor] = Some(count);
        }
    }

    fn is_idle(&self, actor: usize) -> bool {
        self.held[actor].is_none() && self.waiting.iter().all(|(waiting, _)| *waiting != actor)
    }
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn a_semaphore_does_as_its_model(steps in proptest::collection::vec(on_semaphore(), 1..40)) {
        // Made with none, so that any request is waited for.
        let semaphore = Semaphore::new(0);
        semaphore.add_permits(3);
        let mut model = Permits { free: 3, all: 3, waiting: VecDeque::new(), held: [None; ACTORS] };
        // What each actor reports: the permits it got, or none for a cancel.
        let (report, reports) = mpsc::channel::<(usize, Option<usize>)>();
        let mut tokens = vec![CancelToken::new(); ACTORS];
        with_actors(|| None::<Permit<'_>>, |actors| {
            for step in steps {
                let before = model.held;
                let mut cancelled = None;
                match step {
                    OnSemaphore::Acquire { actor, count } if model.is_idle(actor) => {
                        tokens[actor] = CancelToken::new();
                        let (semaphore, token, report) = (&semaphore, tokens[actor].clone(), report.clone());
                        actors[actor].send(Box::new(move |held| {
                            *held = token.run(|| semaphore.acquire_many(count).ok());
                            report.send((actor, held.as_ref().map(Permit::count))).unwrap();
                        })).unwrap();
                        model.waiting.push_back((actor, count));
                    }
                    OnSemaphore::Release { actor } => if let Some(count) = model.held[actor].take() {
                        // In its own scope, which may be cancelled.
                        let token = tokens[actor].clone();
                        actors[actor].send(Box::new(move |held| token.run(|| *held = None))).unwrap();
                        model.free += count;
                    },
                    OnSemaphore::Forget { actor } => if let Some(count) = model.held[actor].take() {
                        actors[actor].send(Box::new(|held| held.take().unwrap().forget())).unwrap();
                        model.all -= count;
                    },
                    OnSemaphore::Cancel { actor } => {
                        tokens[actor].cancel();
                        if let Some(at) = model.waiting.iter().position(|(waiting, _)| *waiting == actor) {
                            model.waiting.remove(at);
                            cancelled = Some(actor);
                        }
                    }
                    OnSemaphore::Add { count } => {
                        semaphore.add_permits(count);
                        model.free += count;
                        model.all += count;
                    }
                    OnSemaphore::Try { count } => {
                        let got = semaphore.try_acquire_many(count).is_some();
                        assert_eq!(got, model.waiting.is_empty() && count <= model.free, "try_acquire_many({count})");
                    }
                    OnSemaphore::Acquire { .. } => {}
                }
                model.serve();
                until(|| {
                    let shown = format!("Semaphore {{ available: {}, waiting: {} }}", model.free, model.waiting.len());
                    format!("{semaphore:?}") == shown
                });
                let mut expected: BTreeSet<_> = cancelled.map(|actor| (actor, None)).into_iter().collect();
                for (actor, (before, held)) in before.iter().zip(&model.held).enumerate() {
                    if before.is_none() && held.is_some() {
                        expected.insert((actor, *held));
                    }
                }
                let reported: BTreeSet<_> = expected.iter().map(|_| reports.recv_timeout(support::LONG).unwrap()).collect();
                assert_eq!(reported, expected);
            }
            for token in &tokens {
                token.cancel();
            }
            for actor in actors {
                actor.send(Box::new(|held| *held = None)).unwrap();
            }
        });
        prop_assert_eq!(semaphore.available(), model.all);
        prop_assert!(semaphore.try_acquire_many(model.all).is_some());
    }
}

#[derive(Clone, Debug)]
enum OnChannel {
    Send { actor: usize },
    Receive { actor: usize },
    Cancel { actor: usize },
    TrySend,
    TryReceive,
    Leave { actor: usize },
}

fn on_channel() -> impl Strategy<Value = OnChannel> {
    let actor = 0..ACTORS;
    prop_oneof![
        4 => actor.clone().prop_map(|actor| OnChannel::Send { actor }),
        4 => actor.clone().prop_map(|actor| OnChannel::Receive { actor }),
        2 => actor.clone().prop_map(|actor| OnChannel::Cancel { actor }),
        1 => Just(OnChannel::TrySend),
        1 => Just(OnChannel::TryReceive),
        1 => actor.prop_map(|actor| OnChannel::Leave { actor }),
    ]
}

/// How an operation on a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Sent,
    Received(usize),
    GivenBack(usize),
    NotReceived,
}

/// What a channel is, one step at a time. The script keeps an end of each kind, so it is never disconnected.
struct Messages {
    capacity: usize,
    buffer: VecDeque<usize>,
    sending: VecDeque<(usize, usize)>,
    receiving: VecDeque<usize>,
    ended: BTreeSet<(usize, Ended)>,
}

impl Messages {
    /// Lets everybody on who can go on.
    fn settle(&mut self) {
        loop {
            while self.buffer.len() < self.capacity && !self.sending.is_empty() {
                if let Some((actor, message)) = self.sending.pop_front() {
                    self.buffer.push_back(message);
                    self.ended.insert((actor, Ended::Sent));
                }
            }
            if self.receiving.is_empty() {
                return;
            }
            let message = match (self.buffer.pop_front(), self.sending.front()) {
                (Some(message), _) => message,
                (None, Some(&(actor, message))) => {
                    self.sending.pop_front();
                    self.ended.insert((actor, Ended::Sent));
                    message
                }
                (None, None) => return,
            };
            if let Some(actor) = self.receiving.pop_front() {
                self.ended.insert((actor, Ended::Received(message)));
            }
        }
    }

    fn is_idle(&self, actor: usize) -> bool {
        !self.receiving.contains(&actor) && self.sending.iter().all(|(sending, _)| *sending != actor)
    }
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn a_channel_does_as_its_model(
        capacity in prop_oneof![Just(0_usize), Just(1), Just(3), Just(usize::MAX)],
        steps in proptest::collection::vec(on_channel(), 1..40),
    ) {
        let (sender, receiver) = channel::bounded(capacity);
        let mut model = Messages {
            capacity,
            buffer: VecDeque::new(),
            sending: VecDeque::new(),
            receiving: VecDeque::new(),
            ended: BTreeSet::new(),
        };
        let (report, reports) = mpsc::channel::<(usize, Ended)>();
        let mut tokens = vec![CancelToken::new(); ACTORS];
        let mut next = 0;
        with_actors(|| Some((sender.clone(), receiver.clone())), |actors| {
            for step in steps {
                match step {
                    OnChannel::Send { actor } if model.is_idle(actor) => {
                        tokens[actor] = CancelToken::new();
                        let (token, report, message) = (tokens[actor].clone(), report.clone(), next);
                        let spare = (sender.clone(), receiver.clone());
                        next += 1;
                        actors[actor].send(Box::new(move |ends| {
                            let (sender, _) = ends.get_or_insert(spare);
                            let ended = match token.run(|| sender.send(message)) {
                                Ok(()) => Ended::Sent,
                                Err(SendError::Cancelled(message, _)) => Ended::GivenBack(message),
                                Err(other) => panic!("{other}"),
                            };
                            report.send((actor, ended)).unwrap();
                        })).unwrap();
                        model.sending.push_back((actor, message));
                    }
                    OnChannel::Receive { actor } if model.is_idle(actor) => {
                        tokens[actor] = CancelToken::new();
                        let (token, report) = (tokens[actor].clone(), report.clone());
                        let spare = (sender.clone(), receiver.clone());
                        actors[actor].send(Box::new(move |ends| {
                            let (_, receiver) = ends.get_or_insert(spare);
                            let ended = match token.run(|| receiver.recv()) {
                                Ok(message) => Ended::Received(message),
                                Err(RecvError::Cancelled(_)) => Ended::NotReceived,
                                Err(other) => panic!("{other}"),
                            };
                            report.send((actor, ended)).unwrap();
                        })).unwrap();
                        model.receiving.push_back(actor);
                    }
                    OnChannel::Cancel { actor } => {
                        tokens[actor].cancel();
                        if let Some(at) = model.sending.iter().position(|(sending, _)| *sending == actor) {
                            let message = model.sending.remove(at).map(|(_, message)| message);
                            model.ended.extend(message.map(|message| (actor, Ended::GivenBack(message))));
                        }
                        if let Some(at) = model.receiving.iter().position(|receiving| *receiving == actor) {
                            model.receiving.remove(at);
                            model.ended.insert((actor, Ended::NotReceived));
                        }
                    }
                    OnChannel::TrySend => {
                        let fits = model.buffer.len() < capacity || !model.receiving.is_empty();
                        assert_eq!(sender.try_send(next).is_ok(), fits, "try_send");
                        if fits {
                            match model.receiving.pop_front() {
                                Some(actor) => drop(model.ended.insert((actor, Ended::Received(next)))),
                                None => model.buffer.push_back(next),
                            }
                        }
                        next += 1;
                    }
                    OnChannel::TryReceive => {
                        let front = model.buffer.pop_front();
                        let front = front.or_else(|| {
                            let (actor, message) = model.sending.pop_front()?;
                            model.ended.insert((actor, Ended::Sent));
                            Some(message)
                        });
                        assert_eq!(receiver.try_recv().ok(), front, "try_recv");
                    }
                    OnChannel::Leave { actor } if model.is_idle(actor) => {
                        let token = tokens[actor].clone();
                        actors[actor].send(Box::new(move |ends| token.run(|| *ends = None))).unwrap();
                    }
                    OnChannel::Send { .. } | OnChannel::Receive { .. } | OnChannel::Leave { .. } => {}
                }
                model.settle();
                let blocked = format!("sending: {}, receiving: {} ", model.sending.len(), model.receiving.len());
                until(|| receiver.len() == model.buffer.len() && format!("{receiver:?}").contains(&blocked));
                let expected = std::mem::take(&mut model.ended);
                let reported: BTreeSet<_> = expected.iter().map(|_| reports.recv_timeout(support::LONG).unwrap()).collect();
                assert_eq!(reported, expected);
            }
            for token in &tokens {
                token.cancel();
            }
        });
        let left: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        prop_assert_eq!(left, Vec::from(model.buffer));
    }
}
