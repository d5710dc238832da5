//! The compiler says to each mistake in `docs/compile-errors.md` what that page shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        fs::write(programs.join(format!("line_{}.rs", mistake.line)), program).unwrap();
    }
    package
}

/// Returns the compiler's message about one program, or `None` if the program compiles.
fn compile(package: &Path, line: usize) -> Option<String> {
    let checked = Command::new(env!("CARGO"))
        .args([
            "check",
            "--quiet",
            "--offline",
            "--color",
            "never",
            "--bin",
            &format!("line_{line}"),
        ])
        .arg("--target-dir")
        .arg(package.join("target"))
        .current_dir(package)
        .output()
        .unwrap();
    (!checked.status.success()).then(|| String::from_utf8_lossy(&checked.stderr).into_owned())
}

/// Returns `text` as one line, since line breaks differ between versions of the compiler.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
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
    let package = package(&mistakes);
    let mut wrong = Vec::new();
    for Mistake {
        line,
        code,
        shown,
        says,
        ..
    } in &mistakes
    {
        assert!(
            !says.is_empty(),
            "no words are named that the message of line {line} must have"
        );
        let code = format!("error[{code}]");
        let Some(said) = compile(&package, *line) else {
            wrong.push(format!("line {line} compiles"));
            continue;
        };
        for phrase in says.iter().chain([&code]) {
            if !flat(shown).contains(phrase) {
                wrong.push(format!("line {line}: the page does not show: {phrase}"));
            }
            if !flat(&said).contains(phrase) {
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
