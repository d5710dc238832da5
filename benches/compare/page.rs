//! The page: all tables and curves in Markdown, and the texts that people write between them.
//!
//! A text stands between two marks. A new page keeps it, so it can be changed in the page without
//! measuring anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::log_chart::{LogChart, save_svg};
use crate::process::Machine;
use crate::report::{Line, Place, Table, figure};

/// Where the curves go, beside the page.
const IMAGES: &str = "img";
/// The name of the text that belongs to no row.
const SUMMARY: &str = "summary";
const END: &str = "<!-- end of text -->";

pub(crate) struct Page {
    path: PathBuf,
    /// The texts between the marks, by the names of the marks.
    texts: BTreeMap<String, String>,
}

impl Page {
    /// A page to be written to `path`, with the texts of the page that exists there.
    pub(crate) fn new(path: PathBuf) -> anyhow::Result<Self> {
        let texts = match path.exists() {
            true => texts(&fs::read_to_string(&path)?)
                .with_context(|| format!("cannot keep the texts of {}", path.display()))?,
            false => BTreeMap::new(),
        };
        Ok(Page { path, texts })
    }

    pub(crate) fn write(
        mut self,
        quick: bool,
        machine: &Machine,
        tables: &[Table],
    ) -> anyhow::Result<()> {
        let images = self.path.parent().unwrap_or(Path::new("")).join(IMAGES);
        fs::create_dir_all(&images)?;
        let mut remarks = Vec::new();
        let mut page = head(quick, machine);
        page += &goals(tables);
        page += &self.text(SUMMARY).1;
        for tables in tables.chunk_by(|a, b| a.row == b.row) {
            let row = &tables[0].row;
            let (explained, text) = self.text(row);
            if !explained
                && tables
                    .iter()
                    .flat_map(Table::verdicts)
                    .any(|(_, verdict)| !verdict.met)
            {
                remarks.push(format!("{row} misses a goal, and no text says why"));
            }
            _ = write!(page, "\n## {row}\n\n{text}");
            if let Some(Place { plot, .. }) = tables[0].place {
                draw(tables, plot, &images.join(format!("{row}.svg")))?;
                _ = writeln!(page, "\n![{plot}]({IMAGES}/{row}.svg)");
            }
            for tables in tables.chunk_by(|a, b| a.unit == b.unit) {
                page += &figures(tables);
            }
        }
        fs::write(&self.path, page)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        println!("\nwritten: {}", self.path.display());
        remarks.extend(
            self.texts
                .keys()
                .map(|name| format!("the text {name:?} belongs to no row, and was left out")),
        );
        for remark in remarks {
            println!("  {remark}");
        }
        Ok(())
    }

    /// Takes the text of this name. Returns whether there is one, and its form in the page.
    fn text(&mut self, name: &str) -> (bool, String) {
        let text = self.texts.remove(name);
        (
            text.is_some(),
            format!("{}\n{}{END}\n", start(name), text.unwrap_or_default()),
        )
    }
}

fn head(quick: bool, machine: &Machine) -> String {
    let Machine {
        cores,
        cpu,
        load,
        kernel,
        rustc,
    } = machine;
    let quick = if quick { " --quick" } else { "" };
    format!(
        "# Performance

The cost of this crate beside its alternatives. The command

```sh
cargo bench --bench compare -- --report docs/performance.md{quick}
```

writes this page and keeps the texts between the marks `text: ..` and `end of text`. Change those
texts here, and the rest in `benches/compare`.

Taken on {cpu}, {cores} cores, {kernel}, {rustc};
load {load} before the start.

How to read it:

- The contestants of a table take turns, and each figure is the *median* over the rounds. *Ratio* is
  the median of the first line divided by the median of this line: below 1, the first is cheaper.
  Absolute figures depend on the machine; ratios travel better.
- A goal stands at the line that it compares with: `ratio <= 1` at a peer says that this crate
  should cost no more than the peer. `1/ratio` is this line divided by the first. *Excess* is the
  extra cost of the first line over this one, in the unit of the table.
- Waking an idle core costs 20 to 50 us on a small virtual machine, more than most figures here.
  Contestants that hand a task to a sleeping thread have it in their figures; contestants that run
  the task on the waiting thread do not.
- A table that is marked doubtful was taken while other programs used the machine.
"
    )
}

