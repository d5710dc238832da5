//! Random schedules of operations on locks, against a sequential model.
//!
//! After each step each thread is either done or in the queue of the primitive. Guards are dropped
//! in scopes that may have been cancelled. In the end no thread may be left waiting, and the lock
//! must be free.

use std::collections::{BTreeSet, VecDeque};

use crate::actors::{ACTORS, Stage, runs};
use crate::support::until_waiting;
use proptest::prelude::*;
use taskgroup::sync::{Mutex, MutexGuard, ReadGuard, RwLock, WriteGuard};

#[derive(Clone, Copy, Debug)]
enum OnLock {
    Read { actor: usize },
    Write { actor: usize },
    Release { actor: usize },
    Cancel { actor: usize },
    TryRead,
    TryWrite,
}

fn on_lock() -> impl Strategy<Value = OnLock> {
    let actor = 0..ACTORS;
    prop_oneof![
        3 => actor.clone().prop_map(|actor| OnLock::Read { actor }),
        3 => actor.clone().prop_map(|actor| OnLock::Write { actor }),
        4 => actor.clone().prop_map(|actor| OnLock::Release { actor }),
        3 => actor.prop_map(|actor| OnLock::Cancel { actor }),
        1 => Just(OnLock::TryRead),
        1 => Just(OnLock::TryWrite),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Ended {
    Locked,
    Cancelled,
    Released,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    Read,
    Write,
}

/// The sequential model of a lock.
#[derive(Default)]
struct Line {
    holders: Vec<(usize, Access)>,
    waiting: VecDeque<(usize, Access)>,
    ended: BTreeSet<(usize, Ended)>,
    writes: usize,
}

impl Line {
    fn admits(&self, access: Access) -> bool {
        match access {
            Access::Read => self.holders.iter().all(|(_, held)| *held == Access::Read),
            Access::Write => self.holders.is_empty(),
        }
    }

    fn settle(&mut self) {
        while let Some(&(actor, access)) = self
            .waiting
            .front()
            .filter(|(_, access)| self.admits(*access))
        {
            self.waiting.pop_front();
            self.holders.push((actor, access));
            self.writes += usize::from(access == Access::Write);
            self.ended.insert((actor, Ended::Locked));
        }
    }

    fn is_idle(&self, actor: usize) -> bool {
        self.holders
            .iter()
            .chain(&self.waiting)
            .all(|(other, _)| *other != actor)
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

    /// Cancels all waits that are left.
    fn end<S>(&self, stage: &Stage<'_, S, Ended>) {
        for (actor, _) in &self.waiting {
            stage.cancel(*actor);
        }
    }

    /// Does a step on a read-write lock and on the model of it.
    fn step<'a>(
        &mut self,
        stage: &mut Stage<'a, Held<'a>, Ended>,
        lock: &'a RwLock<usize>,
        step: OnLock,
    ) {
        match step {
            OnLock::Read { actor } if self.is_idle(actor) => {
                stage.begin(actor, |held| match lock.read() {
                    Ok(guard) => {
                        *held = Held::Reading(guard);
                        Ended::Locked
                    }
                    Err(_) => Ended::Cancelled,
                });
                self.waiting.push_back((actor, Access::Read));
            }
            OnLock::Write { actor } if self.is_idle(actor) => {
                stage.begin(actor, |held| match lock.write() {
                    Ok(mut guard) => {
                        *guard += 1;
                        *held = Held::Writing(guard);
                        Ended::Locked
                    }
                    Err(_) => Ended::Cancelled,
                });
                self.waiting.push_back((actor, Access::Write));
            }
            OnLock::Read { .. } | OnLock::Write { .. } => {}
            OnLock::Release { actor } => {
                if self.release(actor) {
                    stage.act(actor, |held| {
                        *held = Held::Nothing;
                        Ended::Released
                    });
                }
            }
            OnLock::Cancel { actor } => {
                stage.cancel(actor);
                self.cancel(actor);
            }
            // A waiting writer does not keep the reader out.
            OnLock::TryRead => {
                let got = lock.try_read().is_some();
                assert_eq!(got, self.admits(Access::Read), "try_read");
            }
            OnLock::TryWrite => {
                let got = lock.try_write().is_some();
                assert_eq!(got, self.admits(Access::Write), "try_write");
            }
        }
    }

    fn release(&mut self, actor: usize) -> bool {
        let at = self.holders.iter().position(|(holder, _)| *holder == actor);
        if let Some(at) = at {
            self.holders.swap_remove(at);
            self.ended.insert((actor, Ended::Released));
        }
        at.is_some()
    }
}

/// A guard, kept for its drop.
enum Held<'a> {
    Nothing,
    Reading(#[allow(dead_code, reason = "kept for its drop")] ReadGuard<'a, usize>),
    Writing(#[allow(dead_code, reason = "kept for its drop")] WriteGuard<'a, usize>),
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn a_mutex_follows_its_model(steps in proptest::collection::vec(on_lock(), 1..40)) {
        let mutex = Mutex::new(0_usize);
        let mut model = Line::default();
        Stage::run(
            || None::<MutexGuard<'_, usize>>,
            |stage| {
                for step in steps {
                    match step {
                        OnLock::Read { actor } | OnLock::Write { actor }
                            if model.is_idle(actor) =>
                        {
                            stage.begin(actor, |held| {
                                *held = mutex.lock().ok();
                                held.as_deref_mut().map_or(Ended::Cancelled, |writes| {
                                    *writes += 1;
                                    Ended::Locked
                                })
                            });
                            model.waiting.push_back((actor, Access::Write));
                        }
                        OnLock::Release { actor } => {
                            if model.release(actor) {
                                stage.act(actor, |held| {
                                    *held = None;
                                    Ended::Released
                                });
                            }
                        }
                        OnLock::Cancel { actor } => {
                            stage.cancel(actor);
                            model.cancel(actor);
                        }
                        OnLock::TryRead | OnLock::TryWrite => {
                            assert_eq!(
                                mutex.try_lock().is_some(),
                                model.admits(Access::Write),
                                "try_lock"
                            );
                        }
                        OnLock::Read { .. } | OnLock::Write { .. } => {}
                    }
                    model.settle();
                    stage.expect(std::mem::take(&mut model.ended));
                    until_waiting(&mutex, model.waiting.len());
                    stage.expect_no_more();
                }
                model.end(stage);
                until_waiting(&mutex, 0);
            },
        );
        prop_assert_eq!(mutex.try_lock().map(|writes| *writes), Some(model.writes));
    }

    #[test]
    fn a_read_write_lock_follows_its_model(steps in proptest::collection::vec(on_lock(), 1..40)) {
        let lock = RwLock::new(0_usize);
        let mut model = Line::default();
        Stage::run(
            || Held::Nothing,
            |stage| {
                for step in steps {
                    model.step(stage, &lock, step);
                    model.settle();
                    stage.expect(std::mem::take(&mut model.ended));
                    until_waiting(&lock, model.waiting.len());
                    stage.expect_no_more();
                }
                model.end(stage);
                until_waiting(&lock, 0);
            },
        );
        prop_assert_eq!(lock.try_write().map(|writes| *writes), Some(model.writes));
    }
}
