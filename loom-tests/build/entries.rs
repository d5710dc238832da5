//! Reads the files in `faults/`: the name of each fault, its symptom, and its change of the code.

use super::tokens::Code;
use super::weave::Error;

/// A fault, as its file describes it.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name of its mark.
    pub(super) name: String,
    /// The line of the name.
    pub(super) line: usize,
    /// Its symptom.
    pub(super) shows: String,
    /// Its change of the code.
    pub(super) change: Change,
    /// Why no model sees it.
    pub(super) survives: Option<String>,
}

/// The change of the statement below a mark.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The statement is not run.
    Drop,
    /// This code is run before it.
    Insert(String),
    /// A part of it, or all of it, is replaced.
    Replace {
        /// The part, which occurs in it once.
        right: Option<String>,
        /// The code in its place.
        wrong: String,
    },
}

/// Reads a file of entries. `file` is its name, for the messages.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Entry>, Error> {
    let error = |line, message: &str| Error::new(file, line, message);
    let mut drafts: Vec<Draft> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let words = text.trim();
        if words.is_empty() || text.starts_with('#') {
            continue;
        }
        if !text.starts_with(' ') {
            drafts.push(Draft::new(words, line));
        } else if let Some(draft) = drafts.last_mut() {
            draft.add(words).map_err(|message| error(line, message))?;
        } else {
            let message = "this belongs to no fault: begin with a name at the margin";
            return Err(error(line, message));
        }
    }
    drafts
        .into_iter()
        .map(|draft| {
            let line = draft.line;
            draft.finish().map_err(|message| error(line, &message))
        })
        .collect()
}

/// An entry that is being read: its fields, each with its first line.
struct Draft {
    name: String,
    line: usize,
    shows: String,
    drops: bool,
    fields: Vec<(&'static str, String)>,
}

const FIELDS: [&str; 4] = ["right", "wrong", "insert", "survives"];

impl Draft {
    fn new(name: &str, line: usize) -> Draft {
        Draft {
            name: name.into(),
            line,
            shows: String::new(),
            drops: false,
            fields: Vec::new(),
        }
    }

    fn add(&mut self, words: &str) -> Result<(), &'static str> {
        let begins = FIELDS
            .into_iter()
            .find_map(|field| Some((field, words.strip_prefix(field)?.strip_prefix(':')?)));
        if words == "drop" {
            self.drops = true;
        } else if let Some((field, rest)) = begins {
            if self.fields.iter().any(|(other, _)| *other == field) {
                return Err("the field is given twice");
            }
            self.fields.push((field, rest.trim().into()));
        } else {
            let text = self
                .fields
                .last_mut()
                .map_or(&mut self.shows, |(_, text)| text);
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(words);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Entry, String> {
        let mut take = |field| {
            let at = self.fields.iter().position(|(other, _)| *other == field);
            at.map(|at| self.fields.remove(at).1)
        };
        let (right, wrong, insert) = (take("right"), take("wrong"), take("insert"));
        let survives = take("survives");
        let name = self.name;
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !name.bytes().all(is_plain) {
            return Err(format!("`{name}` is no name: use a-z, 0-9 and -"));
        }
        let change = match (self.drops, insert, right, wrong) {
            (true, None, None, None) => Change::Drop,
            (false, Some(code), None, None) => Change::Insert(code),
            (false, None, right, Some(wrong)) => Change::Replace { right, wrong },
            _ => {
                return Err(format!(
                    "`{name}` needs one of: drop; insert; wrong; right and wrong"
                ));
            }
        };
        if self.shows.is_empty() {
            return Err(format!("`{name}` does not say its symptom"));
        }
        if survives.as_ref().is_some_and(String::is_empty) {
            return Err(format!("`{name}` survives without a reason"));
        }
        for code in change.code() {
            if code.contains("//") {
                return Err(format!(
                    "`{name}` has a comment in its code, which goes on one line"
                ));
            }
            Code::parse(code).map_err(|error| format!("`{name}`: {error}: {code}"))?;
        }
        Ok(Entry {
            name,
            line: self.line,
            shows: self.shows,
            change,
            survives,
        })
    }
}

impl Change {
    fn code(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Change::Drop => (None, None),
            Change::Insert(code) => (Some(code), None),
            Change::Replace { right, wrong } => (right.as_ref(), Some(wrong)),
        };
        first.into_iter().chain(second).map(String::as_str)
    }
}
