//! Breaks the crate in one place at a time and sees whether a model notices.
//!
//! ```text
//! cargo run --release -p taskgroup-loom-tests --bin mutants -- [--list] [--only PATTERN] [--table PATH]
//! ```
//!
//! `--list` names the mutants and runs nothing, `--only` takes those with PATTERN in `file:line` or in their words, and
//! the table goes to PATH, relative to the workspace, or to `target/mutants.md`.
//!
//! # What is broken
//!
//! - Each ordering, written `Ordering::X` or by its bare name in an atomic's call, becomes the next weaker one.
//! - Each wake is dropped: the statement that calls one of `WAKES` in `mutate.rs`.
//! - Each guard is dropped: what its author marked, behind the code and on its line, with `// guard: name`.
//!
//! A guard is a re-check, a drain or any other step that is there for one order of events. Its name is one word, used
//! once in its file. Behind a `{`, rustfmt moves the mark to the line below, where it means the same. What goes depends
//! on the marked line:
//!
//! | the line | is changed |
//! |---|---|
//! | `self.drain_hooks(); // guard: drain-late-hooks` | the statement that ends there is dropped |
//! | `if self.is_cancelled() { // guard: re-check-before-park`, also `else if` and `while` | the condition is false |
//! | `&& self.queue.is_empty() // guard: re-check-queue`, also `\|\|` and a link `.filter(..)` | the operand or link is dropped |
//! | `for hook in late { // guard: run-late-hooks`, or any other block | the block is dropped |
//! | `State::Late => self.run(), // guard: run-late` or a last expression | becomes `()` |
//! | `let late = self.late(); // guard: see-late => false` | the value becomes what follows `=>`, on any line with a value |
//!
//! # What is believed
//!
//! The workspace is copied and its models must pass there first. Each mutant is written with a new modification time
//! and cargo must say that it compiled the models again. Then the verdict is one of
//!
//! - **caught**: the runner named a model that failed, with its reason;
//! - **unviable**: it does not compile;
//! - **timeout**: no model failed, and the clock stopped one;
//! - **survived**: every model passed.
//!
//! Anything else stops the tool. It exits with 1 unless each mutant is caught or stands in `survivors.txt` with a reason,
//! and if a listed one was caught or is gone. The models that must fail do not run: they break other code.

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

use crate::mutate::{mutants, Mutant};
use crate::scan::Source;

const PACKAGE: &str = "taskgroup-loom-tests";
const TOOL: &str = "loom-tests/src/bin/mutants/main.rs";

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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the workspace");
    let (all, hidden) = scan_workspace(root)?;
    let listed = read(&root.join("loom-tests/survivors.txt")).and_then(|text| survivors::parse(&text))?;
    let chosen: Vec<&Mutant> = all.iter().filter(|mutant| options.chooses(mutant)).collect();
    if options.list {
        chosen.iter().for_each(|mutant| println!("{}:{}: {}", mutant.file, mutant.line, mutant.what));
        println!("{} mutants; {hidden} more in code that the models do not compile", chosen.len());
        return Ok(ExitCode::SUCCESS);
    }
    if chosen.is_empty() {
        return Err("there is nothing to mutate".into());
    }

    let copy = Copy::of(root)?;
    println!("building and running the models unchanged");
    let limit = copy.baseline()?;
    let mut rows = Vec::new();
    for (number, mutant) in (1..).zip(&chosen) {
        let started = Instant::now();
        let verdict = copy.try_mutant(mutant, limit)?;
        let place = format!("{}:{}: {}", mutant.file, mutant.line, mutant.what);
        println!("{number}/{} {place}\n    {verdict} ({:.0} s)", chosen.len(), started.elapsed().as_secs_f64());
        rows.push((*mutant, verdict));
    }

    let table = table(&rows, hidden, &listed);
    let path = root.join(options.table.as_deref().unwrap_or("target/mutants.md"));
    fs::create_dir_all(path.parent().unwrap_or(root)).and_then(|()| fs::write(&path, &table)).map_err(at(&path))?;
    println!("\n{table}");

    let complaints = complaints(&rows, &all, &listed);
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[derive(Default)]
struct Options {
    list: bool,
    only: Option<String>,
    table: Option<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => options.list = true,
                "--only" => options.only = Some(arguments.next().ok_or("--only needs a pattern")?),
                "--table" => options.table = Some(arguments.next().ok_or("--table needs a path")?),
                _ => return Err(format!("unknown argument {argument}; there are --list, --only PATTERN and --table PATH")),
            }
        }
        Ok(options)
    }

    fn chooses(&self, mutant: &Mutant) -> bool {
        let place = format!("{}:{}: {}", mutant.file, mutant.line, mutant.what);
        self.only.as_ref().is_none_or(|pattern| place.contains(pattern))
    }
}

