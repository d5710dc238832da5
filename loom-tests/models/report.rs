//! The line that is printed for each model, and parsed again by the tests that need it.

use std::fmt;
use std::str::FromStr;

/// The outcome of one model: `model name bound executions seconds end`.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The model.
    pub name: String,
    /// How far it was to be explored.
    pub bound: String,
    /// The executions begun, if the process lived to report them.
    pub executions: Option<u64>,
    /// How long it took.
    pub seconds: f64,
    /// How it ended.
    pub end: End,
}

/// How a model ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Every execution within the bound was run, and none failed.
    Complete,
    /// A model that must fail failed, for the stated reason.
    Found(String),
    /// It did not end as it must.
    Failed(String),
    /// The time limit stopped it: nothing is known.
    Truncated,
    /// It was not run, because another had failed.
    Skipped,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let executions = self.executions.map_or("-".into(), |n| n.to_string());
        write!(
            f,
            "model {:<56} {:<15} {executions:>9} {:>8.2} {}",
            self.name, self.bound, self.seconds, self.end
        )
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Complete => f.write_str("complete"),
            End::Found(reason) => write!(f, "found: {reason}"),
            End::Failed(reason) => write!(f, "failed: {reason}"),
            End::Truncated => f.write_str("TRUNCATED"),
            End::Skipped => f.write_str("skipped"),
        }
    }
}

/// The line is not the report of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the report of a model")]
#[non_exhaustive]
pub struct NoReport;

impl FromStr for Report {
    type Err = NoReport;

    fn from_str(line: &str) -> Result<Report, NoReport> {
        let mut words = line.split_whitespace();
        let mut word = || words.next().ok_or(NoReport);
        if word()? != "model" {
            return Err(NoReport);
        }
        let name = word()?.to_owned();
        let bound = word()?.to_owned();
        let executions = match word()? {
            "-" => None,
            count => Some(count.parse().map_err(|_| NoReport)?),
        };
        let seconds = word()?.parse().map_err(|_| NoReport)?;
        let end = words.collect::<Vec<_>>().join(" ").parse()?;
        Ok(Report {
            name,
            bound,
            executions,
            seconds,
            end,
        })
    }
}

impl FromStr for End {
    type Err = NoReport;

    fn from_str(text: &str) -> Result<End, NoReport> {
        Ok(match text {
            "complete" => End::Complete,
            "TRUNCATED" => End::Truncated,
            "skipped" => End::Skipped,
            _ => match text.split_once(": ").ok_or(NoReport)? {
                ("found", reason) => End::Found(reason.to_owned()),
                ("failed", reason) => End::Failed(reason.to_owned()),
                _ => return Err(NoReport),
            },
        })
    }
}
