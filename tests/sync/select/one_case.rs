//! A select on one thread has the effect of one ready case, in the model of its channels.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use taskgroup::channel::{Disconnected, Receiver, Select, Sender, bounded};

use crate::channels::is_deserted;

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

/// Three channels, and a sequential model of each.
struct Channels {
    capacities: [usize; 3],
    senders: Vec<Option<Sender<usize>>>,
    receivers: Vec<Receiver<usize>>,
    model: [VecDeque<usize>; 3],
}

impl Channels {
    fn new(capacities: [usize; 3]) -> Channels {
        let (senders, receivers) = capacities
            .iter()
            .map(|&capacity| bounded(capacity))
            .map(|(sender, receiver)| (Some(sender), receiver))
            .unzip();
        Channels {
            capacities,
            senders,
            receivers,
            model: [(); 3].map(|()| VecDeque::new()),
        }
    }

    /// Does a step on the channels and on the model of them.
    fn step(&mut self, next: usize, step: Step) {
        match step {
            Step::Send { channel } => {
                if let Some(sender) = &self.senders[channel] {
                    let fits = self.model[channel].len() < self.capacities[channel];
                    assert_eq!(sender.try_send(next).is_ok(), fits);
                    self.model[channel].extend(fits.then_some(next));
                }
            }
            Step::Receive { channel } => assert_eq!(
                self.receivers[channel].try_recv().ok(),
                self.model[channel].pop_front()
            ),
            Step::Close { channel } => drop(self.senders.get_mut(channel).and_then(Option::take)),
            Step::Select { cases } => {
                let done = self.select(next, &cases);
                self.compare(next, &cases, done);
            }
        }
        assert!(self.receivers.iter().all(is_deserted));
    }

    /// Selects, and returns the index of the case that was done, with what it received.
    fn select(&self, next: usize, cases: &[(usize, bool)]) -> Done {
        let mut messages = vec![Some(next); cases.len()];
        let mut select = Select::new();
        for ((index, &(channel, sends)), message) in cases.iter().enumerate().zip(&mut messages) {
            match (&self.senders[channel], sends) {
                (Some(sender), true) => {
                    select.send(sender, message, move |sent| (index, sent.map(|()| None)));
                }
                _ => {
                    let receiver = &self.receivers[channel];
                    select.recv(receiver, move |received| (index, received.map(Some)));
                }
            }
        }
        let done = match next % 2 {
            0 => select.try_select().unwrap(),
            _ => select.select_timeout(Duration::ZERO).unwrap(),
        };
        drop(select);

        let is_sent = |index: usize| matches!(done, Some((chosen, Ok(None))) if chosen == index);
        let mut messages = messages.iter().enumerate();
        assert!(messages.all(|(index, message)| message.is_none() == is_sent(index)));
        done
    }

    /// Whether a case is ready.
    fn is_ready(&self, (channel, sends): (usize, bool)) -> bool {
        match &self.senders[channel] {
            Some(_) if sends => self.model[channel].len() < self.capacities[channel],
            sender => sender.is_none() || !self.model[channel].is_empty(),
        }
    }

    /// Does the case of a select on the model.
    fn compare(&mut self, next: usize, cases: &[(usize, bool)], done: Done) {
        match done {
            None => assert!(!cases.iter().any(|case| self.is_ready(*case))),
            Some((chosen, Ok(None))) => {
                assert!(self.is_ready(cases[chosen]));
                self.model[cases[chosen].0].push_back(next);
            }
            Some((chosen, Ok(Some(message)))) => {
                assert_eq!(Some(message), self.model[cases[chosen].0].pop_front());
            }
            Some((chosen, Err(_))) => {
                let channel = cases[chosen].0;
                assert!(self.senders[channel].is_none() && self.model[channel].is_empty());
            }
        }
    }
}

/// The case that a select has done: it sent its message, received one, or found the channel ended.
type Done = Option<(usize, Result<Option<usize>, Disconnected>)>;

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
        let mut channels = Channels::new(capacities);
        for (next, step) in steps.into_iter().enumerate() {
            channels.step(next, step);
        }
        for (receiver, model) in channels.receivers.iter().zip(channels.model) {
            prop_assert_eq!(
                std::iter::from_fn(|| receiver.try_recv().ok()).collect::<Vec<_>>(),
                Vec::from(model)
            );
        }
    }
}