/// The mutants of every file that the models compile, and how many more there are in code that they do not.
fn scan_workspace(root: &Path) -> Result<(Vec<Mutant>, usize), String> {
    let mut files = Vec::new();
    for_each_file(&root.join("src"), &|_| true, &mut |path| {
        if path.extension() == Some(OsStr::new("rs")) {
            files.push(path.to_owned());
        }
        Ok(())
    })?;
    files.sort();
    let texts: BTreeMap<PathBuf, String> =
        files.into_iter().map(|path| read(&path).map(|text| (path, text))).collect::<Result<_, _>>()?;

    let mut hidden_modules = BTreeSet::new();
    for (path, text) in &texts {
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        // The children of `a.rs` are in `a/`; those of these three lie beside them.
        let children = if ["lib", "main", "mod"].contains(&stem) { path.with_file_name("") } else { path.with_extension("") };
        hidden_modules.extend(Source::new(text).hidden_modules().into_iter().map(|module| children.join(module)));
    }

    let (mut all, mut hidden) = (Vec::new(), 0);
    for (path, text) in &texts {
        let file = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let (found, beside) = mutants(&file, &Source::new(text))?;
        hidden += beside;
        if hidden_modules.iter().any(|module| path.starts_with(module) || path.with_extension("") == *module) {
            hidden += found.len();
        } else {
            all.extend(found);
        }
    }
    Ok((all, hidden))
}

/// What became of a mutant.
enum Verdict {
    Caught { model: String, reason: String },
    Unviable,
    Timeout { model: String },
    Survived,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Caught { model, reason } => write!(f, "caught by {model}: {reason}"),
            Verdict::Unviable => f.write_str("unviable"),
            Verdict::Timeout { model } => write!(f, "timeout in {model}"),
            Verdict::Survived => f.write_str("survived"),
        }
    }
}

