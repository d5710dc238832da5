//! Tables for people on standard output and, where asked for, JSON lines for programs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;

use crate::process::{Machine, Ticks};
use crate::sampling::{Contestant, Goal, Rounds, Samples, take_turns};

/// Other programs that used more of the machine than this while a table was taken are worth a
/// warning.
const DISTURBED: f64 = 0.05;

pub(crate) struct Report {
    json: Option<BufWriter<File>>,
    tables: Vec<Table>,
}

/// The figures of one table, and whether its goals were met.
pub(crate) struct Table {
    pub(crate) row: String,
    pub(crate) case: String,
    pub(crate) unit: String,
    pub(crate) place: Option<Place>,
    /// The part of the machine that other processes used meanwhile.
    others: Option<f64>,
    pub(crate) lines: Vec<Line>,
    pub(crate) notes: Vec<String>,
}

/// The figures of one contestant.
pub(crate) struct Line {
    pub(crate) contestant: String,
    pub(crate) median: f64,
    pub(crate) smallest: f64,
    pub(crate) largest: f64,
    samples: usize,
    /// The median of the first contestant divided by this one's; none for the first.
    pub(crate) ratio: Option<f64>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// The table that the figures belong to.
pub(crate) struct Title<'a> {
    pub(crate) row: &'a str,
    pub(crate) case: &'a str,
    pub(crate) unit: &'a str,
}

/// The place of a table's medians in a plot against the number of tasks.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) plot: &'static str,
    pub(crate) n: usize,
}

/// A goal, and whether it was met.
pub(crate) struct Verdict {
    goal: Goal,
    pub(crate) reached: f64,
    limit: f64,
    pub(crate) met: bool,
}

impl Report {
    pub(crate) fn new(json: Option<&Path>) -> anyhow::Result<Self> {
        let json = match json {
            Some(path) => {
                Some(BufWriter::new(File::create(path).with_context(|| {
                    format!("cannot create {}", path.display())
                })?))
            }
            None => None,
        };
        Ok(Report {
            json,
            tables: Vec::new(),
        })
    }

    pub(crate) fn machine(&mut self, machine: &Machine) -> anyhow::Result<()> {
        println!(
            "{} cores, {}, load {} before the start",
            machine.cores, machine.cpu, machine.load
        );
        if let Some(json) = &mut self.json {
            writeln!(
                json,
                r#"{{"cores":{},"cpu":{},"load":{}}}"#,
                machine.cores,
                quoted(&machine.cpu),
                quoted(&machine.load)
            )?;
        }
        Ok(())
    }

    /// Takes the samples of one table and reports them.
    pub(crate) fn table(
        &mut self,
        title: &Title<'_>,
        contestants: Vec<Contestant<'_>>,
        rounds: Rounds,
    ) -> anyhow::Result<()> {
        self.measure(title, None, contestants, rounds)
    }

    /// Like [`table`](Self::table), for one of several numbers of tasks: the page plots a curve for
    /// each contestant.
    pub(crate) fn table_at(
        &mut self,
        place: Place,
        title: &Title<'_>,
        contestants: Vec<Contestant<'_>>,
        rounds: Rounds,
    ) -> anyhow::Result<()> {
        self.measure(title, Some(place), contestants, rounds)
    }

    fn measure(
        &mut self,
        title: &Title<'_>,
        place: Option<Place>,
        mut contestants: Vec<Contestant<'_>>,
        rounds: Rounds,
    ) -> anyhow::Result<()> {
        let before = Ticks::now();
        let samples = take_turns(&mut contestants, rounds)?;
        let others = Ticks::used_by_others_since(before);
        let first = samples[0].median();
        let lines =
            contestants
                .iter()
                .zip(&samples)
                .enumerate()
                .map(|(place, (contestant, samples))| {
                    let ratio = (place > 0).then(|| first / samples.median());
                    Line::new(contestant, samples, ratio)
                });
        let table = Table {
            row: title.row.to_owned(),
            case: title.case.to_owned(),
            unit: title.unit.to_owned(),
            place,
            others,
            lines: lines.collect(),
            notes: Vec::new(),
        };
        table.print();
        if let Some(json) = &mut self.json {
            table.write_json(json)?;
        }
        self.tables.push(table);
        Ok(())
    }

    /// A remark below the table that was taken last.
    pub(crate) fn note(&mut self, text: &str) {
        println!("  {text}");
        if let Some(table) = self.tables.last_mut() {
            table.notes.push(text.to_owned());
        }
    }

