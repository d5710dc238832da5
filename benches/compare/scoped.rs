//! Measures the cost of a task where scoped values are bound, and of a read.

use std::hint::black_box;

use taskgroup::{ScopedValue, TaskGroup};

use crate::report::{Report, Title};
use crate::sampling::{Contestant, Effort, Goal, repeated};

static VALUES: [ScopedValue<u64>; 8] = [const { ScopedValue::new() }; 8];

const TASKS: usize = 1_000;

pub(crate) fn scoped(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let spawns = |bound: usize| {
        let mut sample = repeated(TASKS, || {
            TaskGroup::scope(|g| {
                for task in 0..TASKS {
                    black_box(g.spawn(move || Ok(task)).join()?);
                }
                Ok(())
            })?;
            Ok(())
        });
        move || with(bound, &mut sample)
    };
    let contestants = vec![
        Contestant::new("8 values bound", spawns(8)),
        Contestant::new("1 value bound", spawns(1)),
        Contestant::new("none bound", spawns(0)).goal(Goal::Excess(5.0)),
    ];
    let title = Title {
        row: "scoped",
        case: "spawn and join of a task",
        unit: "ns",
    };
    report.table(&title, contestants, effort.rounds(61))?;

    let reads = |depth: usize| {
        let mut sample = repeated(1_000, || {
            for _ in 0..1_000 {
                black_box(VALUES[0].get(|value| value.copied()));
            }
            Ok(())
        });
        move || with(depth, &mut sample)
    };
    let contestants = vec![
        Contestant::new("the outermost of 8", reads(8)),
        Contestant::new("the only one", reads(1)),
        Contestant::new("none is bound", reads(0)),
    ];
    let title = Title {
        row: "scoped",
        case: "read of a value",
        unit: "ns",
    };
    report.table(&title, contestants, effort.rounds(61))
}

/// Takes a sample with the first `bound` of the values bound.
fn with(bound: usize, sample: &mut impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    fn bind(
        values: &'static [ScopedValue<u64>],
        sample: &mut impl FnMut() -> anyhow::Result<f64>,
    ) -> anyhow::Result<f64> {
        match values {
            [] => sample(),
            [first, rest @ ..] => first.with(&1, || bind(rest, sample)),
        }
    }
    bind(&VALUES[..bound], sample)
}
