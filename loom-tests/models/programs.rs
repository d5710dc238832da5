//! The smallest programs of the grammar in `tests/programs`, each as a model. They combine the
//! parts that the other models explore one by one.
//!
//! A program is chosen by its seed and runs on the pool. In every execution, its ledger is compared
//! with the same specification as in the test. Panics, times, the order of the clock, waits in the
//! kernel and scoped values are left out, because a model has none of them. So are scopes in
//! destructors, which need more threads than a model has. Loom lets a thread see an old value until
//! it is told of the new one. So "after the cancel has returned" means nothing in a model, and the
//! specification does without it there.

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

/// Programs with at least 50 executions that are explored in a few seconds. Of programs with the
/// same number of executions only one is here, since most of those take the same steps. When the
/// grammar changes, choose them anew from the lines that the runner prints for those that [`MORE`]
/// names.
const SEEDS: &[u64] = &[
    0, 6, 8, 10, 20, 21, 22, 23, 34, 35, 44, 58, 60, 65, 81, 82, 83, 90, 104, 105, 130, 135, 151,
    159, 174, 178, 181, 185, 205, 206, 223, 236, 242, 249, 254, 258, 263, 274, 276, 280, 283, 297,
    303, 305, 309, 314, 317, 318, 319, 326, 340, 348, 349, 377, 383, 389, 392, 400, 404, 407, 410,
    436, 445, 450, 465, 481, 486, 488, 493, 497, 506, 511, 519, 526, 534, 542, 558, 588, 596,
];

/// The variable that names further seeds, as `first..end`. Seeds with small programs become models.
const MORE: &str = "TASKGROUP_MODELS_PROGRAMS";

const PREFIX: &str = "programs_";

const SIZE: Size = Size {
    depth: 2,
    tasks: 3,
    steps: 2,
    features: !(grammar::PENDING
        | grammar::PANICS
        | grammar::TIMES
        | grammar::STREAMS
        | grammar::SCOPES
        | grammar::IO
        | grammar::MEETINGS
        | grammar::BINDINGS),
};

/// The most tasks of a program that is small. Each may need a thread, beside the main thread.
const MOST_TASKS: usize = 3;
/// The most lines of a program that is small.
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
        shows: "in every execution a generated program has an outcome its specification allows",
        push: Bound::Preemptions(2),
        deep: Bound::Preemptions(3),
        body: explore,
        expect: Expect::Holds,
        fault: None,
    }
}

/// Returns the seeds that the environment asks for.
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

/// Returns whether the program is small, has a task, and is not known yet.
fn is_small(seed: u64, known: &mut HashSet<String>) -> bool {
    let program = generate(seed);
    let text = program.to_string();
    let small = (1..=MOST_TASKS).contains(&program.tasks) && text.lines().count() <= MOST_LINES;
    small && known.insert(text)
}

/// Runs one execution of the program that the name of this process's model says.
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
