//! Random schedules of operations on a condition variable, against a sequential model.
//!
//! After each step each thread waits for the condition, locks the mutex again, or has ended. In the
//! end no thread may be left waiting, and the mutex must be free.

use std::collections::{BTreeSet, VecDeque};

use crate::actors::{ACTORS, Stage, runs};
use crate::support::until_waiting;
use proptest::prelude::*;
use taskgroup::sync::{Condvar, Mutex, MutexGuard};

#[derive(Clone, Copy, Debug)]
enum OnCondvar {
    Wait { actor: usize },
    Cancel { actor: usize },
    NotifyOne,
    NotifyAll,
    Hold,
    LetGo,
}

fn on_condvar() -> impl Strategy<Value = OnCondvar> {
    let actor = 0..ACTORS;
    prop_oneof![
        5 => actor.clone().prop_map(|actor| OnCondvar::Wait { actor }),
        2 => actor.prop_map(|actor| OnCondvar::Cancel { actor }),
        2 => Just(OnCondvar::NotifyOne),
        1 => Just(OnCondvar::NotifyAll),
        1 => Just(OnCondvar::Hold),
        2 => Just(OnCondvar::LetGo),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Woken {
    Notified,
    Cancelled,
}

/// The sequential model of a condition variable, and of its mutex while the script has that.
#[derive(Default)]
struct Waits {
    waiting: VecDeque<usize>,
    /// They no longer wait for the condition, and lock the mutex again.
    locking: BTreeSet<(usize, Woken)>,
    ends: usize,
}

impl Waits {
    /// Does a step on the condition variable and on the model of it.
    fn step<'a>(
        &mut self,
        stage: &mut Stage<'a, (), Woken>,
        (mutex, condvar): (&'a Mutex<usize>, &'a Condvar),
        held: &mut Option<MutexGuard<'a, usize>>,
        step: OnCondvar,
    ) {
        match step {
            OnCondvar::Wait { actor } if held.is_none() && !self.waiting.contains(&actor) => {
                stage.begin(actor, |()| {
                    let mut guard = mutex.lock().expect("it is not cancelled yet");
                    let woken = condvar.wait(&mut guard);
                    // The waiter holds the mutex again, however the wait ended.
                    *guard += 1;
                    woken.map_or(Woken::Cancelled, |()| Woken::Notified)
                });
                self.waiting.push_back(actor);
            }
            OnCondvar::Wait { .. } => {}
            OnCondvar::Cancel { actor } => {
                stage.cancel(actor);
                if let Some(at) = self.waiting.iter().position(|waiting| *waiting == actor) {
                    self.waiting.remove(at);
                    self.locking.insert((actor, Woken::Cancelled));
                }
            }
            OnCondvar::NotifyOne => {
                condvar.notify_one();
                let woken = self.waiting.pop_front();
                self.locking
                    .extend(woken.map(|actor| (actor, Woken::Notified)));
            }
            OnCondvar::NotifyAll => {
                condvar.notify_all();
                let woken = self.waiting.drain(..);
                self.locking
                    .extend(woken.map(|actor| (actor, Woken::Notified)));
            }
            OnCondvar::Hold => {
                if held.is_none() {
                    *held = mutex.try_lock();
                    assert!(held.is_some(), "a thread kept the mutex");
                }
            }
            OnCondvar::LetGo => *held = None,
        }
    }

    /// Waits until the threads are where the model has them.
    fn compare(
        &mut self,
        stage: &Stage<'_, (), Woken>,
        (mutex, condvar): (&Mutex<usize>, &Condvar),
        is_held: bool,
    ) {
        if is_held {
            until_waiting(mutex, self.locking.len());
        } else {
            self.expect_locked(stage);
        }
        until_waiting(condvar, self.waiting.len());
        if !is_held {
            // An actor that has just begun to wait has unlocked the mutex.
            drop(mutex.lock_uncancellable());
        }
        stage.expect_no_more();
    }

    /// The mutex is free, so each thread that locks it again has ended.
    fn expect_locked(&mut self, stage: &Stage<'_, (), Woken>) {
        self.ends += self.locking.len();
        stage.expect(std::mem::take(&mut self.locking));
    }

    /// Cancels all waits that are left.
    fn end(&mut self, stage: &Stage<'_, (), Woken>) {
        self.expect_locked(stage);
        self.ends += self.waiting.len();
        self.waiting.iter().for_each(|actor| stage.cancel(*actor));
        let cancelled = self
            .waiting
            .drain(..)
            .map(|actor| (actor, Woken::Cancelled));
        stage.expect(cancelled.collect());
    }
}

proptest! {
    #![proptest_config(runs())]

    /// The script holds the mutex now and then, so that threads that were notified are cancelled
    /// while they lock it again.
    #[test]
    fn a_condvar_follows_its_model(steps in proptest::collection::vec(on_condvar(), 1..40)) {
        let (mutex, condvar) = (Mutex::new(0_usize), Condvar::new());
        let mut model = Waits::default();
        Stage::run(
            || (),
            |stage| {
                let (both, mut held) = ((&mutex, &condvar), None);
                for step in steps {
                    model.step(stage, both, &mut held, step);
                    model.compare(stage, both, held.is_some());
                }
                drop(held);
                model.end(stage);
            },
        );
        until_waiting(&condvar, 0);
        prop_assert_eq!(mutex.try_lock().map(|count| *count), Some(model.ends));
    }
}
