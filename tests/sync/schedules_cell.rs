//! Random schedules of operations on a cell, against a sequential model.
//!
//! After each step each thread makes the value, waits for it, or has ended.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use crate::actors::{ACTORS, Stage, runs};
use crate::support::{LONG, until_waiting};
use proptest::prelude::*;
use taskgroup::Cancelled;
use taskgroup::sync::OnceCell;

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

/// The sequential model of a cell. Each step returns the reports that it leads to.
#[derive(Default)]
struct Attempts {
    value: Option<usize>,
    /// The actor that makes the value.
    maker: Option<usize>,
    waiting: VecDeque<usize>,
}

impl Attempts {
    fn is_idle(&self, actor: usize) -> bool {
        self.maker != Some(actor) && !self.waiting.contains(&actor)
    }

    fn get(&mut self, actor: usize) -> BTreeSet<(usize, Cell)> {
        match (self.value, self.maker) {
            (Some(value), _) => BTreeSet::from([(actor, Cell::Got(value))]),
            (None, None) => {
                self.maker = Some(actor);
                BTreeSet::from([(actor, Cell::Begins)])
            }
            (None, Some(_)) => {
                self.waiting.push_back(actor);
                BTreeSet::new()
            }
        }
    }

    /// The actor that makes the value is not interrupted.
    fn cancel(&mut self, actor: usize) -> BTreeSet<(usize, Cell)> {
        let at = self.waiting.iter().position(|waiting| *waiting == actor);
        let left = at.and_then(|at| self.waiting.remove(at));
        left.map(|actor| (actor, Cell::Cancelled))
            .into_iter()
            .collect()
    }

    /// The running attempt of `maker` has this outcome.
    fn decide(&mut self, maker: usize, outcome: OnCell) -> BTreeSet<(usize, Cell)> {
        let failed = match outcome {
            OnCell::Make => {
                self.value = Some(maker);
                let got = self.waiting.drain(..).chain([maker]);
                return got.map(|actor| (actor, Cell::Got(maker))).collect();
            }
            OnCell::Fail => Cell::Failed,
            _ => Cell::Panicked,
        };
        // The next one begins an attempt of its own.
        self.maker = self.waiting.pop_front();
        let next = self.maker.map(|next| (next, Cell::Begins));
        next.into_iter().chain([(maker, failed)]).collect()
    }

    /// Returns whether the cell takes the value.
    fn set(&mut self, value: usize) -> bool {
        let sets = self.maker.is_none() && self.value.is_none();
        if sets {
            self.value = Some(value);
        }
        sets
    }
}

/// Gets the value of the cell. An attempt to make it reports that it begins, and has the outcome
/// that the script decides.
fn get(
    cell: &OnceCell<usize>,
    actor: usize,
    begins: impl Fn(Cell),
    decided: &std::sync::Mutex<mpsc::Receiver<OnCell>>,
) -> Cell {
    let make = || {
        begins(Cell::Begins);
        // The lock guard is dropped here, so a panic below poisons nothing.
        let decision = decided.lock().unwrap().recv_timeout(LONG);
        match decision.expect("the script decides") {
            OnCell::Make => Ok(actor),
            OnCell::Fail => Err(NoValue::Failed),
            other => panic!("{other:?}"),
        }
    };
    match catch_unwind(AssertUnwindSafe(|| cell.get_or_try_init(make).copied())) {
        Ok(Ok(value)) => Cell::Got(value),
        Ok(Err(NoValue::Cancelled)) => Cell::Cancelled,
        Ok(Err(NoValue::Failed)) => Cell::Failed,
        Err(_) => Cell::Panicked,
    }
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn a_once_cell_follows_its_model(steps in proptest::collection::vec(on_cell(), 1..40)) {
        let cell = OnceCell::new();
        let mut model = Attempts::default();
        // The outcome of the running attempt.
        let (decide, decided) = mpsc::channel::<OnCell>();
        let decided = std::sync::Mutex::new(decided);
        Stage::run(
            || (),
            |stage| {
                for step in steps.into_iter().chain([OnCell::Make]) {
                    let expected = match step {
                        OnCell::Get { actor } if model.is_idle(actor) => {
                            let begins = stage.reporter(actor);
                            let (cell, decided) = (&cell, &decided);
                            stage.begin(actor, move |()| get(cell, actor, begins, decided));
                            model.get(actor)
                        }
                        OnCell::Get { .. } => BTreeSet::new(),
                        OnCell::Cancel { actor } => {
                            stage.cancel(actor);
                            model.cancel(actor)
                        }
                        OnCell::Make | OnCell::Fail | OnCell::Panic => {
                            model.maker.take().map_or_else(BTreeSet::new, |maker| {
                                decide.send(step).unwrap();
                                model.decide(maker, step)
                            })
                        }
                        OnCell::Set => {
                            assert_eq!(cell.set(ACTORS).is_ok(), model.set(ACTORS), "set");
                            BTreeSet::new()
                        }
                    };
                    stage.expect(expected);
                    until_waiting(&cell, model.waiting.len());
                    stage.expect_no_more();
                    assert_eq!(cell.get().copied(), model.value);
                }
            },
        );
    }
}
