//! The page of the examples: it names each of them, with its command and its number of lines.

use std::{collections::BTreeSet, fs, path::Path};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn examples() -> BTreeSet<String> {
    let files = fs::read_dir(env!("CARGO_MANIFEST_DIR"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    files
        .filter_map(|file| Some(file.strip_suffix(".rs")?.to_owned()))
        .collect()
}

/// Returns the number of lines above the tests that are neither blank nor all comment.
fn lines_of_code(file: &str) -> usize {
    let text = read(file);
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| *line != "#[cfg(test)]");
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

#[test]
fn each_example_is_short_and_says_how_to_run_it() {
    let page = read("README.md");
    assert_eq!(examples().len(), 12);
    for name in examples() {
        let text = read(&format!("{name}.rs"));
        assert!(
            (40..=200).contains(&text.lines().count()),
            "{name} has {} lines",
            text.lines().count()
        );
        let header: Vec<_> = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        let command = format!("//! cargo run --release --example {name}");
        assert!(
            header.iter().any(|line| line.starts_with(&command)),
            "{name} does not say how to run it"
        );
        assert!(
            page.contains(&format!("| [`{name}`]({name}.rs) |")),
            "the page does not show {name}"
        );
    }
}

#[test]
fn the_page_counts_the_lines_that_there_are() {
    let page = read("README.md");
    let mut counted = BTreeSet::new();
    for row in page
        .lines()
        .skip_while(|line| *line != "## How long they are")
        .filter(|line| line.starts_with("| `"))
    {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, _, original, with, here, ratio, ..] = cells[..] else {
            panic!("{row}")
        };
        let name = name.trim_matches('`');
        let shared = with
            .strip_prefix("with ")
            .into_iter()
            .flat_map(|names| names.split(", "));
        let shared: usize = shared
            .map(|module| lines_of_code(&format!("src/{}.rs", module.trim_matches('`'))))
            .sum();
        let lines = lines_of_code(&format!("{name}.rs")) + shared;
        assert_eq!(here, lines.to_string(), "{name}");
        let times = lines as f64 / original.parse::<f64>().unwrap();
        assert!(
            (ratio.trim_matches('*').parse::<f64>().unwrap() - times).abs() < 0.06,
            "{name}: {ratio} is said, {times:.2} is so"
        );
        counted.insert(name.to_owned());
    }
    // The others have no original.
    assert_eq!(counted.len(), 11);
    assert!(counted.is_subset(&examples()), "{counted:?}");
}
