//! Random schedules of operations on a semaphore, against a sequential model.
//!
//! After each step each thread is either done or in the queue, and the model says which threads
//! wait, and which have been served with what. In the end everything is cancelled, and no permit
//! may be missing.

use std::collections::{BTreeSet, VecDeque};

use crate::actors::{ACTORS, Stage, runs};
use crate::support::until;
use proptest::prelude::*;
use taskgroup::sync::{Permit, Semaphore};

#[derive(Clone, Debug)]
enum Step {
    Acquire { actor: usize, count: usize },
    Release { actor: usize },
    Forget { actor: usize },
    Cancel { actor: usize },
    Add { count: usize },
    Try { count: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let actor = 0..ACTORS;
    prop_oneof![
        4 => (actor.clone(), 1..=3_usize).prop_map(|(actor, count)| Step::Acquire { actor, count }),
        3 => actor.clone().prop_map(|actor| Step::Release { actor }),
        1 => actor.clone().prop_map(|actor| Step::Forget { actor }),
        2 => actor.prop_map(|actor| Step::Cancel { actor }),
        1 => (1..=2_usize).prop_map(|count| Step::Add { count }),
        1 => (1..=3_usize).prop_map(|count| Step::Try { count }),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Ended {
    Got(usize),
    Cancelled,
    /// The permits were put back or forgotten.
    Gone,
}

/// The sequential model of a semaphore.
struct Model {
    free: usize,
    all: usize,
    waiting: VecDeque<(usize, usize)>,
    held: [Option<usize>; ACTORS],
    ended: BTreeSet<(usize, Ended)>,
}

impl Model {
    fn settle(&mut self) {
        while let Some(&(actor, count)) = self
            .waiting
            .front()
            .filter(|(_, count)| *count <= self.free)
        {
            self.waiting.pop_front();
            self.free -= count;
            self.held[actor] = Some(count);
            self.ended.insert((actor, Ended::Got(count)));
        }
    }

    fn is_idle(&self, actor: usize) -> bool {
        self.held[actor].is_none() && self.waiting.iter().all(|(waiting, _)| *waiting != actor)
    }

    fn cancel(&mut self, actor: usize) {
        if let Some(at) = self
            .waiting
            .iter()
            .position(|(waiting, _)| *waiting == actor)
        {
            self.waiting.remove(at);
            self.ended.insert((actor, Ended::Cancelled));
        }
    }

    /// Does a step on the semaphore and on the model of it.
    fn step<'a>(
        &mut self,
        stage: &mut Stage<'a, Option<Permit<'a>>, Ended>,
        semaphore: &'a Semaphore,
        step: Step,
    ) {
        match step {
            Step::Acquire { actor, count } if self.is_idle(actor) => {
                stage.begin(actor, move |held| {
                    *held = semaphore.acquire_many(count).ok();
                    held.as_ref()
                        .map_or(Ended::Cancelled, |permit| Ended::Got(permit.count()))
                });
                self.waiting.push_back((actor, count));
            }
            Step::Acquire { .. } => {}
            Step::Release { actor } => {
                if let Some(count) = self.part(actor) {
                    stage.act(actor, |held| {
                        *held = None;
                        Ended::Gone
                    });
                    self.free += count;
                }
            }
            Step::Forget { actor } => {
                if let Some(count) = self.part(actor) {
                    stage.act(actor, |held| {
                        let permit = held.take();
                        permit
                            .expect("the model knows which threads have some")
                            .forget();
                        Ended::Gone
                    });
                    self.all -= count;
                }
            }
            Step::Cancel { actor } => {
                stage.cancel(actor);
                self.cancel(actor);
            }
            Step::Add { count } => {
                semaphore.add_permits(count);
                self.free += count;
                self.all += count;
            }
            Step::Try { count } => {
                let got = semaphore.try_acquire_many(count).is_some();
                assert_eq!(
                    got,
                    self.waiting.is_empty() && count <= self.free,
                    "try_acquire_many({count})"
                );
            }
        }
    }

    /// Takes the actor's permits from it and returns their number.
    fn part(&mut self, actor: usize) -> Option<usize> {
        let count = self.held[actor].take()?;
        self.ended.insert((actor, Ended::Gone));
        Some(count)
    }
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn a_semaphore_follows_its_model(steps in proptest::collection::vec(step(), 1..40)) {
        // Without permits at first, so that any request waits.
        let semaphore = Semaphore::new(0);
        semaphore.add_permits(3);
        let mut model = Model {
            free: 3,
            all: 3,
            waiting: VecDeque::new(),
            held: [None; ACTORS],
            ended: BTreeSet::new(),
        };
        Stage::run(
            || None::<Permit<'_>>,
            |stage| {
                for step in steps {
                    model.step(stage, &semaphore, step);
                    model.settle();
                    stage.expect(std::mem::take(&mut model.ended));
                    let (free, waiting) = (model.free, model.waiting.len());
                    let shown = format!(
                        "Semaphore {{ available: {free}, waiting: {waiting}, is_closed: false }}"
                    );
                    until(|| format!("{semaphore:?}") == shown);
                    stage.expect_no_more();
                }
            },
        );
        prop_assert_eq!(semaphore.available(), model.all);
        prop_assert!(semaphore.try_acquire_many(model.all).is_some());
    }
}
