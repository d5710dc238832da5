//! The faults that are made by rule: each ordering weakened by one step, each wake dropped.

use std::ops::Range;

use super::tokens::Code;
use super::weave::{Fault, Form};

/// The methods that wake a thread.
const WAKES: [&str; 8] = [
    "unpark",
    "unpark_one",
    "unpark_all",
    "wake",
    "wake_one",
    "wake_all",
    "notify_one",
    "notify_all",
];

/// Finds the faults of one file. Code behind a `cfg` is left out: the models may not compile it.
pub(super) fn faults(file: &str, code: &Code<'_>) -> Vec<Fault> {
    let hidden = hidden(code);
    let is_hidden = |at: usize| hidden.iter().any(|range| range.contains(&at));
    let mut faults = Vec::new();
    for at in (0..code.tokens.len()).filter(|&at| !is_hidden(at)) {
        let changes = match code.at(at) {
            "SeqCst" | "AcqRel" | "Acquire" | "Release" => weakened(code, at),
            "." if WAKES.contains(&code.at(at + 1)) && code.at(at + 2) == "(" => {
                vec![without_wake(code, at)]
            }
            _ => Vec::new(),
        };
        for change in changes {
            // Two wakes of one statement are dropped as one.
            if !faults
                .iter()
                .any(|other: &Fault| other.span == change.span && other.wrong == change.wrong)
            {
                faults.push(change.named(file, code, at, &faults));
            }
        }
    }
    faults
}

struct RuleChange {
    what: String,
    span: Range<usize>,
    form: Form,
    wrong: String,
}

impl RuleChange {
    fn named(self, file: &str, code: &Code<'_>, at: usize, before: &[Fault]) -> Fault {
        let function = (1..at)
            .rev()
            .find(|&at| code.at(at - 1) == "fn")
            .map_or("", |at| code.at(at));
        let name = format!("{function}: {}", self.what);
        let same = |other: &&Fault| {
            let rest = other.name.strip_prefix(&name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" #"))
        };
        let name = match before.iter().filter(same).count() {
            0 => name,
            same => format!("{name} #{}", same + 1),
        };
        Fault {
            name,
            shows: String::new(),
            survives: None,
            is_marked: false,
            file: file.into(),
            line: code.line(code.tokens[at].span.start),
            span: self.span,
            form: self.form,
            wrong: self.wrong,
        }
    }
}

/// The statement that wakes a thread, not run.
fn without_wake(code: &Code<'_>, at: usize) -> RuleChange {
    let run = code.run(&code.statement_around(at));
    let span = code.span(&run);
    RuleChange {
        what: format!(
            "drop {}",
            one_line(code.text[span.clone()].trim_end_matches(';'))
        ),
        form: Form::of(code, &run),
        span,
        wrong: String::new(),
    }
}

/// The operation that an ordering is given to. It decides which weaker orderings exist: a load has
/// no `Release` and a fence no `Relaxed`. Using one panics, which would look like a caught fault.
fn weaker(call: &str, argument: usize, ordering: &str) -> &'static [&'static str] {
    let is_load = matches!(
        (call, argument),
        ("load", _) | ("compare_exchange" | "compare_exchange_weak", 3) | ("fetch_update", 1)
    );
    match (ordering, call) {
        ("SeqCst", _) if is_load => &["Acquire"],
        ("SeqCst", "store") => &["Release"],
        ("SeqCst", _) => &["AcqRel"],
        ("AcqRel", _) => &["Acquire", "Release"],
        (_, "fence" | "compiler_fence") => &[],
        _ => &["Relaxed"],
    }
}

fn weakened(code: &Code<'_>, at: usize) -> Vec<RuleChange> {
    let has_path = at >= 3 && code.at(at - 3) == "Ordering" && code.at(at - 1) == ":";
    let call = code.tokens[at]
        .open
        .filter(|&open| open > 0 && code.at(open) == "(");
    let name = call.map_or("", |open| code.at(open - 1));
    let is_atomic = name.starts_with("fetch_")
        || [
            "load",
            "store",
            "swap",
            "compare_exchange",
            "compare_exchange_weak",
        ]
        .contains(&name);
    let statement = code.statement_around(at);
    if code.at(code.keyword(statement.start)) == "use" || !(has_path || is_atomic) {
        return Vec::new();
    }
    let start = if has_path { at - 3 } else { at };
    let argument = call.map_or(0, |open| {
        (open + 1..at)
            .filter(|&comma| code.at(comma) == "," && code.tokens[comma].open == Some(open))
            .count()
    });
    let span = code.span(&(start..at + 1));
    let ordering = code.at(at);
    weaker(name, argument, ordering)
        .iter()
        .map(|weaker| RuleChange {
            what: shown_in_call(code, call, &span, &format!("[{ordering} -> {weaker}]")),
            span: span.clone(),
            form: Form::Expression,
            wrong: format!("crate::facade::Ordering::{weaker}"),
        })
        .collect()
}

/// The call with the change in its place.
fn shown_in_call(
    code: &Code<'_>,
    call: Option<usize>,
    span: &Range<usize>,
    change: &str,
) -> String {
    let Some(open) = call else {
        return change.into();
    };
    let is_name = |at: usize| {
        let mut bytes = code.at(at).bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    // Two names that no dot parts are a keyword and the path.
    let is_path = |at: &usize| {
        [".", ":"].contains(&code.at(*at)) || is_name(*at) && (*at + 1 == open || !is_name(*at + 1))
    };
    let first = (0..open).rev().take_while(is_path).last().unwrap_or(open);
    let whole = code.span(&(first..code.tokens[open].partner + 1));
    let (before, after) = (
        &code.text[whole.start..span.start],
        &code.text[span.end..whole.end],
    );
    one_line(&format!("{before}{change}{after}")).replace("Ordering::", "")
}

fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace(" .", ".")
        .replace("( ", "(")
        .replace(", )", ")")
}

/// The tokens that stand behind a `#[cfg(..)]`.
fn hidden(code: &Code<'_>) -> Vec<Range<usize>> {
    (0..code.tokens.len())
        .filter(|&at| code.at(at) == "#" && code.at(at + 2) == "cfg")
        .map(|at| code.statement(at))
        .collect()
}

/// The modules with a file of their own that stand behind a `#[cfg(..)]`.
pub(super) fn hidden_modules<'c>(code: &'c Code<'_>) -> Vec<&'c str> {
    hidden(code)
        .into_iter()
        .map(|range| code.keyword(range.start))
        .filter(|&at| code.at(at) == "mod" && code.at(at + 2) == ";")
        .map(|at| code.at(at + 1))
        .collect()
}
