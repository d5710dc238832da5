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
        while let Some((at, found)) = rest.char_indices().find(|&(_, c)| is_hazard(c)) {
            f.write_str(&rest[..at])?;
            write!(f, "{}", found.escape_default())?;
            rest = &rest[at + found.len_utf8()..];
        }

        f.write_str(rest)
    }
}

/// Returns whether a terminal, or a reader of lines, takes the character for more than itself:
/// controls, line and paragraph separators, and characters that change the direction of the text.
fn is_hazard(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the text on one line: its lines trimmed and joined by a space, other control characters
/// escaped.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hazard) {
        return Cow::Borrowed(text);
    }

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
    fn lines_are_joined() {
        assert_eq!(one_line("two\n  lines\n\n"), "two lines");
        assert_eq!(one_line("back\rover\u{1b}[A"), "back\\rover\\u{1b}[A");
        assert!(matches!(one_line("one"), Cow::Borrowed("one")));
    }
}
