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

/// Returns the number of lines of these functions that are neither blank nor all comment.
fn lines_of_functions(file: &str, functions: &str) -> usize {
    let text = read(file);
    let function = |name: &str| {
        let start = format!("fn {}(", name.trim_matches('`'));
        let mut lines = text
            .lines()
            .skip_while(|line| !line.starts_with(&start))
            .peekable();
        assert!(lines.peek().is_some(), "{file} has no function {name}");
        let whole = lines.take_while(|line| *line != "}").map(str::trim);
        whole
            .filter(|line| !line.is_empty() && !line.starts_with("//"))
            .count()
            + 1
    };
    functions.split(", ").map(function).sum()
}

/// Returns the cells of the rows of programs under the heading, up to the next one.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let rows: Vec<_> = page
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with("| `"))
        .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(!rows.is_empty(), "the page has no table under {heading:?}");
    rows
}

fn assert_ratio(name: &str, said: &str, lines: usize, original: &str) {
    let times = lines as f64 / original.parse::<f64>().unwrap();
    assert!(
        (said.trim_matches('*').parse::<f64>().unwrap() - times).abs() < 0.006,
        "{name}: {said} is said, {times:.2} is so"
    );
}

#[test]
fn each_example_is_short_and_says_how_to_run_it() {
    let page = read("README.md");

    // The worker of the queue is among the other people's libraries, since it needs one.
    let worker = "interop/queue_worker.rs";
    assert!(page.contains(&format!("]({worker}) |")) && !read(worker).is_empty());

    // These have dependencies of their own.
    for own in ["metrics/src/main.rs", "top/src/main.rs"] {
        assert!(page.contains(&format!("]({own}) |")) && !read(own).is_empty());
    }
    assert_eq!(examples().len() + 3, 20);
    assert!(page.starts_with("# Twenty programs\n"));
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
    for row in rows(&page, "## How long they are") {
        let [name, _, original, with, here, ratio] = row[..] else {
            panic!("{row:?}")
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
        assert_ratio(name, ratio, lines, original);
        counted.insert(name.to_owned());
    }

    // The others have no original.
    assert_eq!(counted.len(), 11);
    assert!(counted.is_subset(&examples()), "{counted:?}");
}

#[test]
fn the_page_counts_the_lines_of_the_functions_that_have_an_original() {
    let page = read("README.md");
    for row in rows(&page, "### Like for like") {
        let [name, original, functions, here, ratio] = row[..] else {
            panic!("{row:?}")
        };
        let name = name.trim_matches('`');
        let lines = lines_of_functions(&format!("{name}.rs"), functions);
        assert_eq!(here, lines.to_string(), "{name}");
        assert_ratio(name, ratio, lines, original);
    }
}

#[test]
fn the_page_counts_the_lines_of_the_two_servers() {
    let page = read("README.md");
    for file in ["server.rs", "by_hand/server.rs"] {
        let lines = lines_of_code(file);
        let cell = format!("| [`{file}`]({file}) | {lines} |");
        assert!(page.contains(&cell), "the page does not say {cell:?}");
    }
}
