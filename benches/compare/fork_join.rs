//! Trivial tasks with their results collected, and a scope without any.

use std::hint::black_box;
use std::thread;

use anyhow::ensure;
use taskgroup::TaskGroup;

use crate::process::until_threads_exit;
use crate::report::{Place, Report, Title};
use crate::sampling::{Contestant, Effort, Goal, repeated};

pub(crate) fn fork_join(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    for n in [1, 10, 100, 1_000, 10_000] {
        let mut in_the_pool = repeated(n, move || checked(n, rayon(n)));
        let mut contestants = vec![
            Contestant::new("taskgroup", repeated(n, move || checked(n, taskgroup(n)?))),
            Contestant::new("rayon::scope", repeated(n, move || checked(n, rayon(n))))
                .goal(Goal::Ratio(1.0)),
            Contestant::new("rayon::scope in the pool", move || {
                rayon::scope(|_| in_the_pool())
            }),
        ];
        // 10 000 threads take most of a second a round and more than many systems allow.
        if n < 10_000 {
            let mut scope = repeated(n, move || checked(n, threads(n)));
            contestants.push(
                Contestant::new("std::thread::scope", move || until_threads_exit(&mut scope))
                    .goal(Goal::Ratio(0.01)),
            );
        }
        let case = format!("n = {n}, results collected");
        let place = Place {
            plot: "Cost of a trivial task, results collected",
            n,
        };
        report.table_at(
            place,
            &Title {
                row: "fork-join",
                case: &case,
                unit: "ns per task",
            },
            contestants,
            effort.rounds(15),
        )?;
    }
    Ok(())
}

/// Tasks with dropped handles: their ends wake no thread.
pub(crate) fn fire_and_forget(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    for n in [1, 10, 100, 1_000, 10_000] {
        let taskgroup = move || {
            TaskGroup::scope(|g| {
                for i in 0..n {
                    g.spawn(move || {
                        black_box(i);
                        Ok(())
                    });
                }
                Ok(())
            })?;
            Ok(())
        };
        let rayon = move || {
            rayon::scope(|s| {
                for i in 0..n {
                    s.spawn(move |_| {
                        black_box(i);
                    });
                }
            });
            Ok(())
        };
        let mut in_the_pool = repeated(n, rayon);
        let contestants = vec![
            Contestant::new("taskgroup", repeated(n, taskgroup)),
            Contestant::new("rayon::scope", repeated(n, rayon)).goal(Goal::Ratio(1.0)),
            Contestant::new("rayon::scope in the pool", move || {
                rayon::scope(|_| in_the_pool())
            }),
        ];
        let case = format!("n = {n}, handles dropped");
        report.table(
            &Title {
                row: "fire-and-forget",
                case: &case,
                unit: "ns per task",
            },
            contestants,
            effort.rounds(15),
        )?;
    }
    Ok(())
}

/// Whether a task costs the same in a large scope as in a small one. The ratio is the cost in the
/// smallest scope divided by the cost here.
pub(crate) fn growth(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    const FLAT: Goal = Goal::InverseRatio(1.25);
    let contestants = [100, 1_000, 10_000, 100_000]
        .into_iter()
        .enumerate()
        .map(|(place, n)| {
            let sample = repeated(n, move || checked(n, taskgroup(n)?));
            let contestant = Contestant::new(format!("taskgroup, n = {n}"), sample);
            if place == 0 {
                contestant
            } else {
                contestant.goal(FLAT)
            }
        })
        .collect();
    report.table(
        &Title {
            row: "growth",
            case: "results collected",
            unit: "ns per task",
        },
        contestants,
        effort.rounds(15),
    )
}

pub(crate) fn empty(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let taskgroup = || {
        TaskGroup::scope(|g| {
            black_box(g);
            Ok(())
        })?;
        Ok(())
    };
    let rayon = || {
        rayon::scope(|s| {
            black_box(s);
        });
        Ok(())
    };
    let threads = || {
        thread::scope(|s| {
            black_box(s);
        });
        Ok(())
    };
    let contestants = vec![
        Contestant::new("taskgroup", repeated(1, taskgroup)).goal(Goal::Median(100.0)),
        Contestant::new("rayon::scope", repeated(1, rayon)),
        Contestant::new("std::thread::scope", repeated(1, threads)),
    ];
    report.table(
        &Title {
            row: "empty",
            case: "a scope without tasks",
            unit: "ns",
        },
        contestants,
        effort.rounds(15),
    )
}

fn taskgroup(n: usize) -> anyhow::Result<usize> {
    let sum = TaskGroup::scope(|g| {
        let handles: Vec<_> = (0..n).map(|i| g.spawn(move || Ok(black_box(i)))).collect();
        let mut sum = 0;
        for handle in handles {
            sum += handle.join()?;
        }
        Ok(sum)
    })?;
    Ok(sum)
}

fn rayon(n: usize) -> usize {
    let mut results = vec![0; n];
    rayon::scope(|s| {
        for (i, result) in results.iter_mut().enumerate() {
            s.spawn(move |_| *result = black_box(i));
        }
    });
    results.iter().sum()
}

fn threads(n: usize) -> usize {
    thread::scope(|s| {
        let handles: Vec<_> = (0..n).map(|i| s.spawn(move || black_box(i))).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("the task does not panic"))
            .sum()
    })
}

/// A contestant that loses a result is no contestant.
fn checked(n: usize, sum: usize) -> anyhow::Result<()> {
    ensure!(
        sum == n * (n - 1) / 2,
        "the results of {n} tasks add up to {sum}"
    );
    Ok(())
}
