//! Switches every fault on in turn and checks that a model fails.
//!
//! A fault is a trial, with the name of its entry in `faults/` or of the change that a rule makes.
//! It passes if a model fails with it, or if none does and a reason is given: `survives` in its
//! entry, or in `survivors.txt`. A reason for a fault that a model sees is an error, too.
//!
//! The faults of the `broken_` models are left out, because each of these models must fail anyway.
//!
//! First every model is run with no fault on, and reports the faults that its code has come to. A
//! fault is tried only in the models that come to it, the quickest first, at one preemption and
//! then at the bound of each push.

mod runner;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use runner::{judge, run_child};
use taskgroup::faults::{self, FAULTS, Fault};
use taskgroup::models::report::End;
use taskgroup::models::{self, Bound, Expect, Model};

const LIMIT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    if let Some(code) = runner::child() {
        return code;
    }
    let arguments = Arguments::from_args();
    let models = models::all();
    let has_model = |fault: &&Fault| !models.iter().any(|model| model.fault == Some(fault.name));
    let trials = FAULTS
        .iter()
        .filter(has_model)
        .map(|fault| {
            let kind = if fault.is_marked { "marked" } else { "by rule" };
            Trial::test(fault.name, || try_fault(fault)).with_kind(kind)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Passes if a model fails with `fault`, or if that is not expected.
fn try_fault(fault: &'static Fault) -> Result<(), Failed> {
    let number = faults::number(fault.name).expect("it is one of them");
    let mut tried = 0;
    for (bound, baseline) in [(Reach::One, &AT_ONE), (Reach::Push, &AT_PUSH)] {
        let baseline = baseline.get_or_init(|| Baseline::new(bound));
        let baseline = baseline.as_ref().map_err(|why| Failed::from(why.clone()))?;
        for (model, took) in baseline.models.get(&number).into_iter().flatten() {
            tried += 1;
            let limit = 5 * *took + Duration::from_secs(10);
            let outcome = run_child(model, bound.of(model), Some(fault.name), limit)?;
            if let (report, Err(_)) = judge(model, outcome) {
                return match (report.end, fault.survives) {
                    (End::Failed(why), None) => {
                        println!(
                            "{}: {} ({}): {why}",
                            fault.name,
                            model.name,
                            bound.of(model)
                        );
                        Ok(())
                    }
                    (End::Failed(_), Some(_)) => {
                        Err(format!("{} sees it: it needs no reason", model.name).into())
                    }
                    (end, _) => Err(format!("{} ended with {end}", model.name).into()),
                };
            }
        }
    }
    match fault.survives {
        Some(_) => Ok(()),
        None if tried == 0 => Err(format!("no model comes to {}", fault.place).into()),
        None => Err(format!("no model sees it, at {}", fault.place).into()),
    }
}

/// How far a model is explored.
#[derive(Clone, Copy)]
enum Reach {
    One,
    Push,
}

impl Reach {
    fn of(self, model: &Model) -> Bound {
        match self {
            Reach::One => Bound::Preemptions(1),
            Reach::Push => model.push,
        }
    }
}

static AT_ONE: OnceLock<Result<Baseline, String>> = OnceLock::new();
static AT_PUSH: OnceLock<Result<Baseline, String>> = OnceLock::new();

/// The outcome of the models with no fault on.
struct Baseline {
    /// The models that come to each fault, with the time they take, the quickest first.
    models: BTreeMap<usize, Vec<(Model, Duration)>>,
}

impl Baseline {
    fn new(reach: Reach) -> Result<Baseline, String> {
        let mut left = models::all();
        left.retain(|model| model.expect == Expect::Holds);
        let (left, done) = (Mutex::new(left), Mutex::new(Vec::new()));
        let explore = || -> Result<(), String> {
            loop {
                let Some(model) = left.lock().unwrap().pop() else {
                    return Ok(());
                };
                let outcome = run_child(&model, reach.of(&model), None, LIMIT);
                let outcome = outcome.map_err(|error| format!("{error:?}"))?;
                if outcome.status.is_none_or(|status| !status.success()) {
                    return Err(format!("with no fault on: {}", outcome.report));
                }
                let took = Duration::from_secs_f64(outcome.report.seconds);
                done.lock().unwrap().push((took, model, outcome.reached));
            }
        };
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(explore)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().expect("a failure is returned"))
        })?;
        let mut done = done.into_inner().unwrap();
        done.sort_by_key(|(took, ..)| *took);
        let mut models: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (took, model, reached) in done {
            for fault in reached {
                models.entry(fault).or_default().push((model, took));
            }
        }
        Ok(Baseline { models })
    }
}
