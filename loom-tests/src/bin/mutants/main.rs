//! Breaks the crate in one place at a time and sees whether a model notices.
//!
//! ```text
//! cargo run --release -p taskgroup-loom-tests --bin mutants -- [--list] [--only PATTERN].. [--models PATTERN] [--every] [--table PATH]
//! ```
//!
//! `--list` names the mutants and runs nothing, and `--only` takes those with a PATTERN in
//! `file:line` or in their words. `--models` runs the models with PATTERN in their names and no
//! others. `--every` goes on after the first model that fails and ends with those that never did.
//! The table goes to PATH, relative to the workspace, or to `target/mutants.md`.
//!
//! # What is broken
//!
//! - Each ordering, written `Ordering::X` or by its bare name in an atomic's call, becomes the next
//!   weaker one.
//! - Each wake is dropped: the statement that calls one of `WAKES` in `mutate.rs`.
//! - Each guard is dropped: what its author marked, behind the code and on its line, with `//
//!   guard: name`.
//!
//! A guard is a re-check, a drain or any other step that is there for one order of events. Its name
//! is one word, used once in its file. Behind a `{`, rustfmt moves the mark to the line below,
//! where it means the same. What goes depends on the marked line:
//!
//! | the line | is changed |
//! |---|---|
//! | `self.drain_hooks(); // guard: drain-late-hooks` | the statement that ends there is dropped |
//! | `if self.is_cancelled() { // guard: re-check-before-park`, also `else if` and `while` | the condition is false |
//! | `&& self.queue.is_empty() // guard: re-check-queue`, also `\|\|` | the operand is dropped |
//! | `for hook in late { // guard: run-late-hooks`, or any other block | the block is dropped |
//! | `State::Late => self.run(), // guard: run-late` or a last expression | becomes `()` |
//! | `let late = self.late(); // guard: see-late => false` | the value becomes what follows `=>`, on any line with a value |
//!
//! # What is believed
//!
//! The workspace is copied, and all mutants are written into the copy, each behind a switch of its
//! own, so that it is compiled once. A number in the environment turns one on. With none on the
//! models must pass first. Then the verdict is one of
//!
//! - **caught**: the runner named a model that failed, with its reason;
//! - **timeout**: no model failed, and the clock stopped one;
//! - **survived**: every model passed.
//!
//! Whether the code of a mutant that survived was run at all is said too. Anything else stops the
//! tool, a mutant that does not compile included. It exits with 1 unless each mutant is caught or
//! stands in `survivors.txt` with a reason, and if a listed one was caught or is gone. The models
//! that must fail do not run: they break other code.

mod mutate;
mod scan;
mod survivors;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Instant;
use std::{env, fs, io, process};

use taskgroup::models::report::{End, Report};

use crate::mutate::{Mutant, combined, mutants};
use crate::scan::Source;

const PACKAGE: &str = "taskgroup-loom-tests";
const TOOL: &str = "loom-tests/src/bin/mutants/main.rs";

