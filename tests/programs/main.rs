//! Random small programs, run on real threads and compared with a specification.
//!
//! ```sh
//! # For some seconds.
//! cargo test --test programs
//! # So many programs.
//! TASKGROUP_PROGRAMS=1000000 cargo test --test programs
//! # From this seed on.
//! TASKGROUP_PROGRAMS_SEED=17 cargo test --test programs
//! # Without these features.
//! TASKGROUP_PROGRAMS_WITHOUT=run,grace cargo test --test programs
//! # With these features, although differences are known.
//! TASKGROUP_PROGRAMS_WITH=outward-limited cargo test --test programs
//! # The program of these choices, many times.
//! TASKGROUP_PROGRAM=3.0.17 cargo test --test programs
//! ```
//!
//! | file | contents |
//! |---|---|
//! | `grammar` | the parts of a program, the choice of one, and the reason why each ends |
//! | `run` | runs a program on the crate |
//! | `ledger` | the record of a run: each event and its time |
//! | `specification` | the outcomes that the meanings allow |
//! | `observer` | looks at the tree, the counts and the waits meanwhile |
//! | `shrink` | makes a failing program small |
//!
//! The programs run in child processes, so that a hang or an abort is found like any other
//! difference: one with both cores, and one with a single core, at the same time. The test watches
//! them, makes the first program that fails small, and prints it.

#![allow(unreachable_pub, reason = "the modules are those of a test")]

mod grammar;
mod ledger;
mod observer;
mod run;
mod shrink;
mod specification;

use std::env;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use grammar::{Choices, FEATURES, Size, generate};
// The same files are modules of the models, where the crate has another path.
#[allow(
    clippy::single_component_path_imports,
    reason = "gives the crate a name in this module"
)]
use taskgroup;

/// The work of a child: so many programs from a seed on, or one program so many times.
const COUNT: &str = "TASKGROUP_PROGRAMS";
const SEED: &str = "TASKGROUP_PROGRAMS_SEED";
const WITHOUT: &str = "TASKGROUP_PROGRAMS_WITHOUT";
const WITH: &str = "TASKGROUP_PROGRAMS_WITH";
const PROGRAM: &str = "TASKGROUP_PROGRAM";
const CHILD: &str = "TASKGROUP_PROGRAMS_CHILD";
/// A program that takes longer than this hangs.
const HANGS: Duration = Duration::from_secs(20);

#[test]
fn programs_do_what_they_mean() {
    if let Ok(role) = env::var(CHILD) {
        return child(&role);
    }
    if let Ok(program) = env::var(PROGRAM) {
        let found = watch(start("one", &[(PROGRAM, &program)]), HANGS);
        return conclude(&parse(&program), found.map(|(_, why)| why), false);
    }
    let (first, count) = (number(SEED).unwrap_or(0), number(COUNT));
    // Without a count the time is the limit.
    let each = count.map_or(u64::MAX / 4, |count| count.div_ceil(2));
    let children = [("cores", first), ("core", first + each)].map(|(role, seed)| {
        let (seed, count) = (seed.to_string(), each.to_string());
        let timed = if env::var(COUNT).is_ok() { "" } else { "timed" };
        start(
            &format!("{role} {timed}"),
            &[(SEED, &seed), (COUNT, &count)],
        )
    });
    let watched = children.map(|child| thread::spawn(move || watch(child, HANGS)));
    let found: Vec<_> = watched
        .into_iter()
        .filter_map(|watched| watched.join().expect("the watch does not panic"))
        .collect();
    if let Some((seed, why)) = found.into_iter().next() {
        println!("seed {seed}: {why}");
        let (_, choices) = generate(Choices::of_seed(seed), size());
        conclude(&choices, Some(why), true);
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")),
    )
}

fn size() -> Size {
    let named = |variable: &str| {
        let names = env::var(variable).unwrap_or_default();
        let bits = names
            .split(',')
            .filter(|name| !name.is_empty())
            .map(|name| {
                let known = FEATURES.iter().find(|(known, _)| *known == name);
                known
                    .unwrap_or_else(|| panic!("{variable}: {name:?} is not one of {FEATURES:?}"))
                    .1
            });
        bits.fold(0, |all, bit| all | bit)
    };
    Size {
        features: (Size::USUAL.features | named(WITH)) & !named(WITHOUT),
        ..Size::USUAL
    }
}

fn parse(program: &str) -> Vec<u32> {
    program
        .split('.')
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().expect("choices are numbers"))
        .collect()
}

fn draw(choices: &[u32]) -> String {
    choices
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(".")
}

/// Shrinks the program if it fails again, prints it, and fails.
fn conclude(choices: &[u32], why: Option<String>, shrinks: bool) {
    let Some(mut why) = why else { return };
    let mut best = choices.to_vec();
    if shrinks {
        let begun = Instant::now();
        let mut fails = |candidate: &[u32]| {
            if begun.elapsed() > Duration::from_secs(60) {
                return false;
            }
            let found = watch(start("one", &[(PROGRAM, &draw(candidate))]), HANGS / 5);
            if let Some((_, new)) = &found {
                why = new.clone();
            }
            found.is_some()
        };
        if fails(&best) {
            best = shrink::shrink(best, 2000, fails);
        } else {
            println!("it did not fail again by itself");
        }
    }
    let (program, _) = generate(Choices::of_list(best.clone()), size());
    panic!("{why}\n{PROGRAM}={}\n{program}", draw(&best));
}

