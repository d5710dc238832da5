//! The compiler says to each mistake in `docs/compile-errors.md` what that page shows.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

trials![compiler_says_what_the_page_shows,];

/// One mistake of the page.
struct Mistake {
    line: usize,
    code: String,
    program: String,
    /// The part of the message that the page shows.
    shown: String,
    /// Phrases that the message must contain with every version of the compiler.
    says: Vec<String>,
}

impl Mistake {
    fn program_name(&self) -> String {
        format!("line_{}", self.line)
    }
}

/// Returns the mistakes in the order of the page. Each is a program that must not compile, a
/// message, and the phrases that matter.
fn mistakes(page: &str) -> Vec<Mistake> {
    let mut mistakes: Vec<Mistake> = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(phrase) = line
            .strip_prefix("<!-- says: ")
            .and_then(|rest| rest.strip_suffix(" -->"))
        {
            mistakes
                .last_mut()
                .expect("a message comes after its mistake")
                .says
                .push(phrase.to_owned());
            continue;
        }
        let Some(kind) = line.strip_prefix("```") else {
            continue;
        };
        let mut block = String::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
            block += line;
            block.push('\n');
        }
        if let Some(code) = kind.strip_prefix("rust,compile_fail,") {
            let (code, shown, says) = (code.to_owned(), String::new(), Vec::new());
            mistakes.push(Mistake {
                line: number + 1,
                code,
                program: block,
                shown,
                says,
            });
        } else if kind == "text" {
            mistakes
                .last_mut()
                .expect("a message comes after its mistake")
                .shown = block;
        }
    }
    mistakes
}

/// Writes a package that depends on this crate and has each mistake as a program.
fn package(mistakes: &[Mistake]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-errors");
    let programs = package.join("src/bin");
    let _ = fs::remove_dir_all(&programs);
    fs::create_dir_all(&programs).unwrap();
    let manifest = format!(
        "[package]\nname = \"compile-errors\"\nedition = \"2024\"\n\n\
         [dependencies]\ntaskgroup = {{ path = {root:?} }}\nanyhow = \"1\"\n\
         thiserror = \"2\"\n\n[workspace]\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // The crates that were fetched for this test are enough for the package, so it needs no
    // network.
    let _ = fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock"));
    for mistake in mistakes {
        let program = format!("fn main() {{\n{}}}\n", mistake.program);
        let file = format!("{}.rs", mistake.program_name());
        fs::write(programs.join(file), program).unwrap();
    }
    package
}

/// Compiles the programs, and returns what the compiler says to each. A program without an error
/// has an empty text.
fn compile(package: &Path, mistakes: &[Mistake]) -> HashMap<String, String> {
    // One call checks the programs side by side, and goes on after the first error.
    let checked = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--bins", "--keep-going"])
        .arg("--message-format=json")
        .arg("--target-dir")
        .arg(package.join("target"))
        .current_dir(package)
        .output()
        .unwrap();
    let mut said: HashMap<String, String> = HashMap::new();
    for line in String::from_utf8_lossy(&checked.stdout).lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        // Each message has a text, and the artifact of a program that compiles has none.
        if let Some(program) = line["target"]["name"].as_str() {
            let text = line["message"]["rendered"].as_str().unwrap_or_default();
            *said.entry(program.to_owned()).or_default() += text;
        }
    }

    let errors = String::from_utf8_lossy(&checked.stderr);
    let mut programs = mistakes.iter().map(Mistake::program_name);
    let are_checked = programs.all(|program| said.contains_key(&program));
    assert!(are_checked, "not all programs are checked: {errors}");
    said
}

/// Returns `text` as one line, since line breaks differ between versions of the compiler.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn compiler_says_what_the_page_shows() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compile-errors.md"))
            .unwrap();
    let mistakes = mistakes(&page);
    assert!(
        mistakes.len() >= 12,
        "the page shows {} mistakes",
        mistakes.len()
    );
    let said = compile(&package(&mistakes), &mistakes);
    let mut wrong = Vec::new();
    for mistake in &mistakes {
        let Mistake {
            line,
            code,
            shown,
            says,
            ..
        } = mistake;
        assert!(
            !says.is_empty(),
            "no words are named that the message of line {line} must have"
        );
        let code = format!("error[{code}]");
        let said = &said[&mistake.program_name()];
        if said.is_empty() {
            wrong.push(format!("line {line} compiles"));
            continue;
        }
        for phrase in says.iter().chain([&code]) {
            if !flat(shown).contains(phrase) {
                wrong.push(format!("line {line}: the page does not show: {phrase}"));
            }
            if !flat(said).contains(phrase) {
                wrong.push(format!(
                    "line {line}: the compiler does not say: {phrase}\n{said}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "docs/compile-errors.md:\n{}",
        wrong.join("\n")
    );
}
