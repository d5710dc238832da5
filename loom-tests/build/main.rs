//! Writes the copy of `src` that the models are compiled from, with faults in it beside the right
//! code: those of the `broken_` models, or all with the feature `every-fault`. Sets the cfgs for
//! this package only, so that neither RUSTFLAGS nor another package decides whether the models run
//! under loom.

mod entries;
mod rules;
mod survivors;
mod tokens;
mod weave;

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use weave::{Fault, Source};

/// Files that `src/lib.rs` of this package takes from `src` itself.
const MACROS: &str = "src/channel/macros.rs";

fn main() -> ExitCode {
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rustc-cfg=taskgroup_models");
    for path in ["build", "faults", "models", "survivors.txt", "../src"] {
        println!("cargo::rerun-if-changed={path}");
    }
    match write_copy() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn write_copy() -> Result<(), Box<dyn Error>> {
    let root = Path::new("..").canonicalize()?;
    let sources = read(&root, "src", "rs")?;
    let mut entries = Vec::new();
    for Source { file, text } in read(&root, "loom-tests/faults", "txt")? {
        let found = entries::parse(&file, &text)?;
        entries.extend(found.into_iter().map(|entry| (file.clone(), entry)));
    }
    let mut faults = weave::faults(&sources, entries)?;
    let list = "loom-tests/survivors.txt";
    survivors::excuse(&mut faults, list, &fs::read_to_string(root.join(list))?)?;
    // The models of plain `cargo test` switch on only what their twins name. Code for the rest
    // would take longer to compile.
    if env::var_os("CARGO_FEATURE_EVERY_FAULT").is_none() {
        let models = read(&root, "loom-tests/models", "rs")?;
        let is_named = |name: &str| {
            let quoted = format!("{name:?}");
            models.iter().any(|model| model.text.contains(&quoted))
        };
        faults.retain(|fault| is_named(&fault.name));
    }

    let out = PathBuf::from(env::var("OUT_DIR")?);
    if out.join("src").exists() {
        fs::remove_dir_all(out.join("src"))?;
    }
    for source in &sources {
        let numbered = faults.iter().enumerate();
        let here: Vec<_> = numbered
            .filter(|(_, fault)| fault.file == source.file)
            .collect();
        let mut text = weave::weave(source, &here)?;
        match source.file.as_str() {
            "src/lib.rs" => text = without_inner_attributes(&text),
            MACROS => text.clear(),
            _ => {}
        }
        let path = out.join(&source.file);
        fs::create_dir_all(path.parent().expect("a file has a folder"))?;
        fs::write(path, text)?;
    }
    Ok(fs::write(out.join("faults.rs"), table(&faults))?)
}

/// Blanks the inner attributes, because an included file cannot have any. The lines keep their
/// numbers.
fn without_inner_attributes(text: &str) -> String {
    let is_inner = |line: &str| line.starts_with("//!") || line.starts_with("#!");
    text.split_inclusive('\n')
        .map(|line| if is_inner(line) { "\n" } else { line })
        .collect()
}

/// Writes the faults as a constant, for `src/faults.rs`.
fn table(faults: &[Fault]) -> String {
    let mut table = String::from("&[\n");
    for Fault {
        name,
        shows,
        survives,
        is_marked,
        file,
        line,
        ..
    } in faults
    {
        let place = format!("{file}:{line}");
        writeln!(
            table,
            "    Fault {{ name: {name:?}, place: {place:?}, shows: {shows:?}, \
             survives: {survives:?}, is_marked: {is_marked} }},"
        )
        .expect("a string takes all");
    }
    table + "]\n"
}

/// Reads the files below a folder that have one extension, in the order of their paths.
fn read(root: &Path, folder: &str, extension: &str) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let file = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            sources.extend(read(root, &file, extension)?);
        } else if entry
            .path()
            .extension()
            .is_some_and(|other| other == extension)
        {
            let text = fs::read_to_string(entry.path())?;
            sources.push(Source { file, text });
        }
    }
    sources.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(sources)
}
