//! Every public item has an example, and documents its errors, its panics and its cancel.

use std::fs;
use std::path::{Path, PathBuf};

/// A public item with its documentation.
struct Item {
    place: String,
    /// From its `pub` to the end of its signature.
    signature: String,
    docs: String,
    hidden: bool,
    origin: Origin,
}

/// How an item stands in the sources.
#[derive(PartialEq)]
enum Origin {
    /// As it is.
    Source,
    /// In a macro that takes its documentation.
    Template,
    /// As its documentation and its name, which are given to such a macro.
    Call,
}

impl Origin {
    fn of(attributes: &str) -> Origin {
        if attributes.contains("$(#[$") {
            Origin::Template
        } else {
            Origin::Source
        }
    }
}

/// Sources without items for users: the models, and items that macros reach behind
/// `#[doc(hidden)]`.
const INSIDE: [&str; 3] = ["src/facade", "src/compile_fail", "src/channel/case.rs"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the `pub` items of a file. The lint `unreachable_pub` makes sure that a user can name
/// them.
fn items(name: &str, text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut docs = String::new();
    let mut attributes = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("///") {
            docs += doc.strip_prefix(' ').unwrap_or(doc);
            docs.push('\n');
            continue;
        }
        if line.starts_with("//") && !docs.is_empty() {
            continue;
        }
        if line.starts_with("$(#[$") {
            attributes += line;
            continue;
        }
        if line.starts_with("#[") {
            attributes += &rest_until(line, &[']'], "", &mut lines);
            continue;
        }

        if line.starts_with("pub mod") && attributes.contains("doc(hidden)") {
            lines
                .by_ref()
                .take_while(|(_, line)| *line != "}")
                .for_each(drop);
        }
        let place = format!("{name}:{}", number + 1);
        if let Some(called) = call_of_a_template(line).filter(|_| !docs.is_empty()) {
            items.push(Item {
                place,
                signature: called.to_owned(),
                docs: std::mem::take(&mut docs),
                hidden: false,
                origin: Origin::Call,
            });
        } else if let Some(is_function) = public_item(line, &attributes) {
            let signature = match is_function {
                true => rest_until(line, &['{', ';'], " ", &mut lines),
                false => line.to_owned(),
            };
            items.push(Item {
                place,
                signature,
                docs: std::mem::take(&mut docs),
                hidden: attributes.contains("doc(hidden)"),
                origin: Origin::of(&attributes),
            });
        }
        docs.clear();
        attributes.clear();
    }
    items
}

/// The line and its next ones, up to one that ends with one of these characters.
fn rest_until<'a>(
    line: &str,
    ends: &[char],
    between: &str,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> String {
    let mut whole = line.to_owned();
    while !whole.ends_with(ends) {
        let Some((_, line)) = lines.next() else { break };
        whole += between;
        whole += line.trim();
    }
    whole
}

/// The name of an item that a macro makes from its documentation and this name.
fn call_of_a_template(line: &str) -> Option<&str> {
    line.strip_suffix(';')
        .filter(|name| !name.is_empty())
        .filter(|name| name.chars().all(|c| c == '_' || c.is_ascii_lowercase()))
}

/// Whether a line begins a public item, and if so, whether that is a function.
fn public_item(line: &str, attributes: &str) -> Option<bool> {
    let exported = line.starts_with("macro_rules!") && attributes.contains("macro_export");
    let words = line.strip_prefix("pub ").unwrap_or_default();
    let words = words
        .strip_prefix("const ")
        .filter(|rest| rest.starts_with("fn "))
        .unwrap_or(words);
    let public = ["fn ", "struct ", "enum ", "trait ", "type "]
        .iter()
        .any(|kind| words.starts_with(kind));
    (exported || public).then(|| words.starts_with("fn "))
}

fn public_items() -> Vec<Item> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    found.sort();
    let mut all = Vec::new();
    for path in found {
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/");
        if !INSIDE.iter().any(|inside| name.starts_with(inside)) {
            let text = fs::read_to_string(&path).unwrap();
            // Tests are at the end of a file.
            let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            all.extend(items(&name, text).into_iter().filter(|item| !item.hidden));
        }
    }

    // An item of a macro is where its documentation is, and has the signature that the macro says.
    let (templates, mut all): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|item| item.origin == Origin::Template);
    let mut calls = 0;
    for item in all.iter_mut().filter(|item| item.origin == Origin::Call) {
        let start = format!("pub fn {}<", item.signature);
        let template = templates
            .iter()
            .find(|template| template.signature.starts_with(&start));
        item.signature = template
            .unwrap_or_else(|| panic!("{}: no macro has `{}`", item.place, item.signature))
            .signature
            .clone();
        calls += 1;
    }
    assert!(calls >= 2 * templates.len(), "a macro is called nowhere");
    all
}

