//! Random schedules of operations on a channel, against a sequential model.
//!
//! The ends are dropped in any order, in scopes that may have been cancelled. No message is lost or
//! received twice, and no thread is left waiting for an end that has gone.

use std::collections::{BTreeSet, VecDeque};

use crate::actors::{ACTORS, Stage, runs};
use crate::support::{Counted, Drops, until};
use proptest::prelude::*;
use taskgroup::channel::{self, Receiver, RecvError, SendError, Sender};

#[derive(Clone, Copy, Debug)]
enum Step {
    Send { actor: usize },
    Receive { actor: usize },
    Cancel { actor: usize },
    DropSender { actor: usize },
    DropReceiver { actor: usize },
    TrySend,
    TryReceive,
}

fn step() -> impl Strategy<Value = Step> {
    let actor = 0..ACTORS;
    prop_oneof![
        6 => actor.clone().prop_map(|actor| Step::Send { actor }),
        6 => actor.clone().prop_map(|actor| Step::Receive { actor }),
        2 => actor.clone().prop_map(|actor| Step::Cancel { actor }),
        1 => actor.clone().prop_map(|actor| Step::DropSender { actor }),
        1 => actor.prop_map(|actor| Step::DropReceiver { actor }),
        1 => Just(Step::TrySend),
        1 => Just(Step::TryReceive),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Ended {
    Sent,
    Received(usize),
    GivenBack(usize),
    Unreceivable(usize),
    NotReceived,
    NothingComes,
    Dropped,
}

/// A message that counts its drop.
struct Message(usize, #[allow(dead_code, reason = "for its drop")] Counted);

/// The ends that an actor holds.
type Ends = (Option<Sender<Message>>, Option<Receiver<Message>>);

/// The sequential model of a channel and its ends.
struct Model {
    capacity: usize,
    buffer: VecDeque<usize>,
    sending: VecDeque<(usize, usize)>,
    receiving: VecDeque<usize>,
    has: [(bool, bool); ACTORS],
    /// The ends that the script keeps to inspect the channel.
    keeps: Keeps,
    ended: BTreeSet<(usize, Ended)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keeps {
    Sender,
    Receiver,
    Both,
}

impl Model {
    fn new(capacity: usize, keeps: Keeps) -> Model {
        Model {
            capacity,
            buffer: VecDeque::new(),
            sending: VecDeque::new(),
            receiving: VecDeque::new(),
            has: [(true, true); ACTORS],
            keeps,
            ended: BTreeSet::new(),
        }
    }

    fn any_sender(&self) -> bool {
        self.keeps != Keeps::Receiver || self.has.iter().any(|(sender, _)| *sender)
    }

    fn any_receiver(&self) -> bool {
        self.keeps != Keeps::Sender || self.has.iter().any(|(_, receiver)| *receiver)
    }

    fn is_idle(&self, actor: usize) -> bool {
        !self.receiving.contains(&actor)
            && self.sending.iter().all(|(sending, _)| *sending != actor)
    }

    /// Takes the message that is received next.
    fn take(&mut self) -> Option<usize> {
        self.buffer.pop_front().or_else(|| {
            let (actor, message) = self.sending.pop_front()?;
            self.ended.insert((actor, Ended::Sent));
            Some(message)
        })
    }

    fn settle(&mut self) {
        loop {
            while self.buffer.len() < self.capacity
                && !self.sending.is_empty()
                && self.any_receiver()
            {
                if let Some((actor, message)) = self.sending.pop_front() {
                    self.buffer.push_back(message);
                    self.ended.insert((actor, Ended::Sent));
                }
            }
            if self.receiving.is_empty() {
                break;
            }
            let Some(message) = self.take() else { break };
            if let Some(actor) = self.receiving.pop_front() {
                self.ended.insert((actor, Ended::Received(message)));
            }
        }
        if !self.any_receiver() {
            self.ended.extend(
                self.sending
                    .drain(..)
                    .map(|(actor, message)| (actor, Ended::Unreceivable(message))),
            );
        }
        if !self.any_sender() {
            self.ended.extend(
                self.receiving
                    .drain(..)
                    .map(|actor| (actor, Ended::NothingComes)),
            );
        }
    }

    fn cancel(&mut self, actor: usize) {
        if let Some(at) = self
            .sending
            .iter()
            .position(|(sending, _)| *sending == actor)
        {
            let message = self.sending.remove(at).map(|(_, message)| message);
            self.ended
                .extend(message.map(|message| (actor, Ended::GivenBack(message))));
        }
        if let Some(at) = self
            .receiving
            .iter()
            .position(|receiving| *receiving == actor)
        {
            self.receiving.remove(at);
            self.ended.insert((actor, Ended::NotReceived));
        }
    }
}

fn send(ends: &Ends, message: Message) -> Ended {
    match ends
        .0
        .as_ref()
        .expect("the model knows which thread has which")
        .send(message)
    {
        Ok(()) => Ended::Sent,
        Err(SendError::Cancelled(message, _)) => Ended::GivenBack(message.0),
        Err(other) => Ended::Unreceivable(other.into_inner().0),
    }
}

fn receive(ends: &Ends) -> Ended {
    match ends
        .1
        .as_ref()
        .expect("the model knows which thread has which")
        .recv()
    {
        Ok(message) => Ended::Received(message.0),
        Err(RecvError::Cancelled(_)) => Ended::NotReceived,
        Err(_) => Ended::NothingComes,
    }
}

/// The channel of one schedule: the ends that the script keeps, and the messages that were made.
struct Script<'a> {
    kept: Ends,
    drops: &'a Drops,
    made: usize,
}

impl Script<'_> {
    fn message(&mut self) -> Message {
        let message = Message(self.made, self.drops.counted());
        self.made += 1;
        message
    }

    /// Does a step on the channel and on the model of it.
    fn step<'a>(&mut self, stage: &mut Stage<'a, Ends, Ended>, model: &mut Model, step: Step) {
        match step {
            Step::Send { actor } if model.has[actor].0 && model.is_idle(actor) => {
                model.sending.push_back((actor, self.made));
                let message = self.message();
                stage.begin(actor, move |ends| send(ends, message));
            }
            Step::Receive { actor } if model.has[actor].1 && model.is_idle(actor) => {
                stage.begin(actor, |ends| receive(ends));
                model.receiving.push_back(actor);
            }
            Step::Cancel { actor } => {
                stage.cancel(actor);
                model.cancel(actor);
            }
            Step::DropSender { actor } if model.has[actor].0 && model.is_idle(actor) => {
                stage.act(actor, |ends| {
                    ends.0 = None;
                    Ended::Dropped
                });
                model.has[actor].0 = false;
                model.ended.insert((actor, Ended::Dropped));
            }
            Step::DropReceiver { actor } if model.has[actor].1 && model.is_idle(actor) => {
                stage.act(actor, |ends| {
                    ends.1 = None;
                    Ended::Dropped
                });
                model.has[actor].1 = false;
                model.ended.insert((actor, Ended::Dropped));
            }
            Step::TrySend => self.try_send(model),
            Step::TryReceive => self.try_receive(model),
            _ => {}
        }
    }

    fn try_send(&mut self, model: &mut Model) {
        if self.kept.0.is_none() {
            return;
        }
        let fits = model.any_receiver()
            && (model.buffer.len() < model.capacity || !model.receiving.is_empty());
        let (number, message) = (self.made, self.message());
        let sender = self.kept.0.as_ref();
        let sent = sender.map(|sender| sender.try_send(message).is_ok());
        assert_eq!(sent, Some(fits), "try_send");
        if fits {
            model.buffer.push_back(number);
        }
    }

    fn try_receive(&self, model: &mut Model) {
        if let Some(receiver) = &self.kept.1 {
            let received = receiver.try_recv().ok().map(|message| message.0);
            assert_eq!(received, model.take(), "try_recv");
        }
    }

    /// Waits until the channel and the threads are where the model has them.
    fn compare(&self, stage: &Stage<'_, Ends, Ended>, model: &mut Model) {
        model.settle();
        if !model.any_receiver() {
            model.buffer.clear();
        }
        stage.expect(std::mem::take(&mut model.ended));

        let (sending, receiving) = (model.sending.len(), model.receiving.len());
        let blocked = format!("sending: {sending}, receiving: {receiving} ");
        let len = format!("len: {},", model.buffer.len());
        until(|| {
            let shown = match &self.kept {
                (Some(sender), _) => format!("{sender:?}"),
                (None, receiver) => format!("{receiver:?}"),
            };
            shown.contains(&blocked) && shown.contains(&len)
        });
        stage.expect_no_more();

        let here = model.buffer.len() + model.sending.len();
        until(|| self.drops.count() == self.made - here);
    }

    /// The numbers of the messages that are left in the channel.
    fn left(&self) -> Vec<usize> {
        let receiver = self.kept.1.iter();
        receiver
            .flat_map(|receiver| std::iter::from_fn(|| receiver.try_recv().ok()))
            .map(|message| message.0)
            .collect()
    }
}

fn channel_of(capacity: usize) -> (Sender<Message>, Receiver<Message>) {
    if capacity == usize::MAX {
        channel::unbounded()
    } else {
        channel::bounded(capacity)
    }
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn ends_that_go_in_any_order_lose_nothing(
        capacity in prop_oneof![Just(0_usize), Just(1), Just(2), Just(usize::MAX)],
        keeps in prop_oneof![Just(Keeps::Sender), Just(Keeps::Receiver), Just(Keeps::Both)],
        steps in proptest::collection::vec(step(), 1..50),
    ) {
        let drops = Drops::default();
        let (sender, receiver) = channel_of(capacity);
        let ends =
            std::sync::Mutex::new(vec![(Some(sender.clone()), Some(receiver.clone())); ACTORS]);
        let mut model = Model::new(capacity, keeps);
        let mut script = Script {
            kept: (
                (keeps != Keeps::Receiver).then_some(sender),
                (keeps != Keeps::Sender).then_some(receiver),
            ),
            drops: &drops,
            made: 0,
        };

        let make = || -> Ends { ends.lock().unwrap().pop().expect("one for each actor") };
        Stage::run(make, |stage| {
            until(|| ends.lock().unwrap().is_empty());
            for step in steps {
                script.step(stage, &mut model, step);
                script.compare(stage, &mut model);
            }
        });

        let (left, made) = (script.left(), script.made);
        if keeps != Keeps::Sender {
            prop_assert_eq!(left, Vec::from(model.buffer));
        }
        drop(script);
        prop_assert_eq!(drops.count(), made);
    }
}