/// The module of the crate that every other may use, and what the copy has in it to turn a mutant
/// on.
const SWITCHES: &str = "src/facade/model.rs";
const SWITCH: &str = r#"
/// Whether the mutant of this number is the one to run.
pub(crate) fn is_broken(number: usize) -> bool {
    static BROKEN: std::sync::LazyLock<Option<usize>> =
        std::sync::LazyLock::new(|| std::env::var("TASKGROUP_MUTANT").ok()?.parse().ok());
    static REACHED: std::sync::Once = std::sync::Once::new();
    let broken = *BROKEN == Some(number);
    if broken {
        REACHED.call_once(|| {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/reached"), "").expect("the copy can be written to");
        });
    }
    broken
}
"#;
/// What a mutant leaves behind whose code was run.
const REACHED: &str = "loom-tests/reached";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let options = Options::parse(env::args().skip(1))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is in the workspace");
    let (all, hidden) = scan_workspace(root)?;
    let listed =
        read(&root.join("loom-tests/survivors.txt")).and_then(|text| survivors::parse(&text))?;
    let chosen: Vec<&Mutant> = all
        .iter()
        .filter(|mutant| options.chooses(mutant))
        .collect();
    if options.list {
        chosen
            .iter()
            .for_each(|mutant| println!("{}:{}: {}", mutant.file, mutant.line, mutant.what));
        println!(
            "{} mutants; {hidden} more in code that the models do not compile",
            chosen.len()
        );
        return Ok(ExitCode::SUCCESS);
    }
    if chosen.is_empty() {
        return Err("there is nothing to mutate".into());
    }

    let copy = Copy::of(root, &all, &options)?;
    println!("building and running the models unchanged");
    let (limit, models) = copy.baseline()?;
    let mut rows = Vec::new();
    for (number, mutant) in (1..).zip(&chosen) {
        let started = Instant::now();
        let id = all
            .iter()
            .position(|other| std::ptr::eq(other, *mutant))
            .expect("it was chosen from these");
        let verdict = copy.verdict(id, mutant, limit)?;
        let place = format!("{}:{}: {}", mutant.file, mutant.line, mutant.what);
        println!(
            "{number}/{} {place}\n    {verdict} ({:.0} s)",
            chosen.len(),
            started.elapsed().as_secs_f64()
        );
        rows.push((*mutant, verdict));
    }

    let table = table(&rows, hidden, &listed);
    let path = root.join(options.table.as_deref().unwrap_or("target/mutants.md"));
    fs::create_dir_all(path.parent().unwrap_or(root))
        .and_then(|()| fs::write(&path, &table))
        .map_err(at(&path))?;
    println!("\n{table}");
    if options.every {
        let failed: BTreeSet<_> = rows
            .iter()
            .flat_map(|(_, verdict)| verdict.models())
            .collect();
        let never: Vec<_> = models
            .iter()
            .filter(|model| !failed.contains(model))
            .map(String::as_str)
            .collect();
        println!(
            "{} models that no mutant made fail: {}",
            never.len(),
            never.join(", ")
        );
    }

    let complaints = complaints(&rows, &all, &listed);
    complaints
        .iter()
        .for_each(|complaint| println!("{complaint}"));
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

#[derive(Default)]
struct Options {
    list: bool,
    only: Vec<String>,
    models: Option<String>,
    every: bool,
    table: Option<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => options.list = true,
                "--every" => options.every = true,
                "--only" => options
                    .only
                    .push(arguments.next().ok_or("--only needs a pattern")?),
                "--models" => {
                    options.models = Some(arguments.next().ok_or("--models needs a pattern")?)
                }
                "--table" => options.table = Some(arguments.next().ok_or("--table needs a path")?),
                _ => {
                    return Err(format!(
                        "unknown argument {argument}; the top of {TOOL} says which there are"
                    ));
                }
            }
        }
        Ok(options)
    }

    fn chooses(&self, mutant: &Mutant) -> bool {
        let place = format!("{}:{}: {}", mutant.file, mutant.line, mutant.what);
        self.only.is_empty() || self.only.iter().any(|pattern| place.contains(pattern))
    }
}

/// The mutants of every file that the models compile, and how many more there are in code that they
/// do not.
fn scan_workspace(root: &Path) -> Result<(Vec<Mutant>, usize), String> {
    let mut files = Vec::new();
    for_each_file(&root.join("src"), &|_| true, &mut |path| {
        if path.extension() == Some(OsStr::new("rs")) {
            files.push(path.to_owned());
        }
        Ok(())
    })?;
    files.sort();
    let texts: BTreeMap<PathBuf, String> = files
        .into_iter()
        .map(|path| read(&path).map(|text| (path, text)))
        .collect::<Result<_, _>>()?;

    let mut hidden_modules = BTreeSet::new();
    for (path, text) in &texts {
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        // The children of `a.rs` are in `a/`; those of these three lie beside them.
        let children = if ["lib", "main", "mod"].contains(&stem) {
            path.with_file_name("")
        } else {
            path.with_extension("")
        };
        hidden_modules.extend(
            Source::new(text)
                .hidden_modules()
                .into_iter()
                .map(|module| children.join(module)),
        );
    }

    let (mut all, mut hidden) = (Vec::new(), 0);
    for (path, text) in &texts {
        let file = path
            .strip_prefix(root)
            .unwrap_or(path)
            .display()
            .to_string();
        let (found, beside) = mutants(&file, &Source::new(text))?;
        hidden += beside;
        if hidden_modules
            .iter()
            .any(|module| path.starts_with(module) || path.with_extension("") == *module)
        {
            hidden += found.len();
        } else {
            all.extend(found);
        }
    }
    Ok((all, hidden))
}

