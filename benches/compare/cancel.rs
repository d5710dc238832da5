//! The time from the cancel of sleeping tasks to the end of their scope.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use taskgroup::TaskGroup;

use crate::process::until_threads_exit;
use crate::report::{Place, Report, Title};
use crate::sampling::{Contestant, Effort, Goal, micros};

pub(crate) fn cancel(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    for (n, rounds) in [(1, 61), (10, 61), (100, 31), (1_000, 15)] {
        let contestants = vec![
            Contestant::new("taskgroup", move || taskgroup(n)),
            Contestant::new("by hand: flag, unpark, join", move || {
                until_threads_exit(|| by_hand(n, Until::Joined))
            })
            .goal(Goal::Ratio(1.0)),
            Contestant::new("by hand: flag, unpark, end scope", move || {
                until_threads_exit(|| by_hand(n, Until::ScopeEnds))
            })
            .goal(Goal::Ratio(1.0)),
        ];
        let case = format!("{n} sleeping, cancel to end of scope");
        let place = Place {
            plot: "From the cancel of sleeping tasks to the end of their scope",
            n,
        };
        report.table_at(
            place,
            &Title {
                row: "cancel",
                case: &case,
                unit: "us",
            },
            contestants,
            effort.rounds(rounds),
        )?;
    }
    Ok(())
}

fn taskgroup(n: usize) -> anyhow::Result<f64> {
    let asleep = AtomicUsize::new(0);
    let mut cancelled = None;
    TaskGroup::scope(|g| {
        for _ in 0..n {
            g.spawn(|| {
                asleep.fetch_add(1, Ordering::Relaxed);
                taskgroup::sleep(Duration::from_secs(60))?;
                Ok(())
            });
        }
        settle(&asleep, n);
        cancelled = Some(Instant::now());
        g.cancel();
        Ok(())
    })?;
    Ok(micros(cancelled.context("the body has not run")?.elapsed()))
}

/// How the hand-written contestants wait for their threads.
#[derive(Clone, Copy)]
enum Until {
    /// Until each thread has been joined, which waits for its end in the system.
    Joined,
    /// Until the scope has returned, which waits for the closures alone.
    ScopeEnds,
}

fn by_hand(n: usize, until: Until) -> anyhow::Result<f64> {
    let asleep = AtomicUsize::new(0);
    let flag = AtomicBool::new(false);
    let cancelled = thread::scope(|s| {
        let handles: Vec<_> = (0..n)
            .map(|_| {
                s.spawn(|| {
                    asleep.fetch_add(1, Ordering::Relaxed);
                    while !flag.load(Ordering::Relaxed) {
                        thread::park();
                    }
                })
            })
            .collect();
        settle(&asleep, n);
        let cancelled = Instant::now();
        flag.store(true, Ordering::Relaxed);
        for handle in &handles {
            handle.thread().unpark();
        }
        if let Until::Joined = until {
            for handle in handles {
                handle.join().expect("the task does not panic");
            }
        }
        cancelled
    });
    Ok(micros(cancelled.elapsed()))
}

/// Waits until all tasks have announced their sleep, and then until the last one is asleep.
fn settle(asleep: &AtomicUsize, n: usize) {
    while asleep.load(Ordering::Relaxed) < n {
        thread::sleep(Duration::from_micros(200));
    }
    thread::sleep(Duration::from_millis(5));
}