/// A child, and where it is: it writes the number of each program that it begins.
struct Watched {
    child: Child,
    lines: Arc<AtomicU64>,
    reader: thread::JoinHandle<String>,
    /// Its standard error. The beginning counts, because later panics follow from the first.
    errors: thread::JoinHandle<String>,
}

fn start(role: &str, with: &[(&str, &str)]) -> Watched {
    let mut command = Command::new(env::current_exe().expect("the test has a path"));
    command.args([
        "programs_do_what_they_mean",
        "--exact",
        "--nocapture",
        "--test-threads=1",
    ]);
    command
        .env(CHILD, role)
        .env_remove(PROGRAM)
        .env_remove("RUST_BACKTRACE")
        .envs(with.iter().copied());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = Arc::new(AtomicU64::new(0));
    let (mut stdout, mut stderr) = (
        child.stdout.take().expect("piped"),
        child.stderr.take().expect("piped"),
    );
    let seen = lines.clone();
    let reader = thread::spawn(move || {
        let (mut tail, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = stdout.read(&mut buffer) {
            seen.fetch_add(read as u64, Ordering::Relaxed);
            tail.extend_from_slice(&buffer[..read]);
            if tail.len() > 65536 {
                tail.drain(..32768);
            }
        }
        String::from_utf8_lossy(&tail).into_owned()
    });
    let errors = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.by_ref().take(4096).read_to_end(&mut text);
        let _ = io::copy(&mut stderr, &mut io::sink());
        String::from_utf8_lossy(&text).into_owned()
    });
    Watched {
        child,
        lines,
        reader,
        errors,
    }
}

/// Waits for a child; the number of the program that failed, and why.
fn watch(watched: Watched, hangs: Duration) -> Option<(u64, String)> {
    let Watched {
        mut child,
        lines,
        reader,
        errors,
    } = watched;
    let (mut at, mut since) = (0, Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break Some(status);
        }
        let now = lines.load(Ordering::Relaxed);
        if now != at {
            (at, since) = (now, Instant::now());
        } else if since.elapsed() > hangs {
            child.kill().expect("it is our child");
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let (text, errors) = (reader.join().expect("reads"), errors.join().expect("reads"));
    let last = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("program ")?.parse().ok())
        .unwrap_or(0);
    match status {
        Some(status) if status.success() => {
            if let Some(done) = text.lines().rev().find(|line| line.starts_with("done ")) {
                println!("{done}");
            }
            None
        }
        Some(status) => {
            let differs = text
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix("differs "));
            Some((
                last,
                differs.map_or_else(|| format!("{status}\n{errors}"), str::to_owned),
            ))
        }
        None => Some((last, "it hangs".to_owned())),
    }
}

/// Runs programs, in a process of its own.
fn child(role: &str) {
    // The programs consist of panics; only foreign panics are printed.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<String>().map(String::as_str);
        if text
            .and_then(|text| ledger::number_in(text, "fault "))
            .is_none()
        {
            print(info);
        }
    }));
    #[cfg(target_os = "linux")]
    if role.starts_with("core ") {
        let mut one = nix::sched::CpuSet::new();
        one.set(0).expect("there is a first core");
        // A machine may forbid it; the programs are then run as in the other child.
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one);
    }
    let _observer = observer::Observer::begin();
    let size = size();
    let mut out = io::stdout();
    // The test's own line has no end yet.
    out.write_all(b"\n").expect("the test listens");
    if let Ok(choices) = env::var(PROGRAM) {
        let (program, _) = generate(Choices::of_list(parse(&choices)), size);
        let begun = Instant::now();
        for _ in 0..number(COUNT).unwrap_or(400) {
            if begun.elapsed() > Duration::from_secs(2) {
                break;
            }
            out.write_all(b"program 0\n").expect("the test listens");
            differs(&program, size);
        }
        return;
    }
    let (first, count) = (number(SEED).unwrap_or(0), number(COUNT).unwrap_or(0));
    let begun = Instant::now();
    let mut line = String::new();
    let mut done = 0;
    for seed in first..first + count {
        if role.ends_with("timed") && begun.elapsed() > Duration::from_secs(2) {
            break;
        }
        line.clear();
        let _ = writeln!(line, "program {seed}");
        out.write_all(line.as_bytes()).expect("the test listens");
        let (program, _) = generate(Choices::of_seed(seed), size);
        differs(&program, size);
        done += 1;
    }
    println!("done {done} programs ({role}) without a difference");
}

/// Ends the process if the program does something that it may not do.
fn differs(program: &grammar::Program, size: Size) {
    let entries = run::run(program);
    if let Err(why) = specification::check(&entries, size.features) {
        println!("differs {why}");
        if env::var_os("TASKGROUP_PROGRAMS_TRACE").is_some() {
            entries.iter().for_each(|entry| println!("{entry:?}"));
        }
        std::process::exit(1);
    }
}