/// Returns the return type in the signature of a function; empty for other items.
fn returned(signature: &str) -> &str {
    let Some(arguments) = signature
        .find("fn ")
        .and_then(|start| signature[start..].find('(').map(|at| start + at))
    else {
        return "";
    };
    let mut depth = 0;
    for (at, character) in signature[arguments..].char_indices() {
        depth += i32::from(character == '(') - i32::from(character == ')');
        if depth == 0 {
            let rest = &signature[arguments + at + 1..];
            return rest
                .split(" where")
                .next()
                .and_then(|rest| rest.trim().strip_prefix("-> "))
                .unwrap_or_default();
        }
    }
    ""
}

/// Fails with all items that are `wrong`.
fn expect_none(wrong: impl Fn(&Item) -> bool, what: &str) {
    let items = public_items();
    assert!(items.len() > 200, "only {} items were found", items.len());
    let wrong: Vec<_> = items
        .iter()
        .filter(|item| wrong(item))
        .map(|item| format!("{}: {}", item.place, item.signature))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} {what}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_item_has_an_example() {
    // Methods that only read a part of a snapshot or of a report. The examples of the types show
    // how.
    const READ: [&str; 3] = [
        "src/snapshot/",
        "src/stall/watching/report.rs",
        "src/deadlock/report.rs",
    ];
    let is_read = |item: &Item| {
        let is_there = READ.iter().any(|place| item.place.starts_with(place));
        is_there && item.signature.replace("( ", "(").contains("(&self")
    };
    expect_none(
        |item| !item.docs.contains("```") && !is_read(item),
        "items without an example",
    );
}

#[test]
fn every_fallible_function_says_what_its_errors_are() {
    let fallible = |item: &Item| returned(&item.signature).starts_with("Result<");
    expect_none(
        |item| fallible(item) && !item.docs.contains("# Errors"),
        "functions without `# Errors`",
    );
}

#[test]
fn every_function_that_can_be_cancelled_says_what_a_cancel_does() {
    // These have no wait to cut short.
    const DO_NOT_BLOCK: [&str; 3] = ["try_", "into_", "fn check("];
    let cancellable = |item: &Item| {
        let returned = returned(&item.signature);
        returned.starts_with("Result<")
            && [
                "Cancelled>",
                "SendError<",
                "RecvError>",
                "TimeoutError",
                "BarrierError>",
                "GroupError",
                "StartError",
            ]
            .iter()
            .any(|error| returned.contains(error))
            && !DO_NOT_BLOCK
                .iter()
                .any(|prefix| item.signature.contains(prefix))
    };
    expect_none(
        |item| cancellable(item) && !item.docs.contains("# Cancellation"),
        "functions without `# Cancellation`",
    );
}

/// The page that the models write when they are asked to.
const WRITTEN_ON_DEMAND: &str = "MODELS.md";

/// The folders with pages.
const PAGES: [&str; 5] = ["docs", "examples", "loom-tests", "src", "."];

/// Returns the pages of the repository, relative to its root.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders: Vec<_> = PAGES.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            } else if path.is_dir() && folder.starts_with(root.join("src")) {
                folders.push(path);
            }
        }
    }
    found
}

/// Returns the parts of a text that stand between `start` and `end`, within a line.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let parts = text.split(start).skip(1);
    parts
        .filter_map(|part| part.split_once(end).map(|(inside, _)| inside))
        .filter(|inside| !inside.contains('\n'))
        .collect()
}

/// Returns the anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
    let heading: String = heading.to_lowercase().chars().filter(kept).collect();
    heading.replace(' ', "-")
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut links = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        if text.contains(env!("CARGO_PKG_REPOSITORY")) {
            wrong.push(format!(
                "{}: names the repository; use a relative link",
                page.display()
            ));
        }
        let mut check = |target: &Path, name: &str, section: Option<&str>| {
            links += 1;
            let headings = || fs::read_to_string(target).unwrap();
            let found = match section {
                _ if !target.exists() => false,
                None => true,
                Some(section) => headings()
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches('#').trim()) == section),
            };
            if !found {
                wrong.push(format!("{}: {name}", page.display()));
            }
        };

        for link in between(&text, "](", ")") {
            if !link.contains("://") && !link.ends_with(WRITTEN_ON_DEMAND) {
                let (file, section) = match link.split_once('#') {
                    Some((file, section)) => (file, Some(section)),
                    None => (link, None),
                };
                let target = match file {
                    "" => page.clone(),
                    file => page.parent().unwrap().join(file),
                };
                check(&target, link, section);
            }
        }
        // A file in code marks is relative to the root.
        for name in between(&text, "`", "`") {
            if ["src/", "docs/", "tests/"]
                .iter()
                .any(|folder| name.starts_with(folder))
            {
                check(&root.join(name), name, None);
            }
        }
    }
    assert!(links > 60, "only {links} links were found");
    assert!(wrong.is_empty(), "links to nothing:\n{}", wrong.join("\n"));
}