/// What became of a mutant.
enum Verdict {
    /// By these models, with the reason that the first of them gave.
    Caught {
        models: Vec<String>,
        reason: String,
    },
    Timeout {
        model: String,
    },
    Survived {
        reached: bool,
    },
}

impl Verdict {
    fn models(&self) -> &[String] {
        match self {
            Verdict::Caught { models, .. } => models,
            Verdict::Timeout { .. } | Verdict::Survived { .. } => &[],
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Caught { models, reason } => {
                write!(f, "caught by {}: {reason}", models.join(", "))
            }
            Verdict::Timeout { model } => write!(f, "timeout in {model}"),
            Verdict::Survived { reached: true } => f.write_str("survived"),
            Verdict::Survived { reached: false } => f.write_str("survived: its code was not run"),
        }
    }
}

/// A copy of the workspace to break, removed when it is dropped.
struct Copy<'a> {
    root: PathBuf,
    /// What is built stays with the workspace: the dependencies serve the next sweep.
    target: PathBuf,
    options: &'a Options,
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl<'a> Copy<'a> {
    fn of(workspace: &Path, mutants: &[Mutant], options: &'a Options) -> Result<Copy<'a>, String> {
        let root = env::temp_dir().join(format!("taskgroup-mutants-{}", process::id()));
        let copy = Copy {
            root,
            target: workspace.join("target/mutants"),
            options,
        };
        let wanted = |path: &Path| {
            ![".git", "target"]
                .iter()
                .any(|name| path.file_name() == Some(OsStr::new(name)))
        };
        for_each_file(workspace, &wanted, &mut |path| {
            let target = copy.root.join(
                path.strip_prefix(workspace)
                    .expect("the file is in the workspace"),
            );
            fs::create_dir_all(target.parent().expect("a file has a folder"))?;
            fs::write(target, fs::read(path)?)
        })?;
        // This tool has no part in the models.
        copy.write(TOOL, "fn main() {}\n")?;
        let mut files: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
        for (id, mutant) in mutants.iter().enumerate() {
            files.entry(&mutant.file).or_default().push((id, mutant));
        }
        for (file, mutants) in files {
            let text = read(&copy.root.join(file))?;
            copy.write(
                file,
                &combined(&text, &mutants, |id| {
                    format!("crate::facade::is_broken({id})")
                }),
            )?;
        }
        let switches = read(&copy.root.join(SWITCHES))?;
        copy.write(SWITCHES, &(switches + SWITCH))?;
        Ok(copy)
    }

    /// Runs the unchanged models. What they take decides when the clock stops a mutant's: the
    /// answer is in seconds, with the names of the models.
    fn baseline(&self) -> Result<(u64, Vec<String>), String> {
        let build = self
            .cargo()
            .arg("--no-run")
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        if !build.status.success() {
            return Err(format!(
                "the workspace does not compile with its mutants:\n{}",
                text(&build.stderr)
            ));
        }
        let (output, reports) = self.run_models(None, self.options.models.as_deref())?;
        if !output.status.success() || reports.iter().any(|report| report.end != End::Complete) {
            return Err(format!(
                "the unchanged models fail:\n{}{}",
                text(&output.stdout),
                text(&output.stderr)
            ));
        }
        let slowest = reports
            .iter()
            .map(|report| report.seconds)
            .reduce(f64::max)
            .ok_or("no model of the crate ran")?;
        println!(
            "{} models passed, the slowest in {slowest:.2} s",
            reports.len()
        );
        Ok((
            10 + 5 * slowest.ceil() as u64,
            reports.into_iter().map(|report| report.name).collect(),
        ))
    }

    fn verdict(&self, id: usize, mutant: &Mutant, limit: u64) -> Result<Verdict, String> {
        let reached = self.root.join(REACHED);
        let _ = fs::remove_file(&reached);
        let pattern = self.options.models.as_deref();
        if pattern.is_none() && !self.options.every {
            // Most are caught by the models of their own area, which are tried first to save time.
            let (_, reports) = self.run_models(Some((id, limit)), Some(mutant.area()))?;
            if let Some(caught) = caught(reports) {
                return Ok(caught);
            }
        }
        let (output, reports) = self.run_models(Some((id, limit)), pattern)?;
        let stopped = reports
            .iter()
            .find(|report| report.end == End::Truncated)
            .map(|report| report.name.clone());
        match (caught(reports), stopped) {
            (Some(caught), _) => Ok(caught),
            (None, Some(model)) => Ok(Verdict::Timeout { model }),
            (None, None) if output.status.success() => Ok(Verdict::Survived {
                reached: reached.exists(),
            }),
            _ => Err(format!(
                "the runner failed and named no model:\n{}{}",
                text(&output.stdout),
                text(&output.stderr)
            )),
        }
    }

    /// Runs the models with `pattern` in their names: unchanged, or with one mutant and for so many
    /// seconds each.
    fn run_models(
        &self,
        mutant: Option<(usize, u64)>,
        pattern: Option<&str>,
    ) -> Result<(Output, Vec<Report>), String> {
        let mut command = self.cargo();
        if let Some((id, limit)) = mutant {
            command
                .env("TASKGROUP_MUTANT", id.to_string())
                .env("TASKGROUP_MODELS_LIMIT", limit.to_string());
            if !self.options.every {
                command.env("TASKGROUP_MODELS_FAIL_FAST", "1");
            }
        }
        let output = command
            .args(["--", "--skip", "broken_", "--skip", "runner_"])
            .args(pattern)
            .output();
        let output = output.map_err(|error| format!("cargo: {error}"))?;
        let reports = text(&output.stdout)
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect();
        Ok((output, reports))
    }

    fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .current_dir(&self.root)
            .args(["test", "-p", PACKAGE, "--test", "models"]);
        for (name, _) in env::vars_os() {
            // Cargo's and the models' own settings are for the workspace that this was started in.
            let set = [
                "CARGO_TARGET_DIR",
                "CARGO_BUILD_TARGET_DIR",
                "CARGO_ENCODED_RUSTFLAGS",
                "CARGO_TERM_QUIET",
            ];
            if set.iter().any(|other| name == *other)
                || name.to_string_lossy().starts_with("TASKGROUP_")
            {
                command.env_remove(name);
            }
        }
        // A mutant leaves variables unused and conditions constant; a lint that is denied is not a
        // catch.
        command
            .env("RUSTFLAGS", "--cap-lints=warn")
            .env("CARGO_TARGET_DIR", &self.target);
        command.env("CARGO_TERM_COLOR", "never");
        command
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.root.join(file);
        fs::write(&path, text).map_err(at(&path))
    }
}

