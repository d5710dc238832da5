//! Explores a model in a process of its own, because a failing model may abort.

use std::any::Any;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::Path;
use std::process::{self, Command, ExitCode, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, thread};

use libtest_mimic::Failed;
use taskgroup::faults;
use taskgroup::models::report::{End, Report};
use taskgroup::models::{self, Bound, Expect, Model};

/// The first argument of a child; the name of its model, the bound and the fault follow.
const EXPLORE: &str = "--explore";

/// The prefix of the line in which a child lists the faults that its model has come to.
const REACHED: &str = "reached";

/// The shown length of a failed model's stderr.
const STDERR_LINES: usize = 40;

/// Far beyond any execution that ends, so that it stops only endless executions.
const MAX_BRANCHES: usize = 20_000;

/// Explores a model and returns the exit code, if this process is a child.
pub(crate) fn child() -> Option<ExitCode> {
    let arguments: Vec<String> = env::args().collect();
    match &arguments[..] {
        [_, first, name, bound, fault] if first == EXPLORE => Some(explore(name, bound, fault)),
        _ => None,
    }
}

/// A bound as the argument of a child.
fn argument(bound: Bound) -> String {
    match bound {
        Bound::Exhaustive => "exhaustive".into(),
        Bound::Preemptions(most) => most.to_string(),
    }
}

/// How a child ended, before it is judged.
pub(crate) struct Outcome {
    /// `None` if the time limit stopped it.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) report: Report,
    /// The faults with code that was run, if the process lived to report them.
    #[allow(dead_code, reason = "for the sweep alone")]
    pub(crate) reached: Vec<usize>,
    pub(crate) stderr: String,
}

/// Returns the command that explores a model, with its output in pipes.
fn exploring(model: &Model, bound: Bound, fault: Option<&str>) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    let bound_argument = argument(bound);
    command.args([
        EXPLORE,
        model.name,
        &bound_argument,
        fault.unwrap_or_default(),
    ]);
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

    Ok(command)
}

/// Reads the report of a child, and the faults that it has come to.
fn read_report(stdout: impl Read) -> (Option<Report>, Vec<usize>) {
    let (mut report, mut reached) = (None, Vec::new());
    for line in lines(stdout) {
        if let Ok(line) = line.parse::<Report>() {
            report = Some(line);
        } else if let Some(numbers) = line.strip_prefix(REACHED) {
            reached = numbers.split_whitespace().flat_map(str::parse).collect();
        }
    }
    (report, reached)
}

