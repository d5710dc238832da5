//! Random schedules of operations on events, latches, promises and barriers, against a
//! sequential model.
//!
//! After each step each thread is either done or waits, and as many wait as the model says.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::actors::{ACTORS, Stage, runs};
use crate::support::until_waiting;
use proptest::prelude::*;
use taskgroup::Cancelled;
use taskgroup::sync::{Barrier, BarrierError, Event, Latch, Promise};

#[derive(Clone, Copy, Debug)]
enum OnSignal {
    Wait { actor: usize },
    Cancel { actor: usize },
    Give,
    TakeBack,
}

fn on_signal() -> impl Strategy<Value = OnSignal> {
    let actor = 0..ACTORS;
    prop_oneof![
        5 => actor.clone().prop_map(|actor| OnSignal::Wait { actor }),
        3 => actor.prop_map(|actor| OnSignal::Cancel { actor }),
        1 => Just(OnSignal::Give),
        1 => Just(OnSignal::TakeBack),
    ]
}

/// A primitive that all threads wait for at once.
trait Signal: Debug + Sync {
    fn wait(&self) -> Result<(), Cancelled>;
    fn give(&self);
    /// Returns `false` if it cannot be taken back.
    fn take_back(&self) -> bool;
}

impl Signal for Event {
    fn wait(&self) -> Result<(), Cancelled> {
        Event::wait(self)
    }

    fn give(&self) {
        self.set();
    }

    fn take_back(&self) -> bool {
        self.reset();
        true
    }
}

impl Signal for Latch {
    fn wait(&self) -> Result<(), Cancelled> {
        Latch::wait(self)
    }

    fn give(&self) {
        self.count_down();
    }

    fn take_back(&self) -> bool {
        false
    }
}

impl Signal for Promise<&'static str> {
    fn wait(&self) -> Result<(), Cancelled> {
        Promise::wait(self).map(|value| assert_eq!(*value, "first"))
    }

    fn give(&self) {
        let value = if self.is_set() { "later" } else { "first" };
        assert_eq!(self.set(value).is_err(), value == "later");
    }

    fn take_back(&self) -> bool {
        false
    }
}

/// Compares `signal` with the model. It is set once it has been given `left` times.
fn follows_its_model(signal: &impl Signal, mut left: usize, steps: Vec<OnSignal>) {
    let mut waiting: BTreeSet<usize> = BTreeSet::new();
    Stage::run(
        || (),
        |stage| {
            for step in steps {
                let mut expected = BTreeSet::new();
                match step {
                    OnSignal::Wait { actor } if !waiting.contains(&actor) => {
                        stage.begin(actor, |()| signal.wait().is_ok());
                        if left == 0 {
                            expected.insert((actor, true));
                        } else {
                            waiting.insert(actor);
                        }
                    }
                    OnSignal::Cancel { actor } => {
                        stage.cancel(actor);
                        expected.extend(waiting.take(&actor).map(|actor| (actor, false)));
                    }
                    OnSignal::Give => {
                        signal.give();
                        left = left.saturating_sub(1);
                        if left == 0 {
                            expected.extend(
                                std::mem::take(&mut waiting)
                                    .into_iter()
                                    .map(|actor| (actor, true)),
                            );
                        }
                    }
                    OnSignal::TakeBack => left = if signal.take_back() { 1 } else { left },
                    OnSignal::Wait { .. } => {}
                }
                stage.expect(expected);
                until_waiting(signal, waiting.len());
                stage.expect_no_more();
            }
        },
    );
    until_waiting(signal, 0);
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn an_event_follows_its_model(steps in proptest::collection::vec(on_signal(), 1..40)) {
        follows_its_model(&Event::new(), 1, steps);
    }

    #[test]
    fn a_latch_follows_its_model(
        count in 0..4_usize,
        steps in proptest::collection::vec(on_signal(), 1..40),
    ) {
        follows_its_model(&Latch::new(count), count, steps);
    }

    #[test]
    fn a_promise_follows_its_model(steps in proptest::collection::vec(on_signal(), 1..40)) {
        follows_its_model(&Promise::new(), 1, steps);
    }
}

#[derive(Clone, Copy, Debug)]
enum OnBarrier {
    Wait { actor: usize },
    Cancel { actor: usize },
    Reset,
}

fn on_barrier() -> impl Strategy<Value = OnBarrier> {
    let actor = 0..ACTORS;
    prop_oneof![
        6 => actor.clone().prop_map(|actor| OnBarrier::Wait { actor }),
        1 => actor.prop_map(|actor| OnBarrier::Cancel { actor }),
        1 => Just(OnBarrier::Reset),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Passed {
    Leader,
    Follower,
    Cancelled,
    Broken,
}

/// The sequential model of a barrier. Each step returns the threads that it lets go.
struct Round {
    size: usize,
    waiting: BTreeSet<usize>,
    broken: bool,
}

impl Round {
    fn wait(&mut self, actor: usize) -> BTreeSet<(usize, Passed)> {
        if self.broken {
            BTreeSet::from([(actor, Passed::Broken)])
        } else if self.waiting.len() + 1 == self.size {
            let mut passed = self.release(Passed::Follower);
            passed.insert((actor, Passed::Leader));
            passed
        } else {
            self.waiting.insert(actor);
            BTreeSet::new()
        }
    }

    fn cancel(&mut self, actor: usize) -> BTreeSet<(usize, Passed)> {
        if !self.waiting.remove(&actor) {
            return BTreeSet::new();
        }
        self.broken = true;
        let mut passed = self.release(Passed::Broken);
        passed.insert((actor, Passed::Cancelled));
        passed
    }

    fn reset(&mut self) -> BTreeSet<(usize, Passed)> {
        self.broken = false;
        self.release(Passed::Broken)
    }

    fn release(&mut self, passed: Passed) -> BTreeSet<(usize, Passed)> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().map(|actor| (actor, passed)).collect()
    }
}

fn pass(barrier: &Barrier) -> Passed {
    match barrier.wait() {
        Ok(true) => Passed::Leader,
        Ok(false) => Passed::Follower,
        Err(BarrierError::Cancelled(_)) => Passed::Cancelled,
        Err(_) => Passed::Broken,
    }
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn a_barrier_follows_its_model(
        size in 1..=ACTORS,
        steps in proptest::collection::vec(on_barrier(), 1..40),
    ) {
        let barrier = Barrier::new(size);
        let mut model = Round {
            size,
            waiting: BTreeSet::new(),
            broken: false,
        };
        Stage::run(
            || (),
            |stage| {
                for step in steps {
                    let expected = match step {
                        OnBarrier::Wait { actor } if !model.waiting.contains(&actor) => {
                            stage.begin(actor, |()| pass(&barrier));
                            model.wait(actor)
                        }
                        OnBarrier::Wait { .. } => BTreeSet::new(),
                        OnBarrier::Cancel { actor } => {
                            stage.cancel(actor);
                            model.cancel(actor)
                        }
                        OnBarrier::Reset => {
                            barrier.reset();
                            model.reset()
                        }
                    };
                    stage.expect(expected);
                    until_waiting(&barrier, model.waiting.len());
                    stage.expect_no_more();
                    assert_eq!(barrier.is_broken(), model.broken);
                }
            },
        );
        until_waiting(&barrier, 0);
    }
}