/// The verdict on a mutant with which a model has failed.
fn caught(reports: Vec<Report>) -> Option<Verdict> {
    let mut failed = reports
        .into_iter()
        .filter_map(|Report { name, end, .. }| match end {
            End::Failed(reason) => Some((name, reason)),
            _ => None,
        });
    let (first, reason) = failed.next()?;
    Some(Verdict::Caught {
        models: [first]
            .into_iter()
            .chain(failed.map(|(name, _)| name))
            .collect(),
        reason,
    })
}

fn table(rows: &[(&Mutant, Verdict)], hidden: usize, listed: &BTreeMap<String, String>) -> String {
    let mut table = summary(rows);
    table += "\n| place | mutation | verdict | model | reason |\n|---|---|---|---|---|\n";
    let (mut caught, mut timeouts, mut survived) = (0, 0, 0);
    for (mutant, verdict) in rows {
        let why = || listed.get(&mutant.key()).cloned().unwrap_or_default();
        let (count, verdict, model, reason) = match verdict {
            Verdict::Caught { models, reason } => (
                &mut caught,
                "caught",
                format!("`{}`", models.join("`, `")),
                reason.clone(),
            ),
            Verdict::Timeout { model } => (&mut timeouts, "timeout", format!("`{model}`"), why()),
            Verdict::Survived { reached: true } => {
                (&mut survived, "survived", String::new(), why())
            }
            Verdict::Survived { reached: false } => {
                (&mut survived, "not run", String::new(), why())
            }
        };
        *count += 1;
        let place = format!("{}:{}", mutant.file, mutant.line);
        let cells = [
            place,
            format!("`{}`", mutant.what),
            verdict.into(),
            model,
            reason,
        ];
        table += &format!(
            "| {} |\n",
            cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
        );
    }
    table += &format!(
        "\n{} mutants: {caught} caught, {survived} survived, {timeouts} timed out. \
         {hidden} more are in code that the models do not compile.\n",
        rows.len()
    );
    table
}