/// A copy of the workspace to break, removed when it is dropped.
struct Copy {
    root: PathBuf,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Copy {
    fn of(workspace: &Path) -> Result<Copy, String> {
        let copy = Copy { root: env::temp_dir().join(format!("taskgroup-mutants-{}", process::id())) };
        let wanted = |path: &Path| ![".git", "target"].iter().any(|name| path.file_name() == Some(OsStr::new(name)));
        for_each_file(workspace, &wanted, &mut |path| {
            let target = copy.root.join(path.strip_prefix(workspace).expect("the file is in the workspace"));
            fs::create_dir_all(target.parent().expect("a file has a folder"))?;
            // Read and written, not copied: cargo goes by modification times, and these must be new.
            fs::write(target, fs::read(path)?)
        })?;
        // This tool has no part in the models and would be built again for each mutant.
        copy.write(TOOL, "fn main() {}\n")?;
        Ok(copy)
    }

    /// Runs the unchanged models. What they take decides when the clock stops a mutant's: the answer is in seconds.
    fn baseline(&self) -> Result<u64, String> {
        let build = self.build()?;
        if !build.status.success() {
            return Err(format!("the unchanged workspace does not compile:\n{}", text(&build.stderr)));
        }
        let (output, reports) = self.run_models(None, None)?;
        if !output.status.success() || reports.iter().any(|report| report.end != End::Complete) {
            return Err(format!("the unchanged models fail:\n{}{}", text(&output.stdout), text(&output.stderr)));
        }
        let slowest = reports.iter().map(|report| report.seconds).reduce(f64::max).ok_or("no model of the crate ran")?;
        println!("{} models passed, the slowest in {slowest:.2} s", reports.len());
        Ok(10 + 5 * slowest.ceil() as u64)
    }

    fn try_mutant(&self, mutant: &Mutant, limit: u64) -> Result<Verdict, String> {
        let original = read(&self.root.join(&mutant.file))?;
        self.write(&mutant.file, &mutant.apply(&original))?;
        let verdict = self.verdict(mutant.area(), limit);
        self.write(&mutant.file, &original)?;
        verdict
    }

    fn verdict(&self, area: &str, limit: u64) -> Result<Verdict, String> {
        let build = self.build()?;
        let said = text(&build.stderr);
        if !said.contains(&format!("Compiling {PACKAGE} ")) {
            return Err(format!("cargo did not compile the mutant:\n{said}"));
        }
        if !build.status.success() {
            let refused = said.contains(&format!("could not compile `{PACKAGE}` (lib)"));
            return if refused { Ok(Verdict::Unviable) } else { Err(format!("cargo failed, and not on the mutant:\n{said}")) };
        }
        // Most are caught by the models of their own area, which are tried first to save time.
        let near = self.run_models(Some(limit), Some(area))?;
        if let Some(Report { name: model, end: End::Failed(reason), .. }) =
            near.1.into_iter().find(|report| matches!(report.end, End::Failed(_)))
        {
            return Ok(Verdict::Caught { model, reason });
        }
        let (output, reports) = self.run_models(Some(limit), None)?;
        let mut stopped = None;
        for Report { name, end, .. } in reports {
            match end {
                End::Failed(reason) => return Ok(Verdict::Caught { model: name, reason }),
                End::Truncated => stopped = stopped.or(Some(name)),
                _ => {}
            }
        }
        match stopped {
            Some(model) => Ok(Verdict::Timeout { model }),
            None if output.status.success() => Ok(Verdict::Survived),
            None => Err(format!("the runner failed and named no model:\n{}{}", text(&output.stdout), text(&output.stderr))),
        }
    }

    fn build(&self) -> Result<Output, String> {
        self.cargo().arg("--no-run").output().map_err(|error| format!("cargo: {error}"))
    }

    /// Runs the crate's models until one fails if there is a limit, and to the end if there is none.
    fn run_models(&self, limit: Option<u64>, area: Option<&str>) -> Result<(Output, Vec<Report>), String> {
        let mut command = self.cargo();
        if let Some(limit) = limit {
            command.env("TASKGROUP_MODELS_LIMIT", limit.to_string()).env("TASKGROUP_MODELS_FAIL_FAST", "1");
        }
        let output = command.args(["--", "--skip", "broken_", "--skip", "runner_"]).args(area).output();
        let output = output.map_err(|error| format!("cargo: {error}"))?;
        let reports = text(&output.stdout).lines().filter_map(|line| line.parse().ok()).collect();
        Ok((output, reports))
    }

    fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).args(["test", "-p", PACKAGE, "--test", "models"]);
        for (name, _) in env::vars_os() {
            // Cargo's and the models' own settings are for the workspace that this was started in.
            let set = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TERM_QUIET"];
            if set.iter().any(|other| name == *other) || name.to_string_lossy().starts_with("TASKGROUP_") {
                command.env_remove(name);
            }
        }
        // A mutant leaves variables unused and conditions constant; a lint that is denied is not a catch.
        command.env("RUSTFLAGS", "--cap-lints=warn").env("CARGO_TARGET_DIR", self.root.join("target"));
        command.env("CARGO_TERM_COLOR", "never");
        command
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.root.join(file);
        fs::write(&path, text).map_err(at(&path))
    }
}

