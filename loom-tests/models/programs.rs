//! The smallest programs of the grammar in `tests/programs`, each as a model: they compose what the
//! other models take apart.
//!
//! A program is chosen by its seed, runs on the pool, and is compared with the same specification
//! in every execution. Left out is what a model has not: panics, times, and the order of a clock.
//! Loom lets a thread see an old value until it is told of the new one, so that "after the cancel
//! has returned" means nothing in a model, and the specification does without it there.
//!
//! The programs keep their handles in a map behind an `Arc` and a lock of std's. Loom does not see
//! either, and says "Concurrent load and mut accesses" where the last task to let go of the map
//! drops a handle that another thread has put there. Programs that come to this are none of those
//! that are fixed.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::support::{must_see, saw, with_pool};
use super::{Bound, Expect, Model};
use crate as taskgroup;

// Each is a module of the test as well.
#[path = "../../tests/programs/grammar/mod.rs"]
#[allow(unreachable_pub, dead_code, reason = "it is a module of a test")]
mod grammar;
#[path = "../../tests/programs/ledger.rs"]
#[allow(unreachable_pub, dead_code, reason = "it is a module of a test")]
mod ledger;
#[path = "../../tests/programs/run/mod.rs"]
#[allow(
    unreachable_pub,
    dead_code,
    unreachable_patterns,
    reason = "it is a module of a test, which is another crate"
)]
mod run;
#[path = "../../tests/programs/specification/mod.rs"]
#[allow(unreachable_pub, dead_code, reason = "it is a module of a test")]
mod specification;

use grammar::{Choices, Program, Size};

/// Programs that have many executions and can be explored in a few seconds. To be chosen anew when
/// the grammar changes, by what the runner says of those that [`MORE`] names.
const SEEDS: &[u64] = &[
    12, 34, 52, 53, 68, 72, 93, 97, 120, 128, 137, 152, 158, 168, 169, 176, 193, 202, 205, 207,
    209, 210, 228, 230, 234, 235, 248, 249, 261, 263, 265, 276, 285, 302, 303, 309, 313, 314, 318,
];

/// Further seeds, as `first..end`: those of them whose programs are small enough are models too.
const MORE: &str = "TASKGROUP_MODELS_PROGRAMS";

const PREFIX: &str = "programs_";

const SIZE: Size = Size {
    depth: 2,
    tasks: 3,
    steps: 2,
    features: !(grammar::PENDING | grammar::PANICS | grammar::TIMES | grammar::STREAMS),
};

/// With its main thread, a program has at most this many threads: one for each task.
const MOST_TASKS: usize = 3;
/// The lines of a program that is small.
const MOST_LINES: usize = 14;

pub(super) fn models() -> Vec<Model> {
    let mut known = HashSet::new();
    let mut more = more();
    more.retain(|seed| !SEEDS.contains(seed) && is_small(*seed, &mut known));
    SEEDS.iter().chain(&more).map(|seed| model(*seed)).collect()
}

fn model(seed: u64) -> Model {
    Model {
        name: Box::leak(format!("{PREFIX}{seed}").into_boxed_str()),
        shows: "a generated program does what it means in every execution",
        push: Bound::Preemptions(2),
        deep: Bound::Preemptions(3),
        body: explore,
        expect: Expect::Holds,
        fault: None,
    }
}

/// The seeds that the environment asks for.
fn more() -> Vec<u64> {
    let Ok(range) = std::env::var(MORE) else {
        return Vec::new();
    };
    let ends = range
        .split_once("..")
        .and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    ends.unwrap_or_else(|| panic!("{MORE} is {range:?}, not a range of seeds"))
        .collect()
}

fn generate(seed: u64) -> Program {
    grammar::generate(Choices::of_seed(seed), SIZE).0
}

/// Whether the program is small, has a task, and is none of those that are known.
fn is_small(seed: u64, known: &mut HashSet<String>) -> bool {
    let program = generate(seed);
    let text = program.to_string();
    let small = (1..=MOST_TASKS).contains(&program.tasks) && text.lines().count() <= MOST_LINES;
    small && known.insert(text)
}

/// One execution of the program that the name of this process's model says.
fn explore() {
    static PROGRAM: OnceLock<(u64, Program)> = OnceLock::new();
    static EXECUTIONS: AtomicUsize = AtomicUsize::new(0);
    const AGAIN: &str = "another execution";

    let (seed, program) = PROGRAM.get_or_init(|| {
        let seed = std::env::args().find_map(|name| name.strip_prefix(PREFIX)?.parse().ok());
        let seed = seed.expect("the runner names the model in the arguments");
        let program = generate(seed);
        // The runner shows it if the model fails.
        eprintln!("{program}");
        (seed, program)
    });
    if SEEDS.contains(seed) {
        must_see([AGAIN]);
        if EXECUTIONS.fetch_add(1, Relaxed) > 0 {
            saw(AGAIN);
        }
    }
    let mut entries = Vec::new();
    with_pool(1, || entries = run::run(program));
    if let Err(why) = specification::check(&entries, SIZE.features) {
        panic!("it differs: {why}");
    }
}