/// The same for each file, with the models that caught the most.
fn summary(rows: &[(&Mutant, Verdict)]) -> String {
    let mut files: BTreeMap<&str, (usize, usize, BTreeMap<&str, usize>)> = BTreeMap::new();
    for (mutant, verdict) in rows {
        let (all, caught, by) = files.entry(&mutant.file).or_default();
        *all += 1;
        if let Some(model) = verdict.models().first() {
            *caught += 1;
            *by.entry(model).or_default() += 1;
        }
    }
    let mut table =
        String::from("| file | mutants | caught | most of them by |\n|---|---:|---:|---|\n");
    for (file, (all, caught, by)) in files {
        let mut by: Vec<_> = by.into_iter().collect();
        by.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        let by: Vec<_> = by
            .into_iter()
            .take(3)
            .map(|(model, times)| format!("`{model}` {times}"))
            .collect();
        table += &format!("| `{file}` | {all} | {caught} | {} |\n", by.join(", "));
    }
    table
}

/// What has to be done about the survivors, or about their list.
fn complaints(
    rows: &[(&Mutant, Verdict)],
    all: &[Mutant],
    listed: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for (mutant, verdict) in rows {
        match (verdict, listed.contains_key(&mutant.key())) {
            (Verdict::Caught { .. }, true) => complaints.push(format!("stale: {}", mutant.key())),
            (Verdict::Survived { .. } | Verdict::Timeout { .. }, false) => {
                complaints.push(format!("unexplained: {}", mutant.key()));
            }
            _ => {}
        }
    }
    let gone = listed
        .keys()
        .filter(|key| !all.iter().any(|mutant| mutant.key() == **key));
    complaints.extend(gone.map(|key| format!("stale: {key}")));
    complaints
}

fn for_each_file(
    folder: &Path,
    wanted: &dyn Fn(&Path) -> bool,
    each: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> Result<(), String> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if !wanted(&path) {
            continue;
        }
        if path.is_dir() {
            for_each_file(&path, wanted, each)?;
        } else {
            each(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::Form;

    fn mutant(what: &str) -> Mutant {
        Mutant {
            file: "src/a.rs".into(),
            line: 1,
            what: what.into(),
            span: 0..0,
            with: String::new(),
            form: Form::Value,
        }
    }

    #[test]
    fn what_nobody_explained_and_what_is_explained_for_nothing_is_complained_of() {
        let mutants = ["new", "known", "slow", "idle", "caught"].map(mutant);
        let caught = Verdict::Caught {
            models: vec!["scope_a".into(), "scope_b".into()],
            reason: "deadlock".into(),
        };
        let slow = Verdict::Timeout {
            model: "scope_a".into(),
        };
        let [survived, known] = [(); 2].map(|()| Verdict::Survived { reached: true });
        let verdicts = [
            survived,
            known,
            slow,
            Verdict::Survived { reached: false },
            caught,
        ];
        let rows: Vec<_> = mutants.iter().zip(verdicts).collect();
        let listed =
            survivors::parse("src/a.rs: known\n  r\nsrc/a.rs: caught\n  r\nsrc/a.rs: gone\n  r\n")
                .unwrap();
        assert_eq!(
            complaints(&rows, &mutants, &listed),
            [
                "unexplained: src/a.rs: new",
                "unexplained: src/a.rs: slow",
                "unexplained: src/a.rs: idle",
                "stale: src/a.rs: caught",
                "stale: src/a.rs: gone",
            ]
        );
        let table = table(&rows, 7, &listed);
        assert!(
            table.contains("| src/a.rs:1 | `known` | survived |  | r |"),
            "{table}"
        );
        assert!(
            table.contains("| src/a.rs:1 | `caught` | caught | `scope_a`, `scope_b` | deadlock |"),
            "{table}"
        );
        assert!(
            table.contains("| `src/a.rs` | 5 | 1 | `scope_a` 1 |"),
            "{table}"
        );
        assert!(
            table.contains("5 mutants: 1 caught, 3 survived, 1 timed out. 7 more"),
            "{table}"
        );
    }

    #[test]
    fn options_are_known_or_refused() {
        let parse = |line: &str| Options::parse(line.split_whitespace().map(str::to_owned));
        let options = parse("--list --only a.rs:1").unwrap();
        assert!(options.list && options.chooses(&mutant("x")));
        assert!(!parse("--only b.rs").unwrap().chooses(&mutant("x")));
        assert!(parse("--onyl b").is_err() && parse("--only").is_err());
    }
}
