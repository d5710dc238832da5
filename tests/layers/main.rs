//! The folders of `src` are layers, and `docs/img/layers.svg` draws them: a folder imports only
//! from folders drawn below it, and no files of a folder import each other in a cycle.
//!
//! An import is a path that begins with `crate`, `super`, `self` or a child module. It leads to the
//! file that defines the item: a re-export is followed and is no import itself. Tests inside the
//! sources, comments and the `$crate` paths of macros do not count. `lib.rs` stands above all.

mod imports;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use imports::imports;

/// Imports that do not go down, which are still to be removed.
const UPWARD: &[(&str, &str)] = &[];

/// Files that import each other in a cycle, which are still to be taken apart.
const IN_A_CYCLE: &[&str] = &[];

/// The folder of `src` that a file is in; none for `lib.rs`.
fn folder(file: &str) -> Option<&str> {
    file.split_once('/').map(|(folder, _)| folder)
}

/// The folders that the picture draws, with the height at which each stands.
fn drawn() -> BTreeMap<String, i32> {
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/img/layers.svg");
    let value = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let text = fs::read_to_string(picture).unwrap();
    let boxes = text.lines().filter(|line| line.contains("class=\"layer\""));
    boxes
        .map(|line| {
            let id = value(line, "id").expect("a layer has an id");
            (
                id,
                value(line, "y")
                    .expect("a layer has a height")
                    .parse()
                    .unwrap(),
            )
        })
        .collect()
}

/// The folders in the table of the layers in the design.
fn tabled(design: &str) -> BTreeSet<&str> {
    let (_, section) = design
        .split_once("\n## Layers\n")
        .expect("it has a section");
    let (section, _) = section
        .split_once("\n## ")
        .expect("other sections follow it");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once("` |")?.0))
        .collect()
}

/// Returns the differences between the findings and the known exceptions.
fn differences<T: Ord + std::fmt::Debug>(found: &BTreeSet<T>, known: &BTreeSet<T>) -> Vec<String> {
    let new = found.difference(known).map(|new| format!("{new:?} is new"));
    let gone = known
        .difference(found)
        .map(|gone| format!("{gone:?} is no longer needed: remove this exception"));
    new.chain(gone).collect()
}

#[test]
fn folders_import_only_from_those_drawn_below() {
    let heights = drawn();
    let imports = imports();
    let folders = imports.keys().filter_map(|file| folder(file));
    // Programs that must not compile are no layer.
    let folders: BTreeSet<_> = folders.filter(|&name| name != "compile_fail").collect();
    let pictured: BTreeSet<_> = heights.keys().map(String::as_str).collect();
    assert_eq!(
        pictured, folders,
        "left: drawn in docs/img/layers.svg, right: folders of `src`"
    );

    let design = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/design.md");
    let design = fs::read_to_string(design).unwrap();
    assert_eq!(
        tabled(&design),
        folders,
        "left: the table in docs/design.md, right: folders of `src`"
    );

    let mut upward = BTreeSet::new();
    let mut lines = Vec::new();
    for (file, targets) in &imports {
        for target in targets {
            let (Some(from), Some(to)) = (folder(file), folder(target)) else {
                lines.extend((target == "lib.rs").then(|| format!("{file} imports from lib.rs")));
                continue;
            };
            if from != to && heights[from] >= heights[to] {
                upward.insert((from, to));
                lines.push(format!("{file} imports from {target}"));
            }
        }
    }
    let wrong = differences(&upward, &UPWARD.iter().copied().collect());
    assert!(
        wrong.is_empty(),
        "imports that do not go down:\n{}\nall of them:\n{}",
        wrong.join("\n"),
        lines.join("\n")
    );
}

#[test]
fn files_of_a_folder_import_each_other_in_no_cycle() {
    let imports = imports();
    let reachable = |from: &str| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(file) = open.pop() {
            for next in imports[&file]
                .iter()
                .filter(|next| folder(next) == folder(from))
            {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    };
    let cycles: BTreeMap<_, _> = imports
        .keys()
        .filter(|file| folder(file).is_some())
        .map(|file| (file.as_str(), reachable(file)))
        .filter(|(file, reached)| reached.contains(*file))
        .collect();
    let found = cycles.keys().copied().collect();
    let wrong = differences(&found, &IN_A_CYCLE.iter().copied().collect());
    let lines: Vec<_> = cycles
        .keys()
        .map(|file| {
            let inside = imports[*file].iter().filter(|next| {
                cycles
                    .get(next.as_str())
                    .is_some_and(|reached| reached.contains(*file))
            });
            format!(
                "{file} -> {}",
                inside.cloned().collect::<Vec<_>>().join(", ")
            )
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "files in a cycle:\n{}\nimports in all cycles:\n{}",
        wrong.join("\n"),
        lines.join("\n")
    );
}