fn table(rows: &[(&Mutant, Verdict)], hidden: usize, listed: &BTreeMap<String, String>) -> String {
    let mut table = String::from("| place | mutation | verdict | model | reason |\n|---|---|---|---|---|\n");
    let (mut caught, mut unviable, mut timeouts, mut survived) = (0, 0, 0, 0);
    for (mutant, verdict) in rows {
        let why = || listed.get(&mutant.key()).cloned().unwrap_or_default();
        let (count, verdict, model, reason) = match verdict {
            Verdict::Caught { model, reason } => (&mut caught, "caught", format!("`{model}`"), reason.clone()),
            Verdict::Unviable => (&mut unviable, "unviable", String::new(), why()),
            Verdict::Timeout { model } => (&mut timeouts, "timeout", format!("`{model}`"), why()),
            Verdict::Survived => (&mut survived, "survived", String::new(), why()),
        };
        *count += 1;
        let place = format!("{}:{}", mutant.file, mutant.line);
        let cells = [place, format!("`{}`", mutant.what), verdict.into(), model, reason];
        table += &format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    table += &format!(
        "\n{} mutants: {caught} caught, {survived} survived, {timeouts} timed out, {unviable} unviable. \
         {hidden} more are in code that the models do not compile.\n",
        rows.len()
    );
    table
}

/// What has to be done about the survivors, or about their list.
fn complaints(rows: &[(&Mutant, Verdict)], all: &[Mutant], listed: &BTreeMap<String, String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (mutant, verdict) in rows {
        match (verdict, listed.contains_key(&mutant.key())) {
            (Verdict::Caught { .. }, true) => complaints.push(format!("stale: {}", mutant.key())),
            // One that does not compile has tried nothing, so it needs its reason too.
            (Verdict::Survived | Verdict::Timeout { .. } | Verdict::Unviable, false) => {
                complaints.push(format!("unexplained: {}", mutant.key()));
            }
            _ => {}
        }
    }
    let gone = listed.keys().filter(|key| !all.iter().any(|mutant| mutant.key() == **key));
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

    fn mutant(what: &str) -> Mutant {
        Mutant { file: "src/a.rs".into(), line: 1, what: what.into(), span: 0..0, with: String::new() }
    }

    #[test]
    fn what_nobody_explained_and_what_is_explained_for_nothing_is_complained_of() {
        let mutants = ["new", "known", "slow", "broken", "caught"].map(mutant);
        let caught = Verdict::Caught { model: "scope_a".into(), reason: "deadlock".into() };
        let slow = Verdict::Timeout { model: "scope_a".into() };
        let verdicts = [Verdict::Survived, Verdict::Survived, slow, Verdict::Unviable, caught];
        let rows: Vec<_> = mutants.iter().zip(verdicts).collect();
        let listed = survivors::parse("src/a.rs: known\n  r\nsrc/a.rs: caught\n  r\nsrc/a.rs: gone\n  r\n").unwrap();
        assert_eq!(
            complaints(&rows, &mutants, &listed),
            [
                "unexplained: src/a.rs: new",
                "unexplained: src/a.rs: slow",
                "unexplained: src/a.rs: broken",
                "stale: src/a.rs: caught",
                "stale: src/a.rs: gone",
            ]
        );
        let table = table(&rows, 7, &listed);
        assert!(table.contains("| src/a.rs:1 | `known` | survived |  | r |"), "{table}");
        assert!(table.contains("| src/a.rs:1 | `caught` | caught | `scope_a` | deadlock |"), "{table}");
        assert!(table.contains("5 mutants: 1 caught, 2 survived, 1 timed out, 1 unviable. 7 more"), "{table}");
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