    pub(crate) fn finish(mut self) -> anyhow::Result<Vec<Table>> {
        let verdicts = || self.tables.iter().flat_map(Table::verdicts);
        println!(
            "\n{} of {} goals met",
            verdicts().filter(|(_, verdict)| verdict.met).count(),
            verdicts().count()
        );
        for table in &self.tables {
            for (line, verdict) in table.verdicts().filter(|(_, verdict)| !verdict.met) {
                println!(
                    "  missed: {}, {}: {} {}",
                    table.row,
                    table.case,
                    line.contestant,
                    verdict.wanted()
                );
            }
        }
        if let Some(json) = &mut self.json {
            json.flush()?;
        }
        Ok(self.tables)
    }
}

impl Table {
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = (&Line, &Verdict)> {
        self.lines
            .iter()
            .flat_map(|line| line.verdicts.iter().map(move |verdict| (line, verdict)))
    }

    /// The remark for a table during which other processes used so much of the machine that they
    /// may have shaped the figures.
    pub(crate) fn doubt(&self) -> Option<String> {
        let others = self.others.filter(|&others| others > DISTURBED)?;
        Some(format!(
            "doubtful: others used {:.0} % of the machine meanwhile",
            others * 100.0
        ))
    }

    fn print(&self) {
        println!("\n{}, {} [{}]", self.row, self.case, self.unit);
        if let Some(doubt) = self.doubt() {
            println!("  ({doubt})");
        }
        println!(
            "  {:<34} {:>10}  {:<22} {:>8}  goal",
            "", "median", "min..max", "ratio"
        );
        for line in &self.lines {
            let text = format!(
                "  {:<34} {:>10}  {:<22} {:>8}  {}",
                line.contestant,
                figure(line.median),
                format!("{}..{}", figure(line.smallest), figure(line.largest)),
                line.ratio.map(figure).unwrap_or_default(),
                line.verdicts
                    .iter()
                    .map(Verdict::text)
                    .collect::<Vec<_>>()
                    .join(", "),
            );
            println!("{}", text.trim_end());
        }
    }

    fn write_json(&self, json: &mut impl Write) -> anyhow::Result<()> {
        for line in &self.lines {
            let goals: Vec<_> = line
                .verdicts
                .iter()
                .map(|verdict| {
                    format!(
                        r#"{{"of":"{}","at_most":{},"met":{}}}"#,
                        verdict.subject(),
                        verdict.limit,
                        verdict.met
                    )
                })
                .collect();
            writeln!(
                json,
                r#"{{"row":{},"case":{},"unit":{},"contestant":{},"median":{},"min":{},"max":{},"samples":{},"ratio":{},"others":{},"goals":[{}]}}"#,
                quoted(&self.row),
                quoted(&self.case),
                quoted(&self.unit),
                quoted(&line.contestant),
                line.median,
                line.smallest,
                line.largest,
                line.samples,
                number(line.ratio),
                number(self.others),
                goals.join(","),
            )?;
        }
        Ok(())
    }
}

impl Line {
    fn new(contestant: &Contestant<'_>, samples: &Samples, ratio: Option<f64>) -> Self {
        Line {
            contestant: contestant.name.clone(),
            median: samples.median(),
            smallest: samples.smallest(),
            largest: samples.largest(),
            samples: samples.count(),
            ratio,
            verdicts: contestant
                .goals
                .iter()
                .map(|&goal| Verdict::of(goal, samples, ratio))
                .collect(),
        }
    }
}

impl Verdict {
    fn of(goal: Goal, samples: &Samples, ratio: Option<f64>) -> Self {
        let (reached, limit) = match goal {
            Goal::Median(limit) => (samples.median(), limit),
            Goal::Largest(limit) => (samples.largest(), limit),
            Goal::Ratio(limit) => (ratio.unwrap_or(1.0), limit),
            Goal::InverseRatio(limit) => (1.0 / ratio.unwrap_or(1.0), limit),
            Goal::Excess(limit) => (samples.median() * (ratio.unwrap_or(1.0) - 1.0), limit),
        };
        Verdict {
            goal,
            reached,
            limit,
            met: reached <= limit,
        }
    }

    fn subject(&self) -> &'static str {
        match self.goal {
            Goal::Median(_) => "median",
            Goal::Largest(_) => "max",
            Goal::Ratio(_) => "ratio",
            Goal::InverseRatio(_) => "1/ratio",
            Goal::Excess(_) => "excess",
        }
    }

    pub(crate) fn wanted(&self) -> String {
        format!("{} <= {}", self.subject(), self.limit)
    }

    fn text(&self) -> String {
        format!(
            "{} {}",
            self.wanted(),
            if self.met { "met" } else { "missed" }
        )
    }
}

/// Three significant digits, and never fewer than all digits before the point.
pub(crate) fn figure(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        m if m >= 100.0 => 0,
        m if m >= 10.0 => 1,
        m if m >= 1.0 || m == 0.0 => 2,
        m if m >= 0.1 => 3,
        m if m >= 0.01 => 4,
        _ => 5,
    };
    format!("{value:.decimals$}")
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