#[test]
fn the_files_with_unsafe_code_are_as_many_as_the_pages_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);

    let is_unsafe = |line: &str| {
        let line = line.trim_start();
        let uses = ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"];
        !line.starts_with("//") && uses.iter().any(|part| line.contains(part))
    };
    files.retain(|file| {
        let is_of_tests = file.ends_with("tests.rs");
        !is_of_tests && fs::read_to_string(file).unwrap().lines().any(is_unsafe)
    });

    let numbers = ["six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    let said = format!("`unsafe` is in {} files", numbers[files.len() - 6]);
    for page in ["README.md", "docs/design.md"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        assert!(
            text.contains(&said),
            "{page} does not say: {said}: {files:?}"
        );
    }
}

/// Two things that a current compiler takes and the oldest that is promised does not. No lint of
/// clippy sees them.
#[test]
fn the_sources_need_no_newer_compiler_than_the_oldest_that_is_promised() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains("rust-version = \"1.85\""),
        "see which of the two a newer compiler takes"
    );

    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "loom-tests"] {
        sources(&root.join(folder), &mut files);
    }
    assert!(files.len() > 400, "only {} sources were found", files.len());

    let chain = ["&&", "let "].join(" ");
    let named_arguments = ["=", "format_args!("].join(" ");
    let mut wrong = Vec::new();
    for file in files {
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            if line.contains(&chain) || line.contains(&named_arguments) {
                wrong.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The compiler shows the attribute with its comment to a program that names the module elsewhere.
#[test]
fn the_modules_for_unix_alone_say_so_where_they_are_left_out() {
    const SAYS: &str =
        "#[cfg(unix)] // Not for Windows: the page docs/platforms.md says what there is instead.";

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    assert!(read("docs/platforms.md").contains(SAYS));

    let library = read("src/lib.rs");
    for module in ["io", "net", "process", "signal"] {
        let (before, _) = library.split_once(&format!("pub mod {module};\n")).unwrap();
        // The attributes of the module: all lines since the item before it.
        let attributes = before.lines().rev();
        let mut attributes = attributes.take_while(|line| line.starts_with("#["));
        assert!(attributes.any(|line| line == SAYS), "{module}");
    }
}

/// The width of code and prose.
const WIDTH: usize = 100;

/// Whether a line of a page or of a comment cannot be broken: a row of a table, or a line with a
/// link.
fn is_in_one_piece(prose: &str) -> bool {
    prose.trim_start().starts_with('|') || prose.contains("://") || prose.contains("](")
}

#[test]
fn comments_and_pages_are_no_wider_than_the_code() {
    let mut files = pages();
    for folder in ["src", "tests", "benches", "examples", "loom-tests"] {
        sources(Path::new(folder), &mut files);
    }

    let mut wide = Vec::new();
    for file in files {
        let is_source = file.extension().is_some_and(|extension| extension == "rs");
        let text = fs::read_to_string(&file).unwrap();
        let mut is_fenced = false;
        for (number, line) in text.lines().enumerate() {
            let prose = line.trim_start().trim_start_matches(['/', '!']);
            let is_prose = !is_source || line.trim_start().starts_with("//");
            is_fenced ^= is_prose && prose.trim_start().starts_with("```");
            let is_wide = is_prose && line.chars().count() > WIDTH;
            if is_wide && !is_fenced && !is_in_one_piece(prose) {
                wide.push(format!("{}:{}", file.display(), number + 1));
            }
        }
    }
    assert!(wide.is_empty(), "wider than {WIDTH}: {wide:#?}");
}

#[test]
fn the_list_of_models_has_the_models_of_the_sources() {
    let list = fs::read_to_string("loom-tests/MODELS.md").unwrap();
    let mut files = Vec::new();
    sources(Path::new("loom-tests/models"), &mut files);

    let mut models = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for kind in ["\n    holds!(\n", "\n    breaks!(\n"] {
            let entries = text.split(kind).skip(1);
            let names = entries.filter_map(|entry| entry.trim_start().split(',').next());
            models.extend(names.map(str::to_owned));
        }
    }
    assert!(models.len() > 300, "the models are not found: {models:?}");

    models.retain(|model| !list.contains(&format!("`{model}`")));
    assert!(
        models.is_empty(),
        "loom-tests/MODELS.md is to be written anew, without {models:?}"
    );
}
