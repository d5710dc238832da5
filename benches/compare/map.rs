//! A function over many tiny items, results in the order of the input.

use std::hint::black_box;

use anyhow::ensure;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use taskgroup::TaskGroup;

use crate::process;
use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, repeated};

const ITEMS: usize = 100_000;

/// Items of a few nanoseconds show the cost of the map itself. Items of a microsecond show how much
/// of it remains in use.
const STEPS: [(u32, &str); 2] = [(1, "a few ns"), (1_000, "about 1 us")];

pub(crate) fn map(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let items: Vec<u64> = (0..ITEMS as u64).collect();
    let items = &items;
    for (steps, cost) in STEPS {
        let whole = move || {
            checked(taskgroup::map(items, process::cores(), |&n| {
                anyhow::Ok(work(n, steps))
            })?)
        };
        let lazily = move || {
            let results = TaskGroup::scope(|g| {
                Ok(g.map(items, |&n| Ok(work(n, steps)))
                    .collect::<Result<Vec<_>, _>>()?)
            })?;
            checked(results)
        };
        let rayon = move || checked(items.par_iter().map(|&n| work(n, steps)).collect());
        let alone = move || checked(items.iter().map(|&n| work(n, steps)).collect());
        let contestants = vec![
            Contestant::new("taskgroup::map", repeated(ITEMS, whole)),
            Contestant::new("rayon's par_iter().map().collect()", repeated(ITEMS, rayon))
                .goal(Goal::Ratio(1.5)),
            Contestant::new("TaskGroup::map, collected", repeated(ITEMS, lazily)),
            Contestant::new("Iterator::map, one thread", repeated(ITEMS, alone)),
        ];
        let case = format!("{ITEMS} items of {cost}");
        report.table(
            &Title {
                row: "map",
                case: &case,
                unit: "ns per item",
            },
            contestants,
            effort.rounds(9),
        )?;
    }
    Ok(())
}

fn work(n: u64, steps: u32) -> u64 {
    let mut state = black_box(n);
    for _ in 0..steps {
        state = (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    }
    state
}

/// A contestant that loses a result is no contestant.
fn checked(results: Vec<u64>) -> anyhow::Result<()> {
    ensure!(
        results.len() == ITEMS,
        "{} results of {ITEMS} items",
        results.len()
    );
    black_box(results);
    Ok(())
}