/// Reads the last lines of what a child says.
fn read_last_lines(stderr: impl Read) -> String {
    let mut last = VecDeque::new();
    for line in lines(stderr) {
        if last.len() == STDERR_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    Vec::from(last).join("\n")
}

/// Explores a model, with the fault `fault` on.
pub(crate) fn run_child(
    model: &Model,
    bound: Bound,
    fault: Option<&str>,
    limit: Duration,
) -> Result<Outcome, Failed> {
    let mut command = exploring(model, bound, fault)?;
    let started = Instant::now();
    let mut child = command.spawn()?;

    // The two threads drop their senders when the pipes close.
    let (open, closed) = mpsc::channel::<()>();
    let (pipe, both) = (child.stdout.take().unwrap(), open.clone());
    let stdout = thread::spawn(move || {
        let read = read_report(pipe);
        drop(both);
        read
    });
    let pipe = child.stderr.take().unwrap();
    let stderr = thread::spawn(move || {
        let read = read_last_lines(pipe);
        drop(open);
        read
    });

    // Both pipes close when the child ends, so that there is no need to ask it again and again.
    let in_time = closed.recv_timeout(limit) != Err(RecvTimeoutError::Timeout);
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    let (report, reached) = stdout.join().unwrap();
    let report = report.unwrap_or_else(|| Report {
        name: model.name.into(),
        bound: bound.to_string(),
        executions: None,
        seconds: started.elapsed().as_secs_f64(),
        end: End::Failed(format!("it ended without a report: {status}")),
    });
    Ok(Outcome {
        status: in_time.then_some(status),
        report,
        reached,
        stderr: stderr.join().unwrap(),
    })
}

fn lines(pipe: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(pipe)
        .split(b'\n')
        .map_while(Result::ok)
        .map(|line| String::from_utf8_lossy(&line).into_owned())
}

/// Judges whether the model ended as it must. Only the report counts, and only with the exit status
/// that belongs to it.
pub(crate) fn judge(model: &Model, outcome: Outcome) -> (Report, Result<(), Failed>) {
    let Outcome {
        status,
        mut report,
        stderr,
        ..
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

/// A model for the time limit to stop; not among the models, because it never passes.
pub(crate) const ENDLESS: Model = Model {
    name: "runner_endless",
    shows: "the time limit stops a model that does not end",
    push: Bound::Exhaustive,
    deep: Bound::Exhaustive,
    body: || loop {
        thread::park();
    },
    expect: Expect::Holds,
    fault: None,
};

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
fn explore(name: &str, bound: &str, fault: &str) -> ExitCode {
    // The parent holds the other end: if it is killed, no model runs on without it.
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(1);
    });
    let mut known = models::all().into_iter().chain([ENDLESS]);
    let model = known
        .find(|model| model.name == name)
        .expect("the parent names a model");
    let bound = match bound {
        "exhaustive" => Bound::Exhaustive,
        most => Bound::Preemptions(most.parse().expect("the parent names a bound")),
    };
    let is_own_bound = [model.push, model.deep].contains(&bound);
    if !fault.is_empty() {
        faults::switch_on(faults::number(fault).expect("the parent names a fault"));
    }
    let exploration = EXPLORATION.get_or_init(|| Exploration {
        model,
        bound,
        started: Instant::now(),
        executions: AtomicU64::new(0),
        failure: OnceLock::new(),
    });
    report_panics(exploration);

    let explored = panic::catch_unwind(AssertUnwindSafe(|| {
        unlimited(bound).check(move || {
            exploration.executions.fetch_add(1, Ordering::Relaxed);
            (model.body)();
        });
    }));
    let reached: Vec<String> = faults::reached().map(|number| number.to_string()).collect();
    println!("{REACHED} {}", reached.join(" "));
    match (explored, exploration.failure.get()) {
        // At a lower bound than its own a model need not come to its events.
        (Ok(()), None) => match models::never_seen().filter(|_| is_own_bound) {
            None => {
                exploration.print(End::Complete);
                return ExitCode::SUCCESS;
            }
            // A model that never comes to one of its events shows nothing.
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

/// Returns an exploration that ends only when nothing is left to explore.
fn unlimited(bound: Bound) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = MAX_BRANCHES;
    builder.preemption_bound = match bound {
        Bound::Exhaustive => None,
        Bound::Preemptions(most) => Some(most),
    };

    builder.max_permutations = None;
    builder.max_duration = None;
    builder.checkpoint_file = None;
    builder
}

/// Reports the first panic where it happens, for the process may not live to report it afterwards:
/// the threads that a failed execution leaves behind are unwound, and loom panics in their
/// destructors.
///
/// A payload that is not text is a panic on purpose, and is not reported.
fn report_panics(exploration: &'static Exploration) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let Some(text) = text_of(info.payload()) else {
            return;
        };
        if exploration.failure.get().is_some() {
            // A consequence of the first panic. Std would print all the frames of a panic
            // within a panic.
            eprintln!("then: {info}");
            return;
        }
        let place = info
            .location()
            .and_then(|at| Some(format!(" ({}:{})", place_of(at.file())?, at.line())));
        let line =
            text.split_whitespace().collect::<Vec<_>>().join(" ") + &place.unwrap_or_default();
        exploration.print(End::Failed(
            exploration.failure.get_or_init(|| line).clone(),
        ));
        print(info);
    }));
}

/// Returns `src/a.rs` for a file of the copied sources, `models/a.rs` for a model, and none for a
/// file of loom, because its message says more.
fn place_of(file: &str) -> Option<&str> {
    if let Some(copied) = file.strip_prefix(faults::SOURCES) {
        return Some(copied);
    }
    let is_ours = Path::new(file).is_relative();
    is_ours.then(|| file.trim_start_matches("loom-tests/src/../"))
}

fn text_of(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}
