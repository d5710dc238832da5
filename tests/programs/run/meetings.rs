//! Tasks that meet: at a barrier, in turns, over a promise. Each meeting is a scope of its own.
//!
//! One of the tasks may stay away with an error. It is then the primary failure, whatever the
//! others make of it, and the cancel of the step is no failure.

use super::*;

#[cfg(taskgroup_models)]
impl Frame {
    /// Without meetings, a sleep stands in for them.
    pub(super) fn meet(&self, _meeting: Meeting, _attendance: Attendance) -> Result {
        self.point("sleep(0)", || taskgroup::sleep(Duration::ZERO))
    }
}

#[cfg(not(taskgroup_models))]
mod of_threads {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use taskgroup::Backoff;

    /// The error of the task that stays away.
    #[derive(Debug, thiserror::Error)]
    #[error("one stays away")]
    struct Away;

    impl Frame {
        pub(in super::super) fn meet(&self, meeting: Meeting, attendance: Attendance) -> Result {
            let begin = self.now();
            let result = judge(meet(meeting, attendance), attendance);
            self.write_point(begin, "meeting", seen_of(&result), false);
            result
        }
    }

    /// Returns the cancel that has cut a meeting, and nothing for an error that must be there.
    fn judge(met: std::result::Result<(), GroupError>, attendance: Attendance) -> Result {
        let error = match (met, attendance) {
            (Ok(()), Attendance::All) => return Ok(()),
            (Ok(()), Attendance::OneIsAway) => differs("a meeting without one of its tasks"),
            (Err(error), _) => error,
        };
        match error.primary() {
            None => Err(error.into()),
            Some(primary) => {
                let is_away = match primary.kind() {
                    FailureKind::Error(error) => error.is::<Away>(),
                    _ => false,
                };
                if attendance == Attendance::All || !is_away {
                    differs(&format!("the primary failure of a meeting: {error:?}"));
                }
                Ok(())
            }
        }
    }

    fn differs(why: &str) -> ! {
        // A panic would be contained, and could be taken for one of the program.
        println!("differs {}", why.replace('\n', " | "));
        std::process::exit(1);
    }

    fn meet(meeting: Meeting, attendance: Attendance) -> std::result::Result<(), GroupError> {
        let comes = move || match attendance {
            Attendance::All => Ok(()),
            Attendance::OneIsAway => Err(Away),
        };
        match meeting {
            Meeting::Barrier => at_a_barrier(comes),
            Meeting::Turns => in_turns(comes),
            Meeting::Promise => over_a_promise(comes),
            Meeting::WaitGroup => over_a_wait_group(comes),
            Meeting::Latch => over_a_latch(comes),
            Meeting::Retries => after_retries(comes),
        }
    }

    type Met = std::result::Result<(), GroupError>;

    fn at_a_barrier(comes: impl Fn() -> std::result::Result<(), Away> + Sync) -> Met {
        let (barrier, leaders) = (Barrier::new(3), AtomicU32::new(0));
        let meet = || {
            for _ in 0..2 {
                leaders.fetch_add(u32::from(barrier.wait()?), Ordering::Relaxed);
            }
            Ok(())
        };
        TaskGroup::scope(|g| {
            g.spawn(|| {
                comes()?;
                meet()
            });
            g.spawn(meet);
            meet()
        })?;
        if leaders.into_inner() != 2 {
            differs("a barrier has one leader each time");
        }
        Ok(())
    }

    fn in_turns(comes: impl Fn() -> std::result::Result<(), Away> + Sync) -> Met {
        const TURNS: u32 = 6;
        let (turn, taken) = (Mutex::new(0), Condvar::new());
        let take = |own: u32| {
            let mut turn = turn.lock()?;
            loop {
                taken.wait_while(&mut turn, |turn| *turn < TURNS && *turn % 2 != own)?;
                if *turn >= TURNS {
                    return Ok(());
                }
                *turn += 1;
                taken.notify_all();
            }
        };
        TaskGroup::scope(|g| {
            g.spawn(|| {
                comes()?;
                take(0)
            });
            g.spawn(move || take(1));
            Ok(())
        })?;
        if turn.into_inner() != TURNS {
            differs("a turn is lost");
        }
        Ok(())
    }

    fn over_a_promise(comes: impl Fn() -> std::result::Result<(), Away> + Sync) -> Met {
        let (there, back) = (Promise::new(), Promise::new());
        TaskGroup::scope(|g| {
            g.spawn(|| {
                comes()?;
                let _ = there.set(7);
                Ok(())
            });
            g.spawn(|| {
                let _ = back.set(there.wait()? + 1);
                Ok(())
            });
            if *back.wait()? != 8 {
                differs("another value has come");
            }
            Ok(())
        })
    }

    fn over_a_wait_group(comes: impl Fn() -> std::result::Result<(), Away> + Sync) -> Met {
        let ended = AtomicU32::new(0);
        TaskGroup::scope(|g| {
            let work = WaitGroup::new();
            for _ in 0..2 {
                let (piece, ended, comes) = (work.clone(), &ended, &comes);
                g.task().with(piece).spawn(move |_: &mut WaitGroup| {
                    comes()?;
                    ended.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                });
            }
            work.wait()?;
            if ended.load(Ordering::Relaxed) != 2 {
                differs("a wait group let a thread through too early");
            }
            Ok(())
        })
    }

    fn over_a_latch(comes: impl Fn() -> std::result::Result<(), Away> + Sync) -> Met {
        let latch = Latch::new(2);
        TaskGroup::scope(|g| {
            g.spawn(|| {
                comes()?;
                latch.count_down();
                Ok(latch.wait()?)
            });
            g.spawn(|| {
                latch.count_down();
                Ok(latch.wait()?)
            });
            Ok(latch.wait()?)
        })
    }

    fn after_retries(comes: impl Fn() -> std::result::Result<(), Away> + Sync) -> Met {
        TaskGroup::scope(|g| {
            g.spawn(|| {
                let policy = Backoff::exponential(Duration::ZERO).attempts(3);
                taskgroup::retry(policy, |attempt| {
                    anyhow::ensure!(attempt.is_last(), Away);
                    Ok(comes()?)
                })
            });
            Ok(())
        })
    }
}
