//! Tables for people on standard output and, where asked for, JSON lines for programs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;

use crate::process::{Machine, Ticks};
use crate::sampling::{take_turns, Contestant, Goal, Rounds, Samples};

/// Other programs that used more of the machine than this while a table was taken are worth a warning.
const DISTURBED: f64 = 0.05;

pub(crate) struct Report {
    json: Option<BufWriter<File>>,
    met: usize,
    missed: Vec<String>,
}

/// Which table the figures belong to.
pub(crate) struct Title<'a> {
    pub(crate) row: &'a str,
    pub(crate) case: &'a str,
    pub(crate) unit: &'a str,
}

/// A goal with what became of it.
struct Verdict {
    goal: Goal,
    limit: f64,
    met: bool,
}

impl Report {
    pub(crate) fn new(json: Option<&Path>) -> anyhow::Result<Self> {
        let json = match json {
            Some(path) => {
                Some(BufWriter::new(File::create(path).with_context(|| format!("cannot create {}", path.display()))?))
            }
            None => None,
        };
        Ok(Report { json, met: 0, missed: Vec::new() })
    }

    pub(crate) fn machine(&mut self, machine: &Machine) -> anyhow::Result<()> {
        println!("{} cores, {}, load {} before the start", machine.cores, machine.cpu, machine.load);
        if let Some(json) = &mut self.json {
            writeln!(json, r#"{{"cores":{},"cpu":{},"load":{}}}"#, machine.cores, quoted(&machine.cpu), quoted(&machine.load))?;
        }
        Ok(())
    }

    /// Takes the samples of one table and reports them.
    pub(crate) fn table(
        &mut self,
        title: &Title<'_>,
        mut contestants: Vec<Contestant<'_>>,
        rounds: Rounds,
    ) -> anyhow::Result<()> {
        let before = Ticks::now();
        let samples = take_turns(&mut contestants, rounds)?;
        let others = Ticks::used_by_others_since(before);
        println!("\n{}, {} [{}]", title.row, title.case, title.unit);
        if let Some(others) = others.filter(|&others| others > DISTURBED) {
            println!("  (doubtful: others used {:.0} % of the machine meanwhile)", others * 100.0);
        }
        println!("  {:<34} {:>10}  {:<22} {:>8}  goal", "", "median", "min..max", "ratio");
        let first = samples[0].median();
        for (place, (contestant, samples)) in contestants.iter().zip(&samples).enumerate() {
            let ratio = (place > 0).then(|| first / samples.median());
            let verdicts: Vec<_> = contestant.goals.iter().map(|&goal| Verdict::of(goal, samples, ratio)).collect();
            let line = format!(
                "  {:<34} {:>10}  {:<22} {:>8}  {}",
                contestant.name,
                figure(samples.median()),
                format!("{}..{}", figure(samples.smallest()), figure(samples.largest())),
                ratio.map(figure).unwrap_or_default(),
                verdicts.iter().map(Verdict::text).collect::<Vec<_>>().join(", "),
            );
            println!("{}", line.trim_end());
            self.count(title, &contestant.name, &verdicts);
            self.json_line(title, others, &contestant.name, samples, ratio, &verdicts)?;
        }
        Ok(())
    }

    /// A remark below the table it belongs to.
    pub(crate) fn note(&self, text: &str) {
        println!("  {text}");
    }

    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        println!("\n{} of {} goals met", self.met, self.met + self.missed.len());
        for missed in &self.missed {
            println!("  missed: {missed}");
        }
        if let Some(json) = &mut self.json {
            json.flush()?;
        }
        Ok(())
    }

    fn count(&mut self, title: &Title<'_>, contestant: &str, verdicts: &[Verdict]) {
        for verdict in verdicts {
            if verdict.met {
                self.met += 1;
            } else {
                self.missed.push(format!("{}, {}: {} {}", title.row, title.case, contestant, verdict.wanted()));
            }
        }
    }

    fn json_line(
        &mut self,
        title: &Title<'_>,
        others: Option<f64>,
        contestant: &str,
        samples: &Samples,
        ratio: Option<f64>,
        verdicts: &[Verdict],
    ) -> anyhow::Result<()> {
        let Some(json) = &mut self.json else { return Ok(()) };
        let goals: Vec<_> = verdicts
            .iter()
            .map(|verdict| format!(r#"{{"of":"{}","at_most":{},"met":{}}}"#, verdict.subject(), verdict.limit, verdict.met))
            .collect();
        writeln!(
            json,
            r#"{{"row":{},"case":{},"unit":{},"contestant":{},"median":{},"min":{},"max":{},"samples":{},"ratio":{},"others":{},"goals":[{}]}}"#,
            quoted(title.row),
            quoted(title.case),
            quoted(title.unit),
            quoted(contestant),
            samples.median(),
            samples.smallest(),
            samples.largest(),
            samples.count(),
            number(ratio),
            number(others),
            goals.join(","),
        )?;
        Ok(())
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
        Verdict { goal, limit, met: reached <= limit }
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

    fn wanted(&self) -> String {
        format!("{} <= {}", self.subject(), self.limit)
    }

    fn text(&self) -> String {
        format!("{} {}", self.wanted(), if self.met { "met" } else { "missed" })
    }
}

/// Three significant digits, and never fewer than all digits before the point.
fn figure(value: f64) -> String {
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
