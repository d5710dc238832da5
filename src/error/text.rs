//! The pieces of text in a report: durations, and the texts of errors.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use crate::cancel::one_line as joined;

/// A duration, in the unit that a person would choose.
pub(super) struct Time(pub(super) Duration);

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let nanos = self.0.as_nanos();

        // From a minute on, two units: a decimal fraction of a minute is hard to read.
        match (seconds, nanos) {
            (0, ..1_000) => write!(f, "{nanos} ns"),
            (0, ..1_000_000) => write!(f, "{:.1} µs", self.0.as_secs_f64() * 1e6),
            (0, _) => write!(f, "{:.1} ms", self.0.as_secs_f64() * 1e3),
            (..60, _) => write!(f, "{:.1} s", self.0.as_secs_f64()),
            (..3600, _) => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {} min", seconds / 3600, seconds % 3600 / 60),
        }
    }
}

/// Returns the text of an error on one line.
pub(super) fn one_line(text: &dyn Display) -> String {
    let text = text_of(text);

    // A text that is one line already is not copied.
    match joined(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(line) => line,
    }
}

/// Leaves out the middle of a long line.
///
/// It is a line of nested groups, which begins with the outermost groups and ends with the
/// innermost error.
pub(super) fn shortened(line: String) -> String {
    const BEGINNING: usize = 600;
    const END: usize = 400;
    if line.len() <= BEGINNING + END {
        return line;
    }

    // A character that stands across a bound is left out.
    let beginning = (0..=BEGINNING)
        .rev()
        .find(|&at| line.is_char_boundary(at))
        .unwrap_or(0);
    let end = (line.len() - END..line.len())
        .find(|&at| line.is_char_boundary(at))
        .unwrap_or(line.len());

    format!("{} … {}", &line[..beginning], &line[end..])
}

/// Like `to_string`, but does not panic where a `Display` returns an error.
pub(super) fn text_of(text: &(impl Display + ?Sized)) -> String {
    let mut out = String::new();

    // Formatting into a `String` fails only if the `Display` itself does.
    if write!(out, "{text}").is_err() {
        out += " (its `Display` failed)";
    }

    out
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_keeps_its_beginning_and_its_end() {
        // Characters of two bytes, so that the bounds may fall inside of one.
        let line = format!("a{}z", "é".repeat(2_000));
        let short = shortened(line);

        assert!(
            short.starts_with('a')
                && short.ends_with('z')
                && short.contains(" … ")
                && short.len() < 1_010,
            "{short}"
        );

        assert_eq!(shortened("short".to_owned()), "short");
    }

    #[test]
    fn a_display_that_fails_does_not_panic() {
        struct Failing;
        impl Display for Failing {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                Err(fmt::Error)
            }
        }

        // `to_string` would panic here.
        assert_eq!(one_line(&Failing), " (its `Display` failed)");
    }

    #[test]
    fn durations_in_human_units() {
        let shown = [
            340,
            12_300,
            1_240_000,
            3_450_000_000,
            125_000_000_000,
            3_780_000_000_000,
        ]
        .map(|nanos| Time(Duration::from_nanos(nanos)).to_string());

        assert_eq!(
            shown,
            [
                "340 ns",
                "12.3 µs",
                "1.2 ms",
                "3.5 s",
                "2 min 5 s",
                "1 h 3 min"
            ]
        );
    }
}
