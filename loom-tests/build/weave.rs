//! Writes every fault into the sources, beside the right code: `if on(n) { wrong } else { right }`.
//!
//! A fault in `faults/` names a mark in the sources, `// fault: name`, on a line of its own above
//! the statement that it breaks. Others are made by rule (see `rules`). The lines of the sources
//! keep their numbers, so that a place in a message is the place in `src`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::entries::{Change, Entry};
use super::rules;
use super::tokens::Code;

/// How a mark begins.
const MARK: &str = "// fault:";

/// The path of the switch of a fault, in the copy of the sources.
const SWITCH: &str = "crate::faults::is_on";

/// An error that the author of a mark or of an entry has to mend.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Error {
    file: String,
    line: usize,
    message: String,
}

impl Error {
    /// An error at a line.
    pub(super) fn new(file: &str, line: usize, message: impl Into<String>) -> Error {
        Error {
            file: file.into(),
            line,
            message: message.into(),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// One way to break the sources.
#[derive(Debug)]
pub(super) struct Fault {
    /// The name of its entry, or the change that the rule makes.
    pub(super) name: String,
    /// Its symptom; empty if it was made by rule.
    pub(super) shows: String,
    /// Why no model sees it.
    pub(super) survives: Option<String>,
    /// Whether it has a mark.
    pub(super) is_marked: bool,
    /// The file that it breaks.
    pub(super) file: String,
    /// The line that it breaks.
    pub(super) line: usize,
    /// The bytes that it replaces.
    pub(super) span: Range<usize>,
    /// How the right code and the wrong code go into one program.
    pub(super) form: Form,
    /// The wrong code.
    pub(super) wrong: String,
}

/// How right and wrong code go into one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One of two statements.
    Statement,
    /// One of two values.
    Expression,
    /// Nothing, or a statement before.
    Insert,
}

impl Form {
    /// The form for a range of tokens.
    pub(super) fn of(code: &Code<'_>, tokens: &Range<usize>) -> Form {
        match code.at(tokens.end - 1) {
            ";" | "}" => Form::Statement,
            _ => Form::Expression,
        }
    }
}

/// A source, with the name by which messages call it.
#[derive(Debug)]
pub(super) struct Source {
    /// Its path, from the root of the workspace.
    pub(super) file: String,
    /// Its text.
    pub(super) text: String,
}

/// Finds all faults, both the entries and those made by rule. Each of `entries` has the name of its
/// file beside it.
pub(super) fn faults(
    sources: &[Source],
    entries: Vec<(String, Entry)>,
) -> Result<Vec<Fault>, Error> {
    let mut by_name: BTreeMap<String, (String, Entry)> = BTreeMap::new();
    for (file, entry) in entries {
        let (name, line) = (entry.name.clone(), entry.line);
        if by_name
            .insert(name.clone(), (file.clone(), entry))
            .is_some()
        {
            return Err(Error::new(&file, line, format!("a second entry `{name}`")));
        }
    }
    let codes = sources
        .iter()
        .map(|source| {
            let code = Code::parse(&source.text);
            code.map_err(|message| Error::new(&source.file, 1, message))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut hidden = Vec::new();
    for (Source { file, .. }, code) in sources.iter().zip(&codes) {
        // The children of `a.rs` are in `a/`; children of `lib.rs` and `mod.rs` are beside it.
        let stem = file.trim_end_matches(".rs");
        let folder = stem.trim_end_matches("/lib").trim_end_matches("/mod");
        let modules = rules::hidden_modules(code);
        hidden.extend(modules.iter().map(|module| format!("{folder}/{module}")));
    }

    let mut faults = Vec::new();
    for (Source { file, .. }, code) in sources.iter().zip(&codes) {
        for (line, first, name) in marks(file, code)? {
            let Some((entries, entry)) = by_name.remove(&name) else {
                let message = format!(
                    "no entry in loom-tests/faults/ is named `{name}`, or a mark before this has it"
                );
                return Err(Error::new(file, line, message));
            };
            faults.push(marked(file, code, line, first, &entries, entry)?);
        }
        let stem = file.trim_end_matches(".rs");
        let is_in = |module: &String| {
            stem.strip_prefix(module.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if !hidden.iter().any(is_in) {
            faults.extend(rules::faults(file, code));
        }
    }
    match by_name.into_values().next() {
        Some((file, entry)) => {
            let message = format!("no source has the mark `{MARK} {}`", entry.name);
            Err(Error::new(&file, entry.line, message))
        }
        None => Ok(faults),
    }
}

/// The marks of a file: the line, the first token below it, and the name.
fn marks(file: &str, code: &Code<'_>) -> Result<Vec<(usize, usize, String)>, Error> {
    let mut marks = Vec::new();
    let mut end = 0;
    for next in 0..=code.tokens.len() {
        // Comments stand between the tokens.
        let from = end;
        let to = code
            .tokens
            .get(next)
            .map_or(code.text.len(), |token| token.span.start);
        end = code.tokens.get(next).map_or(to, |token| token.span.end);
        let mut at = from;
        for text in code.text.get(from..to).unwrap_or("").split_inclusive('\n') {
            let line = code.line(at);
            at += text.len();
            let Some(name) = text.trim().strip_prefix(MARK) else {
                continue;
            };
            let is_own_line = code.text[..at - text.len()].ends_with('\n');
            let closes = next == code.tokens.len() || code.tokens[next].partner < next;
            if !is_own_line || closes {
                let message =
                    "a mark stands on a line of its own above the statement that it names";
                return Err(Error::new(file, line, message));
            }
            marks.push((line, next, name.trim().to_owned()));
        }
    }
    Ok(marks)
}

/// Returns the fault of a mark in `line`, which stands above the token `first`.
fn marked(
    file: &str,
    code: &Code<'_>,
    line: usize,
    first: usize,
    entries: &str,
    entry: Entry,
) -> Result<Fault, Error> {
    let statement = code.statement(first);
    let refused = |message: &str| {
        Err(Error::new(
            file,
            line,
            format!("`{}` {message} ({entries}:{})", entry.name, entry.line),
        ))
    };
    if statement.is_empty() {
        return refused("names no statement");
    }

    let changed = match &entry.change {
        Change::Insert(_) => Ok((statement.start..statement.start, Form::Insert)),
        Change::Drop | Change::Replace { right: None, .. } => whole(code, &statement),
        Change::Replace {
            right: Some(right), ..
        } => {
            let right =
                Code::parse(right).map_err(|message| Error::new(entries, entry.line, message))?;
            part(code, &statement, &right)
        }
    };
    let (tokens, form) = match changed {
        Ok(changed) => changed,
        Err(message) => return refused(message),
    };

    let wrong = match &entry.change {
        Change::Insert(code) => code.clone(),
        Change::Replace { wrong, .. } => wrong.clone(),
        Change::Drop => String::new(),
    };

    let span = match form {
        Form::Insert => code.tokens[tokens.start].span.start..code.tokens[tokens.start].span.start,
        Form::Statement | Form::Expression => code.span(&tokens),
    };
    Ok(Fault {
        line: code.line(span.start),
        name: entry.name,
        shows: entry.shows,
        survives: entry.survives,
        is_marked: true,
        file: file.into(),
        span,
        form,
        wrong,
    })
}

/// The tokens that a fault changes, and what they are; or why it cannot.
type Changed = Result<(Range<usize>, Form), &'static str>;

/// Returns the whole statement, for a fault that replaces it or leaves it out.
fn whole(code: &Code<'_>, statement: &Range<usize>) -> Changed {
    let run = code.run(statement);
    if code.at(run.start) == "let" {
        return Err("names a `let`: give the right text and the wrong one");
    }

    let form = Form::of(code, &run);
    Ok((run, form))
}

/// Returns the one place in the statement where `right` stands.
fn part(code: &Code<'_>, statement: &Range<usize>, right: &Code<'_>) -> Changed {
    let mut found = code.find(statement, right).into_iter();
    match (found.next(), found.next()) {
        (Some(tokens), None) => {
            let form = Form::of(code, &tokens);
            Ok((tokens, form))
        }
        (None, _) => Err("has a right text that does not stand below its mark"),
        (Some(_), Some(_)) => Err("has a right text that stands below its mark twice"),
    }
}

/// Writes the text of a file with all of its faults, each with its number.
pub(super) fn weave(source: &Source, faults: &[(usize, &Fault)]) -> Result<String, Error> {
    let mut faults = faults.to_vec();
    // From the back, and an inner fault before the fault around it.
    faults.sort_by_key(|(_, fault)| (std::cmp::Reverse(fault.span.start), fault.span.end));
    let mut text = source.text.clone();
    // The places where the text has grown, and by how much.
    let mut grown: Vec<(Range<usize>, usize)> = Vec::new();
    for (number, fault) in faults {
        let Range { start, end } = fault.span;
        if grown
            .iter()
            .any(|(other, _)| other.start < end && other.end > end)
        {
            return Err(Error::new(
                &source.file,
                fault.line,
                format!("`{}` cuts through another fault", fault.name),
            ));
        }
        let inside: usize = grown
            .iter()
            .filter(|(other, _)| other.start < end)
            .map(|(_, by)| by)
            .sum();
        let end = end + inside;
        let (switch, wrong, right) = (
            format!("{SWITCH}({number})"),
            &fault.wrong,
            &text[start..end],
        );
        let new = match fault.form {
            Form::Statement => format!("if {switch} {{ {wrong} }} else {{ {right} }}"),
            Form::Expression => format!("(if {switch} {{ {wrong} }} else {{ {right} }})"),
            Form::Insert => format!("if {switch} {{ {wrong} }} "),
        };
        grown.push((fault.span.clone(), new.len() - right.len()));
        text.replace_range(start..end, &new);
    }
    Ok(text)
}
