//! Runs the models: one trial for each, in a process of its own, because a model that fails may
//! abort.
//!
//! `cargo test --test models scope_` runs the models of one area, `-- --list` names them. The
//! environment variables are:
//!
//! | variable | meaning |
//! |---|---|
//! | `TASKGROUP_MODELS=deep` | the deeper bound of each model |
//! | `TASKGROUP_MODELS_LIMIT=seconds` | fails longer models: 120 by default, 3600 if deep |
//! | `TASKGROUP_MODELS_TABLE=path` | writes `MODELS.md` to this path, relative to the workspace |
//! | `TASKGROUP_MODELS_FAIL_FAST=1` | begins no model once one has failed |
//! | `LOOM_LOCATION=1` | loom names the places in its failures, but runs slower |
//!
//! Loom's own limits are not passed on: they end a model early and call it a success.

mod runner;

use std::collections::HashSet;
use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use runner::{ENDLESS, judge, run_child};
use taskgroup::faults;
use taskgroup::models::report::{End, Report};
use taskgroup::models::{self, Bound, Expect, Model};

fn main() -> ExitCode {
    if let Some(code) = runner::child() {
        return code;
    }
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let models = models::all();
    check_registration(&models)?;
    let settings = Arc::new(Settings::from_env()?);
    let arguments = Arguments::from_args();
    let listing = arguments.list;

    let rows = Arc::new(Mutex::new(vec![None; models.len()]));
    let failed = Arc::new(AtomicBool::new(false));
    let mut trials = self_checks();
    for (index, model) in models.iter().copied().enumerate() {
        let (settings, rows, failed) = (settings.clone(), rows.clone(), failed.clone());
        let trial = Trial::test(model.name, move || {
            if settings.fail_fast && failed.load(Ordering::Relaxed) {
                rows.lock().unwrap()[index] = Some(skipped(&model, settings.depth));
                return Ok(());
            }
            let bound = settings.depth.of(&model);
            let outcome = run_child(&model, bound, model.fault, settings.limit)?;
            let (report, outcome) = judge(&model, outcome);
            failed.fetch_or(matches!(report.end, End::Failed(_)), Ordering::Relaxed);
            rows.lock().unwrap()[index] = Some(report);
            outcome
        });
        trials.push(match model.expect {
            Expect::Holds => trial,
            Expect::Broken { .. } => trial.with_kind("must fail"),
        });
    }

    let conclusion = libtest_mimic::run(&arguments, trials);
    if listing {
        return Ok(ExitCode::SUCCESS);
    }
    let rows = rows.lock().unwrap();
    for report in rows.iter().flatten() {
        println!("{report}");
    }
    if let Some(path) = &settings.table {
        let rows: Option<Vec<_>> = rows.iter().cloned().collect();
        let rows = rows.ok_or("the table needs every model: run them without a filter")?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        std::fs::write(&path, table(&models, &rows))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(conclusion.exit_code())
}

/// Returns an error if the models would pass without running, or under another model's name.
fn check_registration(models: &[Model]) -> Result<(), String> {
    if !models::UNDER_LOOM {
        return Err("the crate was compiled without cfg(loom)".into());
    }
    if models.is_empty() {
        return Err("there are no models".into());
    }
    let mut names = HashSet::new();
    for Model {
        name,
        expect,
        fault,
        ..
    } in models
    {
        if let Some(fault) = fault.filter(|fault| faults::number(fault).is_none()) {
            return Err(format!("{name}: no fault is named {fault}"));
        }
        if !names.insert(name) {
            return Err(format!("two models are named {name}"));
        }
        if name.starts_with("broken_") != matches!(expect, Expect::Broken { .. }) {
            return Err(format!(
                "{name}: a model is named broken_ if it must fail, and only then"
            ));
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Depth {
    Push,
    Deep,
}

impl Depth {
    fn parse(text: &str) -> Result<Depth, String> {
        match text {
            "push" => Ok(Depth::Push),
            "deep" => Ok(Depth::Deep),
            _ => Err(format!("TASKGROUP_MODELS is push or deep, not {text:?}")),
        }
    }

    fn of(self, model: &Model) -> Bound {
        match self {
            Depth::Push => model.push,
            Depth::Deep => model.deep,
        }
    }
}

struct Settings {
    depth: Depth,
    limit: Duration,
    table: Option<String>,
    fail_fast: bool,
}

impl Settings {
    fn from_env() -> Result<Settings, String> {
        let depth = Depth::parse(&env::var("TASKGROUP_MODELS").unwrap_or_else(|_| "push".into()))?;
        let seconds = match (env::var("TASKGROUP_MODELS_LIMIT"), depth) {
            (Ok(seconds), _) => seconds.parse().map_err(|error| {
                format!("TASKGROUP_MODELS_LIMIT is {seconds:?}, not seconds: {error}")
            })?,
            (Err(_), Depth::Push) => 120,
            (Err(_), Depth::Deep) => 3600,
        };
        Ok(Settings {
            depth,
            limit: Duration::from_secs(seconds),
            table: env::var("TASKGROUP_MODELS_TABLE").ok(),
            fail_fast: env::var_os("TASKGROUP_MODELS_FAIL_FAST").is_some(),
        })
    }
}

fn skipped(model: &Model, depth: Depth) -> Report {
    Report {
        name: model.name.into(),
        bound: depth.of(model).to_string(),
        executions: None,
        seconds: 0.0,
        end: End::Skipped,
    }
}

/// The list of models as Markdown. It has no seconds, so that it changes only with the models.
fn table(models: &[Model], rows: &[Report]) -> String {
    let broken = models
        .iter()
        .filter(|model| model.expect != Expect::Holds)
        .count();
    let executions: u64 = rows.iter().filter_map(|row| row.executions).sum();
    let mut table = format!(
        "# The list of models\n\n\
         `TASKGROUP_MODELS_TABLE=loom-tests/MODELS.md cargo test -p taskgroup-loom-tests \
         --test models`\n\
         writes this list, at the bounds of `cargo test`. {} models hold and {broken} fail, as \
         they must.\n\
         Together they run {executions} executions.\n\n\
         | model | claim | bound | executions | end |\n|---|---|---|---:|---|\n",
        models.len() - broken,
    );
    for (model, row) in models.iter().zip(rows) {
        let executions = row.executions.map_or("-".into(), |n| n.to_string());
        let name = format!("`{}`", row.name);
        let cells = [
            name,
            model.shows.into(),
            row.bound.clone(),
            executions,
            row.end.to_string(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

fn model(name: &str) -> Model {
    models::all()
        .into_iter()
        .find(|model| model.name == name)
        .unwrap()
}

/// Runs a model, and returns the end that the runner has judged it by.
fn end(model: Model, limit: Duration) -> Result<End, Failed> {
    let (report, result) = judge(&model, run_child(&model, model.push, model.fault, limit)?);
    match report.end {
        End::Complete | End::Found(_) => result?,
        _ if result.is_ok() => return Err(format!("let pass: {}", report.end).into()),
        _ => {}
    }
    Ok(report.end)
}

fn expect(found: bool, what: &End) -> Result<(), Failed> {
    if found {
        Ok(())
    } else {
        Err(format!("ended otherwise: {what}").into())
    }
}

/// Longer than the models of the runner take.
const AMPLE: Duration = Duration::from_secs(120);

/// Checks, with models of the runner's own, that the runner does not pass everything.
fn self_checks() -> Vec<Trial> {
    vec![
        Trial::test("runner_refuses_a_broken_model_that_holds", || {
            let model = Model {
                expect: Expect::Broken { reason: "" },
                ..model("runner_sees_order")
            };
            let end = end(model, AMPLE)?;
            expect(
                matches!(&end, End::Failed(why) if why.contains("it holds")),
                &end,
            )
        }),
        Trial::test("runner_refuses_a_model_that_fails", || {
            let end = end(
                Model {
                    expect: Expect::Holds,
                    ..model("broken_runner_race_is_found")
                },
                AMPLE,
            )?;
            expect(
                matches!(&end, End::Failed(why) if why.contains("Causality violation")),
                &end,
            )
        }),
        Trial::test("runner_refuses_another_reason", || {
            let end = end(
                Model {
                    expect: Expect::Broken { reason: "a race" },
                    ..model("broken_runner_deadlock_is_found")
                },
                AMPLE,
            )?;
            expect(
                matches!(&end, End::Failed(why) if why.contains("but: deadlock")),
                &end,
            )
        }),
        Trial::test("runner_refuses_what_the_clock_stopped", || {
            let end = end(ENDLESS, Duration::ZERO)?;
            expect(end == End::Truncated, &end)
        }),
        Trial::test(
            "runner_refuses_a_model_without_executions",
            without_executions,
        ),
    ]
}

fn without_executions() -> Result<(), Failed> {
    let model = model("runner_sees_order");
    let mut outcome = run_child(&model, model.push, model.fault, AMPLE)?;
    if outcome.report.executions < Some(2) {
        return Err(format!(
            "a store beside a load has more executions: {}",
            outcome.report
        )
        .into());
    }

    outcome.report.executions = Some(0);
    let (report, result) = judge(&model, outcome);
    expect(result.is_err(), &report.end)
}