fn goals(tables: &[Table]) -> String {
    let verdicts = || {
        tables.iter().flat_map(|table| {
            table
                .verdicts()
                .map(move |(line, verdict)| (table, line, verdict))
        })
    };
    let met = verdicts().filter(|(.., verdict)| verdict.met).count();
    let mut section = format!(
        "\n## Goals\n\n{met} of {} are met. These are missed:\n\n",
        verdicts().count()
    );
    section += "| row | case | against | goal | reached |\n|---|---|---|---|---:|\n";
    for (table, line, verdict) in verdicts().filter(|(.., verdict)| !verdict.met) {
        let Table { row, case, .. } = table;
        let reached = figure(verdict.reached);
        _ = writeln!(
            section,
            "| [{row}](#{row}) | {case} | {} | {} | {reached} |",
            line.contestant,
            verdict.wanted()
        );
    }
    section.push('\n');
    section
}

/// One table in Markdown for several tables with the same unit.
fn figures(tables: &[Table]) -> String {
    let mut section = format!(
        "\n| {} | median | min to max | ratio | goal | |\n|---|---:|---:|---:|---|---|\n",
        tables[0].unit
    );
    for table in tables {
        let remarks: String = table
            .notes
            .iter()
            .chain(&table.doubt())
            .map(|remark| format!(" ({remark})"))
            .collect();
        _ = writeln!(section, "| **{}**{remarks} | | | | | |", table.case);
        for line in &table.lines {
            let Line {
                contestant,
                median,
                smallest,
                largest,
                ratio,
                verdicts,
                ..
            } = line;
            let goals: Vec<_> = verdicts.iter().map(|verdict| verdict.wanted()).collect();
            let met: Vec<_> = verdicts
                .iter()
                .map(|verdict| if verdict.met { "met" } else { "**missed**" })
                .collect();
            _ = writeln!(
                section,
                "| {contestant} | {} | {} to {} | {} | {} | {} |",
                figure(*median),
                figure(*smallest),
                figure(*largest),
                ratio.map(figure).unwrap_or_default(),
                goals.join(", "),
                met.join(", "),
            );
        }
    }
    section
}

/// Draws the medians of each contestant against the number of tasks, in the tables that have one.
fn draw(tables: &[Table], title: &str, path: &Path) -> anyhow::Result<()> {
    let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for table in tables {
        let Some(Place { n, .. }) = table.place else {
            continue;
        };
        for line in &table.lines {
            let point = (n as f64, line.median);
            match lines.iter_mut().find(|(name, _)| *name == line.contestant) {
                Some((_, points)) => points.push(point),
                None => lines.push((&line.contestant, vec![point])),
            }
        }
    }
    let chart = LogChart {
        title: &format!("{title}, {}", tables[0].unit),
        x: "number of tasks",
        lines,
    };
    save_svg(&[chart], path)
}

fn start(name: &str) -> String {
    format!("<!-- text: {name} -->")
}

/// The texts of a page by their names, each whole lines.
fn texts(page: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    let mut open: Option<(&str, String)> = None;
    for line in page.lines() {
        let name = line
            .strip_prefix("<!-- text: ")
            .and_then(|line| line.strip_suffix(" -->"));
        match (&mut open, name) {
            (None, Some(name)) => open = Some((name, String::new())),
            (Some((outer, _)), Some(_)) => bail!("the text {outer:?} has no end"),
            (Some(_), None) if line == END => {
                let (name, text) = open.take().context("a text is open")?;
                if !text.is_empty() && texts.insert(name.to_owned(), text).is_some() {
                    bail!("the text {name:?} is there twice");
                }
            }
            (Some((_, text)), None) => text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    match open {
        Some((name, _)) => bail!("the text {name:?} has no end"),
        None => Ok(texts),
    }
}
