//! Many tasks that block at once: how long until all of them have begun, and from their release
//! until all have ended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::TaskGroup;
use taskgroup::sync::Event;

use crate::process::{can_have_threads, until_threads_exit};
use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, millis};

/// Two times of one run.
#[derive(Clone, Copy)]
struct Times {
    begin: Duration,
    end: Duration,
}

type Half = fn(Times) -> Duration;

pub(crate) fn many_blocked(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let halves: [(&str, Half); 2] = [
        ("until all have begun", |times| times.begin),
        ("from the release until all have ended", |times| times.end),
    ];
    // A run of few threads is over in milliseconds, so that a single wake of an idle core shows.
    for (n, rounds) in [(100, 41), (1_000, 21), (4_000, 7), (16_000, 7)] {
        // The idle workers of one contestant are still there beside the threads of the next.
        if !can_have_threads("many-blocked", 2 * n) {
            continue;
        }
        for (what, half) in halves {
            let sample =
                |run: fn(usize) -> anyhow::Result<Times>| move || Ok(millis(half(run(n)?)));
            let contestants = vec![
                Contestant::new("taskgroup, Event", sample(in_ours)),
                Contestant::new(
                    "std::thread::scope, Condvar",
                    sample(|n| until_threads_exit(|| in_std(n))),
                )
                .goal(Goal::Ratio(1.0)),
                Contestant::new("taskgroup, std's Condvar", sample(in_foreign)),
            ];
            let case = format!("n = {n}, {what}");
            report.table(
                &Title {
                    row: "many-blocked",
                    case: &case,
                    unit: "ms",
                },
                contestants,
                effort.rounds(rounds),
            )?;
        }
    }
    Ok(())
}

/// The gate for the threads of std, and for the tasks that wait in foreign code.
#[derive(Default)]
struct Foreign {
    arrived: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Foreign {
    fn wait(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(open, |open| !*open));
    }

    fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }
}

/// Waits until `n` tasks have arrived, then calls `release`. Returns the instants of both.
fn all_of(n: usize, arrived: &AtomicUsize, release: impl FnOnce()) -> (Instant, Instant) {
    while arrived.load(Ordering::Relaxed) < n {
        thread::sleep(Duration::from_micros(200));
    }
    let begun = Instant::now();

    // The last tasks have counted down and still have to fall asleep.
    thread::sleep(Duration::from_millis(20));
    let released = Instant::now();
    release();
    (begun, released)
}

fn times(started: Instant, (begun, released): (Instant, Instant)) -> Times {
    Times {
        begin: begun - started,
        end: released.elapsed(),
    }
}

fn in_std(n: usize) -> anyhow::Result<Times> {
    let gate = Foreign::default();
    let started = Instant::now();
    let instants = thread::scope(|s| {
        for _ in 0..n {
            s.spawn(|| gate.wait());
        }
        all_of(n, &gate.arrived, || gate.open())
    });
    Ok(times(started, instants))
}

fn in_foreign(n: usize) -> anyhow::Result<Times> {
    let gate = Foreign::default();
    let started = Instant::now();
    let instants = TaskGroup::scope(|g| {
        for _ in 0..n {
            g.spawn(|| {
                gate.wait();
                Ok(())
            });
        }
        Ok(all_of(n, &gate.arrived, || gate.open()))
    })?;
    Ok(times(started, instants))
}

fn in_ours(n: usize) -> anyhow::Result<Times> {
    let (gate, arrived) = (Event::new(), AtomicUsize::new(0));
    let started = Instant::now();
    let instants = TaskGroup::scope(|g| {
        for _ in 0..n {
            g.spawn(|| {
                arrived.fetch_add(1, Ordering::Relaxed);
                gate.wait()?;
                Ok(())
            });
        }
        Ok(all_of(n, &arrived, || gate.set()))
    })?;
    Ok(times(started, instants))
}
