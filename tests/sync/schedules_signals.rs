//! Random schedules of operations on events, latches, promises, barriers and cells, against a
//! sequential model.
//!
//! After each step each thread is either done or waits, and as many wait as the model says.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use crate::actors::{ACTORS, Stage, runs};
use crate::support::{LONG, until_waiting};
use proptest::prelude::*;
use taskgroup::Cancelled;
use taskgroup::sync::{Barrier, BarrierError, Event, Latch, OnceCell, Promise};

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

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn a_barrier_follows_its_model(
        size in 1..=ACTORS,
        steps in proptest::collection::vec(on_barrier(), 1..40),
    ) {
        let barrier = Barrier::new(size);
        let (mut waiting, mut broken) = (BTreeSet::new(), false);
        Stage::run(
            || (),
            |stage| {
                for step in steps {
                    let mut expected = BTreeSet::new();
                    match step {
                        OnBarrier::Wait { actor } if !waiting.contains(&actor) => {
                            stage.begin(actor, |()| match barrier.wait() {
                                Ok(true) => Passed::Leader,
                                Ok(false) => Passed::Follower,
                                Err(BarrierError::Cancelled(_)) => Passed::Cancelled,
                                Err(_) => Passed::Broken,
                            });
                            if broken {
                                expected.insert((actor, Passed::Broken));
                            } else if waiting.len() + 1 == size {
                                expected.insert((actor, Passed::Leader));
                                expected.extend(
                                    std::mem::take(&mut waiting)
                                        .into_iter()
                                        .map(|actor| (actor, Passed::Follower)),
                                );
                            } else {
                                waiting.insert(actor);
                            }
                        }
                        OnBarrier::Cancel { actor } => {
                            stage.cancel(actor);
                            if waiting.remove(&actor) {
                                broken = true;
                                expected.insert((actor, Passed::Cancelled));
                                expected.extend(
                                    std::mem::take(&mut waiting)
                                        .into_iter()
                                        .map(|actor| (actor, Passed::Broken)),
                                );
                            }
                        }
                        OnBarrier::Reset => {
                            barrier.reset();
                            broken = false;
                            expected.extend(
                                std::mem::take(&mut waiting)
                                    .into_iter()
                                    .map(|actor| (actor, Passed::Broken)),
                            );
                        }
                        OnBarrier::Wait { .. } => {}
                    }
                    stage.expect(expected);
                    until_waiting(&barrier, waiting.len());
                    stage.expect_no_more();
                    assert_eq!(barrier.is_broken(), broken);
                }
            },
        );
        until_waiting(&barrier, 0);
    }
}

#[derive(Clone, Copy, Debug)]
enum OnCell {
    Get { actor: usize },
    Cancel { actor: usize },
    Make,
    Fail,
    Panic,
    Set,
}

fn on_cell() -> impl Strategy<Value = OnCell> {
    let actor = 0..ACTORS;
    prop_oneof![
        8 => actor.clone().prop_map(|actor| OnCell::Get { actor }),
        4 => actor.prop_map(|actor| OnCell::Cancel { actor }),
        1 => Just(OnCell::Make),
        3 => Just(OnCell::Fail),
        1 => Just(OnCell::Panic),
        1 => Just(OnCell::Set),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Cell {
    Begins,
    Got(usize),
    Cancelled,
    Failed,
    Panicked,
}

/// The reason why there is no value.
enum NoValue {
    Cancelled,
    Failed,
}

impl From<Cancelled> for NoValue {
    fn from(_: Cancelled) -> Self {
        NoValue::Cancelled
    }
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn a_once_cell_follows_its_model(steps in proptest::collection::vec(on_cell(), 1..40)) {
        let cell = OnceCell::new();
        let mut value = None;
        let mut maker: Option<usize> = None;
        let mut waiting = VecDeque::new();
        // The outcome of the running attempt.
        let (decide, decided) = mpsc::channel::<OnCell>();
        let decided = std::sync::Mutex::new(decided);
        Stage::run(
            || (),
            |stage| {
                for step in steps.into_iter().chain([OnCell::Make]) {
                    let mut expected = BTreeSet::new();
                    match step {
                        OnCell::Get { actor }
                            if maker != Some(actor) && !waiting.contains(&actor) =>
                        {
                            let begins = stage.reporter(actor);
                            let (cell, decided) = (&cell, &decided);
                            stage.begin(actor, move |()| {
                                let make = || {
                                    begins(Cell::Begins);
                                    // The lock guard is dropped here, so a panic below poisons
                                    // nothing.
                                    let decision = decided.lock().unwrap().recv_timeout(LONG);
                                    match decision.expect("the script decides") {
                                        OnCell::Make => Ok(actor),
                                        OnCell::Fail => Err(NoValue::Failed),
                                        other => panic!("{other:?}"),
                                    }
                                };
                                match catch_unwind(AssertUnwindSafe(|| {
                                    cell.get_or_try_init(make).copied()
                                })) {
                                    Ok(Ok(value)) => Cell::Got(value),
                                    Ok(Err(NoValue::Cancelled)) => Cell::Cancelled,
                                    Ok(Err(NoValue::Failed)) => Cell::Failed,
                                    Err(_) => Cell::Panicked,
                                }
                            });
                            match (value, maker) {
                                (Some(value), _) => {
                                    expected.insert((actor, Cell::Got(value)));
                                }
                                (None, None) => {
                                    maker = Some(actor);
                                    expected.insert((actor, Cell::Begins));
                                }
                                (None, Some(_)) => waiting.push_back(actor),
                            }
                        }
                        OnCell::Cancel { actor } => {
                            // The actor that makes the value is not interrupted.
                            stage.cancel(actor);
                            if let Some(at) = waiting.iter().position(|waiting| *waiting == actor) {
                                waiting.remove(at);
                                expected.insert((actor, Cell::Cancelled));
                            }
                        }
                        OnCell::Make | OnCell::Fail | OnCell::Panic => {
                            if let Some(actor) = maker.take() {
                                decide.send(step).unwrap();
                                match step {
                                    OnCell::Make => {
                                        value = Some(actor);
                                        expected.insert((actor, Cell::Got(actor)));
                                        expected.extend(
                                            waiting
                                                .drain(..)
                                                .map(|waiting| (waiting, Cell::Got(actor))),
                                        );
                                    }
                                    failed => {
                                        let failed = if matches!(failed, OnCell::Fail) {
                                            Cell::Failed
                                        } else {
                                            Cell::Panicked
                                        };
                                        expected.insert((actor, failed));
                                        maker = waiting.pop_front();
                                        expected.extend(maker.map(|next| (next, Cell::Begins)));
                                    }
                                }
                            }
                        }
                        OnCell::Set => {
                            let sets = maker.is_none() && value.is_none();
                            assert_eq!(cell.set(ACTORS).is_ok(), sets, "set");
                            value = if sets { Some(ACTORS) } else { value };
                        }
                        OnCell::Get { .. } => {}
                    }
                    stage.expect(expected);
                    until_waiting(&cell, waiting.len());
                    stage.expect_no_more();
                    assert_eq!(cell.get().copied(), value);
                }
            },
        );
    }
}
