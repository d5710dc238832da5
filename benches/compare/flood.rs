//! More CPU-bound tasks than cores, in time and in threads.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::TaskGroup;

use crate::process;
use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, millis};

const TASKS: usize = 10_000;
const TASK: Duration = Duration::from_micros(50);

pub(crate) const THREADS_TASKGROUP: &str = "flood-threads-taskgroup";
pub(crate) const THREADS_RAYON: &str = "flood-threads-rayon";

pub(crate) fn flood(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let work = Work::calibrated();
    let case = format!("{TASKS} CPU-bound tasks of {} us", TASK.as_micros());
    let contestants = vec![
        Contestant::new("taskgroup", || timed(taskgroup, work)),
        Contestant::new("rayon::scope", || timed(rayon, work)).goal(Goal::Ratio(1.05)),
    ];
    report.table(
        &Title {
            row: "flood",
            case: &case,
            unit: "ms",
        },
        contestants,
        effort.rounds(9),
    )?;
    let least = TASK * TASKS as u32 / process::cores() as u32;
    report.note(&format!(
        "all cores busy with nothing else: {:.0} ms",
        millis(least)
    ));

    if process::has_proc() {
        let most = 4 * process::cores();
        let contestants = vec![
            Contestant::new("taskgroup", || process::in_child(THREADS_TASKGROUP))
                .goal(Goal::Largest(most as f64)),
            Contestant::new("rayon::scope", || process::in_child(THREADS_RAYON)),
        ];
        report.table(
            &Title {
                row: "flood",
                case: &case,
                unit: "threads started, peak",
            },
            contestants,
            effort.cold_rounds(9),
        )?;
    }
    Ok(())
}

/// An amount of arithmetic. Spinning on the clock instead would let a task that lost its core end
/// on time all the same.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    steps: u64,
}

impl Work {
    /// Measures the amount that takes `TASK` on a core of its own, by the fastest of many runs: the
    /// other runs were interrupted.
    fn calibrated() -> Self {
        let probe = Work { steps: 100_000 };
        let fastest = (0..200)
            .map(|_| {
                let started = Instant::now();
                probe.run();
                started.elapsed()
            })
            .min()
            .unwrap_or(TASK);
        Work {
            steps: (probe.steps as f64 * TASK.as_secs_f64() / fastest.as_secs_f64()) as u64,
        }
    }

    fn run(self) {
        let mut state = black_box(1_u64);
        for _ in 0..self.steps {
            state = (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        }
        black_box(state);
    }
}

pub(crate) fn taskgroup(work: Work) -> anyhow::Result<()> {
    TaskGroup::scope(|g| {
        for _ in 0..TASKS {
            g.spawn(move || {
                work.run();
                Ok(())
            });
        }
        Ok(())
    })?;
    Ok(())
}

pub(crate) fn rayon(work: Work) -> anyhow::Result<()> {
    rayon::scope(|s| {
        for _ in 0..TASKS {
            s.spawn(move |_| work.run());
        }
    });
    Ok(())
}

fn timed(flood: fn(Work) -> anyhow::Result<()>, work: Work) -> anyhow::Result<f64> {
    let started = Instant::now();
    flood(work)?;
    Ok(millis(started.elapsed()))
}

/// Returns the largest number of threads, besides the caller's, that existed at once during a
/// flood. The process had none before.
pub(crate) fn threads_started(flood: fn(Work) -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let work = Work::calibrated();

    // Not this thread and the sampler.
    let others = process::threads()? + 1;
    let over = AtomicBool::new(false);
    let peak = thread::scope(|s| {
        let sampler = s.spawn(|| -> anyhow::Result<usize> {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(process::threads()?);
                thread::sleep(Duration::from_micros(500));
            }
            Ok(peak)
        });
        let flooded = flood(work);
        over.store(true, Ordering::Relaxed);
        let peak = sampler.join().expect("the sampler does not panic")?;
        flooded.map(|()| peak)
    })?;
    Ok(peak.saturating_sub(others) as f64)
}
