//! The user's texts in messages of one line.
//!
//! A line break in such a text must not look like a line of a report, and an escape sequence must
//! not change how a terminal shows the rest.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// A text with its control characters escaped, line breaks included.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;

        // Whole pieces between the hazards are written at once: most texts have none.
        while let Some((at, found)) = rest.char_indices().find(|&(_, c)| is_hazard(c)) {
            f.write_str(&rest[..at])?;
            write!(f, "{}", found.escape_default())?;
            rest = &rest[at + found.len_utf8()..];
        }

        f.write_str(rest)
    }
}

/// How many characters a name has at most where it is printed, escapes counted.
const LONGEST_NAME: usize = 120;

/// A name of the user in any message: like [`Escaped`], and cut where it would be too long. It is
/// written without an allocation.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = LONGEST_NAME;
        for (at, found) in self.0.char_indices() {
            // The printed characters count: an escape is up to eight characters for one.
            let length = if is_hazard(found) {
                found.escape_default().count()
            } else {
                1
            };
            match room.checked_sub(length) {
                Some(left) => room = left,
                None => return write!(f, "{}..", Escaped(&self.0[..at])),
            }
        }
        write!(f, "{}", Escaped(self.0))
    }
}

/// Returns whether a terminal, or a reader of lines, takes the character for more than itself:
/// controls, line and paragraph separators, and characters that change the direction of the text.
fn is_hazard(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        )
        || matches!(c, '\u{2066}'..='\u{2069}')
}

/// Returns the text on one line: its lines trimmed and joined by a space, other control characters
/// escaped.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hazard) {
        return Cow::Borrowed(text);
    }

    // The parts are trimmed: the indentation of a further line means nothing on one line.
    let mut line = String::with_capacity(text.len());
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        let gap = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{gap}{}", Escaped(part));
    }
    Cow::Owned(line)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        assert_eq!(
            Escaped("a\nb\r\u{1b}[2Kc\td").to_string(),
            "a\\nb\\r\\u{1b}[2Kc\td"
        );
        assert_eq!(
            Escaped("\u{202e}e\u{2028}é").to_string(),
            "\\u{202e}e\\u{2028}é"
        );
        assert_eq!(Escaped("plain └─ text").to_string(), "plain └─ text");
    }

    #[test]
    fn a_name_is_cut_where_its_escapes_would_be_too_long() {
        let whole = "é".repeat(LONGEST_NAME);
        assert_eq!(Name(&whole).to_string(), whole);
        assert_eq!(Name(&format!("{whole}!")).to_string(), format!("{whole}.."));

        // No escape is cut in two.
        let marks = "\u{200f}".repeat(10_000);
        assert_eq!(Name(&marks).to_string(), "\\u{200f}".repeat(15) + "..");
        let line = format!("{}\n", "a".repeat(LONGEST_NAME - 1));
        assert_eq!(Name(&line).to_string(), "a".repeat(LONGEST_NAME - 1) + "..");
    }

    #[test]
    fn lines_are_joined() {
        assert_eq!(one_line("two\n  lines\n\n"), "two lines");
        assert_eq!(one_line("back\rover\u{1b}[A"), "back\\rover\\u{1b}[A");
        assert!(matches!(one_line("one"), Cow::Borrowed("one")));
    }
}
