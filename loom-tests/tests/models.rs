//! Runs the models: one trial for each, in a process of its own, because a model that fails may
//! abort.
//!
//! `cargo test --test models scope_` runs those of one area, `-- --list` names them. The
//! environment may say:
//!
//! | variable | meaning |
//! |---|---|
//! | `TASKGROUP_MODELS=deep` | the deeper bound of each model |
//! | `TASKGROUP_MODELS_LIMIT=seconds` | a model that runs longer is stopped and has failed: 120 without it, 3600 if deep |
//! | `TASKGROUP_MODELS_TABLE=path` | writes the table of `docs/verification.md`; relative to the workspace |
//! | `TASKGROUP_MODELS_FAIL_FAST=1` | begins no model once one has failed |
//! | `LOOM_LOCATION=1` | loom names the places in its failures, at a price |
//!
//! Loom's own limits do not pass: they end a model early and call it a success.

use std::any::Any;
use std::collections::{HashSet, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::Path;
use std::process::{self, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{env, thread};

use libtest_mimic::{Arguments, Failed, Trial};
use taskgroup::models::report::{End, Report};
use taskgroup::models::{self, Bound, Expect, Model};

/// The first argument of a child; the name of its model and the depth follow.
const EXPLORE: &str = "--explore";

/// How much of a failed model's stderr is shown.
const STDERR_LINES: usize = 40;

/// Far beyond any execution that ends, so that it stops only those which do not.
const MAX_BRANCHES: usize = 20_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    if let [_, first, name, depth] = &arguments[..] {
        if first == EXPLORE {
            return explore(name, depth);
        }
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
            let (report, outcome) =
                judge(&model, run_child(&model, settings.depth, settings.limit)?);
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

/// What would let the models pass without running, or under another's name.
fn check_registration(models: &[Model]) -> Result<(), String> {
    if !models::UNDER_LOOM {
        return Err("the crate was compiled without cfg(loom)".into());
    }
    if models.is_empty() {
        return Err("there are no models".into());
    }
    let mut names = HashSet::new();
    for Model { name, expect, .. } in models {
        if !names.insert(name) {
            return Err(format!("two models are named {name}"));
        }
        // Also not in the middle: the mutants leave out whatever has it in its name.
        if name.contains("broken_") != matches!(expect, Expect::Broken { .. }) {
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

    fn name(self) -> &'static str {
        match self {
            Depth::Push => "push",
            Depth::Deep => "deep",
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

/// How a child ended, before anyone has said whether that is right.
struct Outcome {
    /// `None` if it was stopped by the clock.
    status: Option<ExitStatus>,
    report: Report,
    stderr: String,
}

fn run_child(model: &Model, depth: Depth, limit: Duration) -> Result<Outcome, Failed> {
    let mut command = Command::new(env::current_exe()?);
    command.args([EXPLORE, model.name, depth.name()]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, _) in env::vars_os() {
        let limits_loom = name.to_string_lossy().starts_with("LOOM_") && name != "LOOM_LOCATION";
        // Loom's threads have small stacks, too small to draw a backtrace on.
        let draws_backtraces = name == "RUST_BACKTRACE" || name == "RUST_LIB_BACKTRACE";
        if limits_loom || draws_backtraces {
            command.env_remove(name);
        }
    }

    let started = Instant::now();
    let mut child = command.spawn()?;
    let (open, closed) = mpsc::channel::<()>();
    let stdout = {
        let (pipe, open) = (child.stdout.take().unwrap(), open.clone());
        thread::spawn(move || {
            let report = lines(pipe)
                .filter_map(|line| line.parse::<Report>().ok())
                .last();
            drop(open);
            report
        })
    };
    let stderr = {
        let pipe = child.stderr.take().unwrap();
        thread::spawn(move || {
            let mut last = VecDeque::new();
            for line in lines(pipe) {
                if last.len() == STDERR_LINES {
                    last.pop_front();
                }
                last.push_back(line);
            }
            drop(open);
            Vec::from(last).join("\n")
        })
    };
    // Both pipes close when the child ends, so that nobody has to ask it again and again.
    let in_time = closed.recv_timeout(limit) != Err(RecvTimeoutError::Timeout);
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    let report = stdout.join().unwrap().unwrap_or_else(|| Report {
        name: model.name.into(),
        bound: depth.of(model).to_string(),
        executions: None,
        seconds: started.elapsed().as_secs_f64(),
        end: End::Failed(format!("it ended without a report: {status}")),
    });
    Ok(Outcome {
        status: in_time.then_some(status),
        report,
        stderr: stderr.join().unwrap(),
    })
}

fn lines(pipe: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(pipe)
        .split(b'\n')
        .map_while(Result::ok)
        .map(|line| String::from_utf8_lossy(&line).into_owned())
}

/// Whether the model ended as it must. Only the report is believed, and only with the exit status
/// that goes with it.
fn judge(model: &Model, outcome: Outcome) -> (Report, Result<(), Failed>) {
    let Outcome {
        status,
        mut report,
        stderr,
    } = outcome;
    let executed =
        report.name == model.name && report.executions.is_some_and(|executions| executions >= 1);
    report.end = match (status, report.end, model.expect) {
        (None, ..) => End::Truncated,
        (Some(status), End::Complete, Expect::Holds) if status.success() && executed => {
            End::Complete
        }
        (Some(status), End::Failed(why), Expect::Broken { reason })
            if !status.success() && executed && why.contains(reason) =>
        {
            End::Found(reason.into())
        }
        (Some(_), End::Failed(why), Expect::Holds) => End::Failed(why),
        (Some(_), End::Failed(why), Expect::Broken { reason }) => {
            End::Failed(format!("not for {reason:?} but: {why}"))
        }
        (Some(_), End::Complete, Expect::Broken { .. }) => {
            End::Failed("it holds, and must not".into())
        }
        (Some(status), end, _) => {
            End::Failed(format!("it reported {end:?} and ended with {status}"))
        }
    };
    let result = match &report.end {
        End::Complete | End::Found(_) => Ok(()),
        end => Err(format!("{end}\nit shows: {}\n{stderr}", model.shows).into()),
    };
    (report, result)
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

fn table(models: &[Model], rows: &[Report]) -> String {
    let mut table = String::from(
        "| model | what it shows | bound | executions | seconds | complete |\n|---|---|---|---:|---:|---|\n",
    );
    for (
        model,
        Report {
            name,
            bound,
            executions,
            seconds,
            end,
        },
    ) in models.iter().zip(rows)
    {
        let executions = executions.map_or("-".into(), |n| n.to_string());
        let cells = [
            format!("`{name}`"),
            model.shows.into(),
            bound.clone(),
            executions,
            format!("{seconds:.2}"),
            end.to_string(),
        ];
        table += &format!(
            "| {} |\n",
            cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
        );
    }
    table
}

/// For the clock to stop; not among the models, because it never passes.
const ENDLESS: Model = Model {
    name: "runner_endless",
    shows: "the clock stops what does not end",
    push: Bound::Exhaustive,
    deep: Bound::Exhaustive,
    body: || loop {
        thread::park();
    },
    expect: Expect::Holds,
};

/// What keeps the runner from passing everything, tried on models of the runner's own.
fn self_checks() -> Vec<Trial> {
    fn model(name: &str) -> Model {
        models::all()
            .into_iter()
            .find(|model| model.name == name)
            .unwrap()
    }
    fn end(model: Model, limit: Duration) -> Result<End, Failed> {
        let (report, result) = judge(&model, run_child(&model, Depth::Push, limit)?);
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
    const AMPLE: Duration = Duration::from_secs(120);
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
        Trial::test("runner_refuses_a_model_without_executions", || {
            let model = model("runner_sees_order");
            let mut outcome = run_child(&model, Depth::Push, AMPLE)?;
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
        }),
    ]
}

/// The model that this process explores, for its panic hook to report on.
struct Exploration {
    model: Model,
    bound: Bound,
    started: Instant,
    executions: AtomicU64,
    /// The text of the first panic.
    failure: OnceLock<String>,
}

static EXPLORATION: OnceLock<Exploration> = OnceLock::new();

impl Exploration {
    fn print(&self, end: End) {
        let report = Report {
            name: self.model.name.into(),
            bound: self.bound.to_string(),
            executions: Some(self.executions.load(Ordering::Relaxed)),
            seconds: self.started.elapsed().as_secs_f64(),
            end,
        };
        println!("{report}");
    }
}

/// The child: explores one model and prints its report.
fn explore(name: &str, depth: &str) -> ExitCode {
    // The parent holds the other end: if it is killed, no model runs on without it.
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(1);
    });
    let mut known = models::all().into_iter().chain([ENDLESS]);
    let model = known
        .find(|model| model.name == name)
        .expect("the parent names a model");
    let bound = Depth::parse(depth)
        .expect("the parent names a depth")
        .of(&model);
    let exploration = EXPLORATION.get_or_init(|| Exploration {
        model,
        bound,
        started: Instant::now(),
        executions: AtomicU64::new(0),
        failure: OnceLock::new(),
    });
    report_panics(exploration);

    let mut builder = loom::model::Builder::new();
    builder.max_branches = MAX_BRANCHES;
    builder.preemption_bound = match bound {
        Bound::Exhaustive => None,
        Bound::Preemptions(most) => Some(most),
    };
    // With these gone, `check` returns only when nothing is left to explore.
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.checkpoint_file = None;
    let explored = panic::catch_unwind(AssertUnwindSafe(|| {
        builder.check(move || {
            exploration.executions.fetch_add(1, Ordering::Relaxed);
            (model.body)();
        });
    }));
    match (explored, exploration.failure.get()) {
        (Ok(()), None) => match models::never_seen() {
            None => {
                exploration.print(End::Complete);
                return ExitCode::SUCCESS;
            }
            // A model that never comes to what it is about shows nothing.
            Some(event) => exploration.print(End::Failed(format!("in no execution: {event}"))),
        },
        // Loom reports a race by a panic: code that catches it would let a wrong model pass.
        (Ok(()), Some(text)) => {
            exploration.print(End::Failed(format!("a panic was swallowed: {text}")))
        }
        (Err(_), None) => exploration.print(End::Failed("a panic without a text".into())),
        (Err(_), Some(_)) => {}
    }
    ExitCode::FAILURE
}

/// Reports the first panic where it happens, for the process may not live to report it afterwards:
/// the threads that a failed execution leaves behind are unwound, and loom panics in their
/// destructors.
///
/// A panic whose payload is no text is one that the model throws on purpose, and passes in silence.
fn report_panics(exploration: &'static Exploration) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let Some(text) = text_of(info.payload()) else {
            return;
        };
        if exploration.failure.get().is_some() {
            // What follows from the first; std would print all the frames of a panic within a
            // panic.
            eprintln!("then: {info}");
            return;
        }
        // A place in loom says less than its message.
        let place = info
            .location()
            .filter(|at| Path::new(at.file()).is_relative());
        let place = place.map_or(String::new(), |at| {
            format!(" ({}:{})", without_parents(at.file()), at.line())
        });
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ") + &place;
        exploration.print(End::Failed(
            exploration.failure.get_or_init(|| line).clone(),
        ));
        print(info);
    }));
}

/// `src/a.rs` for `loom-tests/../src/a.rs`, as the compiler names what `#[path]` takes in.
fn without_parents(file: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in file.split('/') {
        if part != ".." || parts.pop().is_none() {
            parts.push(part);
        }
    }
    parts.join("/")
}

fn text_of(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}
